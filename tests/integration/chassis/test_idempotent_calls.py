"""An idempotent call: the work is done once for a request_id, and its answer is kept with what it did."""

from __future__ import annotations

from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from chassis.db import Database, Tx
from chassis.errors import AlreadyExists
from chassis.process import Process
from prosa.crm.v1 import crm_service_pb2 as pb
from tests.world import World, role_url

TARGETS = ("crm",)


@pytest_asyncio.fixture(loop_scope="session")
async def database(world: World) -> AsyncIterator[Database]:
    """A pool of the test's own."""
    opened = Database.connect(role_url(world.database_url, "crm"))
    yield opened
    await opened.close()


async def test_the_work_is_done_once_and_what_fails_is_not_kept(
    world: World, database: Database, organization_id: UUID
) -> None:
    store = Process(world.host, "crm").idempotency()
    request = pb.CreateBoardRequest(name="Vendas", request_id=str(uuid4()))
    done: list[pb.Board] = []
    now = world.clock.now()

    async def fail(_tx: Tx) -> pb.Board:
        raise LookupError

    async def work(_tx: Tx) -> pb.Board:
        done.append(pb.Board(board_id=str(uuid4()), name=request.name))
        return done[-1]

    with pytest.raises(LookupError):
        await store.once(database, organization_id, request, pb.Board, now, fail)
    answers = [await store.once(database, organization_id, request, pb.Board, now, work) for _ in range(2)]
    assert answers == [done[0]] * 2
    assert len(done) == 1
    kept = await world.rows("select method from crm.request_answers where organization_id = %s", organization_id)
    assert kept == [{"method": "CreateBoard"}]
    changed = pb.CreateBoardRequest(name="Compras", request_id=request.request_id)
    with pytest.raises(AlreadyExists):
        await store.once(database, organization_id, changed, pb.Board, now, work)
    # Without a request_id every call is another one.
    for _ in range(2):
        await store.once(database, organization_id, pb.CreateBoardRequest(name="Vendas"), pb.Board, now, work)
    assert len(done) == 3
