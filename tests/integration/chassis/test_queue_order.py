"""Whatever is put, claimed, postponed and given up in whatever order, a queue answers what its rules say."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from chassis.db import Database
from chassis.leases import Leases
from chassis.queues.items import Dead, Done, Item, Outcome, Retry
from chassis.queues.queue import LANE_COUNT, lane_of
from tests.integration.chassis.queueing import SCHEMA, START, Yard, open_yard
from tests.world import role_url

EXAMPLES = 40
STEPS_MIN, STEPS_MAX = 12, 30
MINUTES_MAX = 5
KEYS = ("a", "b", "c")
FATES = ("done", "dead", "retry", "postponed", "gives way", "left out")

minutes = st.integers(-MINUTES_MAX, MINUTES_MAX)
steps = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(KEYS), minutes),
    st.tuples(st.just("wait"), st.integers(1, MINUTES_MAX)),
    st.tuples(
        st.just("claim"),
        st.sets(st.sampled_from(KEYS), max_size=1),
        st.integers(1, 6),
        st.lists(st.tuples(st.sampled_from(FATES), st.integers(1, MINUTES_MAX)), min_size=6, max_size=6),
    ),
)


@dataclass
class Expected:
    """One item as the rules have it."""

    item_id: UUID
    key: str
    sequence: int
    due_time: datetime
    held_until: datetime | None = None
    attempt_count: int = 0


@dataclass
class Rules:
    """A queue in a few lines, which the one in PostgreSQL must equal."""

    timed: bool
    items: list[Expected] = field(default_factory=list)
    dead: list[UUID] = field(default_factory=list)
    put_count: int = 0

    def place(self, item: Expected) -> tuple[datetime, int]:
        """Where an item stands in its key, and in the queue."""
        return (item.due_time if self.timed else START, item.sequence)

    def claimable(self, keys: set[str], now: datetime, limit: int) -> list[Expected]:
        """What may be worked on, in order."""
        found: list[Expected] = []
        held: set[str] = set()
        for item in sorted(self.items, key=self.place):
            if item.held_until is not None and item.held_until > now:
                held.add(item.key)
            if item.key in keys and item.key not in held and not (self.timed and item.due_time > now):
                found.append(item)
        return found[:limit]


@pytest_asyncio.fixture(loop_scope="session", params=[False, True], ids=["as put", "timed"], scope="module")
async def yard(request: pytest.FixtureRequest, database_url: str) -> AsyncIterator[Yard]:
    """One of either kind."""
    db = Database.connect(role_url(database_url, SCHEMA))
    async with open_yard(database_url, db, timed=request.param) as opened:
        yield opened
    await db.close()


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
    derandomize=True,
)
@given(taken=st.lists(steps, min_size=STEPS_MIN, max_size=STEPS_MAX))
async def test_a_queue_keeps_to_its_rules(yard: Yard, taken: list[tuple[object, ...]]) -> None:
    await yard.rows("delete from {queue}")
    await yard.rows("delete from {queue}_dead")
    yard.clock.set(START)
    rules = Rules(yard.queue.timed)
    leases = Leases(yard.db, SCHEMA, uuid4())
    for step in taken:
        match step:
            case ("put", str(key), int(offset)):
                due = yard.clock.now() + timedelta(minutes=offset)
                [item_id] = await yard.put(key, 1, due if yard.queue.timed else None)
                rules.put_count += 1
                rules.items.append(Expected(item_id, key, rules.put_count, max(due, yard.clock.now())))
            case ("wait", int(passing)):
                yard.clock.advance(timedelta(minutes=passing))
            case ("claim", set(busy), int(limit), list(fates)):
                await _claim(yard, rules, leases, busy, limit, fates)
    assert sorted(await yard.waiting()) == sorted(item.item_id for item in rules.items)
    assert sorted(row[0] for row in await yard.rows("select item_id from {queue}_dead")) == sorted(rules.dead)


async def _claim(
    yard: Yard, rules: Rules, leases: Leases, busy: set[str], limit: int, fates: list[tuple[str, int]]
) -> None:
    now = yard.clock.now()
    async with yard.db.transaction() as tx:
        claimed = await yard.queue.claim(tx, range(LANE_COUNT), busy, now, limit)
    expected = rules.claimable({*KEYS} - busy, now, limit)
    assert [(item.item_id, item.key, item.attempt_count, item.lane) for item in claimed] == [
        (item.item_id, item.key, item.attempt_count, lane_of(item.key)) for item in expected
    ]
    outcomes: list[Outcome[Item]] = []
    for item, wanted, (fate, wait) in zip(claimed, expected, fates, strict=False):
        at = now + timedelta(minutes=wait)
        match fate:
            case "done":
                outcomes.append(Done(item))
                rules.items.remove(wanted)
            case "dead":
                outcomes.append(Dead(item, "GONE"))
                rules.items.remove(wanted)
                rules.dead.append(wanted.item_id)
            case "gives way" if yard.queue.timed:
                outcomes.append(Retry(item, at, counted=False, gives_way=True))
                wanted.due_time, wanted.held_until = at, None
            case "retry" | "postponed":
                counted = fate == "retry"
                outcomes.append(Retry(item, at, counted=counted))
                wanted.held_until = at
                wanted.attempt_count += counted
    async with yard.db.transaction(yard.organization_id) as tx:
        await yard.queue.settle(tx, outcomes, leases, {}, now)


async def test_only_lanes_that_are_held_are_claimed_from(yard: Yard) -> None:
    await yard.rows("delete from {queue}")
    mine, other = KEYS[:2]
    assert lane_of(mine) != lane_of(other)
    [item_id] = await yard.put(mine)
    await yard.put(other)
    async with yard.db.transaction() as tx:
        claimed = await yard.queue.claim(tx, [lane_of(mine)], [], yard.clock.now(), 10)
    assert [item.item_id for item in claimed] == [item_id]
