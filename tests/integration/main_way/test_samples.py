"""Every recorded body: what must happen, and what must not."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.harness import SAMPLES, Harness, sample

WHATSAPP_KEY = "whatsapp:+5511900004821"
EVOLUTION_KEY = "whatsapp:+5521900007733"
INSTAGRAM_KEY = "instagram:7733100045600121"


@dataclass(frozen=True)
class Expected:
    """What one body alone leaves behind in an organization that knew nobody."""

    state: str = "PROCESSED"
    reason: str = ""
    contacts: int = 1
    deals: int = 0
    conversations: int = 1
    messages: int = 0
    key: str = WHATSAPP_KEY
    conversation: dict[str, Any] = field(default_factory=dict)
    message: dict[str, Any] = field(default_factory=dict)
    facts: tuple[str, ...] = ()


NOTHING = {"contacts": 0, "conversations": 0}

EXPECTED = {
    "contact_created.whatsapp_cloud": Expected(conversations=0),
    "contact_updated.name_and_email_changed": Expected(conversations=0),
    "conversation_created.api_evolution.no_messages": Expected(
        deals=1, key=EVOLUTION_KEY, conversation={"state": "PENDING", "unread_count": 0}, facts=("ConversationCreated",)
    ),
    "conversation_created.instagram_facebook_page": Expected(deals=1, key=""),
    "conversation_created.instagram_login": Expected(
        deals=1, key=INSTAGRAM_KEY, conversation={"state": "OPEN", "unread_count": 1, "source": "INSTAGRAM"}
    ),
    "conversation_created.whatsapp_cloud": Expected(deals=1, conversation={"state": "OPEN", "source": "WHATSAPP"}),
    "conversation_status_changed.whatsapp_cloud.resolved": Expected(
        conversation={"state": "RESOLVED", "labels": ["convenio", "lead-novo"], "deal_id": ""}
    ),
    "conversation_typing_on.agent": Expected(state="IGNORED", reason="TYPING", **NOTHING),  # type: ignore[arg-type]
    "conversation_updated.whatsapp_cloud.assignee_changed": Expected(conversation={"assignee_name": "Larissa Queiroz"}),
    "conversation_updated.whatsapp_cloud.label_added": Expected(conversation={"labels": ["convenio", "lead-novo"]}),
    "message_created.api_evolution.incoming": Expected(
        deals=1,
        messages=1,
        key=EVOLUTION_KEY,
        message={"direction": "INBOUND", "author": "CONTACT", "text": "Vi o anúncio. Ainda tem horário **sábado**?"},
        facts=("ConversationCreated", "MessageReceived"),
    ),
    "message_created.api_evolution.outgoing_echo": Expected(
        messages=1,
        key=EVOLUTION_KEY,
        conversation={"deal_id": ""},
        message={"direction": "OUTBOUND", "author": "NATIVE_APP"},
        facts=("ConversationCreated", "HandoffChanged", "MessageSent"),
    ),
    "message_created.instagram_login.incoming_image": Expected(
        deals=1, messages=1, key=INSTAGRAM_KEY, message={"direction": "INBOUND", "text": ""}
    ),
    "message_created.whatsapp_cloud.incoming": Expected(
        deals=1,
        messages=1,
        conversation={"unread_count": 1, "last_message_direction": "INBOUND"},
        message={
            "direction": "INBOUND",
            "text": "Oi, bom dia! Vocês atendem convênio? 😊",
            "provider_message_id": "5120",
        },
    ),
    "message_created.whatsapp_cloud.native_app_echo": Expected(
        messages=1, message={"direction": "OUTBOUND", "author": "NATIVE_APP"}, facts=("HandoffChanged", "MessageSent")
    ),
    "message_created.whatsapp_cloud.outgoing_agent": Expected(
        messages=1, message={"direction": "OUTBOUND", "author": "AGENT", "author_name": "Larissa Queiroz"}
    ),
    "message_created.whatsapp_cloud.template_greeting": Expected(
        messages=1, message={"direction": "OUTBOUND", "author": "AUTOMATION"}
    ),
    "message_updated.whatsapp_cloud.delivered": Expected(
        messages=1, message={"direction": "OUTBOUND", "state": "DELIVERED"}
    ),
}
HANDED_OVER = {"message_created.api_evolution.outgoing_echo", "message_created.whatsapp_cloud.native_app_echo"}


def test_every_recorded_body_is_spoken_for() -> None:
    assert set(EXPECTED) == {path.name.removesuffix(".json") for path in SAMPLES.glob("*.json")}


@pytest.mark.req("IN-03", "IN-04")
@pytest.mark.parametrize("name", sorted(EXPECTED))
async def test_a_recorded_body_leaves_what_it_must_and_nothing_else(harness: Harness, name: str) -> None:
    expected = EXPECTED[name]
    event = await harness.deliver(sample(name))
    assert (event["state"], event["reason"]) == (expected.state, expected.reason), event["detail"]
    assert await harness.count("identity.contacts") == expected.contacts
    assert await harness.count("identity.contact_identities") == expected.contacts
    assert await harness.count("crm.deals") == expected.deals
    assert await harness.count("conversation.conversations") == expected.conversations
    assert await harness.count("conversation.messages") == expected.messages
    assert await harness.count("ingest.dead_letters") == 0
    if expected.contacts and expected.key:
        _, identities = await harness.get("/api/v1/identities")
        assert [identity["conversation_key"] for identity in identities["identities"]] == [expected.key]
    if expected.conversations:
        await _check_conversation(harness, name, expected)
    announced = {
        type(fact).__name__ for fact in await harness.world.all_announced("conversation", harness.organization_id)
    }
    assert announced.issuperset(expected.facts)
    assert ("MessageReceived" in announced) == (expected.message.get("direction") == "INBOUND")


async def _check_conversation(harness: Harness, name: str, expected: Expected) -> None:
    _, listed = await harness.get("/api/v1/conversations")
    [conversation] = listed["conversations"]
    assert {key: conversation[key] for key in expected.conversation} == expected.conversation
    assert (conversation["handoff"]["mode"] == "HUMAN") == (name in HANDED_OVER)
    assert bool(conversation["deal_id"]) == bool(expected.deals)
    _, messages = await harness.get(f"/api/v1/conversations/{conversation['conversation_id']}/messages")
    assert len(messages["messages"]) == expected.messages
    if expected.message:
        [message] = messages["messages"]
        assert {key: message[key] for key in expected.message} == expected.message


async def test_a_changed_contact_takes_the_new_name_and_mail(harness: Harness) -> None:
    await harness.deliver(sample("contact_created.whatsapp_cloud"))
    await harness.deliver(sample("contact_updated.name_and_email_changed"))
    _, contacts = await harness.get("/api/v1/contacts")
    [contact] = contacts["contacts"]
    assert (contact["name"], contact["email"]) == ("Marina Teles de Souza", "marina.teles@exemplo.example")


async def test_an_image_comes_with_its_address(harness: Harness) -> None:
    event = await harness.deliver(sample("message_created.instagram_login.incoming_image"))
    _, messages = await harness.get(f"/api/v1/conversations/{event['conversation_id']}/messages")
    [attachment] = messages["messages"][0]["attachments"]
    assert (attachment["type"], attachment["size"]) == ("image", 214553)
    assert attachment["url"].startswith("https://lookaside.fbsbx.example/")


async def test_a_label_added_and_taken_away_moves_the_handoff(harness: Harness) -> None:
    labelled = sample("conversation_updated.whatsapp_cloud.label_added")
    labelled["labels"] = ["atendimento-humano"]
    await harness.deliver(labelled)
    _, listed = await harness.get("/api/v1/conversations")
    assert listed["conversations"][0]["handoff"]["mode"] == "HUMAN"
    labelled["labels"], labelled["updated_at"] = [], labelled["updated_at"] + 5
    await harness.deliver(labelled)
    _, listed = await harness.get("/api/v1/conversations")
    assert listed["conversations"][0]["handoff"]["mode"] == "AI"


async def test_a_stale_status_changes_nothing(harness: Harness) -> None:
    resolved = sample("conversation_status_changed.whatsapp_cloud.resolved")
    await harness.deliver(resolved)
    late = sample("conversation_updated.whatsapp_cloud.assignee_changed")
    assert late["updated_at"] < resolved["updated_at"]
    await harness.deliver(late)
    _, listed = await harness.get("/api/v1/conversations")
    assert listed["conversations"][0]["state"] == "RESOLVED"


async def test_no_secret_of_any_body_is_kept_anywhere(harness: Harness) -> None:
    secrets = set()
    for name in sorted(EXPECTED):
        body = sample(name)
        secrets |= set(_values(body, "pubsub_token"))
        await harness.deliver(body)
    assert len(secrets) >= 4
    columns = await harness.world.rows(
        "select table_schema as s, table_name as t from information_schema.tables"
        " where table_schema in ('identity', 'ingest', 'conversation', 'crm', 'outreach') and table_type = 'BASE TABLE'"
    )
    for place in columns:
        for row in await harness.world.rows(f'select t::text as found from "{place["s"]}"."{place["t"]}" t'):
            readable = row["found"] + _unhexed(row["found"])
            assert not any(secret in readable for secret in secrets), place
    events = await harness.world.rows("select id, body from ingest.webhook_events")
    for event in events:
        assert not any(secret.encode() in bytes(event["body"]) for secret in secrets)
    _, answered = await harness.get(f"/api/v1/webhook-events/{events[0]['id']}")
    assert not any(secret in str(answered) for secret in secrets)


def _unhexed(text: str) -> str:
    """The bytea values of a row written as text, readable."""
    values = [part for part in text.split('"') if part.startswith("\\\\x")]
    return "".join(bytes.fromhex(value[3:]).decode("utf-8", "replace") for value in values)


def _values(value: Any, name: str) -> list[str]:
    if isinstance(value, dict):
        own = [value[name]] if isinstance(value.get(name), str) else []
        return own + [found for child in value.values() for found in _values(child, name)]
    if isinstance(value, list):
        return [found for child in value for found in _values(child, name)]
    return []
