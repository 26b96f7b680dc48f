"""The normal form: what every provider's parser makes of a webhook event, and all that the rest of ingest ever sees.

A parser is a pure function from bytes to one of four outcomes:

- ``NormalEvent``: ours to process.
- ``InstanceNews``: of a connected number itself, not of anybody who writes to it.
- ``Ignored``: understood, and none of our business. The event is marked ignored with the reason.
- ``Invalid``: ours to process, but it cannot be. The event becomes a dead letter with the reason.

Ids of providers are texts here, whatever the provider's JSON made of them. Texts hold no NUL character, which
PostgreSQL refuses, and are valid UTF-8. Only what somebody reads is kept of a payload; the rest is in the stored event.

What is made for every event is no frozen dataclass: that would take three times as long to make.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from chassis.canonical import CanonicalIdentity, Source, lacks_country


class EventKind(StrEnum):
    CONVERSATION_CREATED = "CONVERSATION_CREATED"
    CONVERSATION_UPDATED = "CONVERSATION_UPDATED"
    MESSAGE_CREATED = "MESSAGE_CREATED"
    MESSAGE_UPDATED = "MESSAGE_UPDATED"
    CONTACT_CREATED = "CONTACT_CREATED"
    CONTACT_UPDATED = "CONTACT_UPDATED"


class IgnoredReason(StrEnum):
    """Why an event that we understand is not ours to process."""

    FOREIGN_ACCOUNT = "FOREIGN_ACCOUNT"  # names another provider account than the connection's
    FOREIGN_INBOX = "FOREIGN_INBOX"  # an inbox that is no channel of this connection
    UNSUPPORTED_CHANNEL = "UNSUPPORTED_CHANNEL"  # Messenger, SMS, e-mail, the website …
    PRIVATE_NOTE = "PRIVATE_NOTE"  # what the staff write to each other
    ACTIVITY = "ACTIVITY"  # "conversation was resolved by …"
    TYPING = "TYPING"
    WIDGET = "WIDGET"  # somebody opened the website's chat window
    INBOX_EVENT = "INBOX_EVENT"  # an inbox was configured; the payload is full of credentials
    AUTOMATION_EVENT = "AUTOMATION_EVENT"  # posted by an automation rule or macro; the plain event comes as well
    UNKNOWN_EVENT = "UNKNOWN_EVENT"  # an event name that we never asked for
    GROUP = "GROUP"  # a WhatsApp group, broadcast or newsletter: no person
    CONTROL_CONTACT = "CONTROL_CONTACT"  # the contact through which Evolution shows its QR code
    PROVIDER_NOTICE = "PROVIDER_NOTICE"  # "Connection successfully established!"
    NO_CHANGE = "NO_CHANGE"  # nothing changed but the time of the last activity
    NO_CONTENT = "NO_CONTENT"  # devices talk among themselves: keys, settings, what nobody wrote
    OWN_NUMBER = "OWN_NUMBER"  # the other side is a number of the organization itself


class InvalidReason(StrEnum):
    """Why an event that is ours cannot be processed; it waits in the dead letters."""

    MALFORMED_JSON = "MALFORMED_JSON"
    TOO_DEEP = "TOO_DEEP"
    TOO_LARGE = "TOO_LARGE"
    UNKNOWN_SHAPE = "UNKNOWN_SHAPE"  # a field that must be there is missing or of another type; the detail names it
    NO_INBOX_CONTEXT = "NO_INBOX_CONTEXT"  # a conversation or message that names no inbox
    CHANNEL_SOURCE_MISMATCH = "CHANNEL_SOURCE_MISMATCH"  # the inbox is configured as one source and is another
    NO_VALID_IDENTITY = "NO_VALID_IDENTITY"  # nothing in it says who the person is


class AliasKind(StrEnum):
    """Ids other than the canonical one that lead to the same contact."""

    CHATWOOT_CONTACT = "CHATWOOT_CONTACT"  # contact id, within the connection
    CHATWOOT_SOURCE = "CHATWOOT_SOURCE"  # "<inbox id>:<source_id>", within the connection
    WHATSAPP_LID = "WHATSAPP_LID"  # digits
    WHATSAPP_BSUID = "WHATSAPP_BSUID"


class Direction(StrEnum):
    INBOUND = "INBOUND"
    OUTBOUND = "OUTBOUND"


class Author(StrEnum):
    CONTACT = "CONTACT"
    AGENT = "AGENT"
    BOT = "BOT"
    AUTOMATION = "AUTOMATION"
    TEMPLATE = "TEMPLATE"  # greetings, out-of-office texts and surveys of the provider itself
    CAMPAIGN = "CAMPAIGN"
    NATIVE_APP = "NATIVE_APP"  # a person of the staff, on the phone: takes the conversation over from any bot


class MessageStatus(StrEnum):
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    READ = "READ"
    FAILED = "FAILED"


class ConversationStatus(StrEnum):
    OPEN = "OPEN"
    RESOLVED = "RESOLVED"
    PENDING = "PENDING"
    SNOOZED = "SNOOZED"


class Note(StrEnum):
    """Something a parser mended or left out, kept beside the event for people who look into it."""

    TEXT_CLEANED = "TEXT_CLEANED"  # a NUL character was taken out
    TEXT_SHORTENED = "TEXT_SHORTENED"
    TIME_UNREADABLE = "TIME_UNREADABLE"  # the consumer uses the time of arrival
    LID_IN_PHONE_FIELD = "LID_IN_PHONE_FIELD"
    PHONE_DISAGREES = "PHONE_DISAGREES"  # phone and WhatsApp id name two numbers; the phone was believed
    CONTENT_UNSUPPORTED = "CONTENT_UNSUPPORTED"  # the provider could not render the message
    LEGACY_SHAPE = "LEGACY_SHAPE"  # the nested form that only the legacy smoke sends


@dataclass(frozen=True, slots=True)
class ChannelInfo:
    """One inbox or instance behind a connection, as the organization configured it."""

    channel_id: str
    source: Source
    board_id: str | None = None
    evolution_inbox: bool = False  # an inbox that shows an Evolution instance: WAID source ids mean the phone


@dataclass(frozen=True, slots=True)
class ConnectionContext:
    """What a parser must know of the connection an event came through. Channels go by their key at the provider."""

    connection_id: str
    channels: Mapping[str, ChannelInfo]
    account_id: str | None = None
    # Contact events name no inbox. Where two organizations share an account they only touch contacts known already.
    account_shared: bool = False
    # E.164 of the numbers that the organization itself has connected.
    own_numbers: frozenset[str] = frozenset()


class Alias(NamedTuple):
    kind: AliasKind
    value: str


@dataclass(slots=True)
class Person:
    """The one on the other side. Without an identity only the aliases can lead to a contact known already.

    A parser does not know the organization's region: what it can say of a number without a country is that it is one.
    """

    # As far as it can be told without the region: the number with its country, else what the source itself names.
    identity: CanonicalIdentity | None
    aliases: tuple[Alias, ...]
    # E.164, on any source, where it was written with its country.
    phone: str | None = None
    name: str | None = None
    email: str | None = None
    # What the source itself names: a JID, an Instagram-scoped id, a LID …; believed as it stands.
    own: CanonicalIdentity | None = None
    # The phone as people wrote it at the provider, with or without its country. On Instagram it is no identity.
    written: str | None = None
    # Name of the account at the source, without its @.
    username: str | None = None
    # What the provider's profile had until this event, and has no longer.
    removed_phone: str | None = None
    removed_email: str | None = None
    removed_name: str | None = None

    @property
    def needs_region(self) -> bool:
        """Whether a number without its country stands where the identity is looked for."""
        at_instagram = self.own is not None and self.own.source is Source.INSTAGRAM
        return not at_instagram and self.written is not None and lacks_country(self.written)

    @property
    def source(self) -> Source | None:
        return None if self.identity is None else self.identity.source

    @property
    def external_id(self) -> str | None:
        return None if self.identity is None else self.identity.external_id

    @property
    def key(self) -> str | None:
        return None if self.identity is None else self.identity.key

    @property
    def address(self) -> str | None:
        return None if self.identity is None else self.identity.address


@dataclass(slots=True)
class ConversationState:
    """The conversation as the provider saw it when it built the event, which may be later than the event itself."""

    # Empty where the provider has none: it is the contact's one with the channel, or the one that the message is in.
    conversation_id: str
    # The number of the channel at the provider, as the contract shows it; None where its key is none.
    inbox_id: str | None
    account_id: str | None
    contact_id: str | None
    status: ConversationStatus | None
    labels: tuple[str, ...]
    assignee_name: str | None
    unread_count: int
    # Epoch seconds with microseconds. An event with a smaller value than the one stored is stale and changes no state.
    updated_at: float | None
    # What never changes of it, and tells it from another one that gets its id after the provider was put back.
    created_at: datetime | None = None
    contact_source_id: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    type: str
    url: str | None
    name: str | None = None
    content_type: str | None = None
    size_bytes: int | None = None
    latitude: float | None = None
    longitude: float | None = None
    # The network keeps it, not the provider, and only for a while; until when, where that can be told.
    expiring: bool = False
    expire_time: datetime | None = None


class SubmittedValue(NamedTuple):
    """What the contact answered in a form of a message."""

    name: str
    title: str
    value: str


class Reaction(NamedTuple):
    """What a message is on that is nothing but an emoji on another one."""

    target_message_id: str | None
    target_source_id: str | None
    removed: bool


@dataclass(slots=True)
class MessageRecord:
    """One message. Its natural key is channel and message_id, as long as nothing contradicts that it is the same.

    Several messages of the provider may be one of the network: copies and edits, by their network_id.
    """

    message_id: str
    source_id: str | None
    direction: Direction
    author: Author
    # False where the payload leaves doubt: then an author stored before stays.
    author_settled: bool
    author_name: str | None
    text: str | None
    content_type: str
    attachments: tuple[Attachment, ...]
    create_time: datetime | None
    in_reply_to: str | None
    deleted: bool
    # Of outbound messages, where this event tells; None leaves the stored one, and rank decides between two.
    status: MessageStatus | None
    external_error: str | None
    # The source id where it is known to be the network's own; what callers of an API put there may be anything.
    network_id: str | None = None
    # Where edits come as messages of their own, under the network's id of what was edited.
    edits_keep_network_id: bool = False
    deleted_by_contact: bool = False
    submitted_values: tuple[SubmittedValue, ...] = ()
    # Present when it is no message to read or answer, but an emoji on one.
    reaction: Reaction | None = None
    # The mark that Prosa sent along with what it sends, where the provider gave it back.
    delivery_id: str | None = None

    @property
    def wants_answer(self) -> bool:
        """Whether the contact says something in it."""
        return self.direction is Direction.INBOUND and not self.deleted and self.reaction is None


@dataclass(slots=True)
class NormalEvent:
    kind: EventKind
    person: Person
    channel: ChannelInfo | None  # None for contact events, which name no inbox
    conversation: ConversationState | None
    message: MessageRecord | None
    notes: tuple[Note, ...] = ()
    # Of contact events: when the provider wrote what they say; None where they do not tell.
    profile_time: datetime | None = None
    # True: resolve through identity and aliases, and drop the event when neither is known. Never create a contact.
    requires_known_alias: bool = False

    @property
    def ensures_deal(self) -> bool:
        """Only a new conversation and what the contact writes make a deal; the staff and bots never do.

        Nor does an update, unless it overtook its message's creation, which only its time tells.
        """
        if self.kind is EventKind.CONVERSATION_CREATED:
            return True
        return self.kind is EventKind.MESSAGE_CREATED and self.message is not None and self.message.wants_answer


@dataclass(frozen=True, slots=True)
class InstanceNews:
    """What an event says of a connected number itself, in the provider's words; empty where it says nothing."""

    connection_state: str = ""
    status_reason: int = 0
    qr_code: str = ""
    pairing_code: str = ""
    own_jid: str = ""
    profile_name: str = ""


@dataclass(frozen=True, slots=True)
class Ignored:
    reason: IgnoredReason
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Invalid:
    reason: InvalidReason
    detail: str = ""


ParsedEvent = NormalEvent | InstanceNews | Ignored | Invalid
