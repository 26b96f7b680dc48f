"""The traps of Chatwoot's wire, one by one: what is not ours, and who it is that writes."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from chassis.canonical import ExternalIdKind
from chassis.wire import from_timestamp
from prosa.conversation.v1.conversation_service_pb2 import RecordItem
from prosa.identity.v1.contact_service_pb2 import Person
from services.ingest.normal_form import (
    Alias,
    AliasKind,
    ChannelInfo,
    ConnectionContext,
    EventKind,
    Ignored,
    IgnoredReason,
    Invalid,
    InvalidReason,
    NormalEvent,
    Note,
)
from services.ingest.normal_form import Person as NormalPerson
from services.ingest.processing.item import PipelineItem
from services.ingest.processing.pipeline import write_person
from services.ingest.processing.report import write_item
from tests.unit.ingest.samples import (
    CONTACT,
    CONTACT_UPDATED,
    CONVERSATION,
    EVOLUTION_INCOMING,
    INCOMING,
    INSTAGRAM,
    INSTAGRAM_IMAGE,
    OUTGOING,
    PAGE_CONVERSATION,
    WHATSAPP,
    event_of,
    read,
    read_sample,
    sample,
)

CUSTOMER = "conversation__meta__sender__"
LID = "198765432101234"
NOW = datetime(2026, 11, 3, tzinfo=UTC)


def told_of(
    person: NormalPerson, channel: ChannelInfo | None = WHATSAPP, kind: EventKind = EventKind.MESSAGE_CREATED
) -> Person:
    """What identity is told of a person."""
    event = NormalEvent(kind, person, channel, None, None)
    return _told(PipelineItem("event-1", "organization-1", "connection-1", NOW, event, "k"))


BSUID = "BR.13491208655302741918"


# What is not ours.


@pytest.mark.parametrize(
    ("event", "reason"),
    [
        ("conversation_typing_off", IgnoredReason.TYPING),
        ("webwidget_triggered", IgnoredReason.WIDGET),
        ("inbox_created", IgnoredReason.INBOX_EVENT),
        ("inbox_updated", IgnoredReason.INBOX_EVENT),
        ("automation_event.message_created", IgnoredReason.AUTOMATION_EVENT),
        ("macro.executed", IgnoredReason.AUTOMATION_EVENT),
        ("message_incoming", IgnoredReason.UNKNOWN_EVENT),
        ("conversation_resolved", IgnoredReason.UNKNOWN_EVENT),
        ("something_new", IgnoredReason.UNKNOWN_EVENT),
    ],
)
def test_events_we_do_not_process_are_ignored_by_name(event: str, reason: IgnoredReason) -> None:
    assert read_sample(INCOMING, event=event) == Ignored(reason, event)


@pytest.mark.parametrize("name", [INCOMING, CONVERSATION, EVOLUTION_INCOMING])
def test_an_inbox_that_is_no_channel_of_the_connection_is_foreign(name: str) -> None:
    other = ConnectionContext("connection-2", {"22": INSTAGRAM}, account_id="7")
    parsed = read(sample(name), other)
    assert isinstance(parsed, Ignored)
    assert parsed.reason is IgnoredReason.FOREIGN_INBOX


@pytest.mark.parametrize("name", [INCOMING, CONVERSATION, CONTACT])
def test_another_account_is_foreign(name: str) -> None:
    assert read_sample(name, account={"id": 8}) == Ignored(IgnoredReason.FOREIGN_ACCOUNT, "8")


def test_a_conversation_that_names_no_account_as_before_4_14_2_is_of_its_connections() -> None:
    payload = sample(CONVERSATION)
    del payload["account"]
    parsed = read(payload)
    assert isinstance(parsed, NormalEvent)
    assert parsed.conversation is not None
    assert parsed.conversation.account_id == "7"


@pytest.mark.parametrize(
    "channel",
    ["Channel::WebWidget", "Channel::Email", "Channel::Telegram", "Channel::Sms", "Channel::Line", "Channel::X"],
)
def test_a_channel_of_another_medium_is_unsupported(channel: str) -> None:
    assert read_sample(CONVERSATION, channel=channel) == Ignored(IgnoredReason.UNSUPPORTED_CHANNEL, channel)


def test_messenger_is_not_instagram_though_both_come_through_a_page() -> None:
    parsed = read_sample(PAGE_CONVERSATION, additional_attributes={})
    assert parsed == Ignored(IgnoredReason.UNSUPPORTED_CHANNEL, "Channel::FacebookPage")


def test_an_inbox_configured_as_the_wrong_source_is_a_dead_letter() -> None:
    context = ConnectionContext("connection-1", {"21": INSTAGRAM})
    parsed = read(sample(INCOMING), context)
    assert isinstance(parsed, Invalid)
    assert parsed.reason is InvalidReason.CHANNEL_SOURCE_MISMATCH


@pytest.mark.parametrize("private", [True, 1, "true", "yes", [0]])
def test_a_private_note_is_ignored_however_the_flag_is_written(private: object) -> None:
    assert read_sample(OUTGOING, private=private) == Ignored(IgnoredReason.PRIVATE_NOTE)


@pytest.mark.parametrize("private", [False, None, 0, "false"])
def test_a_public_message_is_no_private_note(private: object) -> None:
    assert isinstance(read_sample(OUTGOING, private=private), NormalEvent)


@pytest.mark.parametrize("kind", ["activity", 2])
def test_an_activity_is_ignored(kind: object) -> None:
    assert read_sample(OUTGOING, message_type=kind) == Ignored(IgnoredReason.ACTIVITY)


@pytest.mark.parametrize(
    "change",
    [
        {CUSTOMER + "identifier": "120363041234567890@g.us", CUSTOMER + "phone_number": None},
        {"conversation__contact_inbox__source_id": "120363041234567890@g.us"},
        {"conversation__group_type": "group"},
        {CUSTOMER + "identifier": "status@broadcast", CUSTOMER + "phone_number": None},
        {CUSTOMER + "identifier": None, CUSTOMER + "phone_number": None, CUSTOMER + "name": "Bairro (GROUP)"},
    ],
)
def test_a_group_is_no_person(change: dict[str, Any]) -> None:
    assert read_sample(EVOLUTION_INCOMING, **change) == Ignored(IgnoredReason.GROUP)


def test_the_contact_of_a_group_is_no_person() -> None:
    assert read_sample(CONTACT, identifier="120363041234567890@g.us") == Ignored(IgnoredReason.GROUP)


def test_a_person_called_group_on_instagram_is_a_person() -> None:
    event = event_of(INSTAGRAM_IMAGE, conversation__meta__sender__name="Os Furtado (GROUP)")
    assert event.person.key == "instagram:7733100045600121"


@pytest.mark.parametrize("name", [EVOLUTION_INCOMING, "conversation_created.api_evolution.no_messages", CONTACT])
def test_the_control_contact_of_evolution_never_becomes_a_lead(name: str) -> None:
    payload = sample(name)
    conversation = payload.get("conversation", payload)
    contact = conversation["meta"]["sender"] if "meta" in conversation else payload
    contact |= {"phone_number": "+123456", "identifier": None, "name": "EvolutionAPI"}
    assert read(payload) == Ignored(IgnoredReason.CONTROL_CONTACT)


@pytest.mark.parametrize("text", ["🚀 Connection successfully established!", "Conexão estabelecida com sucesso"])
def test_a_notice_of_evolution_is_no_message_of_a_customer(text: str) -> None:
    assert read_sample(EVOLUTION_INCOMING, content=text) == Ignored(IgnoredReason.PROVIDER_NOTICE)
    assert isinstance(read_sample(INCOMING, content=text), NormalEvent), "only Evolution's inboxes hold such notices"
    assert isinstance(read_sample(EVOLUTION_INCOMING, content="Minha " + text), NormalEvent)


def test_a_contact_of_whom_only_the_last_activity_changed_is_left_alone() -> None:
    idle = [{"last_activity_at": {"previous_value": None, "current_value": "x"}}, {"updated_at": {}}]
    assert read_sample(CONTACT_UPDATED, changed_attributes=idle) == Ignored(IgnoredReason.NO_CHANGE)
    others: list[Any] = [[], None, "x", [*idle, {"name": {}}], [[]]]
    for told in others:
        assert isinstance(read_sample(CONTACT_UPDATED, changed_attributes=told), NormalEvent)


# Who it is.


@pytest.mark.req("ID-05")
@pytest.mark.parametrize(
    ("change", "key", "kind"),
    [
        ({CUSTOMER + "phone_number": "+551190004821"}, "whatsapp:+5511990004821", ExternalIdKind.PHONE),
        ({CUSTOMER + "phone_number": "junk+5511900004821"}, "whatsapp:+5511900004821", ExternalIdKind.PHONE),
        ({CUSTOMER + "phone_number": None}, "whatsapp:+5511900004821", ExternalIdKind.PHONE),
        (
            {CUSTOMER + "phone_number": None, "conversation__contact_inbox__source_id": BSUID},
            f"whatsapp:bsuid:{BSUID}",
            ExternalIdKind.BSUID,
        ),
        (
            {
                CUSTOMER + "phone_number": None,
                CUSTOMER + "identifier": f"{LID}@lid",
                "conversation__contact_inbox__source_id": LID,
            },
            f"whatsapp:lid:{LID}",
            ExternalIdKind.LID,
        ),
        (
            {CUSTOMER + "phone_number": f"+{LID}", CUSTOMER + "identifier": f"{LID}:3@lid"},
            f"whatsapp:lid:{LID}",
            ExternalIdKind.LID,
        ),
        (
            {CUSTOMER + "identifier": f"{LID}@lid", "conversation__contact_inbox__source_id": LID},
            "whatsapp:+5511900004821",
            ExternalIdKind.PHONE,
        ),
        (
            {CUSTOMER + "phone_number": None, CUSTOMER + "identifier": "5511900005555:12@s.whatsapp.net"},
            "whatsapp:+5511900005555",
            ExternalIdKind.PHONE,
        ),
    ],
)
def test_whatsapp_is_known_by_phone_then_lid_then_business_scoped_id(
    change: dict[str, Any], key: str, kind: ExternalIdKind
) -> None:
    identity = event_of(INCOMING, **change).person.identity
    assert identity is not None
    assert (identity.key, identity.kind) == (key, kind)


def test_lid_and_business_scoped_id_are_aliases_of_a_known_phone() -> None:
    person = event_of(
        INCOMING,
        conversation__contact_inbox__source_id=BSUID,
        conversation__meta__sender__identifier=f"{LID}:3@lid",
    ).person
    assert person.key == "whatsapp:+5511900004821"
    assert Alias(AliasKind.WHATSAPP_LID, LID) in person.aliases
    assert Alias(AliasKind.WHATSAPP_BSUID, BSUID) in person.aliases


def test_a_lid_in_the_phone_field_is_noted_and_is_no_phone() -> None:
    event = event_of(
        EVOLUTION_INCOMING,
        conversation__meta__sender__phone_number="+123456789012",  # would be believed as a number
        conversation__meta__sender__identifier="123456789012@lid",
    )
    assert event.person.phone is None
    assert event.person.key == "whatsapp:lid:123456789012"
    assert Note.LID_IN_PHONE_FIELD in event.notes


def test_the_phone_an_agent_corrected_wins_over_the_older_whatsapp_id() -> None:
    event = event_of(EVOLUTION_INCOMING, conversation__meta__sender__phone_number="+5521900008888")
    assert event.person.key == "whatsapp:+5521900008888"
    assert Note.PHONE_DISAGREES in event.notes
    assert event_of(EVOLUTION_INCOMING).notes == ()


def test_the_random_source_id_of_an_api_inbox_is_no_phone() -> None:
    event = event_of(
        EVOLUTION_INCOMING,
        conversation__meta__sender__phone_number=None,
        conversation__meta__sender__identifier=None,
        conversation__contact_inbox__source_id="5521900007733",
    )
    assert (event.person.identity, event.person.own) == (None, None)


@pytest.mark.parametrize("name", ["+5511900004821", "Marina", "unknown", BSUID, "5511900004821@s.whatsapp.net"])
def test_nobody_is_known_by_a_name(name: str) -> None:
    event = event_of(
        INCOMING,
        conversation__meta__sender__phone_number=None,
        conversation__meta__sender__name=name,
        conversation__contact_inbox__source_id=None,
        sender__name=name,
    )
    assert (event.person.identity, event.person.own, event.person.written) == (None, None, None)


def test_what_no_reference_names_has_no_valid_identity() -> None:
    parsed = read_sample(
        INCOMING,
        conversation__meta__sender={"name": "Marina", "type": "contact"},
        conversation__contact_inbox=None,
    )
    assert isinstance(parsed, Invalid)
    assert parsed.reason is InvalidReason.NO_VALID_IDENTITY


@pytest.mark.case("F10")
@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"conversation__contact_inbox__source_id": "22507081910"}, "whatsapp:+22507081910"),
        ({CUSTOMER + "identifier": "22997010203@s.whatsapp.net"}, "whatsapp:+22997010203"),
        ({CUSTOMER + "identifier": "22997010203:12@s.whatsapp.net"}, "whatsapp:+22997010203"),
        ({"conversation__contact_inbox__source_id": "1234567"}, "whatsapp:+1234567"),
        ({"conversation__contact_inbox__source_id": "123456789012345"}, "whatsapp:+123456789012345"),
        ({"conversation__contact_inbox__source_id": "551161234567"}, "whatsapp:+5511961234567"),
        ({"conversation__contact_inbox__source_id": "5215512345678"}, "whatsapp:+525512345678"),
        ({"conversation__contact_inbox__source_id": "541123456789"}, "whatsapp:+5491123456789"),
    ],
)
def test_whatsapps_own_id_is_believed_as_it_stands(change: dict[str, Any], key: str) -> None:
    change = {CUSTOMER + "phone_number": None, "conversation__contact_inbox__source_id": None} | change
    person = event_of(INCOMING, **change).person
    assert person.key == key
    assert told_of(person).external_id == key


@pytest.mark.parametrize("source_id", ["123456", "1234567890123456", "0123456789"])
def test_fewer_than_seven_or_more_than_fifteen_digits_are_no_number_of_whatsapp(source_id: str) -> None:
    change = {CUSTOMER + "phone_number": None, "conversation__contact_inbox__source_id": source_id}
    assert event_of(INCOMING, **change).person.identity is None


@pytest.mark.parametrize("name", ["+55 11 90000-4821", BSUID, f"{LID}@lid", "wispy-sunset-371", "", None, 7, "\x00"])
def test_a_name_that_is_only_an_id_or_random_words_is_left_out(name: object) -> None:
    assert event_of(INCOMING, conversation__meta__sender__name=name).person.name is None


@pytest.mark.parametrize("email", ["instagram-7733100045600121@chat.local", "nonsense", "a@b", "a b@c.example", 5])
def test_an_email_that_is_invented_or_none_is_left_out(email: object) -> None:
    assert event_of(INCOMING, conversation__meta__sender__email=email).person.email is None


@pytest.mark.parametrize(
    ("source_id", "key"),
    [("whatsapp:+5511900004821", "whatsapp:+5511900004821"), (f"whatsapp:{BSUID}", f"whatsapp:bsuid:{BSUID}")],
)
def test_twilio_is_whatsapp_when_its_source_id_says_so(source_id: str, key: str) -> None:
    change: dict[str, Any] = {"conversation__channel": "Channel::TwilioSms", CUSTOMER + "phone_number": None}
    assert event_of(INCOMING, conversation__contact_inbox__source_id=source_id, **change).person.key == key
    parsed = read_sample(INCOMING, conversation__contact_inbox__source_id="+5511900004821", **change)
    assert parsed == Ignored(IgnoredReason.UNSUPPORTED_CHANNEL, "Channel::TwilioSms")


def test_the_phone_of_an_instagram_contact_is_no_identity() -> None:
    event = event_of(INSTAGRAM_IMAGE, conversation__meta__sender__phone_number="+551190004821")
    assert event.person.key == "instagram:7733100045600121"
    assert event.person.phone == "+5511990004821"


def test_an_instagram_contact_alone_leads_only_to_a_contact_known_already() -> None:
    event = event_of(CONTACT, id=131, phone_number=None)
    assert event.requires_known_alias
    assert event.person.identity is None
    assert event.person.aliases == (Alias(AliasKind.CHATWOOT_CONTACT, "131"),)
    assert not event_of(CONTACT).requires_known_alias


def test_contacts_of_a_shared_account_are_never_made_from_contact_events() -> None:
    context = ConnectionContext("connection-1", {}, account_id="7", account_shared=True)
    parsed = read(sample(CONTACT), context)
    assert isinstance(parsed, NormalEvent)
    assert parsed.requires_known_alias


def test_a_number_without_its_country_is_left_to_whoever_knows_the_region() -> None:
    person = event_of(
        EVOLUTION_INCOMING,
        conversation__meta__sender__phone_number="81 8345 6789",
        conversation__meta__sender__identifier=None,
    ).person
    assert (person.identity, person.phone, person.needs_region) == (None, None, True)
    told = told_of(person)
    assert (told.written_number, told.external_id, told.phone) == ("81 8345 6789", "", "")
    instagram = event_of(INSTAGRAM_IMAGE, conversation__meta__sender__phone_number="81 8345 6789").person
    assert not instagram.needs_region
    told = told_of(instagram, INSTAGRAM)
    assert (told.written_number, told.external_id, told.phone) == ("", "instagram:7733100045600121", "81 8345 6789")


@pytest.mark.case("F34")
@pytest.mark.parametrize(
    "attributes",
    [
        {"username": "@aurora.pneus"},
        {"social_instagram_user_name": "aurora.pneus", "social_whatsapp_user_name": "other"},
        {"social_profiles": {"instagram": "aurora.pneus", "whatsapp": "other"}},
    ],
)
def test_the_name_of_the_account_is_kept(attributes: dict[str, Any]) -> None:
    event = event_of(INSTAGRAM_IMAGE, conversation__meta__sender__additional_attributes=attributes)
    assert event.person.username == "aurora.pneus"
    assert told_of(event.person, INSTAGRAM).username == "aurora.pneus"


@pytest.mark.parametrize("attributes", [None, {"username": "  "}, {"username": 7}, {"username": "no such name"}])
def test_what_is_no_name_of_an_account_is_left_out(attributes: object) -> None:
    event = event_of(INSTAGRAM_IMAGE, conversation__meta__sender__additional_attributes=attributes)
    assert event.person.username is None


def test_what_was_cleared_at_the_provider_is_told_with_the_value_that_it_had() -> None:
    changes = [
        {"phone_number": {"previous_value": "+5511900004821", "current_value": None}},
        {"email": {"previous_value": "marina@exemplo.example", "current_value": "marina.teles@exemplo.example"}},
    ]
    event = event_of(CONTACT_UPDATED, phone_number=None, changed_attributes=changes)
    assert (event.person.removed_phone, event.person.removed_email) == ("+5511900004821", "marina@exemplo.example")
    told = told_of(event.person, None, EventKind.CONTACT_UPDATED)
    assert (told.removed_phone, told.removed_email) == ("+5511900004821", "marina@exemplo.example")
    assert told_of(event.person, None, EventKind.CONTACT_CREATED).removed_phone == ""


# Numbers that no message between services can hold.


@pytest.mark.parametrize("account", [9_999_999_999_999_999_999, "9" * 19])
def test_numbers_beyond_what_is_sent_on_are_cut_or_left_out(account: object) -> None:
    changes = {"conversation__unread_count": 2**62, "account__id": account, "conversation__account": {"id": account}}
    event = read(sample(INCOMING, **changes), ConnectionContext("connection-1", {"21": WHATSAPP}))
    assert isinstance(event, NormalEvent)
    pipeline_item = PipelineItem(
        "event-1", "organization-1", "connection-1", datetime(2026, 11, 3, tzinfo=UTC), event, "k"
    )
    item = RecordItem()
    write_item(item, pipeline_item)
    assert (item.account_id, item.conversation.unread_count) == (0, 2**31 - 1)


# Which of two words about a contact is the newer one.


def _told(pipeline_item: PipelineItem) -> Person:
    person = Person()
    write_person(person, pipeline_item)
    return person


def test_a_changed_contact_tells_when_it_was_written_but_never_later_than_it_came() -> None:
    event = event_of(CONTACT_UPDATED)
    written = datetime(2026, 7, 20, 14, 2, 0, 401_000, tzinfo=UTC)
    assert event.profile_time == written
    came = datetime(2026, 7, 20, 14, 2, tzinfo=UTC)
    for receive_time, told in ((written + timedelta(days=1), written), (came, came)):
        pipeline_item = PipelineItem("event-1", "organization-1", "connection-1", receive_time, event, "k")
        assert from_timestamp(_told(pipeline_item).profile_time) == told


def test_a_changed_contact_that_tells_no_time_is_as_new_as_its_arrival() -> None:
    event = event_of(CONTACT_UPDATED, changed_attributes=None)
    came = datetime(2026, 7, 20, 14, 2, tzinfo=UTC)
    pipeline_item = PipelineItem("event-1", "organization-1", "connection-1", came, event, "k")
    assert from_timestamp(_told(pipeline_item).profile_time) == came
    assert not _told(PipelineItem("event-1", "organization-1", "connection-1", came, event_of(CONTACT), "k")).HasField(
        "profile_time"
    )
