"""What comes twice, or fifty times at once, happens once."""

from __future__ import annotations

import asyncio
import base64
from typing import Any
from uuid import uuid4

import pytest

from prosa.conversation.v1.events_pb2 import MessageReceived
from tests.harness import Harness, changed, sample

INCOMING = "message_created.whatsapp_cloud.incoming"


async def snapshot(harness: Harness) -> dict[str, Any]:
    """Everything the organization has, but for the events that told it and the log of look-ups."""
    tables = (
        "identity.contacts",
        "identity.contact_identities",
        "identity.contact_aliases",
        "crm.deals",
        "conversation.conversations",
        "conversation.messages",
        "conversation.outbox",
        "crm.outbox",
    )
    found = {}
    for table in tables:
        rows = await harness.world.rows(
            f"select t::text as row from {table} t where organization_id = %s order by 1", harness.organization_id
        )
        found[table] = [row["row"] for row in rows]
    return found


@pytest.mark.req("ID-02", "ID-13")
async def test_fifty_first_messages_of_one_person_make_one_of_each(harness: Harness) -> None:
    bodies = []
    for number in range(50):
        body = changed(sample(INCOMING), id=700_000 + number, source_id=f"wamid.{number}", content=f"message {number}")
        body["conversation"]["messages"] = []
        bodies.append(body)
    events = await asyncio.gather(*(harness.deliver(body) for body in bodies))
    assert {event["state"] for event in events} == {"PROCESSED"}
    assert {table: await harness.count(table) for table in ONE_OF_EACH} == ONE_OF_EACH
    assert len({event["contact_id"] for event in events}) == 1
    assert len({event["deal_id"] for event in events}) == 1


ONE_OF_EACH = {
    "identity.contacts": 1,
    "identity.contact_identities": 1,
    "crm.deals": 1,
    "conversation.conversations": 1,
    "conversation.messages": 50,
}


@pytest.mark.req("IN-05")
@pytest.mark.parametrize(
    "name", ["conversation_created.instagram_login", INCOMING, "message_created.whatsapp_cloud.native_app_echo"]
)
async def test_redelivery_under_the_same_and_a_new_delivery_id_changes_nothing(harness: Harness, name: str) -> None:
    delivery_id = str(uuid4())
    first = await harness.deliver(sample(name), delivery_id=delivery_id)
    before = await snapshot(harness)
    again = await harness.deliver(sample(name), delivery_id=delivery_id)
    assert again["id"] == first["id"]
    other = await harness.deliver(sample(name))
    assert other["id"] != first["id"]
    assert (other["contact_id"], other["conversation_id"], other["deal_id"], other["message_id"]) == (
        first["contact_id"],
        first["conversation_id"],
        first["deal_id"] or other["deal_id"],
        first["message_id"],
    )
    assert await snapshot(harness) == before


@pytest.mark.req("IN-06")
async def test_two_channels_of_one_organization_stay_apart(harness: Harness) -> None:
    whatsapp = await harness.deliver(sample(INCOMING))
    instagram = await harness.deliver(sample("message_created.instagram_login.incoming_image"))
    assert whatsapp["contact_id"] != instagram["contact_id"]
    _, identities = await harness.get("/api/v1/identities")
    assert {identity["conversation_key"] for identity in identities["identities"]} == {
        "whatsapp:+5511900004821",
        "instagram:7733100045600121",
    }
    _, listed = await harness.get("/api/v1/conversations")
    channels = {conversation["source"]: conversation["channel_id"] for conversation in listed["conversations"]}
    assert len(set(channels.values())) == 2


@pytest.mark.req("ID-09")
async def test_an_inbox_that_is_no_channel_is_ignored_with_its_reason(harness: Harness) -> None:
    foreign = changed(sample(INCOMING), inbox__id=99, conversation__inbox_id=99)
    event = await harness.deliver(foreign)
    assert (event["state"], event["reason"]) == ("IGNORED", "FOREIGN_INBOX")
    assert await harness.count("identity.contacts") == 0


async def test_messages_of_one_conversation_keep_their_order(harness: Harness) -> None:
    for number in range(30):
        body = changed(sample(INCOMING), id=800_000 + number, source_id=f"wamid.8{number}", content=f"{number}")
        body["conversation"]["messages"] = []
        status, answer = await harness.post(body)
        assert status == 200
    await harness.done(answer["webhook_event_id"])
    facts = await harness.world.all_announced("conversation", harness.organization_id)
    heard = [fact.message.text for fact in facts if type(fact).__name__ == "MessageReceived"]  # type: ignore[attr-defined]
    assert heard == [str(number) for number in range(30)]
    rows = await harness.world.until(
        "select count(*) as found from ingest.feed where organization_id = %s"
        " and type = 'prosa.conversation.v1.MessageReceived' having count(*) = 30",
        harness.organization_id,
    )
    assert rows
    _, feed = await harness.get("/api/v1/feed", page_size="250", types="prosa.conversation.v1.MessageReceived")
    told = [MessageReceived.FromString(base64.b64decode(event["payload"])) for event in feed["events"]]
    assert [fact.message.text for fact in told] == heard
    # As written, not as told: the newest comes first.
    _, listed = await harness.get(f"/api/v1/conversations/{told[0].conversation_id}/messages", page_size="100")
    assert [message["text"] for message in listed["messages"]] == heard[::-1]
