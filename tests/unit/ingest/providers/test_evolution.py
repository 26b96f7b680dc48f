"""What Evolution's webhooks mean, in every form that a release has written them in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

from services.ingest.normal_form import (
    AliasKind,
    Author,
    Direction,
    EventKind,
    Ignored,
    IgnoredReason,
    InstanceNews,
    Invalid,
    InvalidReason,
    MessageStatus,
    Note,
)
from services.ingest.providers.evolution.parse import event_name, ordering_key
from services.ingest.providers.evolution.provider import EVOLUTION
from tests.unit.ingest.providers.evolution_samples import (
    IMAGE,
    OPEN,
    QR,
    READ,
    REFUSED,
    SENT,
    TEXT,
    event_of,
    read,
    read_sample,
    sample,
)

PHONE, PHONE_JID, LID_JID = "+5511960001234", "5511960001234@s.whatsapp.net", "102938475610293@lid"


def test_a_text_of_somebody() -> None:
    event = event_of(TEXT)
    assert (event.kind, event.person.key, event.person.name) == (
        EventKind.MESSAGE_CREATED,
        f"whatsapp:{PHONE}",
        "Marisa Teles",
    )
    assert event.person.aliases == ()
    message = event.message
    assert message is not None
    assert (message.direction, message.author, message.text) == (Direction.INBOUND, Author.CONTACT, "SIM, confirmo 😁")
    assert message.message_id == "ACD967521B2991F9C4A1A5D6457A41A0"
    assert message.source_id == message.network_id == "WAID:ACD967521B2991F9C4A1A5D6457A41A0"
    assert message.in_reply_to == "3EB02F6C1FAE6AFDE1E276"
    assert message.create_time == datetime(2025, 12, 10, 12, 3, 5, tzinfo=UTC)
    assert event.conversation is not None
    assert event.conversation.conversation_id == ""


def test_a_picture_is_kept_by_its_caption() -> None:
    event = event_of(IMAGE)
    assert event.message is not None
    assert (event.message.text, event.message.content_type) == ("Esse é o dente que tá doendo", "image")
    assert event.person.aliases == ((AliasKind.WHATSAPP_LID, "102938475610293"),)
    assert Note.CONTENT_UNSUPPORTED in event.notes


def test_what_a_program_sent_leaves_open_who_had_it_sent() -> None:
    event = event_of(SENT)
    assert event.message is not None
    assert (event.message.direction, event.message.author) == (Direction.OUTBOUND, Author.AUTOMATION)
    assert not event.message.author_settled
    assert event.message.status is MessageStatus.SENT
    assert event.person.name is None


def test_a_receipt_names_its_message_and_nobody() -> None:
    event = event_of(READ)
    assert event.message is not None
    assert (event.message.message_id, event.message.status) == ("3EB02F6C1FAE6AFDE1E276", MessageStatus.READ)
    assert event.kind is EventKind.MESSAGE_UPDATED
    assert (event.person.identity, event.person.own, event.person.aliases) == (None, None, ())


@pytest.mark.parametrize(
    ("word", "ours", "status"),
    [
        ("SERVER_ACK", True, MessageStatus.SENT),
        ("DELIVERY_ACK", True, MessageStatus.DELIVERED),
        ("PLAYED", True, MessageStatus.READ),
        ("ERROR", True, MessageStatus.FAILED),
        ("DELIVERED", False, MessageStatus.DELIVERED),
        ("FAILED", False, MessageStatus.FAILED),
        ("READ", False, None),
        ("PENDING", True, None),
        ("EDITED", True, None),
        (None, True, None),
        (4, True, None),
    ],
)
def test_words_of_how_far_a_message_came(word: object, ours: bool, status: MessageStatus | None) -> None:
    parsed = read_sample(READ, data__status=word, data__fromMe=ours)
    if status is None:
        assert isinstance(parsed, Ignored)
        assert parsed.reason is IgnoredReason.NO_CHANGE
    else:
        event = event_of(READ, data__status=word, data__fromMe=ours)
        assert event.message is not None
        assert event.message.status is status
        assert bool(event.message.external_error) is (status is MessageStatus.FAILED)


KEYS: dict[str, dict[str, Any]] = {
    "2.3.2": {"remoteJid": PHONE_JID, "senderPn": PHONE_JID, "previousRemoteJid": LID_JID, "senderLid": LID_JID},
    "2.3.4": {"remoteJid": PHONE_JID, "remoteJidAlt": PHONE_JID},
    "2.3.6": {"remoteJid": LID_JID, "remoteJidAlt": PHONE_JID, "addressingMode": "lid"},
    "2.3.7": {"remoteJid": PHONE_JID, "remoteJidAlt": PHONE_JID, "addressingMode": "lid"},
    "2.4.0": {"remoteJid": PHONE_JID, "remoteJidAlt": LID_JID, "addressingMode": "pn"},
    "of a device": {"remoteJid": "5511960001234:17@s.whatsapp.net", "remoteJidAlt": "102938475610293_1:3@lid"},
}


@pytest.mark.parametrize("release", KEYS)
def test_the_phone_is_found_wherever_a_release_writes_it(release: str) -> None:
    key = KEYS[release] | {"fromMe": False, "id": "AC01"}
    event = event_of(TEXT, data__key=key)
    assert event.person.key == f"whatsapp:{PHONE}"
    lids = [alias.value for alias in event.person.aliases]
    assert lids == (["102938475610293"] if release not in ("2.3.4", "2.3.7") else [])


def test_a_lid_alone_is_a_person_and_no_phone() -> None:
    event = event_of(TEXT, data__key={"remoteJid": LID_JID, "fromMe": False, "id": "AC01"})
    assert (event.person.key, event.person.phone) == ("whatsapp:lid:102938475610293", None)


def test_of_what_the_number_itself_wrote_no_pair_is_learnt() -> None:
    key = {"remoteJid": LID_JID, "remoteJidAlt": "5511960009999@s.whatsapp.net", "fromMe": True, "id": "AC01"}
    event = event_of(TEXT, data__key=key, data__pushName="Você")
    assert (event.person.key, event.person.name) == ("whatsapp:lid:102938475610293", None)
    assert event.message is not None
    assert (event.message.author, event.message.author_name) == (Author.NATIVE_APP, None)


@pytest.mark.parametrize(
    "jid",
    ["120363042000000000@g.us", "status@broadcast", "5511@broadcast", "1203@newsletter", "867051314767696@bot"],
)
def test_who_is_no_person_makes_nobody(jid: str) -> None:
    key = {"remoteJid": jid, "remoteJidAlt": PHONE_JID, "participant": PHONE_JID, "fromMe": False, "id": "AC01"}
    for name in (TEXT, SENT):
        parsed = read_sample(name, data__key=key)
        assert isinstance(parsed, Ignored)
        assert parsed.reason is IgnoredReason.GROUP
    assert isinstance(read_sample(READ, data__remoteJid=jid), Ignored)


@pytest.mark.parametrize("jid", ["5511960007001@s.whatsapp.net", "5511960007009@s.whatsapp.net"])
def test_the_organizations_own_numbers_are_no_customers(jid: str) -> None:
    # The account that the event names, and another one that the organization has connected.
    parsed = read_sample(TEXT, data__key={"remoteJid": jid, "fromMe": False, "id": "AC01"})
    assert isinstance(parsed, Ignored)
    assert parsed.reason is IgnoredReason.OWN_NUMBER


CONTENTS: tuple[tuple[dict[str, Any], str | None, str], ...] = (
    ({"conversation": "oi"}, "oi", "text"),
    ({"extendedTextMessage": {"text": "oi"}}, "oi", "text"),
    ({"ephemeralMessage": {"message": {"extendedTextMessage": {"text": "oi"}}}}, "oi", "text"),
    ({"viewOnceMessageV2": {"message": {"imageMessage": {"caption": "oi"}}}}, "oi", "image"),
    ({"editedMessage": {"message": {"ephemeralMessage": {"message": {"conversation": "oi"}}}}}, "oi", "text"),
    ({"buttonsResponseMessage": {"selectedDisplayText": "Sim", "selectedButtonId": "1"}}, "Sim", "text"),
    ({"listResponseMessage": {"title": "Sábado"}}, "Sábado", "text"),
    ({"templateButtonReplyMessage": {"selectedDisplayText": "Sim"}}, "Sim", "text"),
    ({"interactiveResponseMessage": {"body": {"text": "Sim"}}}, "Sim", "text"),
    ({"audioMessage": {"ptt": True, "seconds": 3}}, None, "audio"),
    ({"documentMessage": {"fileName": "boleto.pdf"}}, "boleto.pdf", "file"),
    ({"locationMessage": {"degreesLatitude": 1}}, None, "location"),
    ({"pollCreationMessageV3": {"name": "Sábado?"}}, None, "unsupported"),
)


@pytest.mark.parametrize(("content", "text", "content_type"), CONTENTS)
def test_what_is_said_whatever_it_is_wrapped_in(content: dict[str, Any], text: str | None, content_type: str) -> None:
    message = {"messageContextInfo": {"deviceListMetadataVersion": 2}} | content
    event = event_of(TEXT, data__message=message)
    assert event.message is not None
    assert (event.message.text, event.message.content_type) == (text, content_type)


@pytest.mark.parametrize(
    "content",
    [
        {},
        None,
        {"messageContextInfo": {}},
        {"senderKeyDistributionMessage": {"groupId": "1"}},
        {"protocolMessage": {"type": "APP_STATE_SYNC_KEY_SHARE"}},
        {"conversation": "  "},
    ],
)
def test_what_devices_say_to_each_other_is_no_message(content: object) -> None:
    parsed = read_sample(TEXT, data__message=content)
    assert isinstance(parsed, Ignored)
    assert parsed.reason is IgnoredReason.NO_CONTENT


def test_an_emoji_is_on_a_message_and_an_empty_one_takes_it_back() -> None:
    for written, removed in (("👍", False), ("", True)):
        reaction = {"reactionMessage": {"key": {"id": "3EB0AA", "fromMe": True}, "text": written}}
        message = event_of(TEXT, data__message=reaction).message
        assert message is not None
        assert message.reaction is not None
        assert (message.reaction.target_message_id, message.reaction.removed) == ("3EB0AA", removed)


@pytest.mark.parametrize(
    "written", [1765368185, "1765368185", {"low": 1765368185, "high": 0, "unsigned": True}, 1765368185.0]
)
def test_a_time_in_every_form_of_64_bits(written: object) -> None:
    message = event_of(TEXT, data__messageTimestamp=written).message
    assert message is not None
    assert message.create_time == datetime(2025, 12, 10, 12, 3, 5, tzinfo=UTC)


def test_a_time_that_cannot_be_read_loses_no_message() -> None:
    event = event_of(TEXT, data__messageTimestamp={"low": "x"})
    assert event.message is not None
    assert event.message.create_time is None
    assert Note.TIME_UNREADABLE in event.notes


def test_a_number_tells_of_itself() -> None:
    assert read_sample(OPEN) == InstanceNews(
        connection_state="open",
        status_reason=200,
        own_jid="5511960007001@s.whatsapp.net",
        profile_name="Clínica Sorriso Vivo",
    )
    assert read_sample(REFUSED) == InstanceNews(connection_state="refused", status_reason=428)
    shown = read_sample(QR)
    assert isinstance(shown, InstanceNews)
    assert shown.qr_code == sample(QR)["data"]["qrcode"]["code"]


def test_what_tells_nothing_new_is_ignored_with_its_reason() -> None:
    at_the_limit = read_sample(QR, data={"message": "QR code limit reached, please login again", "statusCode": 500})
    assert at_the_limit == Ignored(IgnoredReason.PROVIDER_NOTICE, "QR code limit reached, please login again")
    assert read({"event": "logout.instance", "data": None}) == Ignored(IgnoredReason.PROVIDER_NOTICE, "logout.instance")
    assert read({"event": "presence.update"}) == Ignored(IgnoredReason.UNKNOWN_EVENT, "presence.update")
    assert read_sample(TEXT, instance="another") == Ignored(IgnoredReason.FOREIGN_INBOX, "another")


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        (TEXT, {"event": 7}, InvalidReason.UNKNOWN_SHAPE),
        (TEXT, {"instance": ...}, InvalidReason.NO_INBOX_CONTEXT),
        (TEXT, {"data": []}, InvalidReason.UNKNOWN_SHAPE),
        (TEXT, {"data__key": None}, InvalidReason.UNKNOWN_SHAPE),
        (TEXT, {"data__key__id": ...}, InvalidReason.UNKNOWN_SHAPE),
        (TEXT, {"data__key": {"remoteJid": "x@y", "id": "1"}}, InvalidReason.NO_VALID_IDENTITY),
        (READ, {"data__keyId": ""}, InvalidReason.UNKNOWN_SHAPE),
        (OPEN, {"data__state": 1}, InvalidReason.UNKNOWN_SHAPE),
        (QR, {"data__qrcode__code": "2" * 2000}, InvalidReason.UNKNOWN_SHAPE),
    ],
)
def test_what_must_be_there_and_is_not_is_told(name: str, changes: dict[str, Any], reason: InvalidReason) -> None:
    parsed = read_sample(name, **changes)
    assert isinstance(parsed, Invalid)
    assert parsed.reason is reason


def test_order_is_kept_within_a_chat_whatever_it_is_called() -> None:
    by_phone, by_lid = (
        ordering_key(sample(TEXT, data__key=KEYS[release] | {"fromMe": False})) for release in ("2.3.7", "2.3.6")
    )
    assert by_phone == by_lid == f"c:{PHONE}"
    assert ordering_key(sample(OPEN)) == ordering_key(sample(QR)) == "i"
    assert ordering_key(sample(READ)) == "m:3EB02F6C1FAE6AFDE1E276"
    of_nothing: tuple[Any, ...] = (None, [], {"event": "messages.upsert"}, {"event": []})
    assert [ordering_key(value) for value in of_nothing] == [""] * 4
    assert event_name(sample(TEXT)) == "messages.upsert"


def places(value: Any, path: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    """Every field of a payload, by the names that lead to it."""
    below: list[tuple[str, ...]] = []
    if isinstance(value, dict):
        below = [place for key, child in value.items() for place in places(child, (*path, key))]
    return [path, *below] if path else below


OTHERS: tuple[Any, ...] = (None, 7, "", [], {}, -1, "x" * 1000, {"low": 1}, [{"key": {}}])


@pytest.mark.parametrize("name", [TEXT, IMAGE, SENT, READ, OPEN, QR])
def test_no_change_of_a_single_field_raises(name: str) -> None:
    for path in places(sample(name)):
        for other in OTHERS:
            payload = sample(name)
            target = payload
            for part in path[:-1]:
                target = target[part]
            target[path[-1]] = other
            read(payload)
            EVOLUTION.ordering_key(payload)


def test_what_is_secret_is_blanked_and_what_was_said_stays() -> None:
    from services.ingest.providers.blanking import blank_secrets

    payload = sample(TEXT, apikey="7C2E9B40")
    blanked = orjson.loads(blank_secrets(orjson.dumps(payload), EVOLUTION.secret_fields))
    assert blanked["apikey"] == "[blanked]"
    assert blanked["data"]["message"]["conversation"] == "SIM, confirmo 😁"
    assert event_of(TEXT).message is not None
