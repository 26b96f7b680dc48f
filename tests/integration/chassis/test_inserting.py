"""Rows inserted in one statement that is a transaction of its own: for the organizations it names, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio

from chassis import db
from chassis.db import Database
from chassis.errors import Unavailable
from tests.world import World, role_url

TARGETS = ("crm",)


@pytest_asyncio.fixture(loop_scope="session")
async def database(world: World) -> AsyncIterator[Database]:
    """A pool of one connection."""
    opened = Database.connect(role_url(world.database_url, "crm"), pool_size=1)
    yield opened
    await opened.close()


async def boards(world: World, organization_id: UUID) -> int:
    """How many boards were committed."""
    return len(await world.rows("select 1 from crm.boards where organization_id = %s", organization_id))


_ADD_BOARDS = f"""
with {db.SCOPE}
insert into crm.boards (organization_id, id, key, name, default_board, version, create_time)
select board.* from scope cross join unnest(
  %(organizations)b::uuid[], %(ids)b::uuid[], %(keys)b::text[], %(keys)b::text[], %(defaults)b::bool[],
  %(versions)b::bigint[], %(times)b::timestamptz[]) as board
returning pg_backend_pid()
"""


def _boards_of(*organization_ids: UUID, key: str = "a") -> dict[str, list[object]]:
    """One board for each."""
    count = len(organization_ids)
    return {
        "organizations": [*organization_ids],
        "ids": [uuid4() for _ in range(count)],
        "keys": [key] * count,
        "defaults": [False] * count,
        "versions": [1] * count,
        "times": [datetime(2026, 11, 22, tzinfo=UTC)] * count,
    }


async def test_an_insert_is_a_transaction_of_its_own_for_the_organizations_it_names(
    world: World, database: Database
) -> None:
    mine, ours = uuid4(), uuid4()
    assert len((await database.insert(_ADD_BOARDS, _boards_of(mine, ours), mine, ours)).all()) == 2
    assert (await boards(world, mine), await boards(world, ours)) == (1, 1)


@pytest.mark.parametrize("named", [(), (UUID(int=1),)])
async def test_an_insert_writes_nothing_of_an_organization_it_does_not_name(
    world: World, database: Database, named: tuple[UUID, ...]
) -> None:
    named_before, other = uuid4(), uuid4()
    # What one names must not stay with the connection.
    await database.insert(_ADD_BOARDS, _boards_of(named_before), named_before)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await database.insert(_ADD_BOARDS, _boards_of(named_before, key="b"), *named)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await database.insert(_ADD_BOARDS, _boards_of(named_before, other, key="b"), named_before)
    assert (await boards(world, named_before), await boards(world, other)) == (1, 0)
    await database.ping()


async def test_an_insert_on_a_connection_that_was_lost_while_idle_is_done_on_a_new_one(
    world: World, database: Database
) -> None:
    organization_id, other = uuid4(), uuid4()
    lost = (await database.insert(_ADD_BOARDS, _boards_of(other), other)).scalar_one()
    await world.rows("select pg_terminate_backend(%s, 5000)", lost)
    row = (await database.insert(_ADD_BOARDS, _boards_of(organization_id), organization_id)).one()
    assert row.pg_backend_pid != lost
    assert await boards(world, organization_id) == 1


async def test_an_insert_that_finds_no_server_is_unavailable() -> None:
    nowhere = Database.connect("postgresql://nobody@127.0.0.1:1/nothing")
    with pytest.raises(Unavailable):
        await nowhere.insert(_ADD_BOARDS, _boards_of(UUID(int=1)), UUID(int=1))


async def test_what_an_insert_names_does_not_stay_with_the_connection(database: Database) -> None:
    organization_id = uuid4()
    await database.insert(_ADD_BOARDS, _boards_of(organization_id), organization_id)
    named = await database.insert("select current_setting('app.organization_ids', true) as left_over", {})
    assert not named.one().left_over
