"""How rows of conversations and messages stand in their tables and are read again.

Rows travel to PostgreSQL as one JSON text per statement: it is written in C on both sides, where arrays would be
quoted element by element in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any

import orjson

from services.conversation.messages.domain.conversation import (
    Conversation,
    ConversationState,
    HandoffMode,
    HandoffSource,
    Source,
)
from services.conversation.messages.domain.message import (
    Attachment,
    Author,
    Direction,
    ExpiringAttachment,
    Message,
    MessageState,
    SubmittedValue,
)

_UUID, _TEXT, _TIME, _BIGINT = "uuid", "text", "timestamptz", "bigint"
CONVERSATION_TYPES: Mapping[str, str] = {
    "conversation_id": _UUID,
    "organization_id": _UUID,
    "connection_id": _UUID,
    "channel_id": _UUID,
    "create_time": _TIME,
    "update_time": _TIME,
    "activity_time": _TIME,
    "version": _BIGINT,
    "account_id": _BIGINT,
    "inbox_id": _BIGINT,
    "contact_id": _UUID,
    "deal_id": _UUID,
    "labels": "text[]",
    "unread_count": "int",
    "provider_update_time_us": _BIGINT,
    "handoff_time": _TIME,
    "last_message_time": _TIME,
    "generation": _BIGINT,
    "provider_create_time": _TIME,
    "last_send_time": _TIME,
    "label_write_us": _BIGINT,
}
MESSAGE_TYPES: Mapping[str, str] = {
    "message_id": _UUID,
    "organization_id": _UUID,
    "conversation_id": _UUID,
    "channel_id": _UUID,
    "create_time": _TIME,
    "record_time": _TIME,
    "attachments": "jsonb",
    "deleted": "boolean",
    "content_time_us": _BIGINT,
    "deleted_by_contact": "boolean",
    "submitted_values": "jsonb",
    "copy_count": _BIGINT,
    "told_time_us": _BIGINT,
    "sent_here": "boolean",
}
KEY_TYPES: Mapping[str, str] = {
    "organization_id": _UUID,
    "channel_id": _UUID,
    "conversation_id": _UUID,
    "message_id": _UUID,
    "create_time": _TIME,
    "generation": _BIGINT,
    "source_week": _BIGINT,
}
CONVERSATION_COLUMNS = tuple(field.name for field in fields(Conversation))
MESSAGE_COLUMNS = tuple(field.name for field in fields(Message))
CONVERSATION_FIXED = (
    *("conversation_id", "organization_id", "connection_id", "provider_conversation_id", "create_time", "generation"),
)
MESSAGE_CHANGING = (
    *("author", "state", "provider_source_id", "text", "original_text", "content_type", "attachments", "error_message"),
    *("deleted", "in_reply_to", "author_name", "content_time_us", "deleted_by_contact", "submitted_values"),
    *("told_time_us", "provider_message_id", "record_time"),
)


def recordset(columns: Iterable[str], types: Mapping[str, str], parameter: str = "rows") -> str:
    """Rows that come as one JSON text, as a table called ``given``."""
    declared = ", ".join(f"{column} {types.get(column, _TEXT)}" for column in columns)
    return f"json_to_recordset(%({parameter})s::json) as given ({declared})"


def names(columns: Iterable[str]) -> str:
    """Columns as a list of SQL."""
    return ", ".join(columns)


def _read(columns: Iterable[str], types: Mapping[str, str], prefix: str) -> str:
    """What to select, ids as texts."""
    cast = {column: f"{prefix}{column}::text" for column in columns if types.get(column) == _UUID}
    return ", ".join(cast.get(column, prefix + column) for column in columns)


def assignments(columns: Iterable[str]) -> str:
    """What an update sets from ``given``."""
    return ", ".join(f"{column} = given.{column}" for column in columns)


CONVERSATION_READ = _read(CONVERSATION_COLUMNS, CONVERSATION_TYPES, "conversations.")
MESSAGE_READ = _read(MESSAGE_COLUMNS, MESSAGE_TYPES, "messages.")
CONVERSATION_NAMES = names(CONVERSATION_COLUMNS)
MESSAGE_NAMES = names(MESSAGE_COLUMNS)


def as_json(rows: Sequence[Any]) -> str:
    """Rows as the text that `recordset` reads."""
    return orjson.dumps(rows).decode()


def read_conversation(row: Sequence[Any]) -> Conversation:
    """A row of what ``CONVERSATION_READ`` selects."""
    conversation = Conversation(*row)
    conversation.source = Source(conversation.source)
    conversation.state = ConversationState(conversation.state)
    conversation.handoff_mode = HandoffMode(conversation.handoff_mode)
    conversation.handoff_source = HandoffSource(conversation.handoff_source)
    conversation.last_message_direction = Direction(conversation.last_message_direction)
    return conversation


def read_message(row: Sequence[Any]) -> Message:
    """A row of what ``MESSAGE_READ`` selects."""
    message = Message(*row)
    message.direction = Direction(message.direction)
    message.author = Author(message.author)
    message.state = MessageState(message.state)
    message.attachments = [_attachment(attachment) for attachment in message.attachments]  # type: ignore[arg-type]
    if message.submitted_values:
        message.submitted_values = [SubmittedValue(**answer) for answer in message.submitted_values]  # type: ignore[arg-type]
    return message


def _attachment(kept: dict[str, Any]) -> Attachment:
    if "expire_time" not in kept:
        return Attachment(**kept)
    moment = kept.pop("expire_time")
    return ExpiringAttachment(**kept, expire_time=None if moment is None else datetime.fromisoformat(moment))
