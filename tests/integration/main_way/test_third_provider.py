"""A provider is a folder and a line: a third one, made here, goes from HTTP to rows with nothing else known of it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import orjson
import pytest
from aiohttp.test_utils import TestServer
from multidict import istr

from chassis import rpc
from chassis.canonical import Source, identify
from gateway.app import Dependencies, make_app
from gateway.senders import SENDERS, Sender
from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1 import ingest_service_pb2 as pb
from prosa.ingest.v1 import webhook_event_service_pb2 as event_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.ingest.v1.webhook_event_service_pb2_grpc import WebhookEventServiceStub
from services.ingest.connections.check import Checked, Kept, check_kept
from services.ingest.normal_form import (
    Author,
    ConnectionContext,
    ConversationState,
    Direction,
    EventKind,
    Ignored,
    IgnoredReason,
    MessageRecord,
    NormalEvent,
    ParsedEvent,
    Person,
)
from services.ingest.providers import PROVIDERS
from services.ingest.providers.authenticity import Check, Credentials, Verdict
from services.ingest.providers.blanking import SecretFields
from services.ingest.providers.fields import read_object
from services.ingest.providers.provider import ConnectionRules, Provider
from tests.harness import Harness
from tests.integration.gateway.fake_services import FakeAuthorizer
from tests.world import World

NUMBER = 99
SECRET = "secret-of-the-telegraph"
BODY_BYTES_MAX = 10_000
SAID = {
    "type": "said",
    "desk": "lobby",
    "thread": "thread-7",
    "from": "+5511900004821",
    "text": "bom dia",
    "pin": "1234",
}


def mac_of(body: bytes) -> str:
    return hmac.digest(SECRET.encode(), body, "sha256").hex()


def verify(body: bytes, headers: Mapping[str, str], credentials: Credentials, now: datetime) -> Verdict:
    macs = [hmac.digest(secret.encode(), body, "sha256").hex() for secret in credentials.secrets]
    return Verdict(Check.AUTHENTIC if headers.get("x-telegraph-mac", "") in macs else Check.SIGNATURE_MISMATCH)


def delivery_key(headers: Mapping[str, str], body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def parse(body: bytes, context: ConnectionContext) -> ParsedEvent:
    root = read_object(body)
    assert isinstance(root, Mapping)
    channel = context.channels.get(root["desk"])
    if channel is None:
        return Ignored(IgnoredReason.FOREIGN_INBOX, root["desk"])
    person = Person(identity=identify(Source.WHATSAPP, root["from"]), aliases=(), written=root["from"])
    state = ConversationState(root["thread"], None, None, None, None, (), None, 0, None)
    message = MessageRecord(
        message_id=root["id"],
        source_id=None,
        direction=Direction.INBOUND,
        author=Author.CONTACT,
        author_settled=True,
        author_name=None,
        text=root["text"],
        content_type="text",
        attachments=(),
        create_time=None,
        in_reply_to=None,
        deleted=False,
        status=None,
        external_error=None,
    )
    return NormalEvent(EventKind.MESSAGE_CREATED, person, channel, state, message)


async def check(_outgoing: object, kept: Kept) -> Checked:
    return Checked(check_kept(kept), account_proved=False)


TELEGRAPH = Provider(
    name="TELEGRAPH",
    number=NUMBER,
    body_bytes_max=BODY_BYTES_MAX,
    secret_fields=SecretFields(endings=(b"pin",), needles=(b"pin",)),
    verify=verify,
    delivery_key=delivery_key,
    event_name=lambda root: root["type"],
    ordering_key=lambda root: root["thread"],
    parse=parse,
    connection_rules=ConnectionRules(account_id=lambda given: None, message_event="said"),
    check=check,
)
SENDER = Sender(pb.Provider.ValueType(NUMBER), (istr("x-telegraph-mac"),), BODY_BYTES_MAX)


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PROVIDERS, TELEGRAPH.name, TELEGRAPH)


async def ready() -> tuple[bool, dict[str, str]]:
    return True, {}


@asynccontextmanager
async def gateway_of(world: World) -> AsyncIterator[TestServer]:
    """A gateway before the world's ingest, with one provider more."""
    async with rpc.open_channel(world.host.grpc_address, None) as channel:
        app = make_app(
            Dependencies(
                channels=dict.fromkeys(("identity", "ingest"), channel),
                tokens=world.host.signer("gateway"),
                authorizer=FakeAuthorizer(),
                clock=world.clock,
                look=ready,
                senders={**SENDERS, "telegraph": SENDER},
            )
        )
        server = TestServer(app, host="127.0.0.1")
        async with server:
            yield server


async def connected(harness: Harness) -> connection_pb.Connection:
    """A connection of the third provider, with one channel whose key is no number."""
    connections = harness.world.as_service("cli", harness.organization_id).stub(ConnectionServiceStub)
    made = await connections.CreateConnection(
        connection_pb.CreateConnectionRequest(
            name="Telegraph", provider=pb.Provider.ValueType(NUMBER), webhook_secret=SECRET
        )
    )
    async with await harness.world.admin() as admin:
        await admin.execute(
            "insert into ingest.channels (id, organization_id, connection_id, name, source, provider_channel_id,"
            " active, evolution_instance, create_time)"
            " values (%s, %s, %s, 'Lobby', 'WHATSAPP', 'lobby', true, '', now())",
            (uuid4(), harness.organization_id, UUID(made.connection_id)),
        )
    return await connections.GetConnection(connection_pb.GetConnectionRequest(connection_id=made.connection_id))


async def send(server: TestServer, path: str, body: bytes, mac: str) -> tuple[int, dict[str, Any]]:
    headers = {"X-Telegraph-Mac": mac}
    async with (
        aiohttp.ClientSession() as session,
        session.post(server.make_url(path), data=body, headers=headers) as answer,
    ):
        return answer.status, await answer.json(content_type=None)


async def test_a_third_provider_goes_from_http_to_its_rows(harness: Harness) -> None:
    connection = await connected(harness)
    assert (connection.provider, connection.webhook_path) == (
        NUMBER,
        f"/webhooks/telegraph/{connection.connection_key}",
    )
    assert [(channel.name, channel.inbox_id) for channel in connection.channels] == [("Lobby", 0)]
    body = orjson.dumps({**SAID, "id": "m-1"})
    async with gateway_of(harness.world) as server:
        status, answer = await send(server, connection.webhook_path, body, mac_of(body))
        assert status == 200
        assert await send(server, connection.webhook_path, body, mac_of(body)) == (200, answer)
        elsewhere = orjson.dumps({**SAID, "id": "m-2", "desk": "attic"})
        _, ignored = await send(server, connection.webhook_path, elsewhere, mac_of(elsewhere))
    event = await harness.done(answer["webhook_event_id"])
    assert (event["state"], event["provider"], event["event"]) == ("PROCESSED", "TELEGRAPH", "said")
    assert event["ordering_key"] == f"{connection.connection_id}/thread-7"
    assert b"1234" not in event["body"]
    assert None not in [event[name] for name in ("contact_id", "deal_id", "conversation_id", "message_id")]
    (message,) = await harness.world.rows(
        "select text from conversation.messages where message_id = %s", event["message_id"]
    )
    assert message["text"] == "bom dia"
    foreign = await harness.done(ignored["webhook_event_id"])
    assert (foreign["state"], foreign["reason"]) == ("IGNORED", "FOREIGN_INBOX")


async def test_its_own_check_keeps_others_out(harness: Harness) -> None:
    connection = await connected(harness)
    body = orjson.dumps({**SAID, "id": "m-1"})
    async with gateway_of(harness.world) as server:
        status, answer = await send(server, connection.webhook_path, body, mac_of(b"another"))
        assert (status, answer["reason"]) == (401, "SIGNATURE_MISMATCH")
        large = body + b" " * BODY_BYTES_MAX
        assert (await send(server, connection.webhook_path, large, mac_of(large)))[0] == 413
    assert await harness.count("ingest.webhook_events") == 0


async def test_its_connection_is_checked_by_its_own_rules(harness: Harness) -> None:
    connection = await connected(harness)
    connections = harness.world.as_service("cli", harness.organization_id).stub(ConnectionServiceStub)
    request = connection_pb.CheckConnectionRequest(connection_id=connection.connection_id)
    checked = await connections.CheckConnection(request)
    assert [(item.name, item.passed) for item in checked.items] == [("secret_set", True), ("events_arriving", False)]


async def test_what_came_of_a_provider_that_is_listed_no_longer_is_a_dead_letter_and_nothing_more_comes(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await connected(harness)
    body = orjson.dumps({**SAID, "id": "m-1", "desk": "attic"})
    async with gateway_of(harness.world) as server:
        _, answer = await send(server, connection.webhook_path, body, mac_of(body))
        event = await harness.done(answer["webhook_event_id"])
        assert event["state"] == "IGNORED"
        monkeypatch.delitem(PROVIDERS, TELEGRAPH.name)
        more = orjson.dumps({**SAID, "id": "m-2"})
        assert (await send(server, connection.webhook_path, more, mac_of(more)))[0] == 404
    events = harness.world.as_service("cli", harness.organization_id).stub(WebhookEventServiceStub)
    await events.ReplayWebhookEvent(event_pb.ReplayWebhookEventRequest(webhook_event_id=str(event["id"])))
    again = await harness.done(str(event["id"]))
    assert (again["state"], again["reason"]) == ("DEAD_LETTER", "PROVIDER_UNKNOWN")
    assert "TELEGRAPH" in again["detail"]
