"""What the filled database holds of outreach: limits, lists, imports and campaigns."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import timedelta
from uuid import uuid4

import grpc.aio

from chassis import wire
from chassis.enums import enum_number
from prosa.outreach.v1 import campaign_service_pb2 as campaign_pb
from prosa.outreach.v1 import list_service_pb2 as list_pb
from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.campaign_service_pb2_grpc import CampaignServiceStub
from prosa.outreach.v1.list_service_pb2_grpc import ListServiceStub
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from prosa.v1 import options_pb2
from tests.isolation.filling_conversation import instagram_channel
from tests.isolation.parties import AWAITED_FILE, INSTAGRAM, Party
from tests.world import PATIENCE_SECONDS, Act, World


async def send(world: World, party: Party) -> None:
    """Sending is stopped and goes on, by limits of the organization's own."""
    owner = world.as_user(party.organization_id).stub(SendServiceStub)
    await owner.EngageKillSwitch(send_pb.EngageKillSwitchRequest(reason=f"Incidente na {party.name}"))
    await owner.LiftKillSwitch(send_pb.LiftKillSwitchRequest(reason=f"Passou na {party.name}"))
    await owner.UpdateSendPolicy(
        send_pb.UpdateSendPolicyRequest(number_gap_seconds=4, quiet_hours=send_pb.QuietHoursSet())
    )
    terms = await owner.GetTerms(send_pb.GetTermsRequest())
    await owner.AcceptTerms(send_pb.AcceptTermsRequest(terms_version=terms.terms_version))
    message = send_pb.SendRequest(
        organization_id=str(party.organization_id),
        delivery_id=str(party.open_delivery_id),
        attempt=1,
        send_class=options_pb2.SEND_CLASS_PERSON,
        channel_id=str(uuid4()),
        conversation_keys=[f"instagram:1784{party.account_id:010}"],
    )
    conversation = world.as_service("conversation", party.organization_id).stub(SendServiceStub)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            # The first question finds nothing counted yet; Redis may be slow on a machine with other work.
            with contextlib.suppress(grpc.aio.AioRpcError):
                decision = await conversation.ReserveSend(send_pb.ReserveSendRequest(send=message))
                if decision.outcome == send_pb.SEND_OUTCOME_ALLOWED:
                    break
                assert decision.reason == send_pb.SEND_REASON_QUOTAS_REBUILDING, decision
            await asyncio.sleep(0.02)


async def import_lists(acting: Act, party: Party) -> None:
    """Two lists, each filled from a file that has rows at fault."""
    lists = acting.stub(ListServiceStub)
    for place in range(2):
        kept = await lists.CreateContactList(list_pb.CreateContactListRequest(name=f"Lista {place} de {party.name}"))
        begun = await lists.CreateContactImport(
            list_pb.CreateContactImportRequest(
                contact_list_id=kept.contact_list_id, file_name=f"{party.name}.csv", source=INSTAGRAM
            )
        )
        rows = "".join(
            f"Importada {number} de {party.name},1785{party.account_id:010}{number}\nNinguém,ninguém da {party.name}\n"
            for number in range(2)
        )
        await lists.AppendContactImportFile(
            list_pb.AppendContactImportFileRequest(
                contact_import_id=begun.contact_import_id, part=f"nome,external_id\n{rows}".encode()
            )
        )
        await lists.StartContactImport(list_pb.StartContactImportRequest(contact_import_id=begun.contact_import_id))


async def plan_campaign(world: World, acting: Act, party: Party) -> None:
    """A campaign whose touches are planned for another day."""
    lists = await acting.stub(ListServiceStub).ListContactLists(list_pb.ListContactListsRequest())
    campaigns = acting.stub(CampaignServiceStub)
    made = await campaigns.CreateCampaign(
        campaign_pb.CreateCampaignRequest(
            name=f"Campanha de {party.name}",
            contact_list_id=lists.contact_lists[0].contact_list_id,
            channel_id=await known_channel(world, acting, party),
            text=f"Oi {{name}}, aqui é da {party.name}",
            start_time=wire.to_timestamp(world.clock.now() + timedelta(days=1)),
        )
    )
    await campaigns.StartCampaign(campaign_pb.StartCampaignRequest(campaign_id=made.campaign_id))


async def cancel_campaign(world: World, party: Party) -> None:
    """A campaign to somebody who can be written to: it waits, for nobody is at the connection's address, and ends."""
    acting = world.as_user(party.organization_id)
    campaigns = acting.stub(CampaignServiceStub)
    (kept,) = await world.until(
        "select source, conversation_key, channel_id::text from conversation.conversations known"
        " where organization_id = %s and conversation_key <> '' and not exists (select from outreach.suppressions held"
        " where held.organization_id = known.organization_id and held.contact_id = known.contact_id) limit 1",
        party.organization_id,
    )
    name = f"Uma pessoa de {party.name}"
    list_id = await _list_one(world, party, name, kept["source"], kept["conversation_key"])
    campaign = await campaigns.CreateCampaign(
        campaign_pb.CreateCampaignRequest(
            name=f"Cancelada de {party.name}",
            contact_list_id=list_id,
            channel_id=kept["channel_id"],
            text="Oi",
        )
    )
    await campaigns.StartCampaign(campaign_pb.StartCampaignRequest(campaign_id=campaign.campaign_id))
    await world.until(
        "select 1 from outreach.touches where campaign_id = %s and state = 'HANDED_OVER'", campaign.campaign_id
    )
    await campaigns.CancelCampaign(campaign_pb.CancelCampaignRequest(campaign_id=campaign.campaign_id))
    await world.until("select 1 from outreach.channel_threads where organization_id = %s", party.organization_id)
    await world.until("select 1 from outreach.merged_addresses where organization_id = %s", party.organization_id)
    # What a contact asked for whom the staff had suppressed.
    await world.rows(
        "insert into outreach.suppressions_beside (organization_id, id, source, external_id, contact_id, reason,"
        " create_time, origin) select organization_id, %s, source, external_id, contact_id, reason, create_time,"
        " 'CONTACT' from outreach.suppressions where organization_id = %s limit 1 returning 1",
        *(uuid4(), party.organization_id),
    )


async def refuse_campaign(world: World, party: Party) -> None:
    """A campaign to somebody who never wrote to the channel, which can begin no conversation."""
    acting = world.as_user(party.organization_id)
    campaigns = acting.stub(CampaignServiceStub)
    name = f"Quem nunca escreveu à {party.name}"
    list_id = await _list_one(world, party, name, "WHATSAPP", "whatsapp:+5511960000001")
    campaign = await campaigns.CreateCampaign(
        campaign_pb.CreateCampaignRequest(
            name=f"Recusada de {party.name}",
            contact_list_id=list_id,
            channel_id=await known_channel(world, acting, party),
            text="Oi",
        )
    )
    await campaigns.StartCampaign(campaign_pb.StartCampaignRequest(campaign_id=campaign.campaign_id))
    await world.until(
        "select 1 from outreach.touches where campaign_id = %s and state = 'FAILED'", campaign.campaign_id
    )


async def known_channel(world: World, acting: Act, party: Party) -> str:
    """The party's channel of Instagram, once outreach was told of it."""
    channel_id = await instagram_channel(acting, party)
    await world.until("select 1 from outreach.channels where id = %s", channel_id)
    return channel_id


async def _list_one(world: World, party: Party, name: str, source: str, conversation_key: str) -> str:
    """A list of one person, from a file; its id."""
    lists = world.as_user(party.organization_id).stub(ListServiceStub)
    made = await lists.CreateContactList(list_pb.CreateContactListRequest(name=name))
    begun = await lists.CreateContactImport(
        list_pb.CreateContactImportRequest(
            contact_list_id=made.contact_list_id, source=enum_number(options_pb2.Source, source)
        )
    )
    part = f"external_id\n{conversation_key.partition(':')[2]}\n".encode()
    await lists.AppendContactImportFile(
        list_pb.AppendContactImportFileRequest(contact_import_id=begun.contact_import_id, part=part)
    )
    await lists.StartContactImport(list_pb.StartContactImportRequest(contact_import_id=begun.contact_import_id))
    await world.until(
        "select 1 from outreach.contact_imports where id = %s and state = 'DONE'", begun.contact_import_id
    )
    return made.contact_list_id


async def await_start(world: World, party: Party) -> None:
    """Campaigns that nobody has started, and one that waits to be planned."""
    for campaign_id, state in [
        *((party.campaign_to(what), "DRAFT") for what in ("start", "pause", "cancel")),
        (uuid4(), "PLANNING"),
    ]:
        await world.rows(
            "insert into outreach.campaigns select organization_id, %s, name, contact_list_id, channel_id, text, %s,"
            " '', null, null, true, null, principal, principal_name, create_time, null, 1 from outreach.campaigns"
            " where organization_id = %s limit 1 returning id",
            *(campaign_id, state, party.organization_id),
        )
    # A second page of what became of the campaign that was cancelled.
    await world.rows(
        "insert into outreach.touches select organization_id, campaign_id, %s, %s, source, external_id, text, state,"
        " reason, explanation, retry_time, hand_count, withdraw_reason, delivery_version, send_time, reply_time,"
        " opted_out from outreach.touches where organization_id = %s and hand_count > 0 limit 1 returning id",
        *(uuid4(), uuid4(), party.organization_id),
    )
    await world.rows(
        "insert into outreach.touch_queue (lane, ordering_key, item_id, put_time, organization_id, attempt_count,"
        " due_time) values (0, %s, %s, now(), %s, 0, now()) returning 1",
        *(str(campaign_id), campaign_id, party.organization_id),
    )


async def await_file(world: World, party: Party) -> None:
    """An import whose file is here and that nobody has started, and one that waits to be read."""
    for import_id, state in ((party.awaited_import_id, "UPLOADING"), (uuid4(), "RUNNING")):
        await world.rows(
            "insert into outreach.contact_imports select organization_id, %s, contact_list_id, source, file_name,"
            " columns, %s, %s, '', '', false, 0, 1, 0, 0, 0, 0, 0, '', principal, principal_name, create_time, null,"
            " null, 1 from outreach.contact_imports where organization_id = %s limit 1 returning id",
            *(import_id, state, len(AWAITED_FILE), party.organization_id),
        )
        await world.rows(
            "insert into outreach.import_parts values (%s, %s, 0, %s, now()) returning 1",
            *(party.organization_id, import_id, AWAITED_FILE),
        )
        if state == "RUNNING":
            await world.rows(
                "insert into outreach.import_queue (lane, ordering_key, item_id, put_time, organization_id,"
                " attempt_count) values (0, %s, %s, now(), %s, 0) returning 1",
                *(str(import_id), import_id, party.organization_id),
            )
