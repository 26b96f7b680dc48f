"""Queues of a test's own, in another service's schema, and what works them off while the test looks on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import psycopg
from sqlalchemy.engine import make_url

from chassis.clock import SettableClock
from chassis.db import Database
from chassis.leases import Leases
from chassis.queues.items import Attempts, Done, Item, Outcome, Place
from chassis.queues.lanes import Lanes
from chassis.queues.queue import Queue
from chassis.queues.tables import create_queue, drop_queue, share_slots, unshare_slots
from chassis.queues.worker import Fence, Handler, Worker
from chassis.telemetry import Metrics
from tests.world import PATIENCE_SECONDS

SCHEMA = "outreach"
START = datetime(2026, 11, 3, 12, tzinfo=UTC)
SOON_SECONDS = 0.01

Rule = Callable[[Item], Outcome[Item] | None]


@dataclass
class Yard:
    """One queue and its world: whose items, what time it is, and what was worked on in which order."""

    queue: Queue
    db: Database
    admin: psycopg.AsyncConnection[Any]
    organization_id: UUID = field(default_factory=uuid4)
    clock: SettableClock = field(default_factory=lambda: SettableClock(START))

    async def put(
        self, key: str, count: int = 1, due_time: datetime | None = None, organization_id: UUID | None = None
    ) -> list[UUID]:
        """Puts items of a key; answers their ids, in order."""
        ids, owner = [uuid4() for _ in range(count)], organization_id or self.organization_id
        async with self.db.transaction(owner) as tx:
            places = [Place(item_id, owner, key, due_time) for item_id in ids]
            assert await self.queue.put(tx, places, self.clock.now()) == count
        return ids

    async def rows(self, statement: str, *parameters: Any) -> list[Any]:
        """What a statement finds, or changes, that may see everything."""
        found = await self.admin.execute(statement.replace("{queue}", self.queue.label).encode(), parameters or None)
        return await found.fetchall() if found.description else []

    async def until(self, condition: Callable[[], bool]) -> None:
        """Waits until something has become true."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not condition():  # noqa: ASYNC110 what a worker does has no event
                await asyncio.sleep(SOON_SECONDS)

    async def until_rows(self, statement: str, *parameters: Any) -> list[Any]:
        """Waits until a statement that may see everything finds something; answers it."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (found := await self.rows(statement, *parameters)):  # noqa: ASYNC110 nor has what is in a table
                await asyncio.sleep(SOON_SECONDS)
            return found

    async def until_done(self, item_id: UUID) -> None:
        """Waits until an item has left the queue."""
        await self.until_rows("select 1 where not exists (select from {queue} where item_id = %s)", item_id)

    async def waiting(self) -> list[UUID]:
        """The items that are in the queue, as they were put."""
        return [row[0] for row in await self.rows("select item_id from {queue} order by sequence")]

    async def free_lanes(self) -> None:
        """Lets every lease of the queue run out, as if its holder had died a while ago."""
        await self.rows("update outreach.leases set expire_time = '-infinity' where starts_with(name, %s)", self.prefix)

    @property
    def prefix(self) -> str:
        """How the names of its leases begin."""
        return f"{self.queue.name}."

    def worker(self, handler: Handler[Any], attempts: Attempts | None = None, **options: Any) -> Worker[Any]:
        """A worker that looks often."""
        leases = Leases(self.db, SCHEMA, uuid4())
        made: list[Worker[Any]] = []
        lanes = Lanes(self.queue, self.db, leases, lambda: made[0]._wake_slots(), balance_seconds=SOON_SECONDS)
        made.append(
            Worker(
                self.queue,
                handler,
                db=self.db,
                leases=leases,
                clock=self.clock,
                nats=cast("Any", SimpleNamespace(listen=_nobody_wakes)),
                metrics=options.pop("metrics", None) or Metrics(),
                attempts=attempts,
                lanes=lanes,
                poll_seconds=SOON_SECONDS,
                **options,
            )
        )
        return made[0]

    @asynccontextmanager
    async def working(
        self, handler: Handler[Any], attempts: Attempts | None = None, **options: Any
    ) -> AsyncIterator[None]:
        """Works the queue off within the block."""
        running = asyncio.create_task(self.worker(handler, attempts, **options).run())
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])
            if not running.cancelled():
                await running


async def _nobody_wakes(*_: Any) -> None:
    """A worker that is told nothing finds everything by looking."""


class Noted(Handler[Item]):
    """Does with each item what a rule says, and keeps what it was given in which order."""

    def __init__(self, rule: Rule = Done) -> None:
        self.rule = rule
        self.seen: list[Item] = []

    async def work(self, items: Sequence[Item], fence: Fence) -> list[Outcome[Item]]:
        """One after the other, of a key none after one that does not end."""
        held: set[str] = set()
        outcomes = []
        for item in items:
            if item.key in held:
                continue
            self.seen.append(item)
            outcome = self.rule(item)
            if outcome is None:
                held.add(item.key)
                continue
            outcomes.append(outcome)
            if not isinstance(outcome, Done):
                held.add(item.key)
        return outcomes

    @property
    def ids(self) -> list[UUID]:
        """The items in the order in which they were worked on."""
        return [item.item_id for item in self.seen]


@asynccontextmanager
async def open_yard(
    database_url: str, db: Database, *, timed: bool = False, shared: bool = False
) -> AsyncIterator[Yard]:
    """A queue that is gone with the block."""
    name = f"parcel_{uuid4().hex[:8]}"
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as admin:
        yard = Yard(Queue(name, SCHEMA, timed=timed, shared=shared), db, admin)
        await yard.rows(create_queue(SCHEMA, name, timed=timed))
        if shared:
            await yard.rows(share_slots(SCHEMA, name, timed=timed))
        try:
            yield yard
        finally:
            if shared:
                await yard.rows(unshare_slots(SCHEMA, name))
            await yard.rows(drop_queue(SCHEMA, name))
