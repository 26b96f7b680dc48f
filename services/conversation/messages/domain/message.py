"""Messages: what is kept of them, and what a report may change. No I/O, no clock, no protobuf.

Ids are texts in their canonical form: as objects they would cost more than all the rules together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum


class Direction(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    INBOUND = "INBOUND"
    OUTBOUND = "OUTBOUND"


class Author(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    CONTACT = "CONTACT"
    AGENT = "AGENT"
    BOT = "BOT"
    AUTOMATION = "AUTOMATION"
    NATIVE_APP = "NATIVE_APP"
    API = "API"


class MessageState(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    READ = "READ"
    FAILED = "FAILED"
    QUEUED = "QUEUED"
    SENDING = "SENDING"
    UNCERTAIN = "UNCERTAIN"
    SUPPRESSED = "SUPPRESSED"
    CANCELLED = "CANCELLED"


STATE_RANK = {
    MessageState.UNSPECIFIED: 0,
    MessageState.QUEUED: 1,
    MessageState.SENDING: 2,
    MessageState.UNCERTAIN: 3,
    MessageState.SENT: 4,
    # Providers call a send failed when their own webhook timed out, and learn later that it arrived. So a failure gives
    # way to a delivery, but a message that arrived never becomes a failed one.
    MessageState.FAILED: 5,
    MessageState.DELIVERED: 6,
    MessageState.READ: 7,
    # Never asked of the provider, so nothing that it says is of them.
    MessageState.SUPPRESSED: 8,
    MessageState.CANCELLED: 8,
}
TOLD_STATES = (MessageState.SENT, MessageState.DELIVERED, MessageState.READ, MessageState.FAILED)
"""Those that a provider may tell of."""
AWAITING_ECHO = frozenset({MessageState.SENDING, MessageState.UNCERTAIN, MessageState.FAILED})
"""What may have left without the provider's id being known."""

SAME_TIME_US = 2_000_000
"""Some forms of one time are written to the second, others to the microsecond."""
CLOCKS_APART = timedelta(minutes=10)
"""Nothing is reported before it is made, but for clocks that differ."""

MessageKey = tuple[str, str, str]
"""Organization, channel, provider's message id: what makes a message one."""


@dataclass(slots=True)
class Attachment:
    """A file of a message."""

    type: str
    url: str
    name: str
    size: int
    """Bytes; 0 when unknown."""


@dataclass(slots=True)
class ExpiringAttachment(Attachment):
    """A file that the network keeps, and only for a while."""

    expire_time: datetime | None = None
    """Until when; None when nothing tells."""


@dataclass(slots=True)
class SubmittedValue:
    """One answer in a form."""

    name: str
    title: str
    value: str


@dataclass(slots=True)
class Message:
    """An entry as it is kept; the fields are the table's columns, in their order."""

    message_id: str
    organization_id: str
    conversation_id: str
    channel_id: str
    provider_message_id: str
    create_time: datetime
    """When the provider says it was written, never later than it was heard of."""
    record_time: datetime
    cause_id: str
    """The webhook event that told of it first."""
    direction: Direction
    author: Author
    state: MessageState
    provider_source_id: str = ""
    text: str = ""
    original_text: str | None = None
    """The text before its first edit; None while it was not edited, and for good once it is deleted."""
    content_type: str = ""
    attachments: list[Attachment] = field(default_factory=list)
    error_message: str = ""
    deleted: bool = False
    in_reply_to: str = ""
    author_name: str = ""
    content_time_us: int = 0
    """The provider's update time of the report that the content is of; 0 when it had none."""
    deleted_by_contact: bool = False
    submitted_values: list[SubmittedValue] = field(default_factory=list)
    """What the contact answered in a form of this message."""
    copy_count: int = 0
    """How many times more the provider told it, under other ids of its own."""
    told_time_us: int = 0
    """When the provider says it was written, as it said it, in microseconds since 1970; 0 where it did not say."""
    sent_here: bool = False
    """Prosa sends it: what the provider tells of it is an echo."""

    @property
    def key(self) -> MessageKey:
        return self.organization_id, self.channel_id, self.provider_message_id


@dataclass(slots=True)
class ReactionReport:
    """What one event said of a reaction; the rest stands in its message report."""

    target_provider_message_id: str
    target_source_id: str
    removed: bool


@dataclass(slots=True)
class MessageReport:
    """What one event said of a message."""

    provider_message_id: str
    provider_source_id: str
    direction: Direction
    author: Author
    text: str
    content_type: str
    attachments: list[Attachment]
    state: MessageState
    error_message: str
    deleted: bool
    in_reply_to: str
    author_name: str
    create_time: datetime
    author_settled: bool = False
    """False where it leaves doubt who wrote it: then what is kept stays."""
    told_time_us: int = 0
    network_message_id: str = ""
    """The network's own id of it; empty when nothing tells."""
    edits_keep_network_id: bool = False
    """The provider makes another message of an edit, under the network's id of what was edited."""
    deleted_by_contact: bool = False
    submitted_values: list[SubmittedValue] = field(default_factory=list)
    reaction: ReactionReport | None = None
    """Present when it is no message but an emoji on one."""
    delivery_id: str = ""
    """The mark that we sent along, where the provider gave it back."""


@dataclass(slots=True)
class Amendment:
    """What a report did to a known message."""

    updated: bool = False
    """Readers can tell."""
    noted: bool = False
    """The row is to be written, though perhaps only to remember how new the report was."""
    author_changed: bool = False


def amend(message: Message, reported: MessageReport, reported_us: int) -> Amendment:
    """Changes a known message: its state by rank, its content where the report is not older than what is kept.

    An update may come before the creation, and only that one may settle who wrote it: whoever settles it is believed.
    """
    before = _shown(message)
    author_before, time_before = message.author, message.content_time_us
    # An id of its own was given to the copy that an edit made, or to one more copy of the same.
    copied = reported.provider_message_id != message.provider_message_id
    if reported.author_settled and reported.author is not Author.UNSPECIFIED and not copied:
        message.author = reported.author
    if STATE_RANK[reported.state] > STATE_RANK[message.state]:
        message.state = reported.state
        message.error_message = reported.error_message if reported.state is MessageState.FAILED else ""
    elif reported.state is message.state is MessageState.FAILED:
        message.error_message = reported.error_message or message.error_message
    if reported.deleted and _deletes(message, reported, copied=copied):
        message.deleted = True
        message.text, message.original_text, message.attachments, message.submitted_values = "", None, [], []
        message.deleted_by_contact = message.deleted_by_contact or reported.deleted_by_contact
    elif not message.deleted and not reported.deleted:
        if not copied or reported.text not in ("", message.text, message.original_text):
            _take_content(message, reported, reported_us)
        message.submitted_values = reported.submitted_values or message.submitted_values
    learnt = not message.told_time_us and reported.told_time_us > 0 and not copied
    if learnt:
        message.told_time_us = reported.told_time_us
    updated = _shown(message) != before
    return Amendment(
        updated=updated,
        noted=updated or learnt or message.content_time_us != time_before,
        author_changed=message.author is not author_before,
    )


def _deletes(message: Message, reported: MessageReport, *, copied: bool) -> bool:
    """Staff who tidy copies away leave the message; its contact, or who deletes the copy that edited it, means it."""
    return not copied or reported.deleted_by_contact or message.original_text is not None


def is_copy(kept: Message, reported: MessageReport) -> bool:
    """Whether what is told under another id of the provider, and the same one of the network, is what is kept."""
    if kept.direction is not reported.direction:
        return False
    return kept.deleted or reported.edits_keep_network_id or reported.text in (kept.text, kept.original_text)


def is_other(kept: Message, reported: MessageReport) -> bool:
    """Whether what is told is another thing than what is kept under its id: its evidence contradicts it.

    A provider that was put back from a backup gives ids again. What it tells of one message never changes: who wrote to
    whom, when it was written, and under which id the network brought what came in.
    """
    if Direction.UNSPECIFIED not in (reported.direction, kept.direction) and reported.direction is not kept.direction:
        return True
    other_in_network = kept.direction is Direction.INBOUND and bool(
        reported.network_message_id
        and kept.provider_source_id
        and reported.network_message_id != kept.provider_source_id
    )
    # A copy was written at the provider when it came there, which is another time each.
    if other_in_network or reported.provider_message_id != kept.provider_message_id:
        return other_in_network
    if kept.told_time_us and reported.told_time_us:
        return abs(kept.told_time_us - reported.told_time_us) > SAME_TIME_US
    return reported.told_time_us > 0 and reported.create_time > kept.record_time + CLOCKS_APART


def _take_content(message: Message, reported: MessageReport, reported_us: int) -> None:
    """An edit replaces the text. A report without text and files, such as a bare status, says nothing of them."""
    stale = 0 < reported_us < message.content_time_us
    if stale or not (reported.text or reported.attachments):
        return
    # Edits leave the conversation's update time alone, so an original told again is known by its text.
    if (
        reported.text == message.original_text
        and reported.text != message.text
        and reported_us <= message.content_time_us
    ):
        return
    if reported.text and reported.text != message.text:
        if message.text and message.original_text is None:
            message.original_text = message.text
        message.text = reported.text
    message.attachments = reported.attachments or message.attachments
    message.content_type = reported.content_type or message.content_type
    message.in_reply_to = reported.in_reply_to or message.in_reply_to
    message.author_name = reported.author_name or message.author_name
    message.provider_source_id = reported.provider_source_id or message.provider_source_id
    message.content_time_us = max(message.content_time_us, reported_us)


def _shown(message: Message) -> tuple[object, ...]:
    """All that a reader can tell."""
    return (
        message.author,
        message.state,
        message.error_message,
        message.deleted,
        message.deleted_by_contact,
        message.submitted_values,
        message.text,
        message.attachments,
        message.content_type,
        message.in_reply_to,
        message.author_name,
        message.provider_source_id,
    )
