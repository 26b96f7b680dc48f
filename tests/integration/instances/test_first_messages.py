"""A campaign by a number of Evolution reaches people whom the number has never talked with, once each."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from prosa.conversation.v1.events_pb2 import ConversationCreated, MessageUpdated, SendRefused
from prosa.outreach.v1 import campaign_service_pb2 as campaign_pb
from prosa.outreach.v1 import list_service_pb2 as list_pb
from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.campaign_service_pb2_grpc import CampaignServiceStub
from prosa.outreach.v1.list_service_pb2_grpc import ListServiceStub
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from prosa.v1 import options_pb2
from tests.evolution import PHONE, Admin

pytestmark = pytest.mark.asyncio(loop_scope="session")
NEW_PHONE, OTHER_PHONE = "+5511960001234", "+5511960001235"
IGSID = "17841400000000123"


async def allow(admin: Admin) -> None:
    """The owner accepts the terms and sets limits of a fast number at any hour."""
    owner = admin.world.as_user(UUID(str(admin.harness.organization_id))).stub(SendServiceStub)
    terms = await owner.GetTerms(send_pb.GetTermsRequest())
    await owner.AcceptTerms(send_pb.AcceptTermsRequest(terms_version=terms.terms_version))
    await owner.UpdateSendPolicy(
        send_pb.UpdateSendPolicyRequest(quiet_hours=send_pb.QuietHoursSet(), number_gap_seconds=0, burst_limit=1000)
    )


async def started(
    admin: Admin,
    channel_id: str,
    *external_ids: str,
    source: options_pb2.Source.ValueType = options_pb2.SOURCE_WHATSAPP,
) -> str:
    """A campaign that was started, to people of a file; its id."""
    organization_id = UUID(str(admin.harness.organization_id))
    owner = admin.world.as_user(organization_id)
    lists, campaigns = owner.stub(ListServiceStub), owner.stub(CampaignServiceStub)
    made = await lists.CreateContactList(list_pb.CreateContactListRequest(name=f"{external_ids[0]} por {channel_id}"))
    begun = await lists.CreateContactImport(
        list_pb.CreateContactImportRequest(contact_list_id=made.contact_list_id, source=source)
    )
    part = "\n".join(["nome;external_id", *(f"Ana;{each}" for each in external_ids), ""]).encode()
    await lists.AppendContactImportFile(
        list_pb.AppendContactImportFileRequest(contact_import_id=begun.contact_import_id, part=part)
    )
    await lists.StartContactImport(list_pb.StartContactImportRequest(contact_import_id=begun.contact_import_id))
    await admin.world.until(
        "select 1 from outreach.contact_imports where id = %s and state = 'DONE'", begun.contact_import_id
    )
    await admin.world.until("select 1 from outreach.channels where id = %s", channel_id)
    campaign = await campaigns.CreateCampaign(
        campaign_pb.CreateCampaignRequest(
            name="Primeira", contact_list_id=made.contact_list_id, channel_id=channel_id, text="Oi {name}!"
        )
    )
    await campaigns.StartCampaign(campaign_pb.StartCampaignRequest(campaign_id=campaign.campaign_id))
    return campaign.campaign_id


async def until(admin: Admin, campaign_id: str, state: str, count: int) -> list[dict[str, Any]]:
    """The campaign's touches once so many are in a state."""
    await admin.world.until(
        "select 1 from outreach.touches where campaign_id = %s and state = %s having count(*) = %s",
        *(campaign_id, state, count),
    )
    return await admin.world.rows("select * from outreach.touches where campaign_id = %s", campaign_id)


async def test_a_touch_to_somebody_new_begins_the_one_conversation_in_which_they_answer(admin: Admin) -> None:
    made, instance = await admin.connected()
    channel_id, organization_id = made["channel_id"], admin.harness.organization_id
    await allow(admin)
    admin.fake.world.person_writes(instance, PHONE, "Tem vaga?", "Marisa")
    await admin.done(1)
    # One has written before; two are new.
    campaign_id = await started(admin, channel_id, PHONE, NEW_PHONE, OTHER_PHONE)
    await until(admin, campaign_id, "SENT", 3)
    assert {(sent.number, sent.text) for sent in admin.fake.world.sent} == {
        *((PHONE[1:], "Oi Marisa!"), (NEW_PHONE[1:], "Oi Ana!"), (OTHER_PHONE[1:], "Oi Ana!"))
    }
    assert len(admin.fake.world.sent) == 3
    begun = [
        fact.conversation
        for fact in await admin.world.announced(ConversationCreated, organization_id)
        if fact.conversation.conversation_key != f"whatsapp:{PHONE}"
    ]
    assert {(one.conversation_key, one.channel_id) for one in begun} == {
        (f"whatsapp:{phone}", channel_id) for phone in (NEW_PHONE, OTHER_PHONE)
    }
    # What they answer comes into the same conversation, and the touch is answered.
    admin.fake.world.person_writes(instance, NEW_PHONE, "Quero!", "Nova")
    await admin.world.until(
        "select 1 from outreach.touches where campaign_id = %s and reply_time is not null", campaign_id
    )
    first = next(one for one in begun if one.conversation_key == f"whatsapp:{NEW_PHONE}")
    said = await admin.messages(first.conversation_id)
    assert [(one["direction"], one["text"]) for one in said] == [("OUTBOUND", "Oi Ana!"), ("INBOUND", "Quero!")]
    # The next campaign goes on there.
    await until(admin, await started(admin, channel_id, NEW_PHONE), "SENT", 1)
    rows = await admin.world.rows(
        "select 1 from conversation.conversations where organization_id = %s", UUID(str(organization_id))
    )
    assert len(rows) == 3


async def test_who_is_on_another_network_cannot_be_written_to_and_no_message_is_told_of(admin: Admin) -> None:
    made, _ = await admin.connected()
    await allow(admin)
    campaign_id = await started(admin, made["channel_id"], IGSID, source=options_pb2.SOURCE_INSTAGRAM)
    [touch] = await until(admin, campaign_id, "FAILED", 1)
    assert touch["reason"] == "CHANNEL_CANNOT_SEND"
    organization_id = admin.harness.organization_id
    [refused] = await admin.world.announced(SendRefused, organization_id)
    assert (refused.send_id, refused.explanation) == (str(touch["id"]), touch["explanation"])
    assert await admin.world.announced(MessageUpdated, organization_id) == []
    # By a consumer that no release before had: one that has read on would never be sent what lies behind it.
    [told] = await admin.world.rows(
        "select told.consumer from outreach.consumed_events told join conversation.outbox fact using (event_id)"
        " where fact.organization_id = %s and fact.type = 'prosa.conversation.v1.SendRefused'",
        UUID(str(organization_id)),
    )
    assert told["consumer"] == "send_refusals"


async def test_what_is_meant_for_one_phone_of_a_contact_never_leaves_to_another(admin: Admin) -> None:
    made, instance = await admin.connected()
    await allow(admin)
    admin.fake.world.person_writes(instance, PHONE, "Tem vaga?", "Marisa")
    await admin.done(1)
    [kept] = await admin.world.rows(
        "select contact_id::text from conversation.conversations where organization_id = %s",
        UUID(str(admin.harness.organization_id)),
    )
    person = {"source": "WHATSAPP", "external_id": NEW_PHONE, "name": "Ana"}
    other = (await admin.harness.send("/api/v1/contacts:ensure", person))[1]["contact_id"]
    status, merged = await admin.call(
        "POST", f"/api/v1/contacts/{kept['contact_id']}:merge", {"losing_contact_id": other}
    )
    assert status == 200, merged
    await admin.world.until("select 1 from conversation.contact_redirects where contact_id = %s", other)
    [touch] = await until(admin, await started(admin, made["channel_id"], NEW_PHONE), "FAILED", 1)
    assert touch["reason"] == "CHANNEL_CANNOT_SEND"
    assert "another address" in touch["explanation"]
    assert admin.fake.world.sent == []


@pytest.mark.parametrize("sendable", [True, False], ids=["by a business-scoped id", "with nothing to send with"])
async def test_nothing_is_begun_where_nothing_can_be_sent(admin: Admin, sendable: bool) -> None:
    made, _ = await admin.connected()
    await allow(admin)
    if not sendable:
        await admin.world.rows(
            "update conversation.provider_accounts set base_url = '' where organization_id = %s returning 1",
            UUID(str(admin.harness.organization_id)),
        )
    campaign_id = await started(admin, made["channel_id"], "bsuid:BR.1234567890123" if sendable else NEW_PHONE)
    [touch] = await until(admin, campaign_id, "FAILED", 1)
    assert touch["reason"] == "CHANNEL_CANNOT_SEND"
    assert await admin.world.announced(ConversationCreated, admin.harness.organization_id) == []
