"""What follows from a commit: told once, to whoever has to look, and only if there was a commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import grpc
import psycopg
import pytest
import pytest_asyncio
from nats.aio.msg import Msg
from structlog.testing import capture_logs

from chassis.db import SCOPE, Database, Tx
from chassis.outbox import wake_subject
from prosa.crm.v1 import crm_service_pb2 as pb
from tests.integration.crm.deals import crm
from tests.world import PATIENCE_SECONDS, World, role_url

TARGETS = ("crm",)
_HOLD = "insert into crm.leases (name, holder, fence, expire_time) values (%(name)s, %(holder)s, 0, '-infinity')"
_HOLD_ONCE = (
    f"with {SCOPE} insert into crm.leases (name, holder, fence, expire_time)"
    " select %(name)s, %(holder)s, 0, '-infinity' from scope on conflict do nothing"
)


class Heard:
    """Who was told, in order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def first(self) -> None:
        """Tells the first."""
        self.names.append("first")

    def second(self) -> None:
        """Tells the second."""
        self.names.append("second")


@pytest.fixture
def heard() -> Heard:
    """Nobody yet."""
    return Heard()


@pytest_asyncio.fixture(loop_scope="session")
async def database(world: World) -> AsyncIterator[Database]:
    """A pool of the test's own."""
    opened = Database.connect(role_url(world.database_url, "crm"))
    yield opened
    await opened.close()


async def hold(tx: Tx, name: str) -> None:
    """Writes a row."""
    await tx.execute(_HOLD, {"name": name, "holder": uuid4()})


async def test_each_is_told_once_and_after_the_commit(world: World, database: Database, heard: Heard) -> None:
    name = str(uuid4())
    async with database.transaction() as tx:
        await hold(tx, name)
        for _ in range(3):
            tx.after_commit(heard.first)
        tx.after_commit(heard.second)
        tx.after_commit(heard.first)
        assert heard.names == []
    assert heard.names == ["first", "second"]
    assert len(await world.rows("select 1 from crm.leases where name = %s", name)) == 1


async def test_nobody_is_told_of_what_was_taken_back(database: Database, heard: Heard) -> None:
    async def raise_inside() -> None:
        async with database.transaction() as tx:
            tx.after_commit(heard.first)
            raise LookupError

    async def mind_no_failure() -> None:
        async with database.transaction() as tx:
            tx.after_commit(heard.first)
            with pytest.raises(psycopg.errors.UndefinedTable):
                await tx.execute("select from crm.nothing_of_that_name")

    with pytest.raises(LookupError):
        await raise_inside()
    # PostgreSQL takes such a transaction back at its commit.
    with pytest.raises(RuntimeError, match="not committed"):
        await mind_no_failure()
    begun = asyncio.Event()

    async def wait_inside() -> None:
        async with database.transaction() as tx:
            tx.after_commit(heard.first)
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait_inside())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert heard.names == []


async def test_who_cannot_be_told_keeps_nobody_else_from_it_and_the_commit_stands(
    world: World, database: Database, heard: Heard
) -> None:
    def fail() -> None:
        raise ConnectionError("nobody there")

    name = str(uuid4())
    with capture_logs() as lines:
        async with database.transaction() as tx:
            await hold(tx, name)
            tx.after_commit(fail)
            tx.after_commit(heard.second)
    assert heard.names == ["second"]
    assert [line["event"] for line in lines if line["log_level"] == "error"] == ["after_commit_failed"]
    assert len(await world.rows("select 1 from crm.leases where name = %s", name)) == 1


async def test_an_insert_of_its_own_tells_only_of_rows_that_are_new(database: Database, heard: Heard) -> None:
    row = {"name": str(uuid4()), "holder": uuid4()}
    await database.insert(_HOLD_ONCE, row, after_commit=heard.first)
    assert heard.names == ["first"]
    await database.insert(_HOLD_ONCE, row, after_commit=heard.first)
    with pytest.raises(psycopg.errors.NotNullViolation):
        await database.insert(_HOLD_ONCE, {"name": str(uuid4()), "holder": None}, after_commit=heard.first)
    assert heard.names == ["first"]


async def test_a_call_that_left_a_fact_wakes_the_relay_and_one_that_left_none_does_not(
    world: World, organization_id: UUID
) -> None:
    subject, marker = wake_subject("crm"), uuid4().hex.encode()
    said: asyncio.Queue[bytes] = asyncio.Queue()

    async def listen(message: Msg) -> None:
        said.put_nowait(message.data)

    async def told() -> int:
        """How often since the last look: what this connection published before comes before the marker."""
        await world.host.nats.publish(subject, marker)
        count = 0
        async with asyncio.timeout(PATIENCE_SECONDS):
            while await said.get() != marker:
                count += 1
        return count

    subscription = await world.host.nats.subscribe(subject, cb=listen)
    stub = crm(world, organization_id)
    wanted = pb.CreateBoardRequest(name="Vendas", request_id=str(uuid4()))
    await stub.CreateBoard(wanted)
    assert await told() == 1
    await stub.CreateBoard(wanted)
    await stub.ListBoards(pb.ListBoardsRequest())
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.CreateBoard(pb.CreateBoardRequest(name="Vendas", key="vendas"))
    assert await told() == 0
    await subscription.unsubscribe()
