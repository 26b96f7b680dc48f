"""Leases: one holder at a time, and nothing written by one that has lost its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

from chassis.db import Database
from chassis.leases import LeaseLost, Leases
from tests.world import role_url

SCHEMA = "crm"
HELD_SECONDS_MAX = 60.0


@pytest_asyncio.fixture(loop_scope="session")
async def db(database_url: str) -> AsyncIterator[Database]:
    """The database as a service's own role sees it."""
    database = Database.connect(role_url(database_url, SCHEMA))
    yield database
    await database.close()


@pytest.fixture
def name() -> str:
    """A lease that no other test takes."""
    return f"test.{uuid4()}"


async def expire(database_url: str, name: str) -> None:
    """Lets a lease run out, as if its holder had not renewed it for fifteen seconds."""
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(
            f"update {SCHEMA}.leases set expire_time = clock_timestamp() - interval '1 ms' where name = %s".encode(),
            [name],
        )


async def test_a_lease_is_one_holders_until_it_expires(db: Database, database_url: str, name: str) -> None:
    first, second = Leases(db, SCHEMA, uuid4()), Leases(db, SCHEMA, uuid4())
    fences = await first.take([name])
    assert fences == {name: 1}
    assert await second.take([name]) == {}
    assert await second.take([name], own=True) == {}
    await expire(database_url, name)
    assert await second.take([name]) == {name: 2}
    assert await first.renew(fences) == set()


async def test_a_holder_that_lost_its_lease_writes_nothing(db: Database, database_url: str, name: str) -> None:
    first, second = Leases(db, SCHEMA, uuid4()), Leases(db, SCHEMA, uuid4())
    fences = await first.take([name])
    await expire(database_url, name)
    await second.take([name])
    with pytest.raises(LeaseLost):
        async with db.transaction() as tx:
            await first.check(tx, fences)


async def test_a_takeover_waits_for_an_effect_in_progress(db: Database, database_url: str, name: str) -> None:
    first, second = Leases(db, SCHEMA, uuid4()), Leases(db, SCHEMA, uuid4())
    fences = await first.take([name])
    async with db.transaction() as tx:
        await first.check(tx, fences)
        await expire(database_url, name)
        assert await second.take([name]) == {}
    assert await second.take([name]) == {name: 2}


async def test_a_holder_that_could_not_give_its_lease_back_has_it_again_at_once(db: Database, name: str) -> None:
    holder = Leases(db, SCHEMA, uuid4())
    before = await holder.take([name])
    assert await holder.take([name]) == {}
    again = await holder.take([name], own=True)
    assert again == {name: 2}
    with pytest.raises(LeaseLost):
        async with db.transaction() as tx:
            await holder.check(tx, before)


@pytest.mark.parametrize("kept", [True, False])
async def test_a_renewal_that_misses_its_cancellation_holds_up_nobody(
    db: Database, name: str, monkeypatch: pytest.MonkeyPatch, kept: bool
) -> None:
    leases, renewing = Leases(db, SCHEMA, uuid4(), renew_seconds=0.5), asyncio.Event()

    async def renew(fences: Mapping[str, int]) -> set[str]:
        renewing.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # As wait_for does under Python 3.11 when the answer comes in the same moment.
            return set(fences) if kept else set()
        return set()

    monkeypatch.setattr(leases, "renew", renew)
    async with asyncio.timeout(HELD_SECONDS_MAX):
        async with leases.held(name):
            await renewing.wait()
    assert await Leases(db, SCHEMA, uuid4()).take([name]) == {name: 2}
