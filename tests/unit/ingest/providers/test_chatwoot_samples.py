"""What must and must not come of each captured payload."""

from datetime import UTC, datetime

import pytest

from chassis.canonical import ExternalIdKind
from services.ingest.normal_form import (
    Alias,
    AliasKind,
    Attachment,
    Author,
    ConversationStatus,
    Direction,
    EventKind,
    Ignored,
    IgnoredReason,
    MessageRecord,
    MessageStatus,
    NormalEvent,
)
from services.ingest.providers.blanking import blank_secrets
from services.ingest.providers.chatwoot.shape import ordering_key
from tests.unit.ingest import samples
from tests.unit.ingest.samples import NAMES, body, event_of, read_sample, sample

MARINA = "whatsapp:+5511900004821"
MARINA_ALIASES = (
    Alias(AliasKind.CHATWOOT_CONTACT, "118"),
    Alias(AliasKind.CHATWOOT_SOURCE, "21:5511900004821"),
)


def message_of(event: NormalEvent) -> MessageRecord:
    assert event.message is not None
    return event.message


def test_there_is_a_statement_for_every_payload() -> None:
    assert len(NAMES) == 18


def test_a_new_whatsapp_conversation_ensures_a_deal_and_records_no_message() -> None:
    event = event_of("conversation_created.whatsapp_cloud")
    assert event.kind is EventKind.CONVERSATION_CREATED
    assert event.ensures_deal
    assert event.channel is samples.WHATSAPP
    assert event.person.key == MARINA
    assert event.person.aliases == MARINA_ALIASES
    assert event.person.name == "Marina Teles"
    assert event.message is None, "message 5120 has an event of its own"
    state = event.conversation
    assert state is not None
    assert (state.conversation_id, state.inbox_id, state.account_id, state.contact_id) == ("391", "21", "7", "118")
    assert (state.status, state.unread_count, state.labels) == (ConversationStatus.OPEN, 1, ())
    assert state.updated_at == 1784548800.208431


def test_a_first_instagram_conversation_is_known_by_its_contact_inbox() -> None:
    event = event_of("conversation_created.instagram_login")
    assert event.person.key == "instagram:7733100045600121"
    assert event.person.phone is None
    assert event.channel is samples.INSTAGRAM
    assert event.ensures_deal


def test_instagram_through_a_page_is_instagram_and_not_messenger() -> None:
    event = event_of("conversation_created.instagram_facebook_page")
    assert event.person.key == "instagram:6544009988770012"
    assert event.channel is samples.INSTAGRAM_PAGE
    assert event.ensures_deal


def test_an_evolution_conversation_without_messages_is_known_by_its_phone_and_not_by_its_random_source_id() -> None:
    event = event_of("conversation_created.api_evolution.no_messages")
    assert event.person.key == "whatsapp:+5521900007733"
    assert Alias(AliasKind.CHATWOOT_SOURCE, "24:0f2b6c1e-5d84-4c1a-9a37-1b7c2f9e6d40") in event.person.aliases
    assert event.conversation is not None
    assert event.conversation.status is ConversationStatus.PENDING
    assert event.ensures_deal


@pytest.mark.parametrize("name", ["contact_created.whatsapp_cloud", "contact_updated.name_and_email_changed"])
def test_a_contact_event_never_makes_a_deal(name: str) -> None:
    event = event_of(name)
    assert event.person.key == MARINA
    assert not event.ensures_deal
    assert (event.channel, event.conversation, event.message) == (None, None, None)
    assert event.person.aliases == (Alias(AliasKind.CHATWOOT_CONTACT, "118"),)


def test_a_changed_name_and_email_arrive() -> None:
    person = event_of("contact_updated.name_and_email_changed").person
    assert (person.name, person.email) == ("Marina Teles de Souza", "marina.teles@exemplo.example")


def test_a_resolved_conversation_is_an_update_that_ensures_nothing() -> None:
    event = event_of("conversation_status_changed.whatsapp_cloud.resolved")
    assert event.kind is EventKind.CONVERSATION_UPDATED
    assert not event.ensures_deal
    assert event.conversation is not None
    assert event.conversation.status is ConversationStatus.RESOLVED
    assert event.conversation.labels == ("lead-novo", "convenio")
    assert event.message is None, "the echo in messages[0] is not what this event is about"


def test_a_changed_assignee_is_an_update_with_the_agent() -> None:
    event = event_of("conversation_updated.whatsapp_cloud.assignee_changed")
    assert event.kind is EventKind.CONVERSATION_UPDATED
    assert not event.ensures_deal
    state = event.conversation
    assert state is not None
    assert state.assignee_name == "Larissa Queiroz"
    assert state.updated_at == 1784548861.318827


def test_an_added_label_is_an_update_with_all_labels() -> None:
    event = event_of("conversation_updated.whatsapp_cloud.label_added")
    assert event.conversation is not None
    assert event.conversation.labels == ("lead-novo", "convenio")
    assert not event.ensures_deal


def test_typing_is_ignored() -> None:
    parsed = read_sample("conversation_typing_on.agent")
    assert parsed == Ignored(IgnoredReason.TYPING, "conversation_typing_on")


def test_a_whatsapp_message_is_inbound_and_ensures_a_deal() -> None:
    event = event_of("message_created.whatsapp_cloud.incoming")
    message = message_of(event)
    assert event.kind is EventKind.MESSAGE_CREATED
    assert event.ensures_deal
    assert event.person.key == MARINA
    assert event.person.address == "+5511900004821"
    assert message.message_id == "5120"
    assert message.source_id is not None
    assert message.source_id.startswith("wamid.")
    assert (message.direction, message.author, message.author_settled) == (Direction.INBOUND, Author.CONTACT, True)
    assert message.text == "Oi, bom dia! Vocês atendem convênio? 😊"
    assert message.create_time == datetime(2026, 7, 20, 12, 0, 0, 204000, tzinfo=UTC)
    assert message.status is None, "an inbound message has no status of delivery"


def test_an_instagram_image_without_text_is_inbound() -> None:
    event = event_of("message_created.instagram_login.incoming_image")
    message = message_of(event)
    assert event.person.key == "instagram:7733100045600121"
    assert message.text is None
    assert message.attachments == (
        Attachment(
            type="image",
            url="https://lookaside.fbsbx.example/ig_messaging_cdn/?asset_id=99001122&signature=exemploAssinaturaQueExpira",
            content_type="image/jpeg",
            size_bytes=214553,
        ),
    )
    assert event.ensures_deal


def test_an_evolution_message_is_inbound_with_its_whatsapp_id() -> None:
    event = event_of("message_created.api_evolution.incoming")
    assert event.person.key == "whatsapp:+5521900007733"
    assert event.channel is samples.EVOLUTION
    assert message_of(event).source_id == "WAID:3EB0C7D1A9F24E5B8A6012"
    assert event.ensures_deal


def test_an_evolution_echo_is_a_reply_from_the_phone_though_its_sender_is_an_agent() -> None:
    event = event_of("message_created.api_evolution.outgoing_echo")
    message = message_of(event)
    assert (message.direction, message.author, message.author_settled) == (Direction.OUTBOUND, Author.NATIVE_APP, True)
    assert event.person.key == "whatsapp:+5521900007733", "the customer, not the sender Otávio"
    assert not event.ensures_deal


def test_an_echo_of_the_native_app_is_a_reply_from_the_phone() -> None:
    event = event_of("message_created.whatsapp_cloud.native_app_echo")
    message = message_of(event)
    assert message.author is Author.NATIVE_APP
    assert message.status is MessageStatus.DELIVERED
    assert not event.ensures_deal


def test_a_reply_typed_in_chatwoot_is_the_agents_and_makes_no_deal() -> None:
    event = event_of("message_created.whatsapp_cloud.outgoing_agent")
    message = message_of(event)
    assert (message.direction, message.author) == (Direction.OUTBOUND, Author.AGENT)
    assert (message.author_name, message.source_id) == ("Larissa Queiroz", None)
    assert message.text == "Bom dia, Marina! Atendemos sim.\n\nPode me dizer **qual é o seu convênio**?"
    assert event.person.key == MARINA
    assert not event.ensures_deal


def test_a_greeting_is_the_providers_template_and_makes_no_deal() -> None:
    event = event_of("message_created.whatsapp_cloud.template_greeting")
    assert message_of(event).author is Author.TEMPLATE
    assert message_of(event).direction is Direction.OUTBOUND
    assert not event.ensures_deal


def test_a_delivered_message_is_an_update_of_the_same_message() -> None:
    event = event_of("message_updated.whatsapp_cloud.delivered")
    message = message_of(event)
    assert event.kind is EventKind.MESSAGE_UPDATED
    assert (message.message_id, message.status) == ("5123", MessageStatus.DELIVERED)
    assert not event.ensures_deal


@pytest.mark.parametrize("name", NAMES)
def test_no_payload_keeps_a_live_credential(name: str) -> None:
    raw = body(sample(name))
    blanked = blank_secrets(raw)
    assert b"cwExPubSubTk" not in blanked
    assert (blanked == raw) == (b"pubsub_token" not in raw)


@pytest.mark.parametrize("name", NAMES)
def test_every_payload_names_what_it_must_be_in_order_with(name: str) -> None:
    key = ordering_key(sample(name))
    assert key.startswith("p:118" if name.startswith("contact") else "c:39")


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("conversation_typing")])
def test_every_person_of_a_payload_is_named_by_an_id(name: str) -> None:
    identity = event_of(name).person.identity
    assert identity is not None
    assert identity.kind in (ExternalIdKind.PHONE, ExternalIdKind.IGSID)
