"""A suppression of any id of a person is seen wherever the person is shown or written to, by whichever id."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from prosa.outreach.v1 import campaign_service_pb2 as campaign_pb
from prosa.outreach.v1 import list_service_pb2 as list_pb
from prosa.outreach.v1.campaign_service_pb2_grpc import CampaignServiceStub
from prosa.outreach.v1.list_service_pb2_grpc import ListServiceStub
from prosa.outreach.v1.send_service_pb2 import SEND_REASON_SUPPRESSED, BatchReserveSendsRequest, SendRequest
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from prosa.v1 import options_pb2
from services.outreach.campaigns import store as campaign_store
from services.outreach.lists import list_store
from services.outreach.lists.domain import Member
from tests.integration.identity.cast import given_organization
from tests.integration.outreach.writing import Writing
from tests.world import World

TARGETS = ("identity", "outreach")
IDS = ["survivor", "loser", "sibling"]


@pytest.mark.parametrize("known", [0, 1, 2], ids=[f"known as {name}" for name in IDS])
@pytest.mark.parametrize("kept", [0, 1, 2], ids=[f"suppressed as {name}" for name in IDS])
async def test_a_suppression_of_any_id_is_seen_by_every_other(world: World, kept: int, known: int) -> None:
    organization_id = await given_organization(world)
    writing = Writing(world, organization_id)
    person, stranger = [uuid4(), uuid4(), uuid4()], uuid4()
    await writing.merged(*person)
    # At an address that is in no list: only the contact tells whose it is.
    await writing.suppress("+5511900000001", person[kept])
    members = [(person[known], "+5511900004821"), (stranger, "+5511900004822")]
    now, ids = world.clock.now(), world.host.ids

    owner = world.as_user(organization_id)
    lists, campaigns = owner.stub(ListServiceStub), owner.stub(CampaignServiceStub)
    list_id = (await lists.CreateContactList(list_pb.CreateContactListRequest(name="Todos"))).contact_list_id
    async with writing.db.transaction(organization_id) as tx:
        added = [Member(ids.new(), contact_id, "WHATSAPP", phone, "Ana", now) for contact_id, phone in members]
        await list_store.add_members(tx, organization_id, UUID(list_id), added)
    listed = await lists.ListContactListMembers(list_pb.ListContactListMembersRequest(contact_list_id=list_id))
    shown = {member.contact_id: member.suppressed for member in listed.members}
    assert shown == {str(person[0]): True, str(stranger): False}
    made = await campaigns.CreateCampaign(
        campaign_pb.CreateCampaignRequest(
            name="Pão", contact_list_id=list_id, channel_id=await writing.channel(), text="Oi"
        )
    )
    preview = await campaigns.PreviewCampaign(campaign_pb.PreviewCampaignRequest(campaign_id=made.campaign_id))
    assert preview.audience_count == 2
    assert [(out.reason, out.count) for out in preview.left_out] == [("SUPPRESSED", 1)]

    campaign_id = await writing.campaign(*members)
    async with writing.db.transaction(organization_id) as tx:
        campaign = await campaign_store.find_campaign(tx, organization_id, campaign_id)
        assert campaign is not None
        planned = await campaign_store.next_planned(tx, campaign, 10)
    assert {touch.contact_id: suppressed for touch, suppressed in planned} == {person[known]: True, stranger: False}

    sends = [
        SendRequest(
            organization_id=str(organization_id),
            delivery_id=str(uuid4()),
            attempt=1,
            send_class=options_pb2.SEND_CLASS_SCHEDULED,
            channel_id=str(uuid4()),
            source=options_pb2.SOURCE_WHATSAPP,
            contact_id=str(contact_id),
            conversation_keys=[f"whatsapp:{phone}"],
            dry_run=True,
        )
        for contact_id, phone in members
    ]
    gate = world.as_service("conversation").stub(SendServiceStub)
    asked, other = (await gate.BatchReserveSends(BatchReserveSendsRequest(sends=sends))).results
    assert asked.decision.reason == SEND_REASON_SUPPRESSED
    assert other.decision.reason != SEND_REASON_SUPPRESSED
