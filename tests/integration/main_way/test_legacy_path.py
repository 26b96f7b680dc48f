"""``/api/chatwoot/webhook``, as senders of the former CRM know it: whose a webhook is, only its signature says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import aiohttp
import orjson
import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from sandbox.chatwoot.signing import signed_request
from tests.harness import INSTAGRAM_INBOX, SECRET, WHATSAPP_INBOX, Harness, changed, open_harness, sample
from tests.world import World

INCOMING = "message_created.whatsapp_cloud.incoming"
CONTACT = "contact_created.whatsapp_cloud"
UNPROVED = (401, {"error": "Invalid signature"})
OTHER_SECRET = "whsec-of-somebody-else-9876543210"


def nested(harness: Harness, inbox_id: int = INSTAGRAM_INBOX) -> dict[str, object]:
    """A body in the shape that the former CRM's smoke sends."""
    return {
        "event": "conversation_created",
        "account": {"id": harness.account_id},
        "inbox": {"id": inbox_id, "channel_type": "Channel::Instagram"},
        "conversation": {
            "id": 4711,
            "account_id": harness.account_id,
            "inbox_id": inbox_id,
            "status": "open",
            "meta": {"channel": "Channel::Instagram"},
            "contact_inbox": {"contact_id": 88},
        },
        "sender": {"id": 88, "name": "Bia Prado", "identifier": "17841400000000000"},
        "contact": {"id": 88, "name": "Bia Prado", "identifier": "17841400000000000"},
    }


async def taken(harness: Harness, events: int = 0) -> dict[str, int]:
    """What an organization has of its webhooks, once so many of them are done."""
    if events:
        await harness.world.until(
            "select 1 from ingest.webhook_events where organization_id = %s and state <> 'PENDING'"
            " having count(*) = %s",
            harness.organization_id,
            events,
        )
    tables = ("ingest.webhook_events", "identity.contacts", "conversation.messages", "crm.deals")
    return {table: await harness.count(table) for table in tables}


@pytest.mark.req("IN-01")
async def test_it_says_that_it_is_there(harness: Harness) -> None:
    async with harness.session.get(harness.legacy_url) as response:
        assert response.status == 200
        assert (await response.json())["status"] == "ok"


@pytest.mark.req("IN-04")
async def test_a_nested_instagram_conversation_finds_its_organization(harness: Harness) -> None:
    assert await harness.post(nested(harness), legacy=True) == (200, {"success": True})
    rows = await harness.world.until(
        "select * from conversation.messaging_conversation_links where organization_id = %s", harness.organization_id
    )
    assert rows[0]["chatwoot_conversation_id"] == 4711
    identities = await harness.world.rows(
        "select * from identity.messaging_contact_identities where organization_id = %s", harness.organization_id
    )
    assert [(row["source"], row["external_id"]) for row in identities] == [("INSTAGRAM", "17841400000000000")]


@pytest.mark.req("ID-09")
async def test_once_a_signature_proves_whose_it_is_the_old_answers_remain(harness: Harness) -> None:
    own = str(harness.organization_id)

    async def ask(body: Mapping[str, Any] | bytes, organization: str = "") -> tuple[int, dict[str, Any]]:
        return await harness.post(body, legacy=True, organization=organization)

    ignored = {"success": True}
    assert await ask(nested(harness, inbox_id=99)) == (200, {**ignored, "ignored": "foreign_inbox"})
    no_inbox = {"event": "message_created", "account": {"id": harness.account_id}}
    assert await ask(orjson.dumps(no_inbox)) == (200, {**ignored, "ignored": "no_inbox_context"})
    # The header names whose secrets to try where the body cannot.
    assert await ask(b'{"event":"message_created"}', own) == (200, {**ignored, "ignored": "no_inbox_context"})
    assert await ask(b"[]", own) == (200, {**ignored, "ignored": "no_inbox_context"})
    elsewhere = orjson.dumps({**sample(INCOMING), "account": {"id": 55_555}})
    assert await ask(elsewhere, own) == (200, {**ignored, "ignored": "no_matching_tenant"})
    assert await ask(b"{", own) == (400, {"error": "Invalid JSON payload"})
    for organization in (str(uuid4()), "nobody"):
        assert await ask(nested(harness), organization) == (400, {"error": "Organization not found"})
    assert await harness.count("ingest.webhook_events") == 0
    assert await ask(nested(harness), own) == (200, {"success": True})


@pytest.mark.case("S2")
@pytest.mark.req("ID-09")
async def test_what_proves_nothing_is_answered_alike_whoever_is_there(
    harness: Harness, world: World, session: aiohttp.ClientSession
) -> None:
    """No answer tells accounts, inboxes, organizations or connections that exist from those that do not."""
    unsigned = await open_harness(world, session, secret="")
    now = int(world.clock.now().timestamp())
    bodies = {
        "of an account": harness.encoded(sample(INCOMING)),
        "of its foreign inbox": orjson.dumps(nested(harness, inbox_id=99)),
        "of a connection without a secret": unsigned.encoded(sample(INCOMING)),
        "of its contact": unsigned.encoded(sample(CONTACT)),
        "of nobody's account": orjson.dumps(changed(sample(INCOMING), account__id=55_555)),
        "without an account": b'{"event":"message_created"}',
        "not readable": b"{",
        "nothing": b"",
    }
    signed: dict[str, dict[str, str]] = {}
    for name, body in bodies.items():
        signed[f"{name}, unsigned"] = {}
        signed[f"{name}, forged"] = signed_request(body, OTHER_SECRET, str(uuid4()), now)
        signed[f"{name}, with an empty secret"] = signed_request(body, "", str(uuid4()), now)
        signed[f"{name}, old"] = signed_request(body, SECRET, str(uuid4()), now - 301)
        signed[f"{name}, with a fixed secret"] = {"X-Chatwoot-Signature": OTHER_SECRET}
        for organization in (harness.organization_id, unsigned.organization_id, uuid4()):
            signed[f"{name}, for {organization}"] = {
                **signed_request(body, OTHER_SECRET, str(uuid4()), now),
                "X-Organization-Id": str(organization),
            }
    answers = {}
    for name, headers in signed.items():
        body = bodies[name.partition(",")[0]]
        async with session.post(harness.legacy_url, data=body, headers=headers) as response:
            told = {key.lower(): value for key, value in response.headers.items()}
            kept = {key: value for key, value in told.items() if key not in ("x-correlation-id", "date")}
            answers[name] = response.status, await response.json(), kept
    (first, *_) = answers.values()
    assert first[:2] == UNPROVED
    assert {name: answer for name, answer in answers.items() if answer != first} == {}
    assert [await taken(item) for item in (harness, unsigned)] == [dict.fromkeys(await taken(harness), 0)] * 2


@pytest.mark.case("S1")
@pytest.mark.parametrize("secret", ["", OTHER_SECRET])
async def test_who_only_claims_an_account_neither_reads_nor_stops_its_webhooks(
    harness: Harness, world: World, session: aiohttp.ClientSession, secret: str
) -> None:
    claiming = await open_harness(world, session, account_id=harness.account_id, secret=secret)
    await connect_again(claiming, 20, secret)
    bodies = [
        changed(sample(INCOMING), id=9001),
        changed(sample(INCOMING), id=9002, inbox__id=99, conversation__inbox_id=99),
        sample(CONTACT),
    ]
    answers = [await harness.post(body, legacy=True) for body in bodies]
    assert answers == [
        (200, {"success": True}),
        (200, {"success": True, "ignored": "foreign_inbox"}),
        (200, {"success": True}),
    ]
    found = await taken(harness, 2)
    assert (found["ingest.webhook_events"], found["conversation.messages"]) == (2, 1)
    assert set((await taken(claiming)).values()) == {0}


async def connect_again(harness: Harness, times: int, secret: str) -> None:
    """More connections of an organization to the same account."""
    stub = harness.world.as_service("cli", harness.organization_id).stub(ConnectionServiceStub)
    for turn in range(times):
        await stub.CreateConnection(
            connection_pb.CreateConnectionRequest(
                name=f"again {turn}", account_id=harness.account_id, webhook_secret=f"{secret}-{turn}" if secret else ""
            )
        )


@pytest.mark.req("ID-09")
async def test_an_account_that_two_organizations_share_is_split_by_secret_and_by_inbox(
    world: World, session: aiohttp.ClientSession
) -> None:
    first = await open_harness(world, session, inboxes=[WHATSAPP_INBOX])
    second = await open_harness(world, session, account_id=first.account_id, secret=OTHER_SECRET)
    third = await open_harness(world, session, account_id=first.account_id, inboxes=[INSTAGRAM_INBOX])
    for harness, inbox_id, secret in (
        (first, WHATSAPP_INBOX, SECRET),
        (second, WHATSAPP_INBOX, OTHER_SECRET),
        (second, INSTAGRAM_INBOX, OTHER_SECRET),
        # Two that were given the very same secret: the one that has the inbox.
        (third, INSTAGRAM_INBOX, SECRET),
    ):
        assert await harness.post(nested(harness, inbox_id), secret=secret, legacy=True) == (200, {"success": True})
    counts = [await harness.count("ingest.webhook_events") for harness in (first, second, third)]
    assert counts == [1, 2, 1]


@pytest.mark.case("S1")
@pytest.mark.req("ID-09")
async def test_two_who_hold_the_same_secret_and_inbox_are_never_guessed_between(
    harness: Harness, world: World, session: aiohttp.ClientSession
) -> None:
    other = await open_harness(world, session, account_id=harness.account_id)
    assert await harness.post(nested(harness), legacy=True) == UNPROVED
    assert await harness.post(sample(CONTACT), legacy=True) == UNPROVED
    named = str(other.organization_id)
    assert await harness.post(nested(harness), legacy=True, organization=named) == (200, {"success": True})
    assert [await item.count("ingest.webhook_events") for item in (harness, other)] == [0, 1]


async def test_each_live_secret_and_each_live_fixed_secret_proves(world: World, session: aiohttp.ClientSession) -> None:
    harness = await open_harness(world, session, legacy_static_secret_end_time=Timestamp(seconds=4_000_000_000))
    connections = world.as_service("cli", harness.organization_id).stub(ConnectionServiceStub)
    added = connection_pb.AddWebhookSecretRequest(
        connection_id=harness.connection.connection_id, webhook_secret=OTHER_SECRET
    )
    await connections.AddWebhookSecret(added)
    for secret in (SECRET, OTHER_SECRET):
        assert await harness.post(nested(harness), secret=secret, legacy=True) == (200, {"success": True})
        for given in (secret, f"Bearer {secret}"):
            # Repeated on either address, while the next one is already live.
            for url in (harness.legacy_url, harness.webhook_url):
                body = orjson.dumps({**nested(harness), "turn": str(uuid4())})
                async with session.post(url, data=body, headers={"X-Chatwoot-Signature": given}) as response:
                    assert response.status == 200
    ended = connection_pb.UpdateConnectionRequest(
        connection_id=harness.connection.connection_id, legacy_static_secret_end_time=Timestamp(seconds=1)
    )
    await connections.UpdateConnection(ended)
    headers = {"X-Chatwoot-Signature": SECRET}
    async with session.post(harness.legacy_url, data=orjson.dumps(nested(harness)), headers=headers) as response:
        assert (response.status, await response.json()) == UNPROVED
