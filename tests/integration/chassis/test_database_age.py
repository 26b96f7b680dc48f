"""A pool's connections grow old: each is used for a time that is drawn, and is then replaced."""

from __future__ import annotations

import asyncio

from chassis.db import CONNECTION_SECONDS_MAX, CONNECTION_SPREAD, Database
from tests.integration.chassis.pooling import GONE_SECONDS_MAX, SIZE, pid_of
from tests.world import World, role_url

TARGETS = ("crm",)


class Hours:
    """A clock that tests set, in seconds, and numbers that they choose."""

    def __init__(self, *drawn: float) -> None:
        self.now = 0.0
        self._drawn = list(drawn)

    def draw(self) -> float:
        return self._drawn.pop(0)

    def monotonic(self) -> float:
        return self.now


def aging(world: World, hours: Hours) -> Database:
    """A pool whose connections grow old as the hours say."""
    url = role_url(world.database_url, "crm")
    return Database.connect(url, application_name="pool", pool_size=SIZE, draw=hours.draw, monotonic=hours.monotonic)


async def test_a_connection_is_used_for_a_time_that_is_drawn_and_no_longer(world: World) -> None:
    hours = Hours(0.0, 1.0, 0.5)
    database = aging(world, hours)
    first = await pid_of(database)
    hours.now = CONNECTION_SECONDS_MAX - 1.0
    assert await pid_of(database) == first
    hours.now = CONNECTION_SECONDS_MAX
    second = await pid_of(database)
    assert second != first
    # The shortest life that can be drawn.
    hours.now += CONNECTION_SECONDS_MAX * (1.0 - CONNECTION_SPREAD)
    assert await pid_of(database) != second
    await database.close()


async def test_a_connection_that_grows_old_at_work_finishes_it_and_is_not_kept(world: World) -> None:
    hours = Hours(0.0, 0.0)
    database = aging(world, hours)
    async with database.transaction() as tx:
        hours.now = CONNECTION_SECONDS_MAX
        first = (await tx.execute("select pg_backend_pid()")).scalar_one()
    assert await pid_of(database) != first
    await database.close()


async def test_a_connection_that_nobody_takes_grows_old_too(world: World) -> None:
    hours = Hours(0.0, 1.0)
    database = aging(world, hours)
    async with database.transaction() as tx:
        above = (await tx.execute("select pg_backend_pid()")).scalar_one()
        below = await pid_of(database)
    hours.now = CONNECTION_SECONDS_MAX * (1.0 - CONNECTION_SPREAD)
    assert await pid_of(database) == above
    async with asyncio.timeout(GONE_SECONDS_MAX):
        while await world.rows("select 1 from pg_stat_activity where pid = %s", below):  # noqa: ASYNC110
            await asyncio.sleep(0)
    await database.close()
