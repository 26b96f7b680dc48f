"""Deals opened by hand, and deals listed."""

from __future__ import annotations

from uuid import UUID, uuid4

import grpc
import pytest

from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1.events_pb2 import DealCreated
from prosa.v1 import options_pb2
from tests.integration.crm.deals import crm, given_board, given_deal
from tests.integration.identity.cast import given_contact
from tests.world import World, error_info

TARGETS = ("identity", "crm")


async def test_a_deal_by_hand_is_kept_as_given_and_announced(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    stub = crm(world, organization_id)
    contact_id = await given_contact(world, organization_id, uuid4())
    value = options_pb2.Money(minor_units=125_000, currency="BRL")
    deal = await stub.CreateDeal(
        pb.CreateDealRequest(
            title="Pacote de verão",
            contact_id=str(contact_id),
            board=board.key,
            stage_id=board.stages[1].stage_id,
            value=value,
        )
    )
    assert (deal.contact_id, deal.board_id, deal.stage_id) == (
        str(contact_id),
        board.board_id,
        board.stages[1].stage_id,
    )
    assert (deal.title, deal.value, deal.state) == ("Pacote de verão", value, pb.DEAL_STATE_OPEN)
    assert deal.create_time == deal.update_time
    assert deal.etag
    assert await stub.GetDeal(pb.GetDealRequest(deal_id=deal.deal_id)) == deal
    assert await world.announced(DealCreated, organization_id) == [
        DealCreated(organization_id=str(organization_id), deal=deal, version=1)
    ]


@pytest.mark.case("S13")
async def test_a_contact_of_another_organization_gets_no_deal(world: World, organization_id: UUID) -> None:
    await given_board(world, organization_id)
    stub, theirs = crm(world, organization_id), await given_contact(world, uuid4(), uuid4())
    for stranger in (theirs, uuid4()):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.CreateDeal(pb.CreateDealRequest(title="x", contact_id=str(stranger)))
        assert error_info(refused.value).reason == "CONTACT_NOT_FOUND"
    assert not (await stub.ListDeals(pb.ListDealsRequest())).deals


async def test_a_deal_without_board_and_stage_begins_where_ensured_ones_do(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    deal = await given_deal(world, organization_id, uuid4())
    assert (deal.board_id, deal.stage_id) == (board.board_id, board.stages[0].stage_id)
    assert not deal.HasField("value")


async def test_a_deal_made_in_a_closing_stage_is_closed(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    deal = await given_deal(world, organization_id, uuid4(), board.key, board.stages[2].stage_id)
    assert deal.state == pb.DEAL_STATE_WON


async def test_a_retry_makes_no_second_deal(world: World, organization_id: UUID) -> None:
    await given_board(world, organization_id)
    contact_id = await given_contact(world, organization_id, uuid4())
    request = pb.CreateDealRequest(title="Um", contact_id=str(contact_id), request_id=str(uuid4()))
    stub = crm(world, organization_id)
    assert await stub.CreateDeal(request) == await stub.CreateDeal(request)
    assert len((await stub.ListDeals(pb.ListDealsRequest())).deals) == 1


async def test_what_a_deal_refers_to_must_be_there(world: World, organization_id: UUID) -> None:
    board, other = await given_board(world, organization_id), await given_board(world, organization_id, "Outro")
    theirs = await given_board(world, uuid4())
    contact_id = str(await given_contact(world, organization_id, uuid4()))
    refusals = [
        (pb.CreateDealRequest(title="x", contact_id=contact_id, board="nenhum"), "BOARD_NOT_FOUND"),
        (pb.CreateDealRequest(title="x", contact_id=contact_id, board=theirs.board_id), "BOARD_NOT_FOUND"),
        (
            pb.CreateDealRequest(title="x", contact_id=contact_id, board=board.key, stage_id=other.stages[0].stage_id),
            "STAGE_NOT_FOUND",
        ),
        (pb.CreateDealRequest(title="x", contact_id=contact_id, stage_id="42"), "ID_INVALID"),
        (
            pb.CreateDealRequest(title="x", contact_id=contact_id, value=options_pb2.Money(minor_units=1)),
            "CURRENCY_INVALID",
        ),
        (
            pb.CreateDealRequest(
                title="x", contact_id=contact_id, value=options_pb2.Money(minor_units=-1, currency="BRL")
            ),
            "VALUE_INVALID",
        ),
    ]
    for request, reason in refusals:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await crm(world, organization_id).CreateDeal(request)
        assert error_info(refused.value).reason == reason
    assert await world.announced(DealCreated, organization_id) == []


async def test_a_deal_of_another_organization_is_not_there(world: World, organization_id: UUID) -> None:
    await given_board(world, organization_id)
    deal = await given_deal(world, organization_id, uuid4())
    other = crm(world, uuid4())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await other.GetDeal(pb.GetDealRequest(deal_id=deal.deal_id))
    assert (refused.value.code(), error_info(refused.value).reason) == (
        grpc.StatusCode.NOT_FOUND,
        "DEAL_NOT_FOUND",
    )
    assert not (await other.ListDeals(pb.ListDealsRequest(contact_id=deal.contact_id))).deals


async def test_deals_are_listed_newest_first_by_what_is_asked_for(world: World, organization_id: UUID) -> None:
    board, other = await given_board(world, organization_id), await given_board(world, organization_id, "Outro")
    ana, rui = uuid4(), uuid4()
    novo, proposta, ganho, _ = (stage.stage_id for stage in board.stages)
    deals = [
        await given_deal(world, organization_id, ana, board.key, novo),
        await given_deal(world, organization_id, rui, board.key, proposta),
        await given_deal(world, organization_id, ana, board.key, ganho),
        await given_deal(world, organization_id, ana, other.key),
    ]
    expectations = [
        (pb.ListDealsRequest(), [3, 2, 1, 0]),
        (pb.ListDealsRequest(contact_id=str(ana)), [3, 2, 0]),
        (pb.ListDealsRequest(board_id=board.board_id), [2, 1, 0]),
        (pb.ListDealsRequest(stage_id=proposta), [1]),
        (pb.ListDealsRequest(state=pb.DEAL_STATE_WON), [2]),
        (pb.ListDealsRequest(state=pb.DEAL_STATE_OPEN, contact_id=str(ana), board_id=board.board_id), [0]),
        (pb.ListDealsRequest(state=pb.DEAL_STATE_LOST), []),
    ]
    for request, places in expectations:
        answer = await crm(world, organization_id).ListDeals(request)
        assert list(answer.deals) == [deals[place] for place in places], request


async def test_a_page_token_is_good_for_its_own_filter_only(world: World, organization_id: UUID) -> None:
    await given_board(world, organization_id)
    contact_id = uuid4()
    deals = [await given_deal(world, organization_id, contact_id) for _ in range(3)]
    stub = crm(world, organization_id)
    first = await stub.ListDeals(pb.ListDealsRequest(page_size=2))
    assert list(first.deals) == [deals[2], deals[1]]
    rest = await stub.ListDeals(pb.ListDealsRequest(page_size=2, page_token=first.next_page_token))
    assert (list(rest.deals), rest.next_page_token) == ([deals[0]], "")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ListDeals(pb.ListDealsRequest(contact_id=str(contact_id), page_token=first.next_page_token))
    assert error_info(refused.value).reason == "PAGE_TOKEN_INVALID"
