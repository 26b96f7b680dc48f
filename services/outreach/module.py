"""Everything outreach needs, serves and runs."""

from __future__ import annotations

from chassis.process import Process
from chassis.profiles import follow_profiles
from chassis.redirects import follow_redirects
from chassis.references import contact_check
from prosa.conversation.v1.events_pb2 import (
    ConversationCreated,
    ConversationUpdated,
    MessageReceived,
    MessageSent,
    MessageUpdated,
    SendRefused,
)
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.identity.v1.events_pb2 import ContactMergeUndone, ContactsMerged
from prosa.ingest.v1.events_pb2 import ChannelCreated, ChannelUpdated
from prosa.outreach.v1.campaign_service_pb2 import DESCRIPTOR as CAMPAIGN_DESCRIPTOR
from prosa.outreach.v1.campaign_service_pb2_grpc import add_CampaignServiceServicer_to_server
from prosa.outreach.v1.list_service_pb2 import DESCRIPTOR as LIST_DESCRIPTOR
from prosa.outreach.v1.list_service_pb2_grpc import add_ListServiceServicer_to_server
from prosa.outreach.v1.outreach_service_pb2 import DESCRIPTOR
from prosa.outreach.v1.outreach_service_pb2_grpc import add_OutreachServiceServicer_to_server
from prosa.outreach.v1.send_service_pb2 import DESCRIPTOR as SEND_DESCRIPTOR
from prosa.outreach.v1.send_service_pb2_grpc import add_SendServiceServicer_to_server
from services.outreach.campaigns.channels import on_channel_created, on_channel_updated, on_conversation
from services.outreach.campaigns.following import Touches
from services.outreach.campaigns.running import CAMPAIGNS, Running
from services.outreach.campaigns.servicer import CampaignServicer
from services.outreach.lists.importing import IMPORTS, Importing
from services.outreach.lists.limits import IMPORT_SLOTS
from services.outreach.lists.servicer import ListServicer
from services.outreach.opt_outs.consumer import OptOuts
from services.outreach.sending.gate import Reservations
from services.outreach.sending.quota_store import Quotas
from services.outreach.sending.rebuilding import Rebuilder
from services.outreach.sending.servicer import SendServicer
from services.outreach.sending.terms import TERMS_VERSION
from services.outreach.servicer import OutreachServicer


async def start(process: Process) -> None:
    """Serves lists, campaigns, suppressions and the gate, relays their facts, and reads imports."""
    profiles = follow_profiles(process)
    quotas = Quotas(process.redis())
    rebuilder = Rebuilder(process.database(), quotas, process.clock, process.ids)
    gate = Reservations(process.database(), quotas, rebuilder, profiles, process.clock, process.ids, TERMS_VERSION)
    servicer = OutreachServicer(
        process.database(),
        process.outbox(),
        process.idempotency(),
        process.clock,
        process.ids,
        profiles,
        contact_check(process),
    )
    process.serve(
        add_OutreachServiceServicer_to_server, servicer, DESCRIPTOR.services_by_name["OutreachService"].full_name
    )
    sending = SendServicer(process.database(), process.outbox(), process.idempotency(), process.clock, gate, profiles)
    process.serve(add_SendServiceServicer_to_server, sending, SEND_DESCRIPTOR.services_by_name["SendService"].full_name)
    imports = process.queue(IMPORTS)
    lists = ListServicer(
        process.database(), process.outbox(), process.idempotency(), process.clock, process.ids, imports
    )
    process.serve(add_ListServiceServicer_to_server, lists, LIST_DESCRIPTOR.services_by_name["ListService"].full_name)
    contacts = process.stub(ContactServiceStub, "identity")
    importing = Importing(process.database(), process.outbox(), contacts, profiles, process.clock, process.ids, imports)
    process.work(imports, importing, batch_max=1, slots=IMPORT_SLOTS)
    touches = _run_campaigns(process)
    opt_outs = OptOuts(process.outbox(), touches, process.clock, process.ids)
    process.consumer("opt_outs").on(MessageReceived, opt_outs.on_message_received)
    process.consumer("merged_addresses").on(ContactsMerged, opt_outs.on_contacts_merged)
    process.consumer("opt_outs_of_undone_merges").on(ContactMergeUndone, opt_outs.on_contact_merge_undone)
    follow_redirects(process)
    process.run("quotas", rebuilder.run)
    process.maintain()


def _run_campaigns(process: Process) -> Touches:
    """Serves campaigns, hands their touches over, and follows what becomes of them."""
    db, outbox, clock = process.database(), process.outbox(), process.clock
    queue = process.queue(CAMPAIGNS)
    process.serve(
        add_CampaignServiceServicer_to_server,
        CampaignServicer(db, outbox, process.idempotency(), clock, process.ids, queue),
        CAMPAIGN_DESCRIPTOR.services_by_name["CampaignService"].full_name,
    )
    process.work(queue, Running(db, outbox, clock, process.ids), batch_max=1)
    touches = Touches(outbox, queue, clock)
    follower = process.consumer("touches")
    channel_follower = process.consumer("channels")
    channel_follower.on(ChannelCreated, on_channel_created)
    channel_follower.on(ChannelUpdated, on_channel_updated)
    threads = process.consumer("channel_threads")
    threads.on(ConversationCreated, on_conversation)
    threads.on(ConversationUpdated, on_conversation)
    follower.on(MessageReceived, touches.on_message_received)
    follower.on(MessageSent, touches.on_message_sent)
    follower.on(MessageUpdated, touches.on_message_updated)
    # A name of its own begins at the stream's start: where the release before has read on, there may be some already.
    process.consumer("send_refusals").on(SendRefused, touches.on_send_refused)
    return touches
