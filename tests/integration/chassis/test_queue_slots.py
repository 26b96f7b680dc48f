"""The slots of a queue's worker: no organization has all of them, and nothing that is raised ends one."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from chassis.db import Database, Tx
from chassis.queues.items import Attempts, Dead, Done, Item, Outcome
from chassis.queues.worker import Fence
from tests.integration.chassis.queueing import SCHEMA, Noted, Yard, open_yard
from tests.world import role_url

SLOTS = 4
HOUR = timedelta(hours=1)
TWICE = Attempts(waits=(HOUR,))


@pytest_asyncio.fixture(loop_scope="session")
async def db(database_url: str) -> AsyncIterator[Database]:
    """The database as the queue's service sees it."""
    database = Database.connect(role_url(database_url, SCHEMA))
    yield database
    await database.close()


@pytest_asyncio.fixture(params=[False, True], ids=["by place", "timed"], loop_scope="session")
async def shared(database_url: str, db: Database, request: pytest.FixtureRequest) -> AsyncIterator[Yard]:
    """A queue whose slots organizations share."""
    async with open_yard(database_url, db, timed=request.param, shared=True) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def yard(database_url: str, db: Database) -> AsyncIterator[Yard]:
    """A queue in the order in which things are put."""
    async with open_yard(database_url, db) as opened:
        yield opened


class Slow(Noted):
    """Some organizations' servers answer when they are told to."""

    def __init__(self, *slow: UUID) -> None:
        super().__init__()
        self.slow, self.answers = set(slow), asyncio.Event()
        self.waiting: Counter[UUID] = Counter()
        self.most: Counter[UUID] = Counter()

    async def work(self, items: Sequence[Item], fence: Fence) -> list[Outcome[Item]]:
        """One item, which takes its organization's time."""
        [item] = items
        if item.organization_id in self.slow:
            self.waiting[item.organization_id] += 1
            self.most |= self.waiting
            await self.answers.wait()
            self.waiting[item.organization_id] -= 1
        return await super().work(items, fence)


async def test_a_slow_server_of_one_organization_leaves_slots_to_the_others(shared: Yard) -> None:
    slow, other = uuid4(), uuid4()
    for number in range(3 * SLOTS):
        await shared.put(f"slow {number}", organization_id=slow)
    handler = Slow(slow)
    async with shared.working(handler, slots=SLOTS, batch_max=1):
        await shared.until(lambda: handler.waiting[slow] == SLOTS // 2)
        theirs = [(await shared.put(f"other {number}", organization_id=other))[0] for number in range(2 * SLOTS)]
        # All are done while not one of the slow ones is.
        await shared.until(lambda: len(handler.seen) == len(theirs))
        assert {item.organization_id for item in handler.seen} == {other}
        handler.answers.set()
        await shared.until(lambda: len(handler.seen) == 5 * SLOTS)
    assert handler.most[slow] == SLOTS // 2


async def test_several_slow_organizations_leave_slots_to_the_others_too(shared: Yard) -> None:
    slow, slower, other = uuid4(), uuid4(), uuid4()
    for number in range(SLOTS):
        await shared.put(f"slow {number}", organization_id=slow)
    handler = Slow(slow, slower)
    async with shared.working(handler, slots=SLOTS, batch_max=1):
        await shared.until(lambda: handler.waiting[slow] == SLOTS // 2)
        for number in range(SLOTS):
            await shared.put(f"slower {number}", organization_id=slower)
        await shared.until(lambda: handler.waiting[slower] == 1)
        [theirs] = await shared.put("other", organization_id=other)
        await shared.until(lambda: theirs in handler.ids)
        handler.answers.set()
        await shared.until(lambda: len(handler.seen) == 2 * SLOTS + 1)


class Unwritable(Noted):
    """Cannot write what became of one item."""

    def __init__(self, bad: UUID, *, dead_too: bool) -> None:
        super().__init__()
        self.bad, self.dead_too = bad, dead_too
        self.ended: list[UUID] = []

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[Item]]) -> None:
        """Raises where the item is among what is done; and also where it is given up, if so wanted."""
        for outcome in outcomes:
            if outcome.item.item_id == self.bad and (self.dead_too or isinstance(outcome, Done)):
                raise ZeroDivisionError
        self.ended += [outcome.item.item_id for outcome in outcomes if isinstance(outcome, Dead)]


async def test_what_cannot_be_recorded_fails_by_itself_and_its_row_ends_with_it(yard: Yard) -> None:
    ids = [(await yard.put(key))[0] for key in "abc"]
    [behind] = await yard.put("b")
    handler = Unwritable(ids[1], dead_too=False)
    async with yard.working(handler, TWICE, slots=1):
        await yard.until_rows("select 1 from {queue} where item_id = %s and attempt_count = 1", ids[1])
        await yard.until_done(ids[2])
        assert set(await yard.waiting()) == {ids[1], behind}
        yard.clock.advance(HOUR)
        await yard.until_done(behind)
    assert (handler.ended, await yard.waiting()) == ([ids[1]], [])
    assert await yard.rows("select item_id, reason from {queue}_dead") == [(ids[1], "ITEM_REFUSED")]


async def test_what_cannot_even_be_given_up_stays_and_holds_back_nobody_else(yard: Yard) -> None:
    [bad] = await yard.put("a")
    handler = Unwritable(bad, dead_too=True)
    async with yard.working(handler, TWICE, slots=1):
        await yard.until_rows("select 1 from {queue} where item_id = %s and attempt_count = 1", bad)
        yard.clock.advance(HOUR)
        await yard.until(lambda: handler.ids.count(bad) == 2)
        [beside] = await yard.put("b")
        await yard.until_done(beside)
        # Whoever mends it finds it.
        handler.bad = uuid4()
        yard.clock.advance(HOUR)
        await yard.until_done(bad)


async def test_what_cannot_be_loaded_ends_no_slot(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("chassis.queues.worker.AWAY_SECONDS", 0.0)
    faults = 2

    class Unreadable(Noted):
        async def load(self, tx: Tx, items: Sequence[Item]) -> Sequence[Item]:
            nonlocal faults
            if faults:
                faults -= 1
                raise ZeroDivisionError
            return items

    [item_id] = await yard.put("a")
    async with yard.working(Unreadable(), slots=1):
        await yard.until_done(item_id)
