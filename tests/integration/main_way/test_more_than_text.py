"""What Chatwoot tells as a message and is none to answer: reactions, answers in forms, deletions; files that expire."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1 import events_pb2
from tests.harness import Harness, changed, sample

INCOMING = "message_created.whatsapp_cloud.incoming"
OUTGOING = "message_created.whatsapp_cloud.outgoing_agent"
IMAGE = "message_created.instagram_login.incoming_image"


def reaction_to(body: dict[str, Any], emoji: str = "👍", **changes: Any) -> dict[str, Any]:
    """The body as Chatwoot tells an emoji that the contact puts on its message."""
    reaction = changed(body, id=body["id"] + 7, content=emoji, source_id="wamid.REACAO01", **changes)
    reaction["content_attributes"] = {"is_reaction": True, "in_reply_to": body["id"]}
    reaction["conversation"]["unread_count"] = 9
    reaction["conversation"]["updated_at"] += 60
    return reaction


def taken_back(reaction: dict[str, Any]) -> dict[str, Any]:
    """The same reaction, taken back."""
    told = changed(reaction, event="message_updated", content="Esta mensagem foi excluída")
    told["content_attributes"]["deleted"] = True
    return told


async def read(harness: Harness, event: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The event's conversation and its messages, as they are read."""
    _, conversation = await harness.get(f"/api/v1/conversations/{event['conversation_id']}")
    _, listed = await harness.get(f"/api/v1/conversations/{event['conversation_id']}/messages")
    return conversation, listed["messages"]


async def told(harness: Harness) -> list[str]:
    """The kinds of facts that conversation has told, in their order."""
    return [type(fact).__name__ for fact in await harness.world.all_announced("conversation", harness.organization_id)]


@pytest.mark.case("F06")
class TestReactions:
    async def test_a_reaction_is_told_as_one_and_taken_back(self, harness: Harness) -> None:
        body = sample(INCOMING)
        before, _ = await read(harness, first := await harness.deliver(body))
        event = await harness.deliver(reaction_to(body))
        assert (event["state"], event["message_id"]) == ("PROCESSED", first["message_id"])
        conversation, [message] = await read(harness, event)
        assert conversation["unread_count"] == before["unread_count"]
        assert conversation["last_message_preview"] == body["content"]
        assert [(one["text"], one["direction"]) for one in message["reactions"]] == [("👍", "INBOUND")]
        assert await told(harness) == ["ConversationCreated", "MessageReceived", "MessageReactionChanged"]
        [fact] = await harness.world.announced(events_pb2.MessageReactionChanged, harness.organization_id)
        assert fact.message_id == message["message_id"]
        assert (fact.provider_message_id, fact.contact_id) == (str(body["id"]), conversation["contact_id"])
        assert (fact.reaction.text, fact.reaction.removed) == ("👍", False)

        await harness.deliver(taken_back(reaction_to(body)))
        _, [message] = await read(harness, event)
        assert message["reactions"] == []
        _, fact = await harness.world.announced(events_pb2.MessageReactionChanged, harness.organization_id)
        assert (fact.reaction.text, fact.reaction.removed) == ("", True)
        # In any order, and twice: what was taken back stays so.
        await harness.deliver(reaction_to(body))
        await harness.deliver(taken_back(reaction_to(body)))
        assert len(await harness.world.announced(events_pb2.MessageReactionChanged, harness.organization_id)) == 2
        assert await harness.count("conversation.messages") == 1

    @pytest.mark.parametrize("in_order", [True, False])
    async def test_a_reaction_alone_makes_no_deal_and_no_turn(self, harness: Harness, in_order: bool) -> None:
        reaction = reaction_to(sample(INCOMING))
        for body in (reaction, taken_back(reaction))[:: 1 if in_order else -1]:
            event = await harness.deliver(body)
            assert event["state"] == "PROCESSED", event
            assert event["deal_id"] is None
        assert await harness.count("crm.deals") == 0
        assert await harness.count("conversation.messages") == 0
        assert set(await told(harness)) == {"ConversationCreated", "MessageReactionChanged"}
        conversation, _ = await read(harness, event)
        assert (conversation["unread_count"], conversation["last_message_preview"]) == (0, "")

    async def test_a_reaction_finds_its_message_by_the_networks_id(self, harness: Harness) -> None:
        body = sample(INCOMING)
        await harness.deliver(body)
        reaction = reaction_to(body, "❤️")
        reaction["content_attributes"] = {"is_reaction": True, "in_reply_to_external_id": body["source_id"]}
        _, [message] = await read(harness, await harness.deliver(reaction))
        assert [one["text"] for one in message["reactions"]] == ["❤️"]

    async def test_another_emoji_takes_the_place_of_the_first(self, harness: Harness) -> None:
        body = sample(INCOMING)
        await harness.deliver(body)
        await harness.deliver(reaction_to(body))
        later = (datetime.fromisoformat(body["created_at"]) + timedelta(minutes=5)).isoformat()
        second = changed(reaction_to(body, "❤️"), id=body["id"] + 8, source_id="wamid.REACAO02", created_at=later)
        _, [message] = await read(harness, await harness.deliver(second))
        assert [one["text"] for one in message["reactions"]] == ["❤️"]

    async def test_a_reaction_of_staff_on_the_phone_takes_no_conversation_over(self, harness: Harness) -> None:
        body = sample(INCOMING)
        await harness.deliver(body)
        reaction = reaction_to(body, message_type="outgoing", sender=None)
        reaction["content_attributes"]["external_echo"] = True
        conversation, [message] = await read(harness, await harness.deliver(reaction))
        assert conversation["handoff"]["mode"] == "AI"
        assert [(one["direction"], one["author"]) for one in message["reactions"]] == [("OUTBOUND", "NATIVE_APP")]


@pytest.mark.case("F06")
class TestAnswersAndDeletions:
    @pytest.mark.parametrize(
        ("attributes", "answers"),
        [
            (
                {"submitted_values": [{"title": "Sábado", "value": "sat"}]},
                [{"name": "", "title": "Sábado", "value": "sat"}],
            ),
            (
                {"submitted_values": [{"name": "cpf", "value": 123}, None, "x", {}]},
                [{"name": "cpf", "title": "", "value": "123"}],
            ),
            (
                {"submitted_values": {"csat_survey_response": {"rating": 5, "feedback_message": "Ótimo"}}},
                [
                    {"name": "rating", "title": "", "value": "5"},
                    {"name": "feedback_message", "title": "", "value": "Ótimo"},
                ],
            ),
            ({"submitted_email": "ana@example.com"}, [{"name": "email", "title": "", "value": "ana@example.com"}]),
        ],
    )
    async def test_an_answer_in_a_form_is_told_of_the_message_and_is_no_turn(
        self, harness: Harness, attributes: dict[str, Any], answers: list[dict[str, str]]
    ) -> None:
        form = changed(sample(OUTGOING), content_type="input_select")
        await harness.deliver(form)
        answered = changed(form, event="message_updated", content_attributes=attributes)
        event = await harness.deliver(answered)
        _, [message] = await read(harness, event)
        assert message["submitted_values"] == answers
        await harness.deliver(answered)
        assert await told(harness) == ["ConversationCreated", "MessageSent", "MessageUpdated"]
        assert await harness.count("crm.deals") == 0

    @pytest.mark.parametrize("kind", ["message_created", "message_updated"])
    async def test_what_its_contact_took_back_before_it_was_heard_of_is_nothing_to_answer(
        self, harness: Harness, kind: str
    ) -> None:
        written = harness.world.clock.now().isoformat()
        body = changed(
            sample(INCOMING), event=kind, created_at=written, content_attributes={"deleted_by_contact": True}
        )
        event = await harness.deliver(body)
        conversation, [message] = await read(harness, event)
        assert (message["text"], message["deleted"], message["deleted_by_contact"]) == ("", True, True)
        assert await told(harness) == ["ConversationCreated", "MessageUpdated"]
        assert (event["deal_id"], await harness.count("crm.deals")) == (None, 0)
        assert conversation["last_message_preview"] == ""

    async def test_what_its_contact_took_back_later_is_emptied_and_told_so(self, harness: Harness) -> None:
        body = sample(INCOMING)
        await harness.deliver(body)
        gone = changed(body, event="message_updated", content_attributes={"deleted_by_contact": True})
        _, [message] = await read(harness, await harness.deliver(gone))
        assert (message["text"], message["deleted"], message["deleted_by_contact"]) == ("", True, True)
        [fact] = await harness.world.announced(events_pb2.MessageUpdated, harness.organization_id)
        assert fact.message.deleted_by_contact
        assert fact.message.direction == pb.MESSAGE_DIRECTION_INBOUND


@pytest.mark.case("F34")
class TestMediaThatExpires:
    async def attachment(self, harness: Harness, address: str, **attributes: Any) -> dict[str, Any]:
        """The one file of an image from Instagram."""
        body = changed(sample(IMAGE), content_attributes={"in_reply_to_external_id": None, **attributes})
        body["attachments"][0]["data_url"] = body["attachments"][0]["thumb_url"] = address
        _, [message] = await read(harness, await harness.deliver(body))
        [found] = message["attachments"]
        return dict(found)

    @pytest.mark.parametrize("image_type", ["ig_story", "ig_story_reply", "story_mention"])
    async def test_a_story_is_marked_with_the_day_that_it_lives(self, harness: Harness, image_type: str) -> None:
        address = "https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id=17900000001&signature=exemplo"
        found = await self.attachment(harness, address, image_type=image_type, story_id="1790")
        written = datetime.fromisoformat(sample(IMAGE)["created_at"])
        assert (found["url"], found["expiring"]) == (address, True)
        assert datetime.fromisoformat(found["expire_time"]) == written + timedelta(hours=24)

    async def test_an_address_that_says_its_end_is_believed(self, harness: Harness) -> None:
        end = datetime(2026, 7, 23, 8, 0, tzinfo=UTC)
        address = f"https://scontent.cdninstagram.com/v/t51/1.jpg?oh=00&oe={int(end.timestamp()):X}"
        found = await self.attachment(harness, address)
        assert found["expiring"]
        assert datetime.fromisoformat(found["expire_time"]) == end

    @pytest.mark.parametrize(
        ("address", "expiring"),
        [
            ("https://lookaside.fbsbx.com/ig_messaging_cdn/?asset_id=1", True),
            ("https://scontent.cdninstagram.com/v/1.jpg?oe=zz", True),
            ("https://chat.sorrisopleno.example/rails/active_storage/blobs/redirect/1.jpg?oe=6A000000", False),
            ("https://fbcdn.net.sorrisopleno.example/1.jpg", False),
        ],
    )
    async def test_what_the_provider_keeps_does_not_expire_and_nothing_is_made_up(
        self, harness: Harness, address: str, expiring: bool
    ) -> None:
        found = await self.attachment(harness, address)
        assert (found["expiring"], found["expire_time"]) == (expiring, None)
