"""The traps of Chatwoot's wire, one by one: who wrote a message and what, and the shapes a body may have."""

from typing import Any

import pytest

from chassis.canonical import Source
from services.ingest.normal_form import (
    Alias,
    AliasKind,
    Author,
    ChannelInfo,
    ConnectionContext,
    Direction,
    EventKind,
    Invalid,
    InvalidReason,
    MessageRecord,
    MessageStatus,
    NormalEvent,
    Note,
)
from services.ingest.providers.chatwoot.parse import parse
from services.ingest.providers.chatwoot.shape import ordering_key
from services.ingest.providers.fields import BODY_SIZE_MAX_BYTES, JSON_DEPTH_MAX, TEXT_LENGTH_MAX
from tests.unit.ingest.samples import (
    CONTEXT,
    CONVERSATION,
    DELIVERED,
    ECHO,
    EVOLUTION_ECHO,
    EVOLUTION_INCOMING,
    INCOMING,
    INSTAGRAM,
    OUTGOING,
    WHATSAPP,
    body,
    event_of,
    read,
    read_sample,
    sample,
)


def message_of(name: str, **changes: Any) -> MessageRecord:
    message = event_of(name, **changes).message
    assert message is not None
    return message


# Who wrote it, and what.


@pytest.mark.parametrize(
    ("change", "author"),
    [
        ({"sender": {"id": 9, "name": "Robô", "type": "agent_bot"}}, Author.BOT),
        ({"sender": {"id": 2, "name": "Captain", "type": "captain_assistant"}}, Author.BOT),
        ({"sender": {"id": 2, "name": "Novo", "type": "something_new"}}, Author.BOT),
        ({"sender": None, "content_attributes": {"automation_rule_id": 4}}, Author.AUTOMATION),
        ({"additional_attributes": {"campaign_id": 4}}, Author.CAMPAIGN),
        ({"message_type": "template"}, Author.TEMPLATE),
        ({"message_type": 3}, Author.TEMPLATE),
        ({"sender": None, "content_attributes": {"external_echo": True}}, Author.NATIVE_APP),
        ({"sender": None, "source_id": "aWdfZAG1"}, Author.NATIVE_APP),
        ({"source_id": "WAID:3A5F90B2C4D6E8F01122"}, Author.NATIVE_APP),
        ({"sender": None}, Author.AUTOMATION),
        ({}, Author.AGENT),
    ],
)
def test_the_author_of_an_outbound_message(change: dict[str, Any], author: Author) -> None:
    event = event_of(OUTGOING, **change)
    assert event.message is not None
    assert (event.message.author, event.message.direction) == (author, Direction.OUTBOUND)
    assert event.message.author_settled
    assert not event.ensures_deal


def test_evolutions_id_on_a_later_update_does_not_turn_an_agents_reply_into_one_from_the_phone() -> None:
    message = message_of(EVOLUTION_ECHO, event="message_updated")
    assert (message.author, message.author_settled) == (Author.AGENT, False)


@pytest.mark.parametrize(("written", "direction"), [("incoming", "INBOUND"), (0, "INBOUND"), (1, "OUTBOUND")])
def test_the_message_type_is_a_text_or_a_number(written: object, direction: str) -> None:
    assert message_of(INCOMING, message_type=written).direction == direction


@pytest.mark.parametrize("written", [None, "", "Incoming", 4, -1, True, 0.0, [0], {"a": 1}])
def test_a_message_of_unknown_type_is_a_dead_letter(written: object) -> None:
    assert read_sample(INCOMING, message_type=written) == Invalid(InvalidReason.UNKNOWN_SHAPE, "message_type")


def test_an_updated_inbound_message_ensures_no_deal() -> None:
    event = event_of(INCOMING, event="message_updated")
    assert event.kind is EventKind.MESSAGE_UPDATED
    assert not event.ensures_deal


def test_a_deletion_is_told_by_its_flag_and_the_notice_is_left_out() -> None:
    message = message_of(
        DELIVERED, content="Esta mensagem foi excluída", content_attributes={"deleted": True}, attachments=[{"id": 1}]
    )
    assert message.deleted
    assert (message.text, message.attachments) == (None, ())
    assert not message_of(DELIVERED, content="Esta mensagem foi excluída").deleted


def test_the_status_of_another_message_is_not_this_ones() -> None:
    payload = sample(DELIVERED)
    payload["conversation"]["messages"][0]["id"] = 9999
    parsed = read(payload)
    assert isinstance(parsed, NormalEvent)
    assert parsed.message is not None
    assert parsed.message.status is None


@pytest.mark.parametrize("newest", [[], None, [None], ["x"], [{}], {"id": 5123}, [{"id": 5123, "status": "new"}]])
def test_a_newest_message_that_cannot_be_read_tells_no_status(newest: object) -> None:
    assert message_of(DELIVERED, conversation__messages=newest).status is None


def test_a_status_at_the_root_wins() -> None:
    assert message_of(DELIVERED, status="read").status is MessageStatus.READ


def test_a_failure_carries_what_the_provider_said() -> None:
    message = message_of(DELIVERED, status="failed", content_attributes={"external_error": "131026: Undeliverable"})
    assert (message.status, message.external_error) == (MessageStatus.FAILED, "131026: Undeliverable")


def test_a_quoted_message_is_named_by_its_id() -> None:
    message = message_of(INCOMING, content_attributes={"in_reply_to": 5100, "in_reply_to_external_id": "wamid.abc"})
    assert message.in_reply_to == "5100"


def test_evolutions_edit_is_a_new_message_with_the_old_source_id() -> None:
    first, edit = message_of(EVOLUTION_INCOMING), message_of(EVOLUTION_INCOMING, id=5170, content="Mensagem editada: x")
    assert first.source_id == edit.source_id
    assert first.message_id != edit.message_id


def test_attachments_of_every_kind_are_read_and_bad_ones_left_out() -> None:
    attachments = message_of(
        INCOMING,
        attachments=[
            {
                "file_type": "file",
                "data_url": "https://chat.exemplo.example/blobs/abc/contrato.pdf?x=1",
                "file_size": 10,
            },
            {"file_type": "location", "coordinates_lat": -23.5, "coordinates_long": -46.6, "fallback_title": "Loja"},
            {"file_type": "contact", "fallback_title": "+5511900004821", "data_url": "javascript:alert(1)"},
            {"file_type": 3, "data_url": 7, "file_size": -1, "coordinates_lat": "x"},
            *("x", None, []),
        ],
    ).attachments
    assert [attachment.type for attachment in attachments] == ["file", "location", "contact", "file"]
    assert (attachments[0].name, attachments[0].size_bytes) == ("contrato.pdf", 10)
    assert (attachments[1].latitude, attachments[1].longitude, attachments[1].name) == (-23.5, -46.6, "Loja")
    assert attachments[2].url is None
    assert (attachments[3].url, attachments[3].size_bytes, attachments[3].latitude) == (None, None, None)


@pytest.mark.parametrize(
    "created_at", [1784548800, 1784548800.5, "2026-07-20T12:00:00+00:00", "2026-07-20T09:00:00-03:00"]
)
def test_a_time_may_be_a_text_or_epoch_seconds(created_at: object) -> None:
    time = message_of(INCOMING, created_at=created_at).create_time
    assert time is not None
    assert time.isoformat().startswith("2026-07-20T12:00:00")


@pytest.mark.parametrize("created_at", [None, 0, True, -1, 10**15, "yesterday", "0001-01-01T00:00:00+14:00", []])
def test_a_time_that_cannot_be_read_is_noted(created_at: object) -> None:
    event = event_of(INCOMING, created_at=created_at)
    assert event.message is not None
    assert event.message.create_time is None
    assert Note.TIME_UNREADABLE in event.notes


def test_a_nul_character_is_taken_out_and_noted() -> None:
    event = event_of(INCOMING, content="a\x00b", conversation__meta__sender__name="Ma\x00rina")
    assert event.message is not None
    assert (event.message.text, event.person.name) == ("ab", "Marina")
    assert Note.TEXT_CLEANED in event.notes


def test_a_text_beyond_its_limit_is_cut_and_noted() -> None:
    event = event_of(INCOMING, content="a" * (TEXT_LENGTH_MAX + 1))
    assert event.message is not None
    assert event.message.text is not None
    assert len(event.message.text) == TEXT_LENGTH_MAX
    assert Note.TEXT_SHORTENED in event.notes


# Shapes.


LEGACY_INSTAGRAM: dict[str, Any] = {
    "event": "conversation_created",
    "account": {"id": 7},
    "inbox": {"id": 22, "channel_type": "Channel::Instagram"},
    "conversation": {
        "id": 901,
        "inbox_id": 22,
        "status": "open",
        "meta": {"sender": {"id": 55, "name": "Caio", "identifier": "7733100045600121"}},
    },
}


@pytest.mark.parametrize("place", ["meta", "contact", "sender"])
def test_the_nested_legacy_form_of_a_first_instagram_conversation(place: str) -> None:
    payload = {**LEGACY_INSTAGRAM, "conversation": dict(LEGACY_INSTAGRAM["conversation"])}
    if place != "meta":
        payload[place] = payload["conversation"].pop("meta")["sender"]
    parsed = read(payload)
    assert isinstance(parsed, NormalEvent)
    assert parsed.person.key == "instagram:7733100045600121"
    assert parsed.channel is INSTAGRAM
    assert parsed.ensures_deal
    assert parsed.notes == (Note.LEGACY_SHAPE,)
    assert parsed.conversation is not None
    assert parsed.conversation.conversation_id == "901"
    assert ordering_key(payload) == "c:901"


def test_the_nested_legacy_form_of_a_whatsapp_message() -> None:
    parsed = read(
        {
            "event": "message_created",
            "account": {"id": 7},
            "inbox": {"id": "21", "channel_type": "whatsapp"},
            "conversation": {"id": 902, "meta": {"sender": {"id": 56, "phone_number": "+5511900004821"}}},
            "message": {"id": 77, "content": "Oi", "message_type": 0, "created_at": 1784548800, "private": False},
        }
    )
    assert isinstance(parsed, NormalEvent)
    assert parsed.message is not None
    assert (parsed.message.message_id, parsed.message.text, parsed.message.direction) == ("77", "Oi", Direction.INBOUND)
    assert parsed.person.key == "whatsapp:+5511900004821"
    assert parsed.ensures_deal


@pytest.mark.parametrize("written", ["Channel::Instagram", "instagram", "Meta Instagram Direct"])
def test_the_nested_legacy_form_names_its_channel_in_many_ways(written: str) -> None:
    for change in ({"inbox": {"id": 22, "channel_type": written}}, {"channel": written}):
        conversation = {**LEGACY_INSTAGRAM["conversation"], "channel": change.get("channel")}
        inbox = change.get("inbox", {"id": 22})
        parsed = read({**LEGACY_INSTAGRAM, "conversation": conversation, "inbox": inbox})
        assert isinstance(parsed, NormalEvent)
        assert parsed.channel is INSTAGRAM
        # The same words for an inbox that is configured as WhatsApp are believed too, and do not fit.
        parsed = read({**LEGACY_INSTAGRAM, "conversation": {**conversation, "inbox_id": 21}, "inbox": inbox})
        assert isinstance(parsed, Invalid)
        assert parsed.reason is InvalidReason.CHANNEL_SOURCE_MISMATCH


def test_the_nested_legacy_form_of_a_contact() -> None:
    payload = {"event": "contact_updated", "account": {"id": 7}, "contact": {"id": 5, "phone_number": "+5511900004821"}}
    parsed = read(payload)
    assert isinstance(parsed, NormalEvent)
    assert parsed.person.key == "whatsapp:+5511900004821"
    assert ordering_key(payload) == "p:5"


def test_an_agent_who_sends_is_never_taken_for_the_customer_of_an_incomplete_body() -> None:
    payload = sample(OUTGOING, sender={"id": 3, "type": "user", "phone_number": "+5511900009999"})
    del payload["conversation"]["meta"]
    parsed = read(payload)
    assert isinstance(parsed, NormalEvent)
    assert parsed.person.key == "whatsapp:+5511900004821", "known by the contact inbox"
    assert Alias(AliasKind.CHATWOOT_CONTACT, "118") in parsed.person.aliases
    assert Alias(AliasKind.CHATWOOT_CONTACT, "3") not in parsed.person.aliases


def test_a_conversation_without_channel_is_what_its_inbox_was_configured_as() -> None:
    assert event_of(CONVERSATION, channel=None).channel is WHATSAPP


def test_an_api_inbox_of_instagram_is_known_by_its_identifier() -> None:
    context = ConnectionContext("connection-1", {"24": ChannelInfo("channel-api", Source.INSTAGRAM)})
    payload = sample(EVOLUTION_INCOMING, conversation__meta__sender__identifier="7733100045600121")
    parsed = read(payload, context)
    assert isinstance(parsed, NormalEvent)
    assert parsed.person.key == "instagram:7733100045600121"


@pytest.mark.parametrize(
    ("change", "invalid"),
    [
        ({"event": None}, Invalid(InvalidReason.UNKNOWN_SHAPE, "event")),
        ({"event": ["message_created"]}, Invalid(InvalidReason.UNKNOWN_SHAPE, "event")),
        ({"id": None}, Invalid(InvalidReason.UNKNOWN_SHAPE, "id")),
        ({"id": True}, Invalid(InvalidReason.UNKNOWN_SHAPE, "id")),
        ({"id": -5}, Invalid(InvalidReason.UNKNOWN_SHAPE, "id")),
        ({"id": "x"}, Invalid(InvalidReason.UNKNOWN_SHAPE, "id")),
        ({"conversation__id": {}}, Invalid(InvalidReason.UNKNOWN_SHAPE, "conversation.id")),
        ({"conversation": [], "inbox": {}}, Invalid(InvalidReason.NO_INBOX_CONTEXT)),
        ({"conversation__inbox_id": None, "inbox": None}, Invalid(InvalidReason.NO_INBOX_CONTEXT)),
    ],
)
def test_what_must_be_there_and_is_not_makes_a_dead_letter_that_says_so(
    change: dict[str, Any], invalid: Invalid
) -> None:
    assert read_sample(INCOMING, **change) == invalid


def test_ids_may_be_texts_and_the_inbox_may_stand_at_the_root_only() -> None:
    event = event_of(INCOMING, id="5120", conversation__id="391", conversation__inbox_id=None, inbox={"id": "21"})
    assert event.message is not None
    assert event.conversation is not None
    assert (event.message.message_id, event.conversation.conversation_id) == ("5120", "391")
    assert event.conversation.inbox_id == "21"


DEEP = b'{"event":"message_created","x":' + b"[" * JSON_DEPTH_MAX + b"]" * JSON_DEPTH_MAX + b"}"
VERY_DEEP = b'{"event":"message_created","x":' + b"[" * 2000 + b"]" * 2000 + b"}"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", InvalidReason.MALFORMED_JSON),
        (b"{", InvalidReason.MALFORMED_JSON),
        (b"event=message_created", InvalidReason.MALFORMED_JSON),
        (b'\xef\xbb\xbf{"event":', InvalidReason.MALFORMED_JSON),
        (b'{"event":NaN}', InvalidReason.UNKNOWN_SHAPE),
        (b'{"event":1e999}', InvalidReason.UNKNOWN_SHAPE),
        (b'\xef\xbb\xbf{"event":1}', InvalidReason.UNKNOWN_SHAPE),
        (b"[]", InvalidReason.UNKNOWN_SHAPE),
        (b"null", InvalidReason.UNKNOWN_SHAPE),
        (b'"message_created"', InvalidReason.UNKNOWN_SHAPE),
        (b'{"event":123456789012345678901234567890}', InvalidReason.UNKNOWN_SHAPE),
        (DEEP, InvalidReason.TOO_DEEP),
        (VERY_DEEP, InvalidReason.TOO_DEEP),
        (b" " * (BODY_SIZE_MAX_BYTES + 1), InvalidReason.TOO_LARGE),
    ],
)
def test_a_body_that_cannot_be_read_is_a_dead_letter(raw: bytes, reason: InvalidReason) -> None:
    parsed = parse(raw, CONTEXT)
    assert isinstance(parsed, Invalid)
    assert parsed.reason is reason


def test_many_brackets_are_not_depth() -> None:
    assert isinstance(read_sample(INCOMING, conversation__labels=[["x"]] * 500), NormalEvent)


@pytest.mark.parametrize(
    "root",
    [
        *(None, [], "x", 1, {}, {"event": []}, {"event": {}}, {"event": "x", "id": 1}),
        {"event": "message_created", "conversation": []},
        {"event": "contact_created", "id": {}},
        {"event": "conversation_created", "id": 2**70},
    ],
)
def test_what_belongs_to_no_conversation_or_contact_has_no_ordering_key(root: object) -> None:
    assert ordering_key(root) == ""


def test_a_message_and_its_conversation_are_kept_in_order_together() -> None:
    assert ordering_key(sample(ECHO)) == ordering_key(sample(CONVERSATION)) == "c:391"
    assert ordering_key({"event": "message_created", "conversation": {"id": "391"}}) == "c:391"
    assert body(sample(ECHO)) != b""
