"""BatchEnsureDeals: the deal of a contact on a board is there, once, whatever happens at the same moment."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest

from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.crm.v1.events_pb2 import BoardCreated, DealCreated
from tests.integration.crm.deals import (
    close_deal,
    crm,
    ensure,
    ensure_one,
    given_board,
    given_deal,
    new_ids,
    reason_of,
    wanted,
)
from tests.world import World, error_info

TARGETS = ("identity", "crm")

PARALLEL = 50
# The pool lets so many of the calls in at once; the others wait for a connection behind them.
WAITING = 8


async def deals_of(world: World, organization_id: UUID) -> list[dict[str, Any]]:
    return await world.rows("select * from crm.deals where organization_id = %s order by id", organization_id)


async def test_a_first_message_opens_a_deal_in_the_first_stage_of_the_default_board(
    world: World, organization_id: UUID
) -> None:
    board = await given_board(world, organization_id)
    contact_id = uuid4()
    (result,) = await ensure(world, wanted(organization_id, contact_id, title=" Ana\x00Lima ", cause_id="event-1"))
    assert result.deal.created
    assert result.deal.board_id == board.board_id
    assert (result.deal.stage_id, result.deal.stage_label) == (board.stages[0].stage_id, "Novo")
    deal = await crm(world, organization_id).GetDeal(pb.GetDealRequest(deal_id=result.deal.deal_id))
    assert (deal.contact_id, deal.title, deal.state) == (str(contact_id), "Ana Lima", pb.DEAL_STATE_OPEN)
    assert await world.announced(DealCreated, organization_id) == [
        DealCreated(organization_id=str(organization_id), deal=deal, version=1)
    ]
    (row,) = await world.rows(
        "select correlation_id from crm.outbox where organization_id = %s and type = %s",
        organization_id,
        DealCreated.DESCRIPTOR.full_name,
    )
    assert row["correlation_id"] == "event-1"


@pytest.mark.req("CR-01")
async def test_asking_again_answers_the_same_deal_and_announces_nothing(world: World, organization_id: UUID) -> None:
    await given_board(world, organization_id)
    contact_id = uuid4()
    first = await ensure_one(world, organization_id, contact_id)
    again = await ensure_one(world, organization_id, contact_id)
    assert first.created
    assert not again.created
    first.created = False
    assert again == first
    assert len(await world.announced(DealCreated, organization_id)) == 1


async def test_an_id_in_capitals_is_the_same_id(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    item = wanted(organization_id, uuid4(), board.board_id)
    loud = pb.DealWanted(
        organization_id=item.organization_id.upper(),
        contact_id=item.contact_id.upper(),
        board_id=item.board_id.upper(),
        title=item.title,
    )
    first, second, default = await ensure(world, loud, item, wanted(organization_id, UUID(item.contact_id)))
    assert [first.deal.created, second.deal.created, default.deal.created] == [True, False, False]
    assert first.deal.deal_id == second.deal.deal_id == default.deal.deal_id
    assert first.deal.board_id == board.board_id
    assert len(await deals_of(world, organization_id)) == 1


async def test_a_contact_without_a_name_gets_a_deal_that_can_be_read(world: World, organization_id: UUID) -> None:
    await ensure(world, wanted(organization_id, uuid4(), title=" "))
    (deal,) = await deals_of(world, organization_id)
    assert deal["title"] == "Novo contato"


@pytest.mark.req("CR-01")
async def test_fifty_parallel_first_messages_make_one_deal(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    contact_id = uuid4()
    async with await world.admin() as blocker:
        # The claim of this key, made and then taken back: everybody waits for it, nobody finds it.
        async with blocker.transaction(force_rollback=True):
            await blocker.execute(
                "insert into crm.ensured_deals values (%s, %s, %s, %s)",
                [organization_id, contact_id, board.board_id, uuid4()],
            )
            calls = [asyncio.create_task(ensure_one(world, organization_id, contact_id)) for _ in range(PARALLEL)]
            await world.until_waiting_on_locks(WAITING)
        answers = await asyncio.gather(*calls)
    (deal,) = await deals_of(world, organization_id)
    assert {answer.deal_id for answer in answers} == {str(deal["id"])}
    assert [answer.created for answer in answers].count(True) == 1
    assert len(await world.announced(DealCreated, organization_id)) == 1


async def test_parallel_calls_that_find_the_deal_closed_open_one_new_deal(world: World, organization_id: UUID) -> None:
    board = await given_board(world, organization_id)
    contact_id = uuid4()
    closed = await ensure_one(world, organization_id, contact_id)
    await close_deal(world, organization_id, closed.deal_id)
    async with await world.admin() as blocker:
        async with blocker.transaction():
            await blocker.execute(
                "select from crm.ensured_deals where organization_id = %s and board_id = %s for update",
                [organization_id, board.board_id],
            )
            calls = [asyncio.create_task(ensure_one(world, organization_id, contact_id)) for _ in range(PARALLEL)]
            await world.until_waiting_on_locks(WAITING)
        answers = await asyncio.gather(*calls)
    assert len(await deals_of(world, organization_id)) == 2
    (deal_id,) = {answer.deal_id for answer in answers}
    assert deal_id != closed.deal_id
    assert [answer.created for answer in answers].count(True) == 1


async def test_an_organization_without_a_board_gets_the_standard_one_once(world: World, organization_id: UUID) -> None:
    contacts = new_ids(PARALLEL)
    async with await world.admin() as blocker:
        async with blocker.transaction():
            await blocker.execute(
                "select pg_advisory_xact_lock(hashtextextended('crm.boards:' || %s::text, 0))", [organization_id]
            )
            calls = [asyncio.create_task(ensure_one(world, organization_id, contact)) for contact in contacts]
            await world.until_waiting_on_locks(WAITING)
        answers = await asyncio.gather(*calls)
    (created,) = await world.announced(BoardCreated, organization_id)
    assert (created.board.key, created.board.name, created.board.default_board) == ("atendimento", "Atendimento", True)
    assert [stage.label for stage in created.board.stages][:2] == ["Nova Interação", "Em Atendimento"]
    assert {(answer.board_id, answer.stage_label) for answer in answers} == {(created.board.board_id, "Nova Interação")}
    assert len({answer.deal_id for answer in answers}) == PARALLEL
    assert await crm(world, organization_id).GetBoard(pb.GetBoardRequest(board="atendimento")) == created.board


@pytest.mark.parametrize("state", ["WON", "LOST"])
async def test_a_closed_deal_is_followed_by_a_new_one(world: World, organization_id: UUID, state: str) -> None:
    await given_board(world, organization_id)
    contact_id = uuid4()
    closed = await ensure_one(world, organization_id, contact_id)
    await close_deal(world, organization_id, closed.deal_id, state)
    opened = await ensure_one(world, organization_id, contact_id)
    assert opened.created
    assert opened.deal_id != closed.deal_id
    again = await ensure_one(world, organization_id, contact_id)
    assert (again.deal_id, again.created) == (opened.deal_id, False)


async def test_the_oldest_deal_that_people_opened_on_the_board_is_adopted(world: World, organization_id: UUID) -> None:
    board, other = await given_board(world, organization_id), await given_board(world, organization_id, "Outro")
    contact_id = uuid4()
    await given_deal(world, organization_id, contact_id, other.key)
    await given_deal(world, organization_id, contact_id, board.key, board.stages[2].stage_id, "ganho")
    oldest = await given_deal(world, organization_id, contact_id, board.key, board.stages[1].stage_id)
    await given_deal(world, organization_id, contact_id, board.key)
    adopted = await ensure_one(world, organization_id, contact_id)
    assert (adopted.deal_id, adopted.stage_label, adopted.created) == (oldest.deal_id, "Proposta", False)
    assert len(await deals_of(world, organization_id)) == 4


async def test_a_deal_that_was_ensured_stays_the_answer_beside_those_opened_by_hand(
    world: World, organization_id: UUID
) -> None:
    board = await given_board(world, organization_id)
    contact_id = uuid4()
    ensured = await ensure_one(world, organization_id, contact_id)
    by_hand = await given_deal(world, organization_id, contact_id, board.key)
    assert (await ensure_one(world, organization_id, contact_id)).deal_id == ensured.deal_id
    await close_deal(world, organization_id, ensured.deal_id)
    followed = await ensure_one(world, organization_id, contact_id)
    assert (followed.deal_id, followed.created) == (by_hand.deal_id, False)
    await close_deal(world, organization_id, by_hand.deal_id)
    assert (await ensure_one(world, organization_id, contact_id)).created


async def test_a_deal_in_a_stage_that_came_to_be_meanwhile_is_answered_with_its_label(
    world: World, organization_id: UUID
) -> None:
    board = await given_board(world, organization_id)
    contact_id, stage_id = uuid4(), uuid4()
    async with await world.admin() as blocker:
        async with blocker.transaction(force_rollback=True):
            await blocker.execute(
                "insert into crm.ensured_deals values (%s, %s, %s, %s)",
                [organization_id, contact_id, board.board_id, uuid4()],
            )
            call = asyncio.create_task(ensure_one(world, organization_id, contact_id))
            await world.until_waiting_on_locks(1)
            async with world.database("crm").transaction(organization_id) as tx:
                await tx.execute(
                    "insert into crm.stages (organization_id, id, board_id, label, position, color, deal_state)"
                    " values (%(organization)s, %(id)s, %(board)s, 'Tardia', 9, '#000000', 'OPEN')",
                    {"organization": organization_id, "id": stage_id, "board": board.board_id},
                )
            by_hand = await given_deal(world, organization_id, contact_id, board.key, str(stage_id))
        answer = await call
    assert (answer.deal_id, answer.stage_label) == (by_hand.deal_id, "Tardia")


async def test_each_board_has_a_deal_of_its_own(world: World, organization_id: UUID) -> None:
    first, second = await given_board(world, organization_id), await given_board(world, organization_id, "Outro")
    contact_id = uuid4()
    results = await ensure(
        world,
        wanted(organization_id, contact_id, first.board_id),
        wanted(organization_id, contact_id, second.board_id),
    )
    assert [result.deal.board_id for result in results] == [first.board_id, second.board_id]
    assert len({result.deal.deal_id for result in results}) == 2


async def test_a_contact_that_comes_several_times_in_a_batch_has_one_deal_made_once(
    world: World, organization_id: UUID
) -> None:
    board = await given_board(world, organization_id)
    contact_id = uuid4()
    results = await ensure(
        world,
        wanted(organization_id, contact_id, title="Primeiro"),
        wanted(organization_id, uuid4()),
        wanted(organization_id, contact_id, board.board_id, title="Segundo"),
        wanted(organization_id, contact_id, title="Terceiro"),
    )
    same = [results[place].deal for place in (0, 2, 3)]
    assert len({deal.deal_id for deal in same}) == 1
    assert [deal.created for deal in same] == [True, False, False]
    assert [row["title"] for row in await deals_of(world, organization_id)] == ["Primeiro", "Ana Lima"]


async def test_a_board_of_another_organization_is_refused_and_the_rest_of_the_batch_is_done(
    world: World, organization_id: UUID
) -> None:
    mine, other_organization_id = await given_board(world, organization_id), uuid4()
    theirs = await given_board(world, other_organization_id)
    contact_id = uuid4()
    results = await ensure(
        world,
        wanted(organization_id, contact_id, theirs.board_id),
        wanted(organization_id, contact_id, mine.board_id),
        wanted(other_organization_id, contact_id, theirs.board_id),
        wanted(organization_id, contact_id, str(uuid4())),
        wanted(organization_id, contact_id, "atendimento"),
    )
    assert reason_of(results[0]) == "BOARD_NOT_FOUND"
    assert results[0].error.code == grpc.StatusCode.NOT_FOUND.value[0]
    assert (results[1].deal.created, results[2].deal.created) == (True, True)
    assert reason_of(results[3]) == "BOARD_NOT_FOUND"
    assert reason_of(results[4]) == "ID_INVALID"
    assert [deal["board_id"] for deal in await deals_of(world, organization_id)] == [UUID(mine.board_id)]
    assert [deal["board_id"] for deal in await deals_of(world, other_organization_id)] == [UUID(theirs.board_id)]


async def test_a_batch_of_a_hundred_over_ten_organizations_keeps_its_order(world: World) -> None:
    organizations = new_ids(10)
    items = [wanted(organizations[place % 10], contact_id) for place, contact_id in enumerate(new_ids(100))]
    results = await ensure(world, *items)
    assert all(result.deal.created for result in results)
    stored = await world.rows(
        "select id, organization_id, contact_id from crm.deals where organization_id = any(%s)", organizations
    )
    by_id = {str(row["id"]): (str(row["organization_id"]), str(row["contact_id"])) for row in stored}
    expected = [(item.organization_id, item.contact_id) for item in items]
    assert [by_id[result.deal.deal_id] for result in results] == expected


async def test_batches_that_name_the_same_contacts_in_opposite_order_wait_in_one_order(
    world: World, organization_id: UUID
) -> None:
    board, contacts = await given_board(world, organization_id), sorted(new_ids(100))
    async with await world.admin() as blocker:
        async with blocker.transaction(force_rollback=True):
            await blocker.execute(
                "insert into crm.ensured_deals values (%s, %s, %s, %s)",
                [organization_id, contacts[50], board.board_id, uuid4()],
            )

            def batch(order: Sequence[UUID]) -> asyncio.Task[Sequence[pb.EnsureDealResult]]:
                return asyncio.create_task(ensure(world, *(wanted(organization_id, contact) for contact in order)))

            forward, backward = batch(contacts), batch(contacts[::-1])
            await world.until_waiting_on_locks(2)
            # One waits for the key held here, and the other for it at its first key: it holds nothing meanwhile.
            behind = await world.rows(
                "select pid from pg_stat_activity where %s = any(pg_blocking_pids(pid))", blocker.info.backend_pid
            )
            assert len(behind) == 1
        first, second = await asyncio.gather(forward, backward)
    assert [result.deal.deal_id for result in first] == [result.deal.deal_id for result in reversed(second)]
    assert len(await deals_of(world, organization_id)) == 100


async def test_only_ingest_may_ensure_deals(world: World, organization_id: UUID) -> None:
    request = pb.BatchEnsureDealsRequest(deals=[wanted(organization_id, uuid4())])
    for act in (world.as_user(organization_id), world.as_key(organization_id, "*"), world.as_service("conversation")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await act.stub(CrmServiceStub).BatchEnsureDeals(request)
        assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_an_item_without_a_contact_is_refused_before_anything_is_done(
    world: World, organization_id: UUID
) -> None:
    request = pb.BatchEnsureDealsRequest(
        deals=[wanted(organization_id, uuid4()), pb.DealWanted(organization_id=str(organization_id), contact_id="42")]
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await world.as_service("ingest").stub(CrmServiceStub).BatchEnsureDeals(request)
    assert error_info(refused.value).violations[0].field == "deals[1].contact_id"
    assert await deals_of(world, organization_id) == []


async def test_a_deal_that_is_only_looked_for_is_not_made(world: World, organization_id: UUID) -> None:
    known, news, both = new_ids(3)
    made = await ensure_one(world, organization_id, known)

    def only(contact_id: UUID) -> pb.DealWanted:
        item = wanted(organization_id, contact_id)
        item.existing_only = True
        return item

    looked = await ensure(world, only(known), only(news), only(both), wanted(organization_id, both))
    assert [result.deal.deal_id for result in looked[:2]] == [made.deal_id, ""]
    assert looked[2].deal.deal_id == looked[3].deal.deal_id != ""
    rows = await world.rows("select contact_id from crm.deals where organization_id = %s", organization_id)
    assert {row["contact_id"] for row in rows} == {known, both}
