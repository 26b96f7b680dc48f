"""What is one message and what is another, told by Chatwoot's ids, the network's ids and what contradicts them."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest

from prosa.conversation.v1 import events_pb2
from tests.harness import Harness, changed, sample

COPIED = "message_created.api_evolution.incoming"
INCOMING = "message_created.whatsapp_cloud.incoming"
RESOLVED = "conversation_status_changed.whatsapp_cloud.resolved"
FACTS = (events_pb2.MessageReceived, events_pb2.MessageUpdated, events_pb2.MessageSent)


async def facts(harness: Harness) -> list[str]:
    """The texts of what was told of messages, with the kind of each fact, in their order."""
    told = await harness.world.all_announced("conversation", harness.organization_id)
    return [f"{type(fact).__name__}: {fact.message.text}" for fact in told if isinstance(fact, FACTS)]


async def messages(harness: Harness, conversation_id: object) -> list[dict[str, Any]]:
    """A conversation's messages as they are read, the oldest first."""
    status, listed = await harness.get(f"/api/v1/conversations/{conversation_id}/messages")
    assert status == 200
    found: list[dict[str, Any]] = listed["messages"]
    return found[::-1]


def copy_of(body: dict[str, Any], place: int, **changes: Any) -> dict[str, Any]:
    """The body as Chatwoot sends it for one more message that it made of the same one."""
    written = datetime.fromisoformat(body["created_at"]) + timedelta(seconds=90 * place)
    return changed(body, id=body["id"] + place, created_at=written.isoformat(), **changes)


@pytest.mark.case("F05")
class TestOneMessageToldSeveralTimes:
    async def test_five_copies_are_one_message_and_another_text_is_its_edit(self, harness: Harness) -> None:
        body = sample(COPIED)
        delivered = [await harness.deliver(copy_of(body, place)) for place in range(5)]
        assert {event["state"] for event in delivered} == {"PROCESSED"}
        assert len({event["message_id"] for event in delivered}) == 1
        [message] = await messages(harness, delivered[0]["conversation_id"])
        assert (message["text"], message["copy_count"]) == (body["content"], 4)
        assert await facts(harness) == [f"MessageReceived: {body['content']}"]

        await harness.deliver(copy_of(body, 5, content="Tem horário domingo?"))
        [edited] = await messages(harness, delivered[0]["conversation_id"])
        assert (edited["text"], edited["copy_count"]) == ("Tem horário domingo?", 4)
        assert await facts(harness) == [
            f"MessageReceived: {body['content']}",
            "MessageUpdated: Tem horário domingo?",
        ]
        # The first text told once more is a copy of what was edited, and no edit back.
        await harness.deliver(copy_of(body, 6))
        [still] = await messages(harness, delivered[0]["conversation_id"])
        assert (still["text"], still["copy_count"]) == ("Tem horário domingo?", 5)
        assert await harness.count("conversation.messages") == 1

    async def test_copies_that_come_in_one_batch_and_are_replayed_are_counted_once(self, harness: Harness) -> None:
        body = sample(COPIED)
        answers = await asyncio.gather(*(harness.post(copy_of(body, place)) for place in range(8)))
        events = [await harness.done(answer["webhook_event_id"]) for _, answer in answers]
        for event in events[:3]:
            status, _ = await harness.send(f"/api/v1/webhook-events/{event['id']}:replay", {})
            assert status == 200
            await harness.world.until(
                "select 1 from ingest.webhook_events where id = %s and state = 'PROCESSED' and process_time > %s",
                event["id"],
                event["process_time"],
            )
        [message] = await messages(harness, events[0]["conversation_id"])
        assert message["copy_count"] == 7
        assert len(await facts(harness)) == 1

    async def test_a_copy_in_the_persons_next_conversation_is_no_new_message(self, harness: Harness) -> None:
        body = sample(COPIED)
        first = await harness.deliver(body)
        later = copy_of(body, 1, conversation__id=401, conversation__created_at=1784560001)
        second = await harness.deliver(later)
        assert second["state"] == "PROCESSED"
        assert second["conversation_id"] != first["conversation_id"]
        assert len(await facts(harness)) == 1
        assert [message["copy_count"] for message in await messages(harness, first["conversation_id"])] == [1]
        assert await messages(harness, second["conversation_id"]) == []
        # A word on the copy's own id, in its own conversation, is none on a message that is not there.
        status = await harness.deliver({**later, "event": "message_updated"})
        assert status["state"] == "PROCESSED"
        assert len(await facts(harness)) == 1

    async def test_another_person_who_uses_the_id_writes_a_message_of_their_own(self, harness: Harness) -> None:
        body = sample(COPIED)
        await harness.deliver(body)
        stranger = copy_of(body, 1, content="Apagado?")
        stranger["conversation"] |= {"id": 402}
        stranger["conversation"]["contact_inbox"] |= {"source_id": "another-uuid", "contact_id": 977}
        stranger["conversation"]["meta"]["sender"] |= {
            "id": 977,
            "phone_number": "+5521988880977",
            "identifier": "5521988880977@s.whatsapp.net",
        }
        event = await harness.deliver(stranger)
        assert [message["text"] for message in await messages(harness, event["conversation_id"])] == ["Apagado?"]
        assert await facts(harness) == [f"MessageReceived: {body['content']}", "MessageReceived: Apagado?"]

    async def test_another_text_under_one_id_of_meta_is_another_message(self, harness: Harness) -> None:
        body = sample(INCOMING)
        texts = ("Oi", "Oi", "Tudo bem?")
        delivered = [await harness.deliver(copy_of(body, place, content=text)) for place, text in enumerate(texts)]
        found = await messages(harness, delivered[0]["conversation_id"])
        assert [(message["text"], message["copy_count"]) for message in found] == [("Oi", 1), ("Tudo bem?", 0)]

    async def test_a_fork_that_writes_the_bare_id_of_whatsapp_is_read_like_the_others(self, harness: Harness) -> None:
        body = changed(sample(COPIED), source_id="3EB0C7D1A9F24E5B8A6012")
        delivered = [await harness.deliver(copy_of(body, place)) for place in range(3)]
        assert [message["copy_count"] for message in await messages(harness, delivered[0]["conversation_id"])] == [2]

    @pytest.mark.parametrize("source_id", [None, "campanha-black-friday", "1", "WAID:", "WAID:undefined"])
    async def test_what_is_no_id_of_the_network_makes_nothing_the_same(
        self, harness: Harness, source_id: str | None
    ) -> None:
        body = changed(sample(COPIED), source_id=source_id)
        delivered = [await harness.deliver(copy_of(body, place)) for place in range(2)]
        assert len(await messages(harness, delivered[0]["conversation_id"])) == 2

    async def test_a_copy_that_staff_tidy_away_leaves_the_message(self, harness: Harness) -> None:
        body = sample(COPIED)
        await harness.deliver(body)
        copied = copy_of(body, 1)
        event = await harness.deliver(copied)
        tidied = {**copied, "event": "message_updated", "content": "Apagada", "content_attributes": {"deleted": True}}
        await harness.deliver(tidied)
        [message] = await messages(harness, event["conversation_id"])
        assert (message["text"], message["deleted"]) == (body["content"], False)
        # Who wrote it may take it back by whichever of its ids Chatwoot finds.
        await harness.deliver({**tidied, "content_attributes": {"deleted": True, "deleted_by_contact": True}})
        [message] = await messages(harness, event["conversation_id"])
        assert (message["text"], message["deleted"], message["deleted_by_contact"]) == ("", True, True)


NEWCOMER = {
    "id": 991,
    "name": "Otávio Reis",
    "phone_number": "+5571988880991",
    "identifier": None,
    "email": None,
}


def restored(body: dict[str, Any], evidence: str) -> dict[str, Any]:
    """What Chatwoot tells under the same ids after it was put back from a backup, an hour later, of somebody else."""
    later = (datetime.fromisoformat(body["created_at"]) + timedelta(hours=1)).isoformat()
    told = changed(body, content="Boa tarde, aqui é o Otávio")
    conversation = told["conversation"]
    conversation["meta"]["sender"] |= NEWCOMER
    conversation["contact_inbox"] |= {"contact_id": 991, "source_id": "5571988880991", "id": 950}
    conversation["updated_at"] += 3600
    told["sender"] |= NEWCOMER
    if evidence in ("everything", "time"):
        told["created_at"] = later
        conversation["created_at"] += 3600
    if evidence in ("everything", "source"):
        told["source_id"] = "wamid.OUTRO0001"
    return told


@pytest.mark.case("F19")
class TestAnotherThingUnderAUsedId:
    @pytest.mark.parametrize("evidence", ["everything", "time", "source"])
    async def test_a_restored_chatwoot_overwrites_nobody_and_loses_nothing(
        self, harness: Harness, evidence: str
    ) -> None:
        body = sample(INCOMING)
        first = await harness.deliver(body)
        told = restored(body, evidence)
        second = await harness.deliver(told)
        assert second["state"] == "PROCESSED", second
        assert second["conversation_id"] != first["conversation_id"]
        assert second["contact_id"] != first["contact_id"]
        assert [m["text"] for m in await messages(harness, first["conversation_id"])] == [body["content"]]
        assert [m["text"] for m in await messages(harness, second["conversation_id"])] == [told["content"]]
        for event in (first, second):
            _, conversation = await harness.get(f"/api/v1/conversations/{event['conversation_id']}")
            assert conversation["contact_id"] == str(event["contact_id"])
        assert await facts(harness) == [f"MessageReceived: {body['content']}", f"MessageReceived: {told['content']}"]

        # What is told of either from now on finds its own, in whatever order, and twice changes nothing.
        for event, again in ((first, body), (second, told), (first, body)):
            repeated = await harness.deliver(again)
            assert (repeated["conversation_id"], repeated["message_id"]) == (
                event["conversation_id"],
                event["message_id"],
            )
        assert len(await facts(harness)) == 2
        assert await harness.count("conversation.conversations") == 2
        assert await harness.count("conversation.messages") == 2

    async def test_a_status_of_the_new_conversation_leaves_the_old_one_open(self, harness: Harness) -> None:
        body = sample(INCOMING)
        first = await harness.deliver(body)
        second = await harness.deliver(restored(body, "everything"))
        resolved = {**restored(body, "everything")["conversation"], "event": "conversation_status_changed"}
        resolved |= {"status": "resolved", "updated_at": resolved["updated_at"] + 60}
        done = await harness.deliver(resolved)
        assert done["conversation_id"] == second["conversation_id"]
        states = {}
        for event in (first, second):
            _, conversation = await harness.get(f"/api/v1/conversations/{event['conversation_id']}")
            states[event["conversation_id"]] = conversation["state"]
        assert states == {first["conversation_id"]: "OPEN", second["conversation_id"]: "RESOLVED"}

    async def test_a_used_message_id_in_a_new_conversation_is_a_new_message(self, harness: Harness) -> None:
        body = sample(INCOMING)
        first = await harness.deliver(body)
        told = restored(body, "everything")
        told["conversation"]["id"] = 777
        second = await harness.deliver(told)
        assert second["state"] == "PROCESSED", second
        assert [m["text"] for m in await messages(harness, first["conversation_id"])] == [body["content"]]
        assert [m["text"] for m in await messages(harness, second["conversation_id"])] == [told["content"]]

    async def test_a_used_message_id_of_the_same_person_is_a_new_message_too(self, harness: Harness) -> None:
        body = sample(INCOMING)
        first = await harness.deliver(body)
        later = (datetime.fromisoformat(body["created_at"]) + timedelta(hours=1)).isoformat()
        await harness.deliver(changed(body, created_at=later, source_id="wamid.OUTRO0002", content="E amanhã?"))
        assert [m["text"] for m in await messages(harness, first["conversation_id"])] == [body["content"], "E amanhã?"]
        assert len(await facts(harness)) == 2

    async def test_a_merge_of_two_contacts_still_moves_the_thread(self, harness: Harness) -> None:
        body = sample(INCOMING)
        first = await harness.deliver(body)
        merged = changed(body, id=body["id"] + 1, content="Sou eu ainda", source_id="wamid.DEPOIS01")
        merged["conversation"]["meta"]["sender"] |= NEWCOMER
        merged["conversation"]["contact_inbox"]["contact_id"] = 991
        merged["conversation"]["updated_at"] += 60
        second = await harness.deliver(merged)
        assert second["conversation_id"] == first["conversation_id"]

    @pytest.mark.parametrize("evidence", ["everything", "conversation"])
    async def test_a_used_reaction_id_is_another_persons_reaction(self, harness: Harness, evidence: str) -> None:
        bodies = [sample(INCOMING), restored(sample(INCOMING), evidence)]
        bodies[1]["conversation"]["id"] = 777
        bodies[1] |= {"id": bodies[0]["id"] + 1, "source_id": "wamid.OUTRO0003"}
        told = [await harness.deliver(body) for body in bodies]
        reactions = []
        for body, emoji, network_id in zip(bodies, ("👍", "😡"), ("wamid.REACAO01", "wamid.REACAO02"), strict=True):
            attributes = {"is_reaction": True, "in_reply_to": body["id"]}
            reactions.append(changed(body, id=9_007, content=emoji, source_id=network_id))
            reactions[-1]["content_attributes"] = attributes
        # Told again, and the second one taken back: each word finds its own.
        gone = changed(reactions[1], event="message_updated", content="Esta mensagem foi excluída")
        gone["content_attributes"]["deleted"] = True
        shown = []
        for reaction in (*reactions, *reactions, gone):
            event = await harness.deliver(reaction)
            assert event["state"] == "PROCESSED", event
            found = [await messages(harness, event["conversation_id"]) for event in told]
            shown.append([[one["text"] for one in message["reactions"]] for [message] in found])
        assert shown == [[["👍"], []], *[[["👍"], ["😡"]]] * 3, [["👍"], []]]
        changes = await harness.world.announced(events_pb2.MessageReactionChanged, harness.organization_id)
        assert [change.message_id for change in changes] == [str(told[place]["message_id"]) for place in (0, 1, 1)]

    async def test_a_used_reaction_id_of_the_same_person_is_a_new_reaction(self, harness: Harness) -> None:
        body = sample(INCOMING)
        first = await harness.deliver(body)
        reaction = changed(body, id=9_007, content="👍", source_id="wamid.REACAO01")
        reaction["content_attributes"] = {"is_reaction": True, "in_reply_to": body["id"]}
        later = (datetime.fromisoformat(body["created_at"]) + timedelta(hours=1)).isoformat()
        second = changed(body, id=body["id"] + 1, created_at=later, source_id="wamid.OUTRO0004", content="E amanhã?")
        await harness.deliver(second)
        await harness.deliver(reaction)
        again = changed(reaction, content="😡", created_at=later)
        again["content_attributes"] = {"is_reaction": True, "in_reply_to": second["id"]}
        await harness.deliver(again)
        found = await messages(harness, first["conversation_id"])
        assert [[one["text"] for one in message["reactions"]] for message in found] == [["👍"], ["😡"]]

    async def test_one_delivery_id_with_three_bodies_is_three_events(self, harness: Harness) -> None:
        bodies = [changed(sample(INCOMING), id=6000 + place, content=f"parte {place}") for place in range(3)]
        for place, body in enumerate(bodies):
            body["source_id"] = f"wamid.PARTE{place}"
        answers = [await harness.post(body, delivery_id="one-and-the-same") for body in bodies * 2]
        ids = [answer["webhook_event_id"] for _, answer in answers]
        assert len(set(ids)) == 3
        assert ids[:3] == ids[3:]
        for webhook_event_id in ids[:3]:
            assert (await harness.done(webhook_event_id))["state"] == "PROCESSED"
        assert sorted(await facts(harness)) == [f"MessageReceived: parte {place}" for place in range(3)]


@pytest.mark.case("F03")
class TestAKnownConversation:
    async def test_it_takes_what_names_nobody_any_more_by_whatever_reference(self, harness: Harness) -> None:
        body = sample(COPIED)
        first = await harness.deliver(body)
        nameless = copy_of(body, 1, source_id="WAID:3EB0OUTRA", content="Ainda aqui")
        # Not even the references of the person are known: all that is left is the conversation itself.
        nameless["conversation"]["meta"]["sender"] |= {"id": 9152, "phone_number": None, "identifier": None}
        nameless["conversation"]["contact_inbox"]["contact_id"] = 9152
        nameless["sender"] |= {"id": 9152, "phone_number": None, "identifier": None}
        del nameless["conversation"]["contact_inbox"]["source_id"]
        event = await harness.deliver(nameless)
        assert (event["state"], event["conversation_id"]) == ("PROCESSED", first["conversation_id"]), event
        assert event["contact_id"] == first["contact_id"]
        resolved = {**nameless["conversation"], "event": "conversation_status_changed", "status": "resolved"}
        resolved["updated_at"] += 60
        await harness.deliver(resolved)
        _, conversation = await harness.get(f"/api/v1/conversations/{first['conversation_id']}")
        assert (conversation["state"], conversation["contact_id"]) == ("RESOLVED", str(first["contact_id"]))
        assert await facts(harness) == [f"MessageReceived: {body['content']}", "MessageReceived: Ainda aqui"]
        assert await harness.count("identity.contacts") == 1

        # Another conversation, or another one under its id, says nothing of who it is.
        for changes in ({"conversation__id": 9_999}, {"conversation__created_at": 1784550001 + 7_200}):
            stranger = await harness.deliver(changed(nameless, id=9_000_001, source_id="WAID:3EB0ALHEIA", **changes))
            assert (stranger["state"], stranger["reason"]) == ("DEAD_LETTER", "NO_VALID_IDENTITY"), stranger
        assert len(await facts(harness)) == 2
