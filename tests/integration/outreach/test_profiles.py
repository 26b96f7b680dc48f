"""Where an organization is at home is known beside what needs it: asked once, and then followed by event."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from uuid import UUID, uuid4

import grpc.aio
import pytest

from chassis.profiles import REMEMBER_SECONDS, Profile, Profiles
from chassis.subscriptions import ConsumedEvent
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.identity.v1.events_pb2 import OrganizationUpdated
from prosa.outreach.v1 import outreach_service_pb2 as pb
from prosa.outreach.v1.outreach_service_pb2_grpc import OutreachServiceStub
from prosa.v1 import options_pb2
from tests.integration.identity.cast import given_organization
from tests.world import World, error_info

TARGETS = ("identity", "outreach")


class Identity:
    """Answers what it is asked; an event may come in before the answer does."""

    def __init__(self, region: str, version: int) -> None:
        self.region, self.version, self.asked = region, version, 0
        self.answering = asyncio.Event()
        self.answering.set()
        self.called = asyncio.Event()

    async def ask(self, organization_id: UUID) -> access_pb.Organization:
        self.asked += 1
        answer = access_pb.Organization(
            organization_id=str(organization_id), region=self.region, etag=str(self.version), locale="pt-BR"
        )
        self.called.set()
        await self.answering.wait()
        return answer


def updated(organization_id: UUID, region: str, version: int) -> ConsumedEvent[OrganizationUpdated]:
    fact = OrganizationUpdated(
        organization_id=str(organization_id),
        organization=access_pb.Organization(region=region, etag=str(version)),
        version=version,
    )
    return ConsumedEvent(fact, uuid4(), organization_id, fact.organization.create_time.ToDatetime(), "")


async def consume(world: World, profiles: Profiles, *events: ConsumedEvent[OrganizationUpdated]) -> None:
    async with world.database("outreach").transaction(*{event.organization_id for event in events}) as tx:
        await profiles.on_updated(tx, events)


async def test_a_profile_is_asked_once_and_then_kept_and_followed_by_event(world: World, organization_id: UUID) -> None:
    identity, now = Identity("BR", 3), [0.0]
    profiles = Profiles(world.database("outreach"), "outreach", identity.ask, lambda: now[0])
    assert (await profiles.of(organization_id)).region == "BR"
    # Another process has nothing in memory, and the table has it.
    other = Profiles(world.database("outreach"), "outreach", identity.ask, lambda: now[0])
    assert (await other.of(organization_id)).region == "BR"
    assert identity.asked == 1
    await consume(world, profiles, updated(organization_id, "PT", 5), updated(organization_id, "AR", 4))
    # Who consumed it knows at once, the others a little later.
    assert (await profiles.of(organization_id)).region == "PT"
    assert (await other.of(organization_id)).region == "BR"
    now[0] += REMEMBER_SECONDS
    assert (await other.of(organization_id)).region == "PT"
    # What was announced before comes again after its stream was lost.
    await consume(world, profiles, updated(organization_id, "AR", 4))
    assert (await profiles.of(organization_id)).version == 5
    assert identity.asked == 1


async def test_an_event_that_comes_while_identity_is_asked_is_not_overwritten(
    world: World, organization_id: UUID
) -> None:
    identity = Identity("BR", 1)
    identity.answering.clear()
    profiles = Profiles(world.database("outreach"), "outreach", identity.ask)
    asking: asyncio.Task[Profile] = asyncio.create_task(profiles.of(organization_id))
    await identity.called.wait()
    await consume(world, profiles, updated(organization_id, "PT", 2))
    identity.answering.set()
    assert (await asking).region == "PT"
    assert (await profiles.of(organization_id)).region == "PT"


async def regions_kept(world: World, organization_id: UUID) -> Sequence[str]:
    rows = await world.rows(
        "select region from outreach.organization_profiles where organization_id = %s", organization_id
    )
    return [row["region"] for row in rows]


async def test_a_number_is_read_at_home_and_the_home_may_change(world: World, organization_id: UUID) -> None:
    shop = await given_organization(world, "BR")
    stub = world.as_user(shop).stub(OutreachServiceStub)

    def suppression(number: str) -> pb.CreateSuppressionRequest:
        return pb.CreateSuppressionRequest(
            source=options_pb2.SOURCE_WHATSAPP, external_id=number, reason="asked", request_id=str(uuid4())
        )

    assert (await stub.CreateSuppression(suppression("(11) 98888-7777"))).external_id == "+5511988887777"
    assert await regions_kept(world, shop) == ["BR"]
    access = world.as_user(shop).stub(AccessServiceStub)
    await access.UpdateOrganization(access_pb.UpdateOrganizationRequest(region="PT"))
    await world.until("select 1 from outreach.organization_profiles where organization_id = %s and region = 'PT'", shop)
    assert (await stub.CreateSuppression(suppression("912 345 678"))).external_id == "+351912345678"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await world.as_user(organization_id).stub(OutreachServiceStub).CreateSuppression(suppression("912 345 678"))
    # Nobody made this organization.
    assert error_info(refused.value).reason == "ORGANIZATION_NOT_FOUND"
