"""Transactions on a pool of connections: what is lost is replaced, and what is cancelled leaves nothing behind."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

from chassis import db, pool
from chassis.db import Database, TransactionMisused, refused_by
from chassis.errors import AlreadyExists, Unavailable
from chassis.process import Process
from tests.integration.chassis.pooling import GONE_SECONDS_MAX, SIZE, pid_of
from tests.world import World, role_url

TARGETS = ("crm",)


@pytest_asyncio.fixture(loop_scope="session")
async def database(world: World) -> AsyncIterator[Database]:
    """A pool of two connections."""
    opened = Database.connect(role_url(world.database_url, "crm"), application_name="pool", pool_size=SIZE)
    yield opened
    await opened.close()


async def connections(world: World) -> int:
    """How many connections the pool has at the server."""
    rows = await world.rows("select count(*) as found from pg_stat_activity where application_name = 'pool'")
    return int(rows[0]["found"])


async def add_board(tx: db.Tx, organization_id: UUID) -> None:
    """Writes a row of the organization."""
    await tx.execute(
        "insert into crm.boards (organization_id, id, key, name, default_board, version, create_time)"
        " values (%(organization_id)s, %(id)s, 'a', 'A', false, 1, '2026-11-22')",
        {"organization_id": organization_id, "id": uuid4()},
    )


async def boards(world: World, organization_id: UUID) -> int:
    """How many boards were committed."""
    rows = await world.rows("select 1 from crm.boards where organization_id = %s", organization_id)
    return len(rows)


async def test_the_connection_used_last_is_used_again(database: Database) -> None:
    assert await pid_of(database) == await pid_of(database)


async def test_a_connection_that_was_lost_while_idle_is_replaced_unnoticed(world: World, database: Database) -> None:
    first = await pid_of(database)
    await world.rows("select pg_terminate_backend(%s, 5000)", first)
    assert await pid_of(database) != first


async def test_a_connection_that_is_lost_at_work_is_unavailable_and_takes_the_idle_ones_with_it(
    world: World, database: Database
) -> None:
    async with database.transaction():
        idle = await pid_of(database)
    with pytest.raises(Unavailable):  # noqa: PT012 the transaction's end is part of it
        async with database.transaction() as tx:
            mine = (await tx.execute("select pg_backend_pid()")).scalar_one()
            await world.rows("select pg_terminate_backend(%s, 5000)", mine)
            await tx.execute("select 1")
    assert await pid_of(database) not in (mine, idle)


async def test_a_hang_up_while_idle_is_heard_once_and_what_comes_after_it_is_heard_too(
    world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: asyncio.Queue[None] = asyncio.Queue()

    class Heard(pool.Connection):
        def _on_readable(self) -> None:
            heard.put_nowait(None)
            super()._on_readable()

    monkeypatch.setattr(pool, "Connection", Heard)
    lost = await pid_of(database)
    while not heard.empty():
        heard.get_nowait()
    await world.rows("select pg_terminate_backend(%s::int)", lost)
    async with asyncio.timeout(GONE_SECONDS_MAX):
        await heard.get()
    for _ in range(100):
        # Each time the loop looks at its sockets.
        await asyncio.sleep(0)
    assert heard.empty()
    assert await pid_of(database) == await pid_of(database) != lost


async def test_what_is_larger_than_a_socket_takes_at_once_is_sent_whole(database: Database) -> None:
    text = "ção" * 5_000_000
    async with database.transaction() as tx:
        row = (await tx.execute("select length(%(text)s) as length, %(text)s as text", {"text": text})).one()
    assert (row.length, row.text) == (len(text), text)


async def test_what_fails_is_rolled_back_and_the_connection_kept(world: World, database: Database) -> None:
    organization_id, before = uuid4(), await pid_of(database)
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 the transaction's end is part of it
        async with database.transaction(organization_id) as tx:
            await add_board(tx, organization_id)
            raise ZeroDivisionError
    assert await boards(world, organization_id) == 0
    assert await pid_of(database) == before


async def test_a_failed_statement_that_nobody_minds_does_not_pass_for_a_commit(
    world: World, database: Database
) -> None:
    organization_id = uuid4()
    with pytest.raises(RuntimeError, match="not committed"):  # noqa: PT012 the transaction's end is part of it
        async with database.transaction(organization_id) as tx:
            await add_board(tx, organization_id)
            with pytest.raises(psycopg.errors.DivisionByZero):
                await tx.execute("select 1 / 0")
    assert await boards(world, organization_id) == 0


async def test_who_is_cancelled_leaves_neither_a_row_nor_a_transaction_nor_a_place_taken(
    world: World, database: Database
) -> None:
    organization_id = uuid4()
    written = asyncio.Event()

    async def write() -> None:
        async with database.transaction(organization_id) as tx:
            await add_board(tx, organization_id)
            written.set()
            await tx.execute("select pg_sleep(60)")

    # More often than there are places.
    for _ in range(SIZE + 1):
        written.clear()
        task = asyncio.create_task(write())
        await written.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert await boards(world, organization_id) == 0
    await database.ping()
    assert await connections(world) <= SIZE


async def test_who_finds_no_connection_free_waits_and_is_told_in_time(world: World) -> None:
    small = Database.connect(role_url(world.database_url, "crm"), pool_size=1, pool_wait_seconds=0.05)
    async with small.transaction():
        with pytest.raises(Unavailable) as refused:
            await small.ping()
    assert refused.value.reason == "STORE_BUSY"
    await small.ping()
    await small.close()


async def test_one_transactions_organizations_are_not_the_next_ones(world: World, database: Database) -> None:
    organization_id = uuid4()
    async with database.transaction(organization_id) as tx:
        await add_board(tx, organization_id)
    async with database.transaction() as tx:
        assert (await tx.execute("select * from crm.boards")).all() == []
    async with database.transaction(organization_id) as tx:
        assert len((await tx.execute("select * from crm.boards")).all()) == 1


class _Proxy:
    """A way to PostgreSQL that can be frozen: what is sent then arrives nowhere, and nobody is told."""

    def __init__(self, host: str, port: int) -> None:
        self._target = (host, port)
        self._open = asyncio.Event()
        self._open.set()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_raised: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        """From now on nothing gets through."""
        self._open.clear()

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._open.wait()
            back, forth = await asyncio.open_connection(*self._target)
            try:
                await asyncio.gather(self._copy(reader, forth), self._copy(back, writer))
            finally:
                forth.close()
        finally:
            writer.close()

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while content := await source.read(65_536):
            await self._open.wait()
            sink.write(content)
        sink.close()


async def test_who_is_cancelled_while_the_server_does_not_answer_goes_at_once(world: World) -> None:
    url = make_url(role_url(world.database_url, "crm"))
    assert url.host is not None
    assert url.port is not None
    proxy = _Proxy(url.host, url.port)
    async with proxy as port:
        slow = Database.connect(url.set(host="127.0.0.1", port=port).render_as_string(hide_password=False))
        await slow.ping()

        async def ask() -> None:
            async with slow.transaction() as tx:
                proxy.freeze()
                asked.set()
                await tx.execute("select 1")

        asked = asyncio.Event()
        task = asyncio.create_task(ask())
        await asked.wait()
        task.cancel()
        gone, _ = await asyncio.wait({task}, timeout=GONE_SECONDS_MAX)
        assert gone == {task}
        assert task.cancelled()
        await slow.close()


async def test_a_connection_that_breaks_together_with_an_answer_is_found_broken_by_the_next_statement(
    world: World,
) -> None:
    url = make_url(role_url(world.database_url, "crm"))
    assert url.host is not None
    assert url.port is not None
    loop = asyncio.get_running_loop()
    broken = asyncio.Event()
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection((url.host, url.port)) as back:
        server.setblocking(False)
        back.setblocking(False)

        async def carry() -> None:
            client, _ = await loop.sock_accept(server)
            client.setblocking(False)

            async def carry_forth() -> None:
                while content := await loop.sock_recv(client, 65_536):
                    await loop.sock_sendall(back, content)

            forth = asyncio.create_task(carry_forth())
            while not (content := await loop.sock_recv(back, 65_536)).count(b"the last word"):
                await loop.sock_sendall(client, content)
            forth.cancel()
            await asyncio.wait({forth})
            # Both at once: the loop is told of an error, and of that once only.
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            client.send(content)
            client.close()
            broken.set()

        carrying = asyncio.create_task(carry())
        near = url.set(host="127.0.0.1", port=server.getsockname()[1]).render_as_string(hide_password=False)
        frail = Database.connect(near, pool_size=1)
        async with asyncio.timeout(GONE_SECONDS_MAX):
            with pytest.raises(Unavailable):  # noqa: PT012 the transaction's end is part of it
                async with frail.transaction() as tx:
                    assert (await tx.execute("select 'the last ' || 'word'")).scalar_one() == "the last word"
                    await broken.wait()
                    await tx.execute("select 1")
        await carrying
        await frail.close()


async def test_a_statement_nobody_waits_for_any_more_holds_no_lock(world: World, database: Database) -> None:
    organization_id = uuid4()
    async with database.transaction(organization_id) as tx:
        await add_board(tx, organization_id)

    async def wait_for_the_row() -> None:
        async with database.transaction(organization_id) as tx:
            waiting.set_result((await tx.execute("select pg_backend_pid()")).scalar_one())
            await tx.execute("update crm.boards set name = 'B'")

    async with database.transaction(organization_id) as tx:
        await tx.execute("update crm.boards set name = 'C'")
        waiting: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(wait_for_the_row())
        pid = await waiting
        blocked = "select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
        while not await world.rows(blocked, pid):  # noqa: ASYNC110 another process has no event to wait for
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while await world.rows(blocked, pid):  # noqa: ASYNC110
            await asyncio.sleep(0)


async def test_two_statements_at_once_on_one_transaction_are_told_so_and_leave_nothing_behind(
    world: World, database: Database
) -> None:
    organization_id = uuid4()
    with pytest.raises(TransactionMisused, match="Await each"):  # noqa: PT012 the transaction's end is part of it
        async with database.transaction(organization_id) as tx:
            pid = (await tx.execute("select pg_backend_pid()")).scalar_one()
            await add_board(tx, organization_id)
            first = asyncio.create_task(tx.execute("select pg_sleep(600)"))
            await asyncio.gather(first, tx.execute("select 1"))
    async with asyncio.timeout(GONE_SECONDS_MAX):
        # Who waits for the first of them is told too, and the server goes on with it for nobody.
        with pytest.raises(psycopg.OperationalError):
            await first
        while await world.rows("select 1 from pg_stat_activity where pid = %s", pid):  # noqa: ASYNC110 another process has no event to wait for
            await asyncio.sleep(0)
    assert await boards(world, organization_id) == 0
    await database.ping()


async def test_a_statement_ends_though_the_request_to_give_it_up_is_lost(
    world: World, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def overtake(self: psycopg.AsyncConnection[Any], *, timeout: float) -> None:
        """As one that comes before the server has read the statement."""

    monkeypatch.setattr(psycopg.AsyncConnection, "cancel_safe", overtake)
    pid = 0

    async def ask() -> None:
        nonlocal pid
        async with database.transaction() as tx:
            pid = (await tx.execute("select pg_backend_pid()")).scalar_one()
            await tx.execute("select pg_sleep(600)")

    task = asyncio.create_task(ask())
    await world.until("select 1 from pg_stat_activity where query = 'select pg_sleep(600)' and state = 'active'")
    task.cancel()
    await asyncio.wait([task])
    async with asyncio.timeout(GONE_SECONDS_MAX):
        while await world.rows("select 1 from pg_stat_activity where pid = %s", pid):  # noqa: ASYNC110 another process has no event to wait for
            await asyncio.sleep(0)


async def test_a_statement_beside_another_spoils_its_transaction_though_nobody_minds(
    world: World, database: Database
) -> None:
    organization_id = uuid4()
    with pytest.raises(TransactionMisused, match="Await each"):
        async with database.transaction(organization_id) as tx:
            await asyncio.gather(*(add_board(tx, organization_id) for _ in range(2)), return_exceptions=True)
    assert await boards(world, organization_id) == 0


async def test_a_transaction_is_not_committed_while_a_statement_of_it_runs(world: World, database: Database) -> None:
    organization_id = uuid4()
    with pytest.raises(TransactionMisused, match="still ran"):  # noqa: PT012 the transaction's end is part of it
        async with database.transaction(organization_id) as tx:
            await add_board(tx, organization_id)
            left = asyncio.create_task(tx.execute("select pg_sleep(600)"))
            await asyncio.sleep(0)
    with pytest.raises(psycopg.OperationalError):
        await left
    assert await boards(world, organization_id) == 0


@pytest.mark.parametrize("failing", [False, True])
async def test_a_statement_after_the_end_of_its_transaction_does_not_run_on_somebody_elses(
    database: Database, failing: bool
) -> None:
    with contextlib.suppress(ZeroDivisionError):
        async with database.transaction() as tx:
            if failing:
                raise ZeroDivisionError
    async with database.transaction() as other:
        with pytest.raises(TransactionMisused, match="is over"):
            await tx.execute("select 1")
        assert (await other.execute("select 1")).scalar_one() == 1


async def test_a_statement_that_its_connection_leaves_behind_ends(database: Database) -> None:
    with pytest.raises(Unavailable):  # noqa: PT012 the transaction's end is part of it
        async with database.transaction() as tx:
            running = asyncio.create_task(tx.execute("select pg_sleep(600)"))
            await asyncio.sleep(0)
            await tx._connection.close()
            async with asyncio.timeout(GONE_SECONDS_MAX):
                with pytest.raises(psycopg.OperationalError, match="closed during a statement"):
                    await running


async def test_a_timeout_that_would_not_be_kept_is_refused(database: Database) -> None:
    async with database.transaction() as tx:
        with pytest.raises(psycopg.NotSupportedError, match="without a timeout"):
            [notice async for notice in tx._connection.notifies(timeout=0.1)]


async def test_a_constraint_becomes_the_error_that_is_said_for_it_and_no_other_does(
    world: World, database: Database
) -> None:
    organization_id = uuid4()
    with pytest.raises(AlreadyExists, match="taken") as refused:  # noqa: PT012 the transaction's end is part of it
        async with database.transaction(organization_id) as tx:
            await add_board(tx, organization_id)
            with refused_by("boards_live_key", AlreadyExists("BOARD_KEY_TAKEN", "It is taken.")):
                await add_board(tx, organization_id)
    assert isinstance(refused.value.__cause__, psycopg.errors.UniqueViolation)
    with pytest.raises(psycopg.errors.UniqueViolation):  # noqa: PT012
        async with database.transaction(organization_id) as tx:
            await add_board(tx, organization_id)
            with refused_by("boards_pkey", AlreadyExists("BOARD_TAKEN", "It is taken.")):
                await add_board(tx, organization_id)


async def test_who_is_cancelled_while_connecting_leaves_no_connection() -> None:
    asked, gone = asyncio.Event(), asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        asked.set()
        await reader.read()
        gone.set()
        writer.close()

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        slow = Database.connect(f"postgresql://nobody@127.0.0.1:{port}/nothing?sslmode=disable")
        task = asyncio.create_task(slow.ping())
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError) as cancelled:
            await task
        async with asyncio.timeout(GONE_SECONDS_MAX):
            await gone.wait()
        # Whoever keeps the error keeps nothing else with it.
        assert cancelled.value.__traceback__ is not None


async def test_a_service_dials_only_those_that_the_table_lets_it_call(world: World) -> None:
    crm = Process(world.host, "crm")
    assert crm.channel("identity") is not None
    with pytest.raises(ValueError, match="crm may not call ingest"):
        crm.channel("ingest")
