"""Two organizations that have done everything once, so that every table holds rows of both.

They are filled by the main way: webhooks through the gateway, RPCs, consumers. At the end every lease is given to a
process that never wakes up, so that nothing moves any more and what waits in the queues stays there.
"""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import grpc.aio
from sqlalchemy.engine import make_url

from chassis.consumer import Consumer
from chassis.leases import Leases
from chassis.system import SERVICES
from embedded.servers import EmbeddedServers
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1 import settings_service_pb2 as settings_pb
from prosa.conversation.v1.settings_service_pb2_grpc import SettingsServiceStub
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from prosa.identity.v1 import session_service_pb2 as session_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.identity.v1.session_service_pb2_grpc import SessionServiceStub
from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1 import outbound_service_pb2 as outbound_pb
from prosa.ingest.v1 import rollout_service_pb2 as rollout_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from prosa.ingest.v1.outbound_service_pb2_grpc import OutboundServiceStub
from prosa.ingest.v1.rollout_service_pb2_grpc import RolloutServiceStub
from prosa.outreach.v1 import outreach_service_pb2 as outreach_pb
from prosa.outreach.v1.outreach_service_pb2_grpc import OutreachServiceStub
from tests.conftest import ALL_TARGETS, clear_streams, create_database
from tests.harness import INSTAGRAM_INBOX, SECRET, WHATSAPP_INBOX, Harness, changed, sample
from tests.isolation.filling_conversation import (
    begin_number,
    connect_numbers,
    instagram_channel,
    reply,
    show_codes,
    speak,
)
from tests.isolation.filling_identity import invite, merge, promote
from tests.isolation.filling_outreach import await_file, await_start, cancel_campaign, import_lists, plan_campaign, send
from tests.isolation.parties import CLOSED_URL, INSTAGRAM, PASSWORD, WHATSAPP, Filled, Party
from tests.world import PATIENCE_SECONDS, World, settings_for, start_world

FILLED = "prosa_filled"
TIME_ZONES = {"Aurora": "America/Manaus", "Belvedere": "America/Recife", "Cedro": "America/Bahia"}
"""Figures are numbers, alike in both organizations but for the clock that they go by."""
SHARED_PHONE = "+5511900007001"
LATER = 1_000
"""By how much a second message's id lies above the first one's."""
SECOND_ACCOUNT = 100
"""How far an organization's second account lies from its first."""

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
            async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as session:
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
        await show_codes(world, party)
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
    links, colleagues = await invite(world, organization_id, name)
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
        colleagues,
    )
    return harness, party


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
    await _alert(harness, name, secret)
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
    await promote(world, party)
    await merge(world, party)
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
    rollout = world.as_user(party.organization_id).stub(RolloutServiceStub)
    await rollout.RunDoctor(rollout_pb.RunDoctorRequest())
    await rollout.RollBack(rollout_pb.RollBackRequest(reason=f"Ensaio de {name}", request_id=str(uuid4())))
    await (
        world.as_user(party.organization_id)
        .stub(SettingsServiceStub)
        .UpdateConversationSettings(settings_pb.UpdateConversationSettingsRequest(automation_enabled=True))
    )
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
    await connect_numbers(world, party, name)
    channel_id = await instagram_channel(acting, party)
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
    await import_lists(acting, party)
    await send(world, party)
    await plan_campaign(world, world.as_user(party.organization_id), party)
    await reply(world, party)
    await cancel_campaign(world, party)
    await speak(world, party)


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
    # Whoever asked for one looks it up when it is a minute old, without a lease.
    await world.rows("update outreach.reservations set create_time = create_time + interval '1 day' returning 1")


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
            channel_id=await instagram_channel(acting, party),
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
    await begin_number(world, party, f"Número que espera de {party.name}")
    for queue in (
        *("ingest.outbound_queue", "ingest.account_queue", "ingest.instance_queue", "ingest.health_queue"),
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
    await await_file(world, party)
    await await_start(world, party)
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


async def _alert(harness: Harness, name: str, secret: str) -> None:
    """So much fails that an alert opens; what came is made old, so that it is resolved; then another one opens."""
    world, organization_id = harness.world, harness.organization_id
    alerts = "select 1 from ingest.alerts where organization_id = %s and state = %s"
    for place in range(3):
        await harness.deliver(f'{{"broken {place}": "{name}"'.encode(), secret=secret)
    await world.until(alerts, organization_id, "OPEN")
    await world.rows(
        "update ingest.health_windows set start_time = start_time - interval '1 hour' where organization_id = %s"
        " returning 1",
        organization_id,
    )
    await world.rows(
        "update ingest.health_queue set next_attempt_time = now() where organization_id = %s returning 1",
        organization_id,
    )
    await world.until(alerts, organization_id, "RESOLVED")
    for place in range(5):
        await harness.deliver(f'{{"broken again {place}": "{name}"'.encode(), secret=secret)
    await world.until(alerts, organization_id, "OPEN")
