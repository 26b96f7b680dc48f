"""Installations to put beside each other: a database and an id of its own each, on one NATS."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

import psycopg
from nats.aio.client import Client as Nats
from nats.js.api import StreamInfo
from sqlalchemy.engine import make_url

from chassis.clock import SystemClock
from chassis.consumer import Consumer
from chassis.db import Database, Tx
from chassis.ids import Uuid7Ids
from chassis.inner import NotReady
from chassis.installation import Refusals
from chassis.leases import Leases
from chassis.outbox import Fact, Outbox, stream_name
from chassis.relay import Relay
from chassis.streams import StreamMessage, read_batch
from chassis.telemetry import Metrics
from prosa.crm.v1.events_pb2 import DealCreated
from tests.world import PATIENCE_SECONDS, role_url, unheard

PUBLISHER, READER = "crm", "outreach"
STREAM = stream_name(PUBLISHER)
LOOK_SECONDS = 0.02
WAIT_SECONDS = PATIENCE_SECONDS
CANCEL_AGAIN_SECONDS = 1.0
RUNBOOK = Path(__file__).resolve().parents[3] / "docs" / "runbooks" / "README.md"


class Reading:
    """Keeps the ids of the facts a consumer was given, once that is written down."""

    def __init__(self) -> None:
        self.event_ids: list[UUID] = []

    async def handle(self, tx: Tx, events: Sequence[StreamMessage]) -> None:
        """The consumer's handler."""
        given = [event.event_id for event in events]
        tx.after_commit(lambda: self.event_ids.extend(given))

    async def until(self, wanted: Sequence[UUID]) -> None:
        """Waits until exactly these were given, in this order."""

        async def read() -> bool:
            return len(self.event_ids) >= len(wanted)

        await until(read)
        assert self.event_ids == list(wanted)


@dataclass(frozen=True)
class Installation:
    """One installation, as far as it publishes and consumes."""

    url: str
    installation_id: UUID
    publisher: Database
    reader: Database
    nats: Nats
    metrics: Metrics

    async def announce(self, organization_id: UUID, count: int = 1) -> None:
        """Leaves facts in the outbox."""
        clock = SystemClock()
        async with self.publisher.transaction(organization_id) as tx:
            facts = [Fact(organization_id, DealCreated(organization_id=str(organization_id))) for _ in range(count)]
            await Outbox(PUBLISHER, Uuid7Ids(clock), unheard).add(tx, facts, clock.now())

    async def rows(self, query: str) -> list[tuple[object, ...]]:
        """What a query finds, or does, that may do everything."""
        return await run_statement(self.url, query)

    async def waiting(self) -> int:
        """How many facts wait for the relay."""
        return len(await self.rows(f"select position from {PUBLISHER}.outbox_queue"))

    @asynccontextmanager
    async def relaying(self) -> AsyncIterator[Relay]:
        """The relay at work."""
        leases = Leases(self.publisher, PUBLISHER, uuid4())
        relay = Relay(
            PUBLISHER,
            self.publisher,
            leases,
            self.nats,
            self.metrics,
            poll_seconds=LOOK_SECONDS,
            inspect_seconds=LOOK_SECONDS,
        )
        async with running(relay.run):
            yield relay

    @asynccontextmanager
    async def consuming(self, reading: Reading) -> AsyncIterator[Consumer]:
        """A consumer of the stream at work."""
        consumer = Consumer(
            "installations",
            READER,
            db=self.reader,
            leases=Leases(self.reader, READER, uuid4()),
            nats=self.nats,
            clock=SystemClock(),
            metrics=self.metrics,
            poll_seconds=LOOK_SECONDS,
            inspect_seconds=LOOK_SECONDS,
        )
        consumer.on_all([PUBLISHER], reading.handle)
        async with running(consumer.run):
            yield consumer


@asynccontextmanager
async def open_installation(url: str, nats: Nats) -> AsyncIterator[Installation]:
    """The installation of a migrated database, after it was given an id as the runbook says."""
    await run_statement(url, documented_statement())
    ((installation_id,),) = await run_statement(url, "select installation_id from chassis.installation")
    assert isinstance(installation_id, UUID)
    publisher, reader = (Database.connect(role_url(url, service)) for service in (PUBLISHER, READER))
    async with publisher.transaction() as tx:
        await tx.execute(f"select {PUBLISHER}.maintain(%(now)s)", {"now": SystemClock().now()})
    try:
        yield Installation(url, installation_id, publisher, reader, nats, Metrics())
    finally:
        await publisher.close()
        await reader.close()


def documented_statement() -> str:
    """The statement by which the runbook lets a copied database become an installation of its own."""
    (statement,) = re.findall(r"^ *(update chassis\.installation .*);$", RUNBOOK.read_text(), re.MULTILINE)
    return str(statement)


async def run_statement(url: str, statement: str) -> list[tuple[object, ...]]:
    """Runs one statement as somebody who may do everything; answers its rows."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as connection:
        cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


@asynccontextmanager
async def running(job: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """The job at work, which must not end by itself."""

    async def work() -> None:
        await job()

    task = asyncio.create_task(work())
    try:
        yield
        assert not task.done(), task
    finally:
        while not task.done():
            # Python 3.11 may lose a cancellation that comes in the moment of an answer.
            task.cancel()
            await asyncio.wait([task], timeout=CANCEL_AGAIN_SECONDS)
        with contextlib.suppress(asyncio.CancelledError):
            task.result()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Waits until it is so."""
    async with asyncio.timeout(WAIT_SECONDS):
        while not await condition():  # noqa: ASYNC110 what is waited for has no event
            await asyncio.sleep(LOOK_SECONDS)


async def until_refused(refusals: Refusals) -> str:
    """Waits until readiness says that a stream is refused; answers its sentence."""
    await until(lambda: _is_refused(refusals))
    try:
        await refusals.check()
    except NotReady as refused:
        return str(refused)
    raise AssertionError("no longer refused")


async def until_admitted(refusals: Refusals) -> None:
    """Waits until readiness has nothing to say against the streams."""

    async def admitted() -> bool:
        return not await _is_refused(refusals)

    await until(admitted)


async def _is_refused(refusals: Refusals) -> bool:
    try:
        await refusals.check()
    except NotReady:
        return True
    return False


async def stream(nats: Nats) -> StreamInfo:
    """The stream as NATS knows it."""
    return await nats.jetstream().stream_info(STREAM)


async def messages(nats: Nats) -> Sequence[StreamMessage]:
    """All that the stream holds."""
    return await read_batch(nats, STREAM, 1, 500)


async def unmark(nats: Nats) -> None:
    """Takes the installation's id off the stream, as the version before left it."""
    config = (await stream(nats)).config
    config.metadata = {"prosa.epoch": (config.metadata or {})["prosa.epoch"]}
    await nats.jetstream().update_stream(config)
