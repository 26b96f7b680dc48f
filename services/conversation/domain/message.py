"""Messages: what is kept of them, and what a report may change. No I/O, no clock, no protobuf.

Ids are texts in their canonical form: as objects they would cost more than all the rules together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
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


class MessageState(StrEnum):
    UNSPECIFIED = "UNSPECIFIED"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    READ = "READ"
    FAILED = "FAILED"


STATE_RANK = {
    MessageState.UNSPECIFIED: 0,
    MessageState.SENT: 1,
    # Providers call a send failed when their own webhook timed out, and learn later that it arrived. So a failure gives
    # way to a delivery, but a message that arrived never becomes a failed one.
    MessageState.FAILED: 2,
    MessageState.DELIVERED: 3,
    MessageState.READ: 4,
}

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

    @property
    def key(self) -> MessageKey:
        return self.organization_id, self.channel_id, self.provider_message_id


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
    """False where it leaves room for doubt who wrote it: then what is kept stays."""


@dataclass(slots=True)
class Amendment:
    """What a report did to a known message."""

    updated: bool = False
    """Readers can tell."""
    noted: bool = False
    """The row is to be written, though perhaps only to remember how new the report was."""
    author_changed: bool = False


def amend(message: Message, told: MessageReport, told_us: int) -> Amendment:
    """Changes a known message: its state by rank, its content where the report is not older than what is kept.

    An update may come before the creation, and only that one may settle who wrote it: whoever settles it is believed.
    """
    before = (message.author, message.state, message.error_message, message.deleted, *_content(message))
    time_before = message.content_time_us
    if told.author_settled and told.author is not Author.UNSPECIFIED:
        message.author = told.author
    if STATE_RANK[told.state] > STATE_RANK[message.state]:
        message.state = told.state
        message.error_message = told.error_message if told.state is MessageState.FAILED else ""
    elif told.state is message.state is MessageState.FAILED:
        message.error_message = told.error_message or message.error_message
    if told.deleted:
        message.deleted = True
        message.text, message.original_text, message.attachments = "", None, []
    elif not message.deleted:
        _take_content(message, told, told_us)
    updated = (message.author, message.state, message.error_message, message.deleted, *_content(message)) != before
    return Amendment(
        updated=updated,
        noted=updated or message.content_time_us != time_before,
        author_changed=message.author is not before[0],
    )


def _take_content(message: Message, told: MessageReport, told_us: int) -> None:
    """An edit replaces the text. A report without text and files, such as a bare status, says nothing of them."""
    stale = 0 < told_us < message.content_time_us
    if stale or not (told.text or told.attachments):
        return
    # Edits leave the conversation's update time alone, so an original told again is known by its text.
    if told.text == message.original_text and told.text != message.text and told_us <= message.content_time_us:
        return
    if told.text and told.text != message.text:
        if message.text and message.original_text is None:
            message.original_text = message.text
        message.text = told.text
    message.attachments = told.attachments or message.attachments
    message.content_type = told.content_type or message.content_type
    message.in_reply_to = told.in_reply_to or message.in_reply_to
    message.author_name = told.author_name or message.author_name
    message.provider_source_id = told.provider_source_id or message.provider_source_id
    message.content_time_us = max(message.content_time_us, told_us)


def _content(message: Message) -> tuple[object, ...]:
    return (
        message.text,
        message.attachments,
        message.content_type,
        message.in_reply_to,
        message.author_name,
        message.provider_source_id,
    )
