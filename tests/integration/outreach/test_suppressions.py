"""Suppressions: an address that must never be written to again is kept once, in its canonical form."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import grpc
import pytest

from prosa.outreach.v1 import outreach_service_pb2 as pb
from prosa.outreach.v1.events_pb2 import SuppressionCreated
from prosa.outreach.v1.outreach_service_pb2_grpc import OutreachServiceStub
from prosa.v1 import options_pb2
from tests.integration.identity.cast import given_contact, given_organization
from tests.world import VIEWER, World, error_info

if TYPE_CHECKING:
    from prosa.outreach.v1.outreach_service_pb2_grpc import OutreachServiceAsyncStub

TARGETS = ("identity", "outreach")

PARALLEL = 8


def outreach(world: World, organization_id: UUID) -> OutreachServiceAsyncStub:
    """Outreach as an owner of the organization calls it."""
    return world.as_user(organization_id).stub(OutreachServiceStub)


def whatsapp(external_id: str, reason: str = "", contact_id: UUID | None = None) -> pb.CreateSuppressionRequest:
    return pb.CreateSuppressionRequest(
        source=options_pb2.SOURCE_WHATSAPP,
        external_id=external_id,
        contact_id="" if contact_id is None else str(contact_id),
        reason=reason,
    )


@pytest.fixture
async def organization_id(world: World) -> UUID:
    """An organization that no other test knows, in Brazil."""
    return await given_organization(world)


async def test_a_number_without_its_country_is_of_the_organizations_region(world: World) -> None:
    american = await given_organization(world, region="US")
    made = await outreach(world, american).CreateSuppression(whatsapp("(415) 555-2671"))
    assert made.external_id == "+14155552671"


async def test_an_address_is_kept_in_its_canonical_form_and_announced(world: World, organization_id: UUID) -> None:
    stub = outreach(world, organization_id)
    made = await stub.CreateSuppression(whatsapp("(11) 90000-0001", " PARE\x00 "))
    assert (made.source, made.external_id) == (options_pb2.SOURCE_WHATSAPP, "+5511900000001")
    assert made.reason == "PARE"
    assert await stub.GetSuppression(pb.GetSuppressionRequest(suppression_id=made.suppression_id)) == made
    assert await world.announced(SuppressionCreated, organization_id) == [
        SuppressionCreated(organization_id=str(organization_id), suppression=made)
    ]


async def test_suppressing_again_in_another_writing_answers_the_first(world: World, organization_id: UUID) -> None:
    stub = outreach(world, organization_id)
    first = await stub.CreateSuppression(whatsapp("+5511900000001", "primeiro"))
    again = await stub.CreateSuppression(whatsapp("551190000-0001", "segundo"))
    assert again == first
    assert len(await world.announced(SuppressionCreated, organization_id)) == 1


async def test_parallel_suppressions_of_one_address_make_one(world: World, organization_id: UUID) -> None:
    async with await world.admin() as blocker:
        async with blocker.transaction(force_rollback=True):
            await blocker.execute(
                "insert into outreach.suppressions values (%s, %s, 'WHATSAPP', '+5511900000001', null, '', %s)",
                [organization_id, uuid4(), world.clock.now()],
            )
            calls = [
                asyncio.ensure_future(outreach(world, organization_id).CreateSuppression(whatsapp("+5511900000001")))
                for _ in range(PARALLEL)
            ]
            await world.until_waiting_on_locks(PARALLEL)
        answers = await asyncio.gather(*calls)
    assert len({answer.suppression_id for answer in answers}) == 1
    assert len(await world.announced(SuppressionCreated, organization_id)) == 1


async def test_an_address_is_suppressed_for_its_own_organization_and_source_only(
    world: World, organization_id: UUID
) -> None:
    stub = outreach(world, organization_id)
    whatsapp_one = await stub.CreateSuppression(whatsapp("+5511900000001"))
    instagram_one = await stub.CreateSuppression(
        pb.CreateSuppressionRequest(source=options_pb2.SOURCE_INSTAGRAM, external_id="5511900000001")
    )
    other = outreach(world, uuid4())
    theirs = await other.CreateSuppression(whatsapp("+5511900000001"))
    assert len({item.suppression_id for item in (whatsapp_one, instagram_one, theirs)}) == 3
    assert list((await other.ListSuppressions(pb.ListSuppressionsRequest())).suppressions) == [theirs]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await other.GetSuppression(pb.GetSuppressionRequest(suppression_id=whatsapp_one.suppression_id))
    assert error_info(refused.value).reason == "SUPPRESSION_NOT_FOUND"


@pytest.mark.parametrize("external_id", ["unknown", "Ana", "123"])
async def test_what_names_nobody_is_refused(world: World, organization_id: UUID, external_id: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await outreach(world, organization_id).CreateSuppression(whatsapp(external_id))
    assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert error_info(refused.value).reason == "EXTERNAL_ID_INVALID"


async def test_a_retry_gets_the_first_answer_and_another_body_an_error(world: World, organization_id: UUID) -> None:
    stub, request = outreach(world, organization_id), whatsapp("+5511900000001")
    request.request_id = str(uuid4())
    assert await stub.CreateSuppression(request) == await stub.CreateSuppression(request)
    request.external_id = "+5511900000002"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CreateSuppression(request)
    assert error_info(refused.value).reason == "REQUEST_ID_REUSED"


async def test_suppressions_are_listed_newest_first_by_contact_and_page(world: World, organization_id: UUID) -> None:
    stub = outreach(world, organization_id)
    contacts = [await given_contact(world, organization_id, uuid4()) for _ in range(3)]
    made = [
        await stub.CreateSuppression(whatsapp(f"+551190000000{place}", contact_id=contact_id))
        for place, contact_id in enumerate(contacts, 1)
    ]
    first = await stub.ListSuppressions(pb.ListSuppressionsRequest(page_size=2))
    rest = await stub.ListSuppressions(pb.ListSuppressionsRequest(page_size=2, page_token=first.next_page_token))
    assert [*first.suppressions, *rest.suppressions] == made[::-1]
    assert rest.next_page_token == ""
    one = await stub.ListSuppressions(pb.ListSuppressionsRequest(contact_id=made[1].contact_id))
    assert list(one.suppressions) == [made[1]]


@pytest.mark.case("S13")
async def test_a_contact_of_another_organization_is_not_suppressed(world: World, organization_id: UUID) -> None:
    stub, theirs = outreach(world, organization_id), await given_contact(world, uuid4(), uuid4())
    for stranger in (theirs, uuid4()):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub.CreateSuppression(whatsapp("+5511900000001", contact_id=stranger))
        assert error_info(refused.value).reason == "CONTACT_NOT_FOUND"
    assert not (await stub.ListSuppressions(pb.ListSuppressionsRequest())).suppressions


async def test_a_viewer_looks_and_suppresses_nobody(world: World, organization_id: UUID) -> None:
    viewer = world.as_user(organization_id, VIEWER).stub(OutreachServiceStub)
    assert not (await viewer.ListSuppressions(pb.ListSuppressionsRequest())).suppressions
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await viewer.CreateSuppression(whatsapp("+5511900000001"))
    assert refused.value.code() is grpc.StatusCode.PERMISSION_DENIED
