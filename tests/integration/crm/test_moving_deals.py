"""Moving, closing and reopening deals: what a call expects to find, who was faster, and what is said once."""

from __future__ import annotations

from uuid import UUID, uuid4

import grpc
import pytest

from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1.events_pb2 import DealMoved, DealUpdated
from prosa.v1 import options_pb2
from tests.integration.crm.deals import crm, ensure_one, given_board, given_deal
from tests.integration.identity.cast import given_contact
from tests.world import World, error_info

TARGETS = ("identity", "crm")


def reason(refused: pytest.ExceptionInfo[grpc.aio.AioRpcError]) -> str:
    """Why a call was refused."""
    return error_info(refused.value).reason


async def test_moving_to_a_stage_that_closes_closes_and_reopening_goes_back(
    world: World, organization_id: UUID
) -> None:
    board = await given_board(world, organization_id)
    deal = await given_deal(world, organization_id, uuid4(), board=board.key)
    stub = crm(world, organization_id)
    await stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage="proposta"))
    lost = await stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage="Perdido", loss_reason="preço"))
    assert (lost.state, lost.loss_reason, lost.stage_label) == (pb.DEAL_STATE_LOST, "preço", "Perdido")
    assert lost.close_time == lost.stage_change_time
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage="Novo"))
    assert reason(refused) == "DEAL_CLOSED"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ReopenDeal(pb.ReopenDealRequest(deal_id=deal.deal_id, stage="Ganho"))
    assert reason(refused) == "STAGE_CLOSES"
    opened = await stub.ReopenDeal(pb.ReopenDealRequest(deal_id=deal.deal_id))
    assert (opened.state, opened.stage_label, opened.loss_reason) == (pb.DEAL_STATE_OPEN, "Proposta", "")
    assert not opened.HasField("close_time")
    assert await stub.ReopenDeal(pb.ReopenDealRequest(deal_id=deal.deal_id)) == opened
    moves = (await stub.ListStageMoves(pb.ListStageMovesRequest(deal_id=deal.deal_id))).stage_moves
    assert [(move.from_stage_label, move.to_stage_label) for move in reversed(moves)] == [
        ("Novo", "Proposta"),
        ("Proposta", "Perdido"),
        ("Perdido", "Proposta"),
    ]
    facts = await world.announced(DealMoved, organization_id)
    assert [fact.version for fact in facts] == [2, 3, 4]
    assert facts[-1].deal == opened


async def test_a_board_without_a_lost_stage_closes_the_deal_where_it_is(world: World, organization_id: UUID) -> None:
    contact_id = await given_contact(world, organization_id, uuid4())
    ensured = await ensure_one(world, organization_id, contact_id)
    stub = crm(world, organization_id)
    request = pb.CloseDealRequest(deal_id=ensured.deal_id, state=pb.DEAL_STATE_LOST, loss_reason="sumiu")
    closed = await stub.CloseDeal(request)
    assert (closed.state, closed.stage_id) == (pb.DEAL_STATE_LOST, ensured.stage_id)
    assert await stub.CloseDeal(request) == closed
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CloseDeal(pb.CloseDealRequest(deal_id=ensured.deal_id, state=pb.DEAL_STATE_WON))
    assert reason(refused) == "DEAL_CLOSED"
    # Whoever writes again begins anew.
    again = await ensure_one(world, organization_id, contact_id)
    assert again.deal_id != ensured.deal_id


async def test_who_believes_the_deal_elsewhere_is_told_who_moved_it(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    deal = await given_deal(world, organization_id, uuid4(), board=board.key)
    stub = crm(world, organization_id)
    await stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage="Proposta", from_stage_id=deal.stage_id))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage="Ganho", from_stage_id=deal.stage_id))
    info = error_info(refused.value)
    assert (info.reason, info.metadata["stage_label"]) == ("DEAL_MOVED_MEANWHILE", "Proposta")
    assert info.metadata["moved_by"].startswith("user:")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage="Ganho", etag=deal.etag))
    assert reason(refused) == "ETAG_STALE"


async def test_two_who_move_one_card_at_once_move_it_once(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    deal = await given_deal(world, organization_id, uuid4(), board=board.key)
    stub = crm(world, organization_id)
    database = world.database("crm")
    async with database.transaction(organization_id) as tx:
        # Both wait here; whoever comes second finds the deal elsewhere.
        await tx.execute(
            "select 1 from crm.deals where organization_id = %(organization_id)s and id = %(id)s for update",
            {"organization_id": organization_id, "id": UUID(deal.deal_id)},
        )
        calls = [
            stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage=stage, from_stage_id=deal.stage_id))
            for stage in ("Proposta", "Ganho")
        ]
        await world.until_waiting_on_locks(2)
    answers = []
    for call in calls:
        try:
            answers.append((await call).stage_label)
        except grpc.aio.AioRpcError as error:
            answers.append(error_info(error).reason)
    assert "DEAL_MOVED_MEANWHILE" in answers
    assert len(await world.announced(DealMoved, organization_id)) == 1


async def test_the_stage_it_is_in_takes_what_is_said_and_moves_nothing(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    deal = await given_deal(world, organization_id, uuid4(), board=board.key)
    stub = crm(world, organization_id)
    same = await stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage="Novo"))
    assert same == deal
    told = await stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage="Novo", ai_summary="Quer dois."))
    assert (told.ai_summary, told.stage_change_time) == ("Quer dois.", deal.stage_change_time)
    [fact] = await world.announced(DealUpdated, organization_id)
    assert list(fact.changed_fields) == ["ai_summary"]
    assert not (await stub.ListStageMoves(pb.ListStageMovesRequest(deal_id=deal.deal_id))).stage_moves
    await stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage="Novo", note="liguei"))
    [kept] = (await stub.ListStageMoves(pb.ListStageMovesRequest(deal_id=deal.deal_id))).stage_moves
    assert (kept.note, kept.from_stage_id) == ("liguei", kept.to_stage_id)


async def test_the_same_request_again_is_answered_and_not_done_again(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    deal = await given_deal(world, organization_id, uuid4(), board=board.key)
    stub = crm(world, organization_id)
    request = pb.MoveDealRequest(deal_id=deal.deal_id, stage="Proposta", request_id=str(uuid4()))
    first = await stub.MoveDeal(request)
    await stub.MoveDeal(pb.MoveDealRequest(deal_id=deal.deal_id, stage="Novo"))
    assert await stub.MoveDeal(request) == first
    assert (await stub.GetDeal(pb.GetDealRequest(deal_id=deal.deal_id))).stage_label == "Novo"


async def test_of_two_open_deals_of_a_contact_the_one_named_moves(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    contact_id = uuid4()
    one = await given_deal(world, organization_id, contact_id, board=board.key)
    stub = crm(world, organization_id)
    other = await stub.CreateDeal(pb.CreateDealRequest(title="B", contact_id=str(contact_id), board=board.key))
    await stub.MoveDeal(pb.MoveDealRequest(deal_id=other.deal_id, stage="Proposta"))
    stages = {deal.deal_id: deal.stage_label for deal in (await stub.ListDeals(pb.ListDealsRequest())).deals}
    assert stages == {one.deal_id: "Novo", other.deal_id: "Proposta"}


async def test_a_column_shows_those_longest_in_their_stage_first_page_by_page(
    world: World, organization_id: UUID
) -> None:
    board = await given_board(world, organization_id)
    deals = [await given_deal(world, organization_id, uuid4(), board=board.key, title=str(n)) for n in range(4)]
    stub = crm(world, organization_id)
    for stage in ("Proposta", "Novo"):
        await stub.MoveDeal(pb.MoveDealRequest(deal_id=deals[0].deal_id, stage=stage))
    request = pb.ListDealsRequest(
        board_id=board.board_id,
        stage_id=board.stages[0].stage_id,
        order=pb.DEAL_ORDER_STAGE_CHANGE_TIME,
        page_size=2,
    )
    first = await stub.ListDeals(request)
    request.page_token = first.next_page_token
    second = await stub.ListDeals(request)
    assert [deal.title for deal in [*first.deals, *second.deals]] == ["1", "2", "3", "0"]
    assert not second.next_page_token


async def test_totals_count_every_stage_and_add_up_each_currency(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    stub = crm(world, organization_id)
    contact_id = await given_contact(world, organization_id, uuid4())
    for minor_units, currency in ((100, "BRL"), (250, "BRL"), (7, "USD"), (0, "")):
        value = options_pb2.Money(minor_units=minor_units, currency=currency) if currency else None
        await stub.CreateDeal(pb.CreateDealRequest(title="x", contact_id=str(contact_id), board=board.key, value=value))
    totals = await stub.GetBoardTotals(pb.GetBoardTotalsRequest(board=board.key))
    assert [(stage.stage_id, stage.deal_count) for stage in totals.stages] == [
        (stage.stage_id, 4 if stage.label == "Novo" else 0) for stage in board.stages
    ]
    assert [(value.minor_units, value.currency) for value in totals.stages[0].values] == [(350, "BRL"), (7, "USD")]


async def test_aliases_are_kept_and_no_two_stages_answer_to_one(world: World, organization_id: UUID) -> None:
    stub = crm(world, organization_id)
    stages = [pb.StageInput(label="Orçamento", aliases=["Cotação"]), pb.StageInput(label="Fim")]
    board = await stub.CreateBoard(pb.CreateBoardRequest(name="Oficina", stages=stages))
    assert (await stub.GetBoard(pb.GetBoardRequest(board=board.key))).stages[0].aliases == ["Cotação"]
    stages[1].aliases.append("orcamento")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CreateBoard(pb.CreateBoardRequest(name="Outra", stages=stages))
    assert reason(refused) == "STAGE_LABEL_TAKEN"
