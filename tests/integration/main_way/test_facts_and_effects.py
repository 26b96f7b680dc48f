"""Every fact is left in the very transaction that made it true: neither comes to be without the other."""

from __future__ import annotations

import importlib
from collections import defaultdict
from collections.abc import Mapping, Sequence

import aiohttp
import pytest

from chassis.system import SERVICES
from prosa.identity.v1.access_service_pb2 import UpdateOrganizationRequest
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from tests.harness import SECRET, Harness, changed, sample
from tests.isolation import filling, filling_outreach
from tests.world import World

MADE_TRUE_IN: Mapping[str, str] = {
    "conversation.v1.RoundChanged": "conversation.rounds",
    "conversation.v1.TurnGathered": "conversation.turns",
    "conversation.v1.ScriptChanged": "conversation.scripts",
    "conversation.v1.ConversationSettingsChanged": "conversation.conversation_settings",
    "conversation.v1.ConversationCreated": "conversation.conversations",
    "conversation.v1.ConversationUpdated": "conversation.conversations",
    "conversation.v1.HandoffChanged": "conversation.conversations",
    "conversation.v1.MessageQueued": "conversation.deliveries",
    "conversation.v1.MessageReceived": "conversation.messages",
    "conversation.v1.MessageSent": "conversation.messages",
    "conversation.v1.MessageUpdated": "conversation.messages",
    "conversation.v1.MessageReactionChanged": "conversation.message_reactions",
    "conversation.v1.InstanceChanged": "conversation.instances",
    # What was refused has no row of its own: that it was heard of is all there is.
    "conversation.v1.SendRefused": "conversation.consumed_events",
    "crm.v1.BoardCreated": "crm.boards",
    "crm.v1.DealCreated": "crm.deals",
    "crm.v1.DealMoved": "crm.stage_moves",
    "crm.v1.DealUpdated": "crm.deals",
    "crm.v1.ReconciliationTaskDecided": "crm.reconciliation_tasks",
    "crm.v1.ReconciliationTaskOpened": "crm.reconciliation_tasks",
    "identity.v1.ContactCreated": "identity.contacts",
    "identity.v1.ContactUpdated": "identity.contacts",
    "identity.v1.ContactIdentityLinked": "identity.contact_identities",
    "identity.v1.ContactIdentityPromoted": "identity.contact_identities",
    "identity.v1.ContactMergeUndone": "identity.contact_merges",
    "identity.v1.ContactsMerged": "identity.contact_merges",
    "identity.v1.IdentityConflictDecided": "identity.identity_conflicts",
    "identity.v1.IdentityConflictDetected": "identity.identity_conflicts",
    "identity.v1.MemberChanged": "identity.members",
    # The row is gone: what is written is that the person's tokens for the organization have ended.
    "identity.v1.MemberRemoved": "identity.revocations",
    "identity.v1.OrganizationCreated": "identity.organizations",
    "identity.v1.OrganizationUpdated": "identity.organizations",
    "identity.v1.PrincipalRevoked": "identity.revocations",
    "ingest.v1.AlertOpened": "ingest.alerts",
    "ingest.v1.AlertResolved": "ingest.alerts",
    "ingest.v1.ChannelCreated": "ingest.channels",
    "ingest.v1.ChannelUpdated": "ingest.channels",
    "ingest.v1.ConnectionCreated": "ingest.connections",
    "ingest.v1.ConnectionUpdated": "ingest.connections",
    "ingest.v1.OutboundEndpointChanged": "ingest.outbound_endpoints",
    "ingest.v1.RolloutChanged": "ingest.rollouts",
    "ingest.v1.WebhookEventDeadLettered": "ingest.dead_letters",
    "outreach.v1.CampaignChanged": "outreach.campaigns",
    "outreach.v1.ContactImportChanged": "outreach.contact_imports",
    "outreach.v1.KillSwitchChanged": "outreach.kill_switches",
    "outreach.v1.SendPolicyChanged": "outreach.send_policies",
    "outreach.v1.SendDue": "outreach.touches",
    "outreach.v1.SendWithdrawn": "outreach.touches",
    "outreach.v1.SuppressionCreated": "outreach.suppressions",
    "outreach.v1.SuppressionLifted": "outreach.lifted_suppressions",
}
"""By fact, the table whose rows it tells of."""
WRITINGS = """
create table public.writings (transaction xid8 not null, kind text not null);
create function public.note_writing() returns trigger language plpgsql security definer as $$
begin
  insert into public.writings values (pg_current_xact_id(), coalesce(to_jsonb(new) ->> tg_argv[1], tg_argv[0]));
  return null;
end $$;
"""
WORDS = (
    "message_created.whatsapp_cloud.incoming",
    "message_created.whatsapp_cloud.outgoing_agent",
    "message_updated.whatsapp_cloud.delivered",
    "message_created.whatsapp_cloud.native_app_echo",
    "conversation_status_changed.whatsapp_cloud.resolved",
    "contact_updated.name_and_email_changed",
)


def every_fact() -> set[str]:
    """All that the services' contracts announce."""
    modules = [importlib.import_module(f"prosa.{service}.v1.events_pb2") for service in SERVICES]
    return {
        message.full_name.removeprefix("prosa.")
        for module in modules
        for message in module.DESCRIPTOR.message_types_by_name.values()
    }


async def note_writings(world: World) -> None:
    """From now on every row that comes to be or changes is noted with its transaction; facts by their type."""
    tables = [(table, table, "") for table in sorted(set(MADE_TRUE_IN.values()))]
    outboxes = [(f"{service}.outbox", f"{service}.outbox", "type") for service in SERVICES]
    async with await world.admin() as admin:
        await admin.execute(WRITINGS.encode())
        for table, name, column in [*tables, *outboxes]:
            await admin.execute(
                f"create trigger note_writing after insert or update on {table} for each row"
                f" execute function public.note_writing('{name}', '{column}')".encode()
            )


async def work(world: World, session: aiohttp.ClientSession) -> None:
    """An organization that does everything there is a fact for."""
    harness, party = await filling._open(world, session, "Cedro", 9300)
    await filling._receive(harness, "Cedro")
    await filling._work(world, party, "Cedro")
    await listen(harness)
    await filling_outreach.refuse_campaign(world, party)
    connections = world.as_user(harness.organization_id).stub(ConnectionServiceStub)
    connection_id = harness.connection.connection_id
    await connections.UpdateConnection(
        connection_pb.UpdateConnectionRequest(connection_id=connection_id, name="Chatwoot novo")
    )
    channels = await connections.ListChannels(connection_pb.ListChannelsRequest(connection_id=connection_id))
    await connections.UpdateChannel(
        connection_pb.UpdateChannelRequest(
            connection_id=connection_id, channel_id=channels.channels[0].channel_id, name="Recepção nova"
        )
    )
    access = world.as_user(harness.organization_id).stub(AccessServiceStub)
    await access.UpdateOrganization(UpdateOrganizationRequest(locale="es-AR"))
    await write_now(harness)
    await world.until("select 1 from crm.reconciliation_tasks where organization_id = %s", harness.organization_id)
    await world.until(
        "select 1 from conversation.turns where organization_id = %s and state = 'GATHERED'", harness.organization_id
    )


async def listen(harness: Harness) -> None:
    """What is written and done on Chatwoot's side."""
    for name in WORDS:
        event = await harness.deliver(sample(name), secret=f"{SECRET}-Cedro")
        assert event["state"] in {"PROCESSED", "IGNORED"}, (name, event["reason"], event["detail"])


async def write_now(harness: Harness) -> None:
    """A contact writes at this moment, in a conversation that nobody has taken over, and so is waited for."""
    body = changed(
        sample(WORDS[0]),
        id=777_002,
        source_id=None,
        content="Oi, tem vaga?",
        conversation__id=9_391,
        created_at=harness.world.clock.now().isoformat(),
    )
    event = await harness.deliver(body, secret=f"{SECRET}-Cedro")
    assert event["state"] == "PROCESSED", event


def apart(writings: Sequence[Mapping[str, object]]) -> set[str]:
    """The facts that were left in a transaction that did not write what they tell of."""
    by_transaction: dict[object, set[object]] = defaultdict(set)
    for row in writings:
        by_transaction[row["transaction"]].add(row["kind"])
    return {
        fact
        for kinds in by_transaction.values()
        for fact, table in MADE_TRUE_IN.items()
        if f"prosa.{fact}" in kinds and table not in kinds
    }


def test_it_is_known_of_every_fact_what_makes_it_true() -> None:
    assert set(MADE_TRUE_IN) == every_fact()


async def test_every_fact_is_left_in_the_transaction_that_made_it_true(
    world: World, session: aiohttp.ClientSession
) -> None:
    await note_writings(world)
    await work(world, session)
    writings = await world.rows("select transaction::text, kind from public.writings")
    seen = {str(row["kind"]).removeprefix("prosa.") for row in writings} & set(MADE_TRUE_IN)
    assert every_fact() - seen == set()
    assert apart(writings) == set()


@pytest.mark.parametrize(
    ("kinds", "wrong"),
    [
        ([("1", "crm.deals"), ("1", "prosa.crm.v1.DealCreated")], set()),
        ([("1", "crm.deals"), ("2", "prosa.crm.v1.DealCreated")], {"crm.v1.DealCreated"}),
        ([("1", "crm.boards"), ("1", "prosa.crm.v1.DealCreated")], {"crm.v1.DealCreated"}),
    ],
)
def test_a_fact_in_another_transaction_is_noticed(kinds: list[tuple[str, str]], wrong: set[str]) -> None:
    assert apart([{"transaction": transaction, "kind": kind} for transaction, kind in kinds]) == wrong
