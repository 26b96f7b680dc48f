"""From the bytes of a Chatwoot webhook to the normal form. Pure: no clock, no network, and it never raises.

The README beside this file says which rules of Chatwoot's wire stand behind each branch.
"""

import re
from datetime import datetime

from chassis.canonical import Source
from services.ingest.normal_form import (
    ChannelInfo,
    ConnectionContext,
    ConversationState,
    ConversationStatus,
    EventKind,
    Ignored,
    IgnoredReason,
    Invalid,
    InvalidReason,
    NormalEvent,
    Note,
    ParsedEvent,
    Person,
)
from services.ingest.providers.chatwoot import message as messages
from services.ingest.providers.chatwoot.person import is_control_contact, is_group, read_person
from services.ingest.providers.chatwoot.shape import CONTACT_EVENTS, flatten
from services.ingest.providers.fields import (
    Json,
    count,
    epoch,
    identifier,
    instant,
    items,
    number,
    obj,
    read_object,
    text,
)

LABELS_MAX = 200
# Chatwoot stops counting at 10; what stands there is sent on as 32 bits.
UNREAD_MAX = 2**31 - 1

_KINDS = {
    "conversation_created": EventKind.CONVERSATION_CREATED,
    "conversation_updated": EventKind.CONVERSATION_UPDATED,
    "conversation_status_changed": EventKind.CONVERSATION_UPDATED,
    "message_created": EventKind.MESSAGE_CREATED,
    "message_updated": EventKind.MESSAGE_UPDATED,
    "contact_created": EventKind.CONTACT_CREATED,
    "contact_updated": EventKind.CONTACT_UPDATED,
}
_IGNORED_EVENTS = {
    "conversation_typing_on": IgnoredReason.TYPING,
    "conversation_typing_off": IgnoredReason.TYPING,
    "webwidget_triggered": IgnoredReason.WIDGET,
    "inbox_created": IgnoredReason.INBOX_EVENT,
    "inbox_updated": IgnoredReason.INBOX_EVENT,
    "macro.executed": IgnoredReason.AUTOMATION_EVENT,
}
_STATUSES = {status.value.lower(): status for status in ConversationStatus}
_SOURCES = {"Channel::Whatsapp": Source.WHATSAPP, "Channel::Instagram": Source.INSTAGRAM}
# contact_updated comes with every incoming message, when nothing but these has changed.
_IDLE_ATTRIBUTES = frozenset({"last_activity_at", "updated_at"})
_GROUP_NAME_ENDING = " (GROUP)"  # how Evolution names a group
_EVOLUTION_NOTICE = re.compile(r"\W*(?:connection successfully|conexão estabelecida)", re.IGNORECASE)
_EVOLUTION_NOTICE_LENGTH_MAX = 120


def parse(body: bytes, context: ConnectionContext) -> ParsedEvent:
    """Reads one webhook body as an event of the connection it came through."""
    root = read_object(body)
    if isinstance(root, Invalid):
        return root
    event = root.get("event")
    if not isinstance(event, str):
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "event")
    kind = _KINDS.get(event)
    if kind is None:
        return _ignored_event(event)
    flat, nested = flatten(root)
    account_id = _account_id(flat)
    if context.account_id is not None and account_id is not None and account_id != context.account_id:
        return Ignored(IgnoredReason.FOREIGN_ACCOUNT, account_id)
    account_id = account_id or context.account_id
    notes = (Note.LEGACY_SHAPE,) if nested else ()
    if event in CONTACT_EVENTS:
        return _contact_event(kind, flat, context, notes)
    if kind in (EventKind.MESSAGE_CREATED, EventKind.MESSAGE_UPDATED):
        return _message_event(kind, flat, context, account_id, notes)
    return _conversation_event(kind, flat, context, account_id, notes)


def _ignored_event(event: str) -> Ignored:
    reason = _IGNORED_EVENTS.get(event)
    if reason is None:
        automated = event.startswith("automation_event.")
        reason = IgnoredReason.AUTOMATION_EVENT if automated else IgnoredReason.UNKNOWN_EVENT
    return Ignored(reason, text(event) or "")


def _account_id(flat: Json) -> str | None:
    """The account, which conversation events name only since 4.14.2."""
    found = number(obj(flat.get("account")).get("id")) or number(flat.get("account_id"))
    return found or number(obj(obj(flat.get("conversation")).get("account")).get("id"))


def _contact_event(kind: EventKind, contact: Json, context: ConnectionContext, notes: tuple[Note, ...]) -> ParsedEvent:
    contact_id = number(contact.get("id"))
    if contact_id is None:
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "contact.id")
    if is_control_contact(contact):
        return Ignored(IgnoredReason.CONTROL_CONTACT)
    if is_group(contact):
        return Ignored(IgnoredReason.GROUP)
    if kind is EventKind.CONTACT_UPDATED and _idle(contact.get("changed_attributes")):
        return Ignored(IgnoredReason.NO_CHANGE)
    person, more_notes = read_person(contact, contact_id)
    person.removed_phone, person.removed_email = _removed(contact, "phone_number"), _removed(contact, "email")
    person.removed_name = _removed(contact, "name")
    return NormalEvent(
        kind=kind,
        person=person,
        channel=None,
        conversation=None,
        message=None,
        notes=notes + more_notes,
        profile_time=_change_time(contact.get("changed_attributes")),
        requires_known_alias=(person.identity is None and not person.needs_region) or context.account_shared,
    )


def _idle(changes: object) -> bool:
    """Whether a list of changes is known and holds nothing but times."""
    names = [name for change in items(changes) for name in obj(change)]
    return bool(names) and _IDLE_ATTRIBUTES.issuperset(names)


def _removed(contact: Json, attribute: str) -> str | None:
    """The value that an attribute had until now, where it has another or none."""
    for change in items(contact.get("changed_attributes")):
        if attribute in (values := obj(change)):
            previous = text(obj(values[attribute]).get("previous_value"))
            return previous if previous != text(contact.get(attribute)) else None
    return None


def _change_time(changes: object) -> datetime | None:
    """When the contact was written: the only time that a contact event tells, among what has changed."""
    times = (instant(obj(obj(change).get("updated_at")).get("current_value")) for change in items(changes))
    return next((time for time in times if time is not None), None)


def _conversation_event(
    kind: EventKind, conversation: Json, context: ConnectionContext, account_id: str | None, notes: tuple[Note, ...]
) -> ParsedEvent:
    found = _locate(conversation, conversation.get("inbox_id"), context)
    if not isinstance(found, tuple):
        return found
    channel, inbox_id = found
    customer = _customer(conversation, channel, inbox_id, context)
    if not isinstance(customer, tuple):
        return customer
    person, more_notes = customer
    state = _state(conversation, inbox_id, account_id)
    if state is None:
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "conversation.id")
    return NormalEvent(kind, person, channel, state, None, notes + more_notes)


def _message_event(
    kind: EventKind, root: Json, context: ConnectionContext, account_id: str | None, notes: tuple[Note, ...]
) -> ParsedEvent:
    conversation = obj(root.get("conversation"))
    inbox_id = conversation.get("inbox_id")
    found = _locate(conversation, obj(root.get("inbox")).get("id") if inbox_id is None else inbox_id, context)
    if not isinstance(found, tuple):
        return found
    channel, known_inbox_id = found
    refused = messages.refuse(root)
    if refused is not None:
        return refused
    customer = _customer(conversation, channel, known_inbox_id, context)
    if not isinstance(customer, tuple):
        return customer
    person, person_notes = customer
    state = _state(conversation, known_inbox_id, account_id)
    if state is None:
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "conversation.id")
    read = messages.read_message(root, conversation, created=kind is EventKind.MESSAGE_CREATED)
    if isinstance(read, Invalid):
        return read
    record, message_notes = read
    if conversation.get("channel") == "Channel::Api" and _evolution_notice(record.text):
        return Ignored(IgnoredReason.PROVIDER_NOTICE)
    return NormalEvent(kind, person, channel, state, record, notes + person_notes + message_notes)


def _evolution_notice(written: str | None) -> bool:
    if written is None or len(written) > _EVOLUTION_NOTICE_LENGTH_MAX:
        return False
    return _EVOLUTION_NOTICE.match(written) is not None


def _locate(
    conversation: Json, raw_inbox_id: object, context: ConnectionContext
) -> tuple[ChannelInfo, str] | Ignored | Invalid:
    """Finds the channel a conversation belongs to and checks that it is what it was configured as."""
    inbox_id = number(raw_inbox_id)
    if inbox_id is None:
        return Invalid(InvalidReason.NO_INBOX_CONTEXT)
    channel = context.channels.get(inbox_id)
    if channel is None:
        return Ignored(IgnoredReason.FOREIGN_INBOX, inbox_id)
    name = text(conversation.get("channel"))
    source = channel.source if name is None or name == "Channel::Api" else _source(name, conversation)
    if source is None:
        return Ignored(IgnoredReason.UNSUPPORTED_CHANNEL, name or "")
    if source is not channel.source:
        return Invalid(InvalidReason.CHANNEL_SOURCE_MISMATCH, f"inbox {inbox_id} is {source}, not {channel.source}")
    return channel, inbox_id


def _source(name: str, conversation: Json) -> Source | None:
    """Reads the source off Chatwoot's class name, or off any text that names it, which only the legacy form has."""
    known = _SOURCES.get(name)
    if known is not None:
        return known
    if name == "Channel::FacebookPage":
        direct = obj(conversation.get("additional_attributes")).get("type") == "instagram_direct_message"
        return Source.INSTAGRAM if direct else None
    if name == "Channel::TwilioSms":
        return Source.WHATSAPP if (_source_id(conversation) or "").startswith("whatsapp:") else None
    lower = name.lower()
    if "instagram" in lower:
        return Source.INSTAGRAM
    return Source.WHATSAPP if "whatsapp" in lower or "wpp" in lower else None


def _source_id(conversation: Json) -> str | None:
    return identifier(obj(conversation.get("contact_inbox")).get("source_id"))


def _customer(
    conversation: Json, channel: ChannelInfo, inbox_id: str, context: ConnectionContext
) -> tuple[Person, tuple[Note, ...]] | Ignored | Invalid:
    """The customer is always meta.sender: the sender of a message may be an agent or one member of a group."""
    contact = obj(obj(conversation.get("meta")).get("sender"))
    source_id = _source_id(conversation)
    if is_control_contact(contact):
        return Ignored(IgnoredReason.CONTROL_CONTACT)
    if conversation.get("group_type") == "group" or is_group(contact, source_id):
        return Ignored(IgnoredReason.GROUP)
    person, notes = read_person(
        contact,
        _contact_id(contact, conversation),
        source=channel.source,
        channel=text(conversation.get("channel")) or "",
        inbox_id=inbox_id,
        source_id=source_id,
        # Only a Chatwoot with bridges of its own says what kind of conversation one is.
        bridged="group_type" in conversation,
    )
    if person.identity is None and not person.needs_region:
        if channel.source is Source.WHATSAPP and (person.name or "").endswith(_GROUP_NAME_ENDING):
            return Ignored(IgnoredReason.GROUP)
        if not person.aliases:
            return Invalid(InvalidReason.NO_VALID_IDENTITY, f"a contact without id on {channel.source}")
    return person, notes


def _contact_id(contact: Json, conversation: Json) -> str | None:
    return number(contact.get("id")) or number(obj(conversation.get("contact_inbox")).get("contact_id"))


def _state(conversation: Json, inbox_id: str, account_id: str | None) -> ConversationState | None:
    conversation_id = number(conversation.get("id"))
    if conversation_id is None:
        return None
    meta = obj(conversation.get("meta"))
    status = conversation.get("status")
    labels = [text(label) for label in items(conversation.get("labels"))[:LABELS_MAX]]
    return ConversationState(
        conversation_id=conversation_id,
        inbox_id=inbox_id,
        account_id=account_id,
        contact_id=_contact_id(obj(meta.get("sender")), conversation),
        status=_STATUSES.get(status) if isinstance(status, str) else None,
        labels=tuple(filter(None, labels)),
        assignee_name=text(obj(meta.get("assignee")).get("name")),
        unread_count=min(count(conversation.get("unread_count")), UNREAD_MAX),
        updated_at=epoch(conversation.get("updated_at")),
        created_at=instant(conversation.get("created_at")),
        contact_source_id=_source_id(conversation),
    )
