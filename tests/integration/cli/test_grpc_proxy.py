"""One address for services in several processes: calls arrive, and answers come back, as if it were not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc
import grpc.aio
import pytest

from chassis import rpc
from cli.grpc_proxy import GrpcProxy
from embedded.ports import LOOPBACK, free_port
from prosa.crm.v1 import crm_service_pb2 as crm
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.identity.v1 import access_service_pb2 as access
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.ingest.v1 import webhook_event_service_pb2 as events
from prosa.ingest.v1.webhook_event_service_pb2_grpc import EventServiceStub
from tests.world import ServiceTokens, World, error_info


@pytest.fixture
async def address(world: World) -> AsyncIterator[str]:
    """Where a proxy to identity, ingest and crm listens."""
    chosen = f"{LOOPBACK}:{free_port()}"
    proxy = GrpcProxy(dict.fromkeys(("identity", "ingest", "crm"), world.host.grpc_address))
    await proxy.start(chosen)
    yield chosen
    await proxy.stop()


@pytest.fixture
async def channel(world: World, address: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel on which the command line signs for an organization of its own."""
    tokens = ServiceTokens(world.host.signer("cli"), uuid4())
    opened = rpc.open_channel(address, tokens)  # type: ignore[arg-type]
    yield opened
    await opened.close()


async def test_a_call_and_its_answer_pass(channel: grpc.aio.Channel) -> None:
    made = await CrmServiceStub(channel).CreateBoard(crm.CreateBoardRequest(name="Vendas"))
    listed = await CrmServiceStub(channel).ListBoards(crm.ListBoardsRequest())
    assert [board.board_id for board in listed.boards] == [made.board_id]


async def test_an_error_keeps_its_reason(channel: grpc.aio.Channel) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await CrmServiceStub(channel).GetBoard(crm.GetBoardRequest(board=str(uuid4())))
    assert refused.value.code() is grpc.StatusCode.NOT_FOUND
    assert error_info(refused.value).reason == "BOARD_NOT_FOUND"


async def test_a_stream_passes_as_it_comes(channel: grpc.aio.Channel) -> None:
    await CrmServiceStub(channel).CreateBoard(crm.CreateBoardRequest(name="Suporte"))
    call = EventServiceStub(channel).Subscribe(
        events.SubscribeRequest(types=["prosa.crm.v1.BoardCreated"]), timeout=20.0
    )
    async for event in call:
        if not event.heartbeat:
            assert event.type == "prosa.crm.v1.BoardCreated"
            break
    call.cancel()


async def test_a_caller_without_a_token_stays_without_one(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as nobody:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await AccessServiceStub(nobody).ListOrganizations(access.ListOrganizationsRequest())
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED


async def test_a_service_that_nobody_serves_is_unimplemented(address: str) -> None:
    async with grpc.aio.insecure_channel(address) as channel:
        call: Any = channel.unary_unary("/prosa.outreach.v1.OutreachService/ListSuppressions")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call(b"")
    assert refused.value.code() is grpc.StatusCode.UNIMPLEMENTED
