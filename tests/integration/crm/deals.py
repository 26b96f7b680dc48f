"""What the tests of deals share: short ways to say what is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

from chassis.errors import from_status
from prosa.crm.v1 import crm_service_pb2 as pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from tests.integration.identity.cast import given_contact
from tests.world import World

if TYPE_CHECKING:
    from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceAsyncStub


def crm(world: World, organization_id: UUID) -> CrmServiceAsyncStub:
    """CRM as an owner of the organization calls it."""
    return world.as_user(organization_id).stub(CrmServiceStub)


def wanted(
    organization_id: UUID, contact_id: UUID, board_id: str = "", title: str = "Ana Lima", cause_id: str = ""
) -> pb.DealWanted:
    """One item of a batch."""
    return pb.DealWanted(
        organization_id=str(organization_id),
        contact_id=str(contact_id),
        board_id=board_id,
        title=title,
        cause_id=cause_id,
    )


async def ensure(world: World, *items: pb.DealWanted) -> Sequence[pb.EnsureDealResult]:
    """The answers to one batch, as ingest asks for it."""
    stub = world.as_service("ingest").stub(CrmServiceStub)
    answer = await stub.BatchEnsureDeals(pb.BatchEnsureDealsRequest(deals=items))
    return answer.results


async def ensure_one(world: World, organization_id: UUID, contact_id: UUID, board_id: str = "") -> pb.EnsuredDeal:
    """The ensured deal of one contact."""
    (result,) = await ensure(world, wanted(organization_id, contact_id, board_id))
    assert result.WhichOneof("result") == "deal", result
    return result.deal


async def given_board(world: World, organization_id: UUID, name: str = "Vendas") -> pb.Board:
    """A board whose path ends in won and lost."""
    stages = [
        pb.StageInput(label="Novo"),
        pb.StageInput(label="Proposta"),
        pb.StageInput(label="Ganho", deal_state=pb.DEAL_STATE_WON),
        pb.StageInput(label="Perdido", deal_state=pb.DEAL_STATE_LOST),
    ]
    return await crm(world, organization_id).CreateBoard(pb.CreateBoardRequest(name=name, stages=stages))


async def given_deal(
    world: World, organization_id: UUID, contact_id: UUID, board: str = "", stage_id: str = "", title: str = "A mão"
) -> pb.Deal:
    """A deal made by hand, for a contact that is there."""
    await given_contact(world, organization_id, contact_id)
    request = pb.CreateDealRequest(title=title, contact_id=str(contact_id), board=board, stage_id=stage_id)
    return await crm(world, organization_id).CreateDeal(request)


async def close_deal(world: World, organization_id: UUID, deal_id: str, state: str = "WON") -> None:
    """Closes a deal as moving it to a closing stage will."""
    async with world.database("crm").transaction(organization_id) as tx:
        closed = await tx.execute(
            "update crm.deals set state = %(state)s, version = version + 1 where id = %(id)s",
            {"state": state, "id": deal_id},
        )
        assert closed.rowcount == 1


def reason_of(result: pb.EnsureDealResult) -> str:
    """Why an item was refused."""
    assert result.WhichOneof("result") == "error", result
    return from_status(result.error).reason


def new_ids(count: int) -> list[UUID]:
    """Contacts that nobody has met."""
    return [uuid4() for _ in range(count)]
