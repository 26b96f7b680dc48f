"""Two organizations that have done everything once, so that every table holds rows of both.

They are filled by the main way: webhooks through the gateway, RPCs, consumers. At the end every lease is given to a
process that never wakes up, so that nothing moves any more and what waits in the queues stays there.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import aiohttp
import grpc.aio
from sqlalchemy.engine import make_url

from chassis import wire
from chassis.consumer import Consumer
from chassis.leases import Leases
from chassis.system import SERVICES
from embedded.servers import EmbeddedServers
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1 import delivery_service_pb2 as delivery_pb
from prosa.conversation.v1 import instance_service_pb2 as instance_pb
from prosa.conversation.v1 import script_service_pb2 as script_pb
from prosa.conversation.v1.conversation_service_pb2_grpc import ConversationServiceStub
from prosa.conversation.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from prosa.conversation.v1.instance_service_pb2_grpc import InstanceServiceStub
from prosa.conversation.v1.script_service_pb2_grpc import ScriptServiceStub
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from prosa.identity.v1 import member_service_pb2 as member_pb
from prosa.identity.v1 import session_service_pb2 as session_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.identity.v1.member_service_pb2_grpc import MemberServiceStub
from prosa.identity.v1.session_service_pb2_grpc import SessionServiceStub
from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1 import outbound_service_pb2 as outbound_pb
from prosa.ingest.v1 import rollout_service_pb2 as rollout_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from prosa.ingest.v1.outbound_service_pb2_grpc import OutboundServiceStub
from prosa.ingest.v1.rollout_service_pb2_grpc import RolloutServiceStub
from prosa.outreach.v1 import campaign_service_pb2 as campaign_pb
from prosa.outreach.v1 import list_service_pb2 as list_pb
from prosa.outreach.v1 import outreach_service_pb2 as outreach_pb
from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.campaign_service_pb2_grpc import CampaignServiceStub
from prosa.outreach.v1.list_service_pb2_grpc import ListServiceStub
from prosa.outreach.v1.outreach_service_pb2_grpc import OutreachServiceStub
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from prosa.v1 import options_pb2
from tests.browser import Authenticator
from tests.conftest import ALL_TARGETS, clear_streams, create_database
from tests.harness import INSTAGRAM_INBOX, SECRET, WHATSAPP_INBOX, Harness, changed, sample
from tests.world import AGENT, PATIENCE_SECONDS, Act, World, settings_for, start_world

FILLED = "prosa_filled"
PASSWORD = "um bom segredo de teste"
TIME_ZONES = {"Aurora": "America/Manaus", "Belvedere": "America/Recife", "Cedro": "America/Bahia"}
"""Figures are numbers, alike in both organizations but for the clock that they go by."""
SHARED_PHONE = "+5511900007001"
LATER = 1_000
"""By how much a second message's id lies above the first one's."""
CLOSED_URL = "http://127.0.0.1:9/webhook"
"""Where nobody listens: what is posted there waits to be posted again."""
SECOND_ACCOUNT = 100
"""How far an organization's second account lies from its first."""
AWAITED_FILE = b"nome,external_id\nAna,17850000000000001\n"
"""Of the import that nobody has started."""
WHATSAPP, INSTAGRAM = options_pb2.SOURCE_WHATSAPP, options_pb2.SOURCE_INSTAGRAM


@dataclass(frozen=True)
class Party:
    """One of the two organizations, and what only it knows."""

    name: str
    organization_id: UUID
    admin_email: str
    api_key: str
    spare_api_key_id: str
    """A key that nobody calls with, and that may be revoked."""
    connection_id: str
    connection_key: str
    account_id: int
    webhook_secret: str
    session_secret: str
    """Of the owner's browser."""

    @property
    def open_delivery_id(self) -> UUID:
        """What is just being sent."""
        return uuid5(self.organization_id, "delivery")

    @property
    def awaited_import_id(self) -> UUID:
        """An import that nobody has started."""
        return uuid5(self.organization_id, "import")

    def campaign_to(self, what: str) -> UUID:
        """A campaign that nobody has started, for the one RPC that will."""
        return uuid5(self.organization_id, f"campaign to {what}")

    owner_id: str
    session_id: str
    """Of the owner's other browser, whose secret nobody needs."""
    link: str
    """An invitation's secret."""
    spare_link: str
    """Of one that may be used."""
    numbers: list[str] = field(default_factory=list)
    """Connections of those that it has connected."""
    participants: list[script_pb.Participant] = field(default_factory=list)
    """Two of its numbers, as a script names them."""


@dataclass(frozen=True)
class Filled:
    """A database in which both organizations have rows everywhere."""

    name: str
    a: Party
    b: Party


_filled: dict[str, Filled] = {}


async def filled_database(servers: EmbeddedServers, template: str, keys_dir: Path) -> Filled:
    """The filled database of this worker, made at the first call; nobody is connected to it."""
    if servers.database_url not in _filled:
        await create_database(servers.database_url, FILLED, template)
        url = named_url(servers.database_url, FILLED)
        await clear_streams(servers.nats_url)
        settings = settings_for(url, servers.nats_url, servers.redis_url, keys_dir)
        world = await start_world(settings, url, ALL_TARGETS)
        try:
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
                _filled[servers.database_url] = await _fill(world, session)
        finally:
            await world.close()
            await world.host.stop()
    return _filled[servers.database_url]


def named_url(admin_url: str, name: str) -> str:
    """The same server's URL for another database."""
    return make_url(admin_url).set(database=name).render_as_string(hide_password=False)


def plain_url(url: str) -> str:
    """A URL as psycopg reads it."""
    return make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)


async def _fill(world: World, session: aiohttp.ClientSession) -> Filled:
    filled = []
    for place, name in enumerate(("Aurora", "Belvedere")):
        harness, party = await _open(world, session, name, 9000 + place)
        await _receive(harness, name)
        await _work(world, party, name)
        filled.append((harness, party))
    parties = [party for _, party in filled]
    await _consume_as_those_who_have_no_consumer(world, parties)
    for party in parties:
        await _until_everything_came_round(world, party)
    await _freeze(world)
    for service in SERVICES:
        # Those who seal nothing yet know no key by themselves.
        await world.rows(
            f"insert into {service}.key_fingerprints select * from identity.key_fingerprints on conflict do nothing"
            " returning key_id"
        )
        for party in parties:
            await _follow_identity(world, service, party)
    for harness, party in filled:
        await _leave_waiting(world, harness, party)
    return Filled(FILLED, *parties)


async def _open(world: World, session: aiohttp.ClientSession, name: str, account_id: int) -> tuple[Harness, Party]:
    email = f"dona@{name.lower()}.example"
    created = (
        await world.as_service("cli")
        .stub(AccessServiceStub)
        .CreateOrganization(
            access_pb.CreateOrganizationRequest(
                name=f"Casa {name}", admin_email=email, admin_password=PASSWORD, time_zone=TIME_ZONES[name]
            )
        )
    )
    organization_id = UUID(created.organization.organization_id)
    with contextlib.suppress(grpc.aio.AioRpcError):
        await (
            world.as_nobody()
            .stub(AccessServiceStub)
            .CreateSession(access_pb.CreateSessionRequest(email=email, password="mistyped"))
        )
    access = world.as_service("cli", organization_id).stub(AccessServiceStub)
    keys = {
        wish: await access.CreateApiKey(
            access_pb.CreateApiKeyRequest(name=f"{wish} key of {name}", scopes=["*"], request_id=str(uuid4()))
        )
        for wish in ("kept", "lost", "spare")
    }
    sign_in = world.as_nobody().stub(SessionServiceStub).SignIn
    browser, other = [
        await sign_in(session_pb.SignInRequest(email=email, password=PASSWORD)) for _ in ("harness", "home")
    ]
    links = await _invite(world, organization_id, name)
    await access.RevokeApiKey(access_pb.RevokeApiKeyRequest(api_key_id=keys["lost"].api_key.api_key_id))
    connections = world.as_user(organization_id).stub(ConnectionServiceStub)
    secret = f"{SECRET}-{name}"
    connection = await connections.CreateConnection(
        connection_pb.CreateConnectionRequest(
            name=f"Chatwoot of {name}", account_id=account_id, webhook_secret=secret, request_id=str(uuid4())
        )
    )
    for inbox_id, source in ((WHATSAPP_INBOX, WHATSAPP), (INSTAGRAM_INBOX, INSTAGRAM)):
        await connections.CreateChannel(
            connection_pb.CreateChannelRequest(
                connection_id=connection.connection_id, name=f"{name} {inbox_id}", source=source, inbox_id=inbox_id
            )
        )
    harness = Harness(world, organization_id, connection, keys["kept"].secret, session, account_id)
    party = Party(
        name,
        organization_id,
        email,
        keys["kept"].secret,
        keys["spare"].api_key.api_key_id,
        connection.connection_id,
        connection.connection_key,
        account_id,
        secret,
        browser.session_secret,
        other.user_id,
        other.session_id,
        links[0],
        links[1],
    )
    return harness, party


async def _invite(world: World, organization_id: UUID, name: str) -> list[str]:
    """A colleague who came by a link and has a second factor; two more are invited. Answers the links' secrets."""
    owner, anybody = (act.stub(MemberServiceStub) for act in (world.as_user(organization_id), world.as_nobody()))
    secrets = []
    for place in range(3):
        email = f"colega{place}@{name.lower()}.example"
        request = member_pb.CreateInvitationRequest(email=email, role=options_pb2.ROLE_AGENT, request_id=str(uuid4()))
        secrets.append((await owner.CreateInvitation(request)).secret)
    accepted = await anybody.AcceptInvitation(member_pb.AcceptInvitationRequest(secret=secrets[0], password=PASSWORD))
    token, _ = world.host.signer("identity").person_token(
        kind="user", principal=f"user:{accepted.user_id}", organization_id=organization_id, role=AGENT
    )
    colleague = world.with_token(token).stub(SessionServiceStub)
    begun = await colleague.BeginMfaSetup(session_pb.BeginMfaSetupRequest())
    code = Authenticator.of(begun.secret, world.clock).code()
    await colleague.ConfirmMfaSetup(session_pb.ConfirmMfaSetupRequest(mfa_code=code))
    return secrets[1:]


async def _receive(harness: Harness, name: str) -> None:
    """The same people write to both organizations; what they say and what they are called differs."""
    secret = f"{SECRET}-{name}"
    whatsapp = changed(
        sample("message_created.whatsapp_cloud.incoming"), content=f"Segredo de {name}", sender__name=f"Ana de {name}"
    )
    instagram = changed(sample("message_created.instagram_login.incoming_image"), sender__name=f"Rui de {name}")
    # Two messages in each conversation: a list of them has a second page.
    again = [changed(body, id=body["id"] + LATER, content=f"Mais de {name}") for body in (whatsapp, instagram)]
    reaction = changed(whatsapp, id=5121, content="👍", content_attributes={"is_reaction": True, "in_reply_to": 5120})
    # Of two names of one account the first is kept for a while.
    renamed = [
        changed(
            instagram,
            id=instagram["id"] + (place + 2) * LATER,
            conversation__meta__sender__additional_attributes={"username": f"rui.{name.lower()}.{word}"},
        )
        for place, word in enumerate(("antes", "agora"))
    ]
    for body in (whatsapp, instagram, *again, *renamed, reaction):
        event = await harness.deliver(body, secret=secret)
        assert event["state"] == "PROCESSED", event
    event = await harness.deliver(f'{{"unreadable": "{name}"'.encode(), secret=secret)
    assert event["state"] == "DEAD_LETTER", event
    # With a reason that stays, also when the dead letter is replayed.
    event = await harness.deliver(sample("conversation_typing_on.agent"), secret=secret)
    assert event["state"] == "IGNORED", event


async def _work(world: World, party: Party, name: str) -> None:
    """What people and programs do by RPC."""
    acting = world.as_key(party.organization_id, "*")
    contacts, deals = acting.stub(ContactServiceStub), acting.stub(CrmServiceStub)
    made = [
        await contacts.CreateContact(
            contact_pb.CreateContactRequest(
                name=f"Bia {place} de {name}",
                phone=SHARED_PHONE,
                email=f"bia{place}@{name.lower()}.example",
                tags=[f"vip-{name.lower()}"],
                request_id=str(uuid4()),
            )
        )
        for place in range(2)
    ]
    # Two contacts have this phone: nobody is picked, conflicts are kept, and tasks open in crm.
    for external_id in ("17840000000007001", "17840000000007002"):
        await contacts.ResolveContact(
            contact_pb.ResolveContactRequest(
                source=INSTAGRAM, external_id=external_id, name=f"Bia de {name}", phone=SHARED_PHONE
            )
        )
    await _promote(world, party)
    await _merge(world, party)
    for place in range(2):
        await (
            world.as_user(party.organization_id)
            .stub(OutboundServiceStub)
            .CreateOutboundEndpoint(
                outbound_pb.CreateOutboundEndpointRequest(
                    name=f"n8n {place} de {name}", url=f"{CLOSED_URL}/{name}", request_id=str(uuid4())
                )
            )
        )
    for _ in range(2):
        await world.as_user(party.organization_id).stub(RolloutServiceStub).RunDoctor(rollout_pb.RunDoctorRequest())
    board = await deals.CreateBoard(
        crm_pb.CreateBoardRequest(name=f"Quadro de {name}", key=f"quadro-{name.lower()}", request_id=str(uuid4()))
    )
    deal = await deals.CreateDeal(
        crm_pb.CreateDealRequest(title=f"Bolo de {name}", contact_id=made[0].contact_id, board=board.board_id)
    )
    board = await deals.GetBoard(crm_pb.GetBoardRequest(board=board.board_id))
    first, second = board.stages[0].stage_id, board.stages[1].stage_id
    said = {"note": f"Nota de {name}", "ai_summary": f"Resumo de {name}"}
    await deals.MoveDeal(crm_pb.MoveDealRequest(deal_id=deal.deal_id, stage=second, **said))
    await deals.MoveDeal(crm_pb.MoveDealRequest(deal_id=deal.deal_id, stage=first))
    await deals.MoveDeal(crm_pb.MoveDealRequest(deal_id=deal.deal_id, stage=first, ai_summary=f"Resumo 2 de {name}"))
    await _connect_numbers(world, party, name)
    channel_id = await _channel(acting, party)
    await acting.stub(IngestServiceStub).CreateConversation(
        conversation_pb.CreateConversationRequest(
            connection_id=party.connection_id,
            channel_id=channel_id,
            source=INSTAGRAM,
            provider_conversation_id=f"7{party.account_id}",
            contact_id=made[0].contact_id,
            deal_id=deal.deal_id,
            request_id=str(uuid4()),
        )
    )
    for number in range(2):
        await acting.stub(OutreachServiceStub).CreateSuppression(
            outreach_pb.CreateSuppressionRequest(
                source=INSTAGRAM,
                external_id=f"1784000000000800{number}",
                contact_id=made[0].contact_id,
                reason=f"Pediu a {name}",
                request_id=str(uuid4()),
            )
        )
    ended = await acting.stub(OutreachServiceStub).CreateSuppression(
        outreach_pb.CreateSuppressionRequest(source=INSTAGRAM, external_id=f"1786{party.account_id:013}")
    )
    await (
        world.as_user(party.organization_id)
        .stub(OutreachServiceStub)
        .LiftSuppression(
            outreach_pb.LiftSuppressionRequest(suppression_id=ended.suppression_id, reason=f"Voltou à {party.name}")
        )
    )
    await _import(acting, party)
    await _send(world, party)
    await _campaign(world, world.as_user(party.organization_id), party)
    await _reply(world, party)
    await _cancel_campaign(world, party)
    await _speak(world, party)


async def _speak(world: World, party: Party) -> None:
    """What is said by itself, and by whom."""
    owner = world.as_user(party.organization_id).stub(ScriptServiceStub)
    personas = [
        await owner.CreatePersona(
            script_pb.CreatePersonaRequest(
                name=f"Lia {place} de {party.name}",
                style=f"como na {party.name}",
                fallback_texts=[f"Já chamo alguém da {party.name}."],
                request_id=str(uuid4()),
            )
        )
        for place in range(2)
    ]
    await owner.UpdateConversationSettings(
        script_pb.UpdateConversationSettingsRequest(
            persona_id=personas[1].persona_id,
            reply_mode=script_pb.REPLY_MODE_SCRIPTED,
            model_name=f"modelo-{party.name.lower()}",
            model_key=f"chave da {party.name}",
        )
    )
    # Nobody replies here by itself, so that each persona may be ended.
    await owner.UpdateConversationSettings(
        script_pb.UpdateConversationSettingsRequest(persona_id="", reply_mode=script_pb.REPLY_MODE_OFF)
    )
    await _talk(world, party)


async def _talk(world: World, party: Party) -> None:
    """Two of its numbers talk every day; a round of theirs has said something."""
    acting = world.as_key(party.organization_id, "*")
    owner = world.as_user(party.organization_id).stub(ScriptServiceStub)
    phones = [f"+5511{number}{party.account_id:04}" for number in (90001, 90002)]
    channels = []
    for place, phone in enumerate(reversed(phones)):
        channel = await acting.stub(ConnectionServiceStub).CreateChannel(
            connection_pb.CreateChannelRequest(
                connection_id=party.connection_id,
                name=f"Loja {place} de {party.name}",
                source=WHATSAPP,
                inbox_id=9_000 + place,
            )
        )
        channels.append(channel.channel_id)
        await acting.stub(IngestServiceStub).CreateConversation(
            conversation_pb.CreateConversationRequest(
                connection_id=party.connection_id,
                channel_id=channel.channel_id,
                source=WHATSAPP,
                provider_conversation_id=f"6{place}{party.account_id}",
                conversation_key=f"whatsapp:{phone}",
            )
        )
    spare = await owner.CreatePersona(
        script_pb.CreatePersonaRequest(name=f"Rosa de {party.name}", fallback_texts=[f"Aqui é da {party.name}."])
    )
    party.participants.extend(
        script_pb.Participant(channel_id=channel_id, persona_id=spare.persona_id, phone=phone)
        for channel_id, phone in zip(channels, phones, strict=True)
    )
    for place in range(2):
        script = await owner.CreateScript(
            script_pb.CreateScriptRequest(
                name=f"Conversa {place} da {party.name}",
                participants=party.participants,
                topics=[f"o bolo da {party.name}"],
                calendar=script_pb.Calendar(
                    windows=[
                        script_pb.CalendarWindow(weekday=weekday, start_minute=540, end_minute=1080, round_count=4)
                        for weekday in range(1, 8)
                    ]
                ),
            )
        )
    rounds = await owner.ListRounds(script_pb.ListRoundsRequest(script_id=script.script_id))
    said_in = UUID(rounds.rounds[0].round_id)
    await world.rows(
        "insert into conversation.round_messages values (%s, %s, 0, %s, %s, now(), %s) returning 1",
        *(party.organization_id, said_in, UUID(channels[0]), f"Oi, {party.name}", uuid4()),
    )
    await world.rows(
        "insert into conversation.model_usage values (%s, current_date, %s) returning 1",
        *(party.organization_id, party.account_id),
    )
    # What the samples say was written long ago, and is answered by nobody.
    await world.rows(
        "insert into conversation.turns values (%s, %s, %s, now(), now(), 'DROPPED', 'HANDOFF_HUMAN', '[]')"
        " returning 1",
        *(party.organization_id, uuid4(), uuid4()),
    )
    await world.rows(
        "insert into conversation.round_locks values (%s, %s, %s) returning 1",
        *(party.organization_id, UUID(channels[0]), said_in),
    )


async def _send(world: World, party: Party) -> None:
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


async def _reply(world: World, party: Party) -> None:
    """What the staff wrote waits, for nobody is at the connection's address."""
    account = delivery_pb.ProviderAccount(
        organization_id=str(party.organization_id),
        connection_id=party.connection_id,
        provider="CHATWOOT",
        base_url=CLOSED_URL,
        provider_account_id=str(party.account_id),
        access_token=f"token of {party.name}",
        version=1_000,
    )
    await (
        world.as_service("ingest")
        .stub(DeliveryServiceStub)
        .BatchPutProviderAccounts(delivery_pb.BatchPutProviderAccountsRequest(provider_accounts=[account]))
    )
    conversations = world.as_user(party.organization_id).stub(ConversationServiceStub)
    found = await conversations.ListConversations(conversation_pb.ListConversationsRequest())
    conversation_id = next(row.conversation_id for row in found.conversations if row.conversation_key)
    for number in range(2):
        await conversations.SendMessage(
            conversation_pb.SendMessageRequest(
                conversation_id=conversation_id, text=f"Resposta {number} de {party.name}", request_id=str(uuid4())
            )
        )


async def _import(acting: Act, party: Party) -> None:
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


async def _campaign(world: World, acting: Act, party: Party) -> None:
    """A campaign whose touches are planned for another day."""
    lists = await acting.stub(ListServiceStub).ListContactLists(list_pb.ListContactListsRequest())
    campaigns = acting.stub(CampaignServiceStub)
    made = await campaigns.CreateCampaign(
        campaign_pb.CreateCampaignRequest(
            name=f"Campanha de {party.name}",
            contact_list_id=lists.contact_lists[0].contact_list_id,
            channel_id=await _channel(acting, party),
            text=f"Oi {{name}}, aqui é da {party.name}",
            start_time=wire.to_timestamp(world.clock.now() + timedelta(days=1)),
        )
    )
    await campaigns.StartCampaign(campaign_pb.StartCampaignRequest(campaign_id=made.campaign_id))


async def _cancel_campaign(world: World, party: Party) -> None:
    """A campaign to somebody who can be written to: it waits, for nobody is at the connection's address, and ends."""
    acting = world.as_user(party.organization_id)
    lists, campaigns = acting.stub(ListServiceStub), acting.stub(CampaignServiceStub)
    (kept,) = await world.until(
        "select source, conversation_key, channel_id::text from conversation.conversations known"
        " where organization_id = %s and conversation_key <> '' and not exists (select from outreach.suppressions held"
        " where held.organization_id = known.organization_id and held.contact_id = known.contact_id) limit 1",
        party.organization_id,
    )
    made = await lists.CreateContactList(list_pb.CreateContactListRequest(name=f"Uma pessoa de {party.name}"))
    begun = await lists.CreateContactImport(
        list_pb.CreateContactImportRequest(
            contact_list_id=made.contact_list_id, source=options_pb2.Source.Value(f"SOURCE_{kept['source']}")
        )
    )
    part = f"external_id\n{kept['conversation_key'].partition(':')[2]}\n".encode()
    await lists.AppendContactImportFile(
        list_pb.AppendContactImportFileRequest(contact_import_id=begun.contact_import_id, part=part)
    )
    await lists.StartContactImport(list_pb.StartContactImportRequest(contact_import_id=begun.contact_import_id))
    await world.until(
        "select 1 from outreach.contact_imports where id = %s and state = 'DONE'", begun.contact_import_id
    )
    campaign = await campaigns.CreateCampaign(
        campaign_pb.CreateCampaignRequest(
            name=f"Cancelada de {party.name}",
            contact_list_id=made.contact_list_id,
            channel_id=kept["channel_id"],
            text="Oi",
        )
    )
    await campaigns.StartCampaign(campaign_pb.StartCampaignRequest(campaign_id=campaign.campaign_id))
    await world.until(
        "select 1 from outreach.touches where campaign_id = %s and state = 'HANDED_OVER'", campaign.campaign_id
    )
    await campaigns.CancelCampaign(campaign_pb.CancelCampaignRequest(campaign_id=campaign.campaign_id))


async def _await_start(world: World, party: Party) -> None:
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


async def _await_file(world: World, party: Party) -> None:
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


async def _channel(acting: Act, party: Party) -> str:
    """The party's channel of Instagram."""
    channels = await acting.stub(ConnectionServiceStub).ListChannels(
        connection_pb.ListChannelsRequest(connection_id=party.connection_id, source=INSTAGRAM)
    )
    return channels.channels[0].channel_id


async def _promote(world: World, party: Party) -> None:
    """A person known by a linked id alone, whose phone becomes known later."""
    ingest = world.as_service("ingest").stub(ContactServiceStub)
    lid = contact_pb.Alias(kind=contact_pb.ALIAS_KIND_WHATSAPP_LID, value="210000000009001")
    for external_id in ("", "5511900009001"):
        person = contact_pb.Person(
            organization_id=str(party.organization_id),
            source=WHATSAPP,
            external_id=external_id,
            aliases=[lid],
            create_missing=True,
        )
        await ingest.BatchResolveContacts(contact_pb.BatchResolveContactsRequest(people=[person]))


async def _merge(world: World, party: Party) -> None:
    """Two contacts become one, two more did for a while, and one conflict was decided."""
    contacts = world.as_user(party.organization_id).stub(ContactServiceStub)
    made = [
        await contacts.CreateContact(
            contact_pb.CreateContactRequest(
                name=f"Caio {place} de {party.name}", source=INSTAGRAM, external_id=f"178400000000090{place}0"
            )
        )
        for place in range(4)
    ]
    pairs = [(made[0], made[1]), (made[2], made[3])]
    merges = [
        await contacts.MergeContacts(
            contact_pb.MergeContactsRequest(
                contact_id=survivor.contact_id, losing_contact_id=loser.contact_id, reason=f"O mesmo na {party.name}"
            )
        )
        for survivor, loser in pairs
    ]
    await contacts.UndoContactMerge(
        contact_pb.UndoContactMergeRequest(contact_merge_id=merges[1].contact_merge_id, request_id=str(uuid4()))
    )
    (conflict, *_) = await world.rows(
        "select identity_conflict_id from identity.identity_conflicts where organization_id = %s"
        " order by identity_conflict_id desc",
        party.organization_id,
    )
    await (
        world.as_service("crm", party.organization_id)
        .stub(ContactServiceStub)
        .DecideIdentityConflict(
            contact_pb.DecideIdentityConflictRequest(
                identity_conflict_id=str(conflict["identity_conflict_id"]),
                decision=contact_pb.CONFLICT_DECISION_REJECT,
                decided_by=options_pb2.Actor(principal=f"user:{uuid4()}", name=f"ana@{party.name.lower()}.example"),
            )
        )
    )


async def _follow_identity(world: World, service: str, party: Party) -> None:
    """What the schema keeps of identity's, also where nobody there asks for it yet."""
    await world.rows(
        f"insert into {service}.organization_profiles values (%s, 'BR', %s, 'pt-BR', 1)"
        " on conflict do nothing returning 1",
        *(party.organization_id, TIME_ZONES[party.name]),
    )
    await world.rows(
        f"insert into {service}.contact_redirects values (%s, %s, %s, 1) returning 1",
        *(party.organization_id, uuid4(), uuid4()),
    )


async def _consume_as_those_who_have_no_consumer(world: World, parties: list[Party]) -> None:
    """Identity and outreach consume nothing yet; the chassis' own consumer runs there as it will when they do."""

    async def ignore(_tx: Any, _events: Any) -> None:
        """Has no effect but that the facts are remembered."""

    for service in SERVICES:
        rows = await world.rows(f"select 1 from {service}.consumed_events limit 1")
        if rows:
            continue
        consumer = Consumer(
            "isolation",
            service,
            db=world.database(service),
            leases=Leases(world.database(service), service, uuid4()),
            nats=world.host.nats,
            clock=world.clock,
            metrics=world.host.metrics,
        )
        consumer.on_all(["crm"], ignore)
        task = asyncio.create_task(consumer.run())
        for party in parties:
            await _until_rows(world, f"{service}.consumed_events", party)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _connect_numbers(world: World, party: Party, name: str) -> None:
    """Two numbers behind an Evolution that nobody runs, and what its webhooks would say of them."""
    for place in range(2):
        made = await _begin_number(world, party, f"Número {place} de {name}")
        await world.until("select 1 from conversation.instances where instance_id = %s", UUID(made.instance_id))
        party.numbers.append(made.connection.connection_id)
        report = instance_pb.InstanceReport(
            organization_id=str(party.organization_id),
            connection_id=made.connection.connection_id,
            cause_id=str(uuid4()),
            connection_state="open",
            own_jid=f"55119610{party.account_id % 1000:03d}{place:03d}@s.whatsapp.net",
            profile_name=f"Perfil de {name}",
        )
        report.receive_time.GetCurrentTime()
        code = instance_pb.InstanceReport()
        code.CopyFrom(report)
        code.connection_state, code.own_jid, code.qr_code = "", "", f"2@{name}{place}"
        # A code is worth nothing after 45 seconds, and it is looked at much later.
        code.receive_time.FromDatetime(code.receive_time.ToDatetime() + timedelta(days=1))
        told = [report, code]
        await (
            world.as_service("ingest")
            .stub(InstanceServiceStub)
            .BatchRecordInstanceReports(instance_pb.BatchRecordInstanceReportsRequest(reports=told))
        )


async def _begin_number(world: World, party: Party, name: str) -> connection_pb.CreateInstanceResponse:
    return await (
        world.as_user(party.organization_id)
        .stub(ConnectionServiceStub)
        .CreateInstance(
            connection_pb.CreateInstanceRequest(
                name=name, base_url="http://127.0.0.1:9", access_token=f"key of {name}", request_id=str(uuid4())
            )
        )
    )


async def _until_rows(world: World, table: str, party: Party) -> None:
    await world.until(f"select 1 from {table} where organization_id = %s limit 1", party.organization_id)


async def _until_everything_came_round(world: World, party: Party) -> None:
    for table in (
        "conversation.consumed_events",
        "ingest.feed",
        "ingest.consumed_events",
        "ingest.outbound_deliveries",
        "ingest.outbound_queue",
        "outreach.contact_list_members",
        "outreach.import_errors",
        "ingest.own_numbers",
        "conversation.instance_queue",
        "outreach.touches",
    ):
        await _until_rows(world, table, party)
    await world.until(
        "select 1 from crm.reconciliation_tasks where organization_id = %s having count(*) > 1", party.organization_id
    )
    for service in SERVICES:
        await world.until(
            f"select 1 where not exists (select from {service}.outbox_queue where organization_id = %s)",
            party.organization_id,
        )
    await world.until(
        "select 1 where (select count(*) from ingest.feed where organization_id = %s) >= ("
        + " + ".join(f"(select count(*) from {service}.outbox where organization_id = %s)" for service in SERVICES)
        + ")",
        *[party.organization_id] * (len(SERVICES) + 1),
    )


async def _freeze(world: World) -> None:
    """Gives every lease to a holder that never wakes up: no relay, lane or consumer runs from here on."""
    for service in SERVICES:
        await world.rows(
            f"update {service}.leases set holder = %s, fence = fence + 1, expire_time = clock_timestamp()"
            " + interval '1 day' returning name",
            uuid4(),
        )


async def _leave_waiting(world: World, harness: Harness, party: Party) -> None:
    """One fact of every service that waits for its relay, and a webhook that waits for its lane."""
    acting = world.as_key(party.organization_id, "*")
    contact = await acting.stub(ContactServiceStub).CreateContact(
        contact_pb.CreateContactRequest(name=f"Caio de {party.name}", source=INSTAGRAM, external_id="17840000000009009")
    )
    await acting.stub(CrmServiceStub).CreateDeal(
        crm_pb.CreateDealRequest(title=f"Torta de {party.name}", contact_id=contact.contact_id)
    )
    await acting.stub(IngestServiceStub).CreateConversation(
        conversation_pb.CreateConversationRequest(
            connection_id=party.connection_id,
            channel_id=await _channel(acting, party),
            source=INSTAGRAM,
            provider_conversation_id=f"8{party.account_id}",
        )
    )
    await acting.stub(OutreachServiceStub).CreateSuppression(
        outreach_pb.CreateSuppressionRequest(source=INSTAGRAM, external_id="17840000000008009")
    )
    await acting.stub(ConnectionServiceStub).CreateConnection(
        connection_pb.CreateConnectionRequest(
            name=f"Second Chatwoot of {party.name}", account_id=party.account_id + SECOND_ACCOUNT
        )
    )
    await _begin_number(world, party, f"Número que espera de {party.name}")
    for queue in (
        *("ingest.outbound_queue", "ingest.account_queue", "ingest.instance_queue"),
        *("conversation.delivery_queue", "conversation.provider_write_queue", "conversation.instance_queue"),
        "outreach.import_queue",
        *("conversation.script_queue", "conversation.round_queue", "conversation.turn_queue"),
        "outreach.touch_queue",
    ):
        await world.rows(
            f"insert into {queue}_dead (item_id, ordering_key, put_time, organization_id, attempt_count,"
            " reason, detail, dead_time) values (%s, %s, now(), %s, 5, 'ITEM_REFUSED', %s, now()) returning item_id",
            uuid4(),
            f"key of {party.name}",
            party.organization_id,
            f"detail of {party.name}",
        )
    await _await_file(world, party)
    await _await_start(world, party)
    await world.rows(
        "insert into conversation.turn_queue (lane, ordering_key, item_id, put_time, organization_id, attempt_count,"
        " due_time) values (0, %s, %s, now(), %s, 0, now()) returning item_id",
        *(f"key of {party.name}", uuid4(), party.organization_id),
    )
    status, answer = await harness.post(
        changed(
            sample("message_created.whatsapp_cloud.incoming"),
            id=777001,
            source_id=None,
            content=f"Espera em {party.name}",
        ),
        secret=party.webhook_secret,
    )
    assert status == 200, answer
