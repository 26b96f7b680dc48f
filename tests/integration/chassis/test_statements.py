"""Statements: what a connection keeps of them, and what it does with one that cannot be run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio

from chassis import statements
from chassis.db import PREPARE_AFTER, Database, Tx
from tests.world import role_url


@pytest_asyncio.fixture(loop_scope="session", params=[True, False], ids=["prepared", "unprepared"])
async def prepared(request: pytest.FixtureRequest) -> bool:
    """Whether statements may be prepared: not behind a pooler in transaction mode."""
    return bool(request.param)


@pytest_asyncio.fixture(loop_scope="session")
async def tx(database_url: str, prepared: bool) -> AsyncIterator[Tx]:
    """A transaction of a connection of its own."""
    database = Database.connect(role_url(database_url, "crm"), pool_size=1, prepared=prepared)
    async with database.transaction() as opened:
        yield opened
    await database.close()


async def names_prepared(tx: Tx) -> int:
    """How many statements the server keeps for the connection."""
    return int((await tx.execute("select count(*) from pg_prepared_statements")).scalar_one())


async def test_a_statement_that_runs_often_is_prepared_where_that_is_allowed(tx: Tx, prepared: bool) -> None:
    async def run() -> int:
        return int((await tx.execute("select %(number)s::int + 1", {"number": 41})).scalar_one())

    for _ in range(PREPARE_AFTER):
        assert await run() == 42
    assert await names_prepared(tx) == 0
    assert [await run() for _ in range(PREPARE_AFTER)] == [42] * PREPARE_AFTER
    assert await names_prepared(tx) == (1 if prepared else 0)


async def test_a_connection_prepares_no_more_than_its_share(
    tx: Tx, prepared: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(statements, "PREPARED_MAX", 2)
    for number in range(4):
        for _ in range(PREPARE_AFTER + 1):
            assert (await tx.execute(f"select {number}")).scalar_one() == number
    assert await names_prepared(tx) == (2 if prepared else 0)


async def test_a_name_stands_for_one_value_wherever_it_comes_and_a_doubled_percent_sign_for_one(tx: Tx) -> None:
    row = await tx.execute(
        "select %(word)s::text as first, 'a' like 'a%%' as alike, %(word)s::text || %(other)s as both",
        {"word": "um", "other": "dois", "of no use": 1},
    )
    assert tuple(row.one()) == ("um", True, "umdois")


async def test_a_small_number_and_a_large_one_both_find_their_way(tx: Tx) -> None:
    for _ in range(PREPARE_AFTER + 1):
        for number in (1, 70_000, 5_000_000_000):
            assert (await tx.execute("select %(number)s::bigint", {"number": number})).scalar_one() == number


async def test_columns_of_every_type_arrive_with_their_nulls_and_empty_ones_too(tx: Tx) -> None:
    ids: list[UUID | None] = [uuid4(), None]
    for _ in range(PREPARE_AFTER + 1):
        found = await tx.execute(
            "select %(ids)b::uuid[] as ids, %(texts)b::text[] as texts, %(nothing)b::bytea[] as nothing",
            {"ids": ids, "texts": ["ação", None], "nothing": []},
        )
        row = found.one()
        assert (row.ids, row.texts, row.nothing) == (ids, ["ação", None], [])


async def test_a_name_without_a_value_is_told_before_anything_is_sent(tx: Tx) -> None:
    with pytest.raises(KeyError, match="missing"):
        await tx.execute("select %(missing)s::int", {"number": 1})
    assert (await tx.execute("select 1")).scalar_one() == 1


async def test_one_value_cannot_be_wanted_in_two_forms(tx: Tx) -> None:
    with pytest.raises(ValueError, match="as text and as binary"):
        await tx.execute("select %(number)s::int, %(number)b::int", {"number": 1})


async def test_a_statement_that_cannot_be_prepared_says_why(database_url: str, prepared: bool) -> None:
    database = Database.connect(role_url(database_url, "crm"), pool_size=1, prepared=prepared)
    for _ in range(PREPARE_AFTER + 2):
        with pytest.raises(psycopg.errors.UndefinedTable, match="nowhere"):
            async with database.transaction() as tx:
                await tx.execute("select * from nowhere")
    await database.close()


async def test_a_statement_whose_columns_changed_fails_once_and_not_for_ever(database_url: str, prepared: bool) -> None:
    """A migration beside a process that lives on."""
    database = Database.connect(role_url(database_url, "crm"), pool_size=2, prepared=prepared)
    table = f"crm.changing_{uuid4().hex}"

    async def read() -> tuple[str, ...]:
        async with database.transaction() as tx:
            found = await tx.execute(f"select * from {table}")
        return tuple(found.one()._fields)

    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as admin:
        await admin.execute(f"create table {table} as select 1 as old; grant select on {table} to prosa_crm".encode())
        try:
            for _ in range(PREPARE_AFTER + 1):
                # On both of the pool's connections.
                async with database.transaction():
                    assert await read() == ("old",)
                assert await read() == ("old",)
            await admin.execute(f"alter table {table} add column new int".encode())
            if prepared:
                with pytest.raises(psycopg.errors.FeatureNotSupported, match="result type"):
                    await read()
            for _ in range(PREPARE_AFTER + 2):
                async with database.transaction():
                    assert await read() == ("old", "new")
                assert await read() == ("old", "new")
        finally:
            await database.close()
            await admin.execute(f"drop table {table}".encode())


async def test_rows_written_are_counted_and_rows_answered_too(tx: Tx) -> None:
    counts = [
        (await tx.execute(statement)).rowcount
        for statement in (
            "create temporary table counted (n int) on commit drop",
            "insert into counted select generate_series(1, 3)",
            "delete from counted where n > 1 returning n",
            "select * from counted",
            "update counted set n = 0 where false",
        )
    ]
    assert counts == [0, 3, 2, 1, 0]
