"""Edits and deletions belong to their message, whichever provider tells of them, and nobody is to answer them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import aiohttp
import pytest

from prosa.conversation.v1.events_pb2 import MessageReceived, MessageUpdated, TurnGathered
from tests.evolution import PHONE, Admin
from tests.harness import Harness, changed, open_harness, sample
from tests.integration.outreach.test_kill_and_policy import Rest
from tests.world import ADMIN, World

pytestmark = pytest.mark.asyncio(loop_scope="session")

FIRST, SECOND, OTHER = "Tem vaga sábado?", "Tem vaga domingo?", "Bom dia"
TURNS = "select message_ids from conversation.turns where organization_id = %s and state = 'GATHERED' order by turn_id"
Change = Callable[[], Awaitable[Any]]


async def answered_at_once(harness: Harness) -> None:
    """Has each message be a turn of its own."""
    admin = Rest(harness.world, harness.organization_id, ADMIN)
    status, answer = await admin.call("PATCH", "/conversation-settings", {"debounce_seconds": 0})
    assert status == 200, answer


async def edited_once(harness: Harness, conversation_id: str, edit: Change, delete: Change, another: Change) -> None:
    """Has the only message of a conversation edited, told so twice, and taken back; then ``another`` person writes."""
    world, organization_id = harness.world, harness.organization_id
    await world.until(TURNS, organization_id)
    _, before = await harness.get(f"/api/v1/conversations/{conversation_id}")
    _, listed = await harness.get(f"/api/v1/conversations/{conversation_id}/messages")
    [first] = listed["messages"]
    assert (first["text"], first["original_text"], before["unread_count"]) == (FIRST, "", 1)

    for _ in range(2):
        await edit()
    _, after = await harness.get(f"/api/v1/conversations/{conversation_id}")
    _, listed = await harness.get(f"/api/v1/conversations/{conversation_id}/messages")
    [message] = listed["messages"]
    # The same message in two versions.
    assert message["message_id"] == first["message_id"]
    assert (message["text"], message["original_text"]) == (SECOND, FIRST)
    assert (message["direction"], message["author"]) == ("INBOUND", "CONTACT")
    assert after["unread_count"] == before["unread_count"]
    assert len(await world.announced(MessageReceived, organization_id)) == 1
    [told] = await world.announced(MessageUpdated, organization_id)
    assert (told.message.text, told.message.original_text) == (SECOND, FIRST)

    await delete()
    _, listed = await harness.get(f"/api/v1/conversations/{conversation_id}/messages")
    [message] = listed["messages"]
    assert (message["deleted"], message["deleted_by_contact"], message["text"]) == (True, True, "")
    assert message["original_text"] == ""
    # Neither was a turn: what another person wrote after it all is the next one.
    await another()
    await world.until(
        "select 1 from conversation.turns where organization_id = %s and state = 'GATHERED' having count(*) = 2",
        organization_id,
    )
    turns = await world.rows(TURNS, organization_id)
    assert turns[0] == {"message_ids": [first["message_id"]]}
    facts = await world.announced(TurnGathered, organization_id)
    assert [[each.text for each in fact.messages] for fact in facts] == [[FIRST], [OTHER]]


@pytest.mark.req("IN-21")
async def test_an_edit_through_a_number_is_a_second_version_and_no_turn(admin: Admin) -> None:
    await answered_at_once(admin.harness)
    _, instance = await admin.connected()
    phone = admin.fake.world
    message_id = phone.person_writes(instance, PHONE, FIRST, "Marisa")
    [event] = await admin.done(1)
    updates = 0

    async def edit() -> None:
        nonlocal updates
        updates += 1
        phone.person_edits(instance, PHONE, message_id, SECOND)
        await admin.done(updates, "messages.update")

    async def delete() -> None:
        phone.person_deletes(instance, PHONE, message_id)
        await admin.done(1, "messages.delete")

    async def another() -> None:
        phone.person_writes(instance, "+5511900004822", OTHER, "Rui")

    await edited_once(admin.harness, str(event["conversation_id"]), edit, delete, another)
    assert await admin.harness.count("crm.deals") == 2


@pytest.mark.req("IN-21")
async def test_an_edit_through_chatwoot_is_a_second_version_and_no_turn(
    world: World, session: aiohttp.ClientSession
) -> None:
    harness = await open_harness(world, session)
    await answered_at_once(harness)
    now = world.clock.now()
    # Evolution's bridge writes an edit as one more message of Chatwoot, under the network's old id.
    body = changed(sample("message_created.api_evolution.incoming"), content=FIRST, created_at=now.isoformat())
    event = await harness.deliver(body)
    second = changed(body, id=body["id"] + 1, content=SECOND, created_at=(now + timedelta(seconds=30)).isoformat())

    async def edit() -> None:
        await harness.deliver(second)

    async def delete() -> None:
        gone = {"deleted": True, "deleted_by_contact": True}
        await harness.deliver(changed(second, event="message_updated", content_attributes=gone))

    async def another() -> None:
        person = {"id": 978, "phone_number": "+5521988880978", "identifier": "5521988880978@s.whatsapp.net"}
        body["conversation"]["meta"]["sender"] |= person
        body["conversation"]["contact_inbox"] |= {"source_id": "another-uuid", "contact_id": 978}
        await harness.deliver(
            changed(body, id=body["id"] + 2, content=OTHER, source_id="WAID:3EB0OTHER00000000001", conversation__id=409)
        )

    await edited_once(harness, str(event["conversation_id"]), edit, delete, another)
