"""Boards: created, found by id or key, listed in their order; one of them is the default."""

from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import grpc
import pytest

from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.crm.v1.events_pb2 import BoardCreated
from tests.integration.crm.deals import crm, ensure_one, given_board
from tests.world import AGENT, World, error_info

TARGETS = ("crm",)

PARALLEL = 8


async def all_boards(world: World, organization_id: UUID) -> list[pb.Board]:
    return list((await crm(world, organization_id).ListBoards(pb.ListBoardsRequest())).boards)


async def test_a_board_without_key_and_stages_is_the_standard_one_and_announced(
    world: World, organization_id: UUID
) -> None:
    stub = crm(world, organization_id)
    board = await stub.CreateBoard(pb.CreateBoardRequest(name="Atendimento São Paulo"))
    assert board.key == "atendimento-sao-paulo"
    assert board.default_board
    assert [stage.position for stage in board.stages] == list(range(7))
    assert board.stages[-1].label == "Follow-up"
    assert board.etag
    assert await world.announced(BoardCreated, organization_id) == [
        BoardCreated(organization_id=str(organization_id), board=board)
    ]
    for name in (board.board_id, board.key):
        assert await stub.GetBoard(pb.GetBoardRequest(board=name)) == board


async def test_parallel_first_boards_leave_one_default(world: World, organization_id: UUID) -> None:
    async with await world.admin() as blocker:
        async with blocker.transaction():
            await blocker.execute(
                "select pg_advisory_xact_lock(hashtextextended('crm.boards:' || %s::text, 0))", [organization_id]
            )
            calls = [
                asyncio.create_task(given_board(world, organization_id, f"Quadro {place}")) for place in range(PARALLEL)
            ]
            await world.until_waiting_on_locks(PARALLEL)
        boards = await asyncio.gather(*calls)
    assert [board.default_board for board in boards].count(True) == 1
    assert len(await all_boards(world, organization_id)) == PARALLEL


async def test_the_default_moves_to_the_board_that_asks_for_it(world: World, organization_id: UUID) -> None:
    first = await given_board(world, organization_id)
    second = await crm(world, organization_id).CreateBoard(pb.CreateBoardRequest(name="Outro", default_board=True))
    assert (first.default_board, second.default_board) == (True, True)
    boards = await all_boards(world, organization_id)
    assert [(board.key, board.default_board) for board in boards] == [("vendas", False), ("outro", True)]
    assert boards[0].etag != first.etag
    assert (await ensure_one(world, organization_id, uuid4())).board_id == second.board_id


async def test_a_key_is_taken_within_one_organization_only(world: World, organization_id: UUID) -> None:
    await given_board(world, organization_id)
    await given_board(world, uuid4())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await crm(world, organization_id).CreateBoard(pb.CreateBoardRequest(name="Outro", key="vendas"))
    assert refused.value.code() is grpc.StatusCode.ALREADY_EXISTS
    assert error_info(refused.value).reason == "BOARD_KEY_TAKEN"
    assert len(await world.announced(BoardCreated, organization_id)) == 1


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (pb.CreateBoardRequest(name="Vendas", key="Vendas!"), "KEY_INVALID"),
        (pb.CreateBoardRequest(name=" \t "), "NAME_INVALID"),
        (pb.CreateBoardRequest(name="V", stages=[pb.StageInput(label="A", color="red")]), "COLOR_INVALID"),
        (pb.CreateBoardRequest(name="V", request_id="retry-1"), "REQUEST_ID_INVALID"),
    ],
)
async def test_a_board_that_cannot_be_is_refused_with_its_reason(
    world: World, organization_id: UUID, request_: pb.CreateBoardRequest, reason: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await crm(world, organization_id).CreateBoard(request_)
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(refused.value).reason == reason
    assert await all_boards(world, organization_id) == []


async def test_a_retry_gets_the_first_answer_and_another_body_an_error(world: World, organization_id: UUID) -> None:
    request = pb.CreateBoardRequest(name="Vendas", request_id=str(uuid4()))
    stub = crm(world, organization_id)
    first = await stub.CreateBoard(request)
    assert await stub.CreateBoard(request) == first
    request.name = "Outro"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CreateBoard(request)
    assert error_info(refused.value).reason == "REQUEST_ID_REUSED"
    assert len(await all_boards(world, organization_id)) == 1


async def test_boards_are_listed_in_the_order_in_which_they_were_made_page_by_page(
    world: World, organization_id: UUID
) -> None:
    made = [await given_board(world, organization_id, f"Quadro {place}") for place in range(5)]
    stub = crm(world, organization_id)
    seen: list[pb.Board] = []
    token = ""
    while True:
        page = await stub.ListBoards(pb.ListBoardsRequest(page_size=2, page_token=token))
        assert len(page.boards) <= 2
        seen += page.boards
        token = page.next_page_token
        if not token:
            break
    assert seen == made


@pytest.mark.parametrize("board", ["", "nenhum", "0195a3b2-7c1d-7e2f-8a4b-5c6d7e8f9a0b"])
async def test_a_board_that_is_not_there_is_not_found(world: World, organization_id: UUID, board: str) -> None:
    await given_board(world, organization_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await crm(world, organization_id).GetBoard(pb.GetBoardRequest(board=board))
    assert error_info(refused.value).reason == "BOARD_NOT_FOUND"


async def test_boards_of_another_organization_are_not_there(world: World, organization_id: UUID) -> None:
    theirs = await given_board(world, uuid4())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await crm(world, organization_id).GetBoard(pb.GetBoardRequest(board=theirs.board_id))
    assert error_info(refused.value).reason == "BOARD_NOT_FOUND"
    assert await all_boards(world, organization_id) == []


async def test_an_agent_looks_at_boards_and_makes_none(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    agent = world.as_user(organization_id, AGENT).stub(CrmServiceStub)
    assert await agent.GetBoard(pb.GetBoardRequest(board=board.key)) == board
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await agent.CreateBoard(pb.CreateBoardRequest(name="Outro"))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
