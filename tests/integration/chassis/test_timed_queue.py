"""A queue in the order of due times, by the clock that it is given."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID

import pytest_asyncio

from chassis.db import Database
from chassis.queues.items import Done, Item, Outcome, Retry
from tests.integration.chassis.queueing import SCHEMA, Noted, Yard, open_yard
from tests.world import role_url

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


@pytest_asyncio.fixture(loop_scope="session")
async def db(database_url: str) -> AsyncIterator[Database]:
    """The database as the queue's service sees it."""
    database = Database.connect(role_url(database_url, SCHEMA))
    yield database
    await database.close()


@pytest_asyncio.fixture(loop_scope="session")
async def timed(database_url: str, db: Database) -> AsyncIterator[Yard]:
    """A queue in the order of due times."""
    async with open_yard(database_url, db, timed=True) as opened:
        yield opened


class TestDueTimes:
    """A timed queue keeps the order of due times, by the clock that it is given."""

    async def test_nothing_is_done_before_its_time_and_all_in_the_order_of_due_times(self, timed: Yard) -> None:
        start = timed.clock.now()
        [third] = await timed.put("round", 1, start + 3 * HOUR)
        [second] = await timed.put("round", 1, start + 2 * HOUR)
        [at_once] = await timed.put("round")
        [fourth] = await timed.put("round", 1, start + 30 * 24 * HOUR)
        noted = Noted()
        async with timed.working(noted):
            await timed.until(lambda: bool(noted.seen))
            timed.clock.advance(4 * HOUR)
            await timed.until(lambda: len(noted.seen) == 3)
            assert noted.ids == [at_once, second, third]
            timed.clock.advance(30 * 24 * HOUR)
            await timed.until(lambda: len(noted.seen) == 4)
        assert noted.ids[-1] == fourth

    async def test_what_is_put_late_does_not_pass_a_key_that_is_held(self, timed: Yard) -> None:
        [held] = await timed.put("number")
        until = timed.clock.now() + HOUR
        noted = Noted(lambda item: Retry(item, until, counted=False) if timed.clock.now() < until else Done(item))
        async with timed.working(noted):
            await timed.until(lambda: held in noted.ids)
            timed.clock.advance(MINUTE)
            [late] = await timed.put("number", 1, timed.clock.now() - 24 * HOUR)
            [beside] = await timed.put("another")
            await timed.until(lambda: beside in noted.ids)
            assert late not in noted.ids
            timed.clock.advance(HOUR)
            await timed.until(lambda: late in noted.ids)
        assert [item.item_id for item in noted.seen if item.key == "number"] == [held, held, late]

    async def test_a_month_of_rounds_goes_by_and_each_is_worked_on_at_its_own_time(self, timed: Yard) -> None:
        start = timed.clock.now()
        times = [start + HOUR * hours for hours in (700, 3, 26, 26, 400)]
        rounds = {(await timed.put(f"conversation {at:%d} {number}", 1, at))[0]: at for number, at in enumerate(times)}
        failing = min(rounds, key=rounds.__getitem__)
        worked: list[tuple[UUID, datetime]] = []

        def rule(item: Item) -> Outcome[Item]:
            now = timed.clock.now()
            worked.append((item.item_id, now))
            again = item.item_id == failing and item.attempt_count == 0
            return Retry(item, now + 30 * MINUTE) if again else Done(item)

        async with timed.working(Noted(rule)):
            await timed.clock.asleep(1)
            await timed.clock.run_until(start + timedelta(days=31))
        expected = [*rounds.items(), (failing, rounds[failing] + 30 * MINUTE)]
        assert sorted(worked, key=_time_and_id) == sorted(expected, key=_time_and_id)
        assert [at for _, at in worked] == sorted(at for _, at in expected)
        assert await timed.waiting() == []


def _time_and_id(worked: tuple[UUID, datetime]) -> tuple[datetime, UUID]:
    return worked[1], worked[0]
