"""Conversations: what is kept of them, and who answers. No I/O, no clock, no protobuf."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from chassis.errors import InvalidArgument
from services.conversation.messages.domain.message import Direction, Message

PREVIEW_LENGTH_MAX = 160

_DISPLAY_ID = re.compile(r"[1-9][0-9]{0,17}", re.ASCII)


class Source(StrEnum):
    WHATSAPP = "WHATSAPP"
    INSTAGRAM = "INSTAGRAM"


class ConversationState(StrEnum):
    OPEN = "OPEN"
    PENDING = "PENDING"
    SNOOZED = "SNOOZED"
    RESOLVED = "RESOLVED"


class HandoffMode(StrEnum):
    AI = "AI"
    HUMAN = "HUMAN"


class HandoffSource(StrEnum):
    """What moved a conversation between automation and people; the values are those of the API."""

    NEVER = ""
    LABEL = "webhook"
    ECHO_INSTAGRAM = "echo_ig"
    ECHO_WHATSAPP = "echo_wa"
    UI = "ui"
    AGENT = "agent"
    API = "api"
    AUTO_EXPIRE = "auto_expire"


ConversationKey = tuple[str, str, str]
"""Organization, provider's conversation id, connection: what makes a conversation one."""


@dataclass(slots=True)
class Conversation:
    """A thread as it is kept; the fields are the table's columns, in their order."""

    conversation_id: str
    organization_id: str
    connection_id: str
    channel_id: str
    source: Source
    provider_conversation_id: str
    create_time: datetime
    update_time: datetime
    activity_time: datetime
    """When the newest message was written; when the conversation came to be known, while there is none."""
    version: int = 0
    account_id: int = 0
    inbox_id: int = 0
    provider_contact_id: str = ""
    provider_url: str = ""
    inbox_name: str = ""
    contact_id: str | None = None
    deal_id: str | None = None
    conversation_key: str = ""
    contact_name: str = ""
    contact_phone: str = ""
    state: ConversationState = ConversationState.OPEN
    labels: list[str] = field(default_factory=list)
    """Sorted, each once."""
    assignee_name: str = ""
    unread_count: int = 0
    provider_update_time_us: int = 0
    """The provider's update time of the newest report, in microseconds since 1970; 0 while none had a time."""
    handoff_mode: HandoffMode = HandoffMode.AI
    handoff_source: HandoffSource = HandoffSource.NEVER
    handoff_time: datetime | None = None
    handoff_reason: str = ""
    last_message_time: datetime | None = None
    last_message_preview: str = ""
    last_message_direction: Direction = Direction.UNSPECIFIED
    last_provider_message_id: str = ""
    generation: int = 0
    """How many other conversations had its id at the provider before it."""
    provider_create_time: datetime | None = None
    """When the provider made it; None while it has not said."""
    provider_contact_source_id: str = ""
    """The network's id of the contact, as the conversation hangs on it; empty while the provider has not said."""
    last_send_time: datetime | None = None
    """When something was last to be sent from here: only then an echo is looked for."""
    handoff_actor_principal: str = ""
    handoff_actor_name: str = ""
    """Who moved it, where that is known."""
    label_write_us: int = 0
    """When we last wrote a label at the provider, by its clock: what it reports up to then says nothing new of it."""

    @property
    def key(self) -> ConversationKey:
        return self.organization_id, self.provider_conversation_id, self.connection_id


@dataclass(slots=True)
class ConversationReport:
    """What one event said of a conversation's own state."""

    state: ConversationState | None
    labels: list[str]
    """Sorted, each once."""
    unread_count: int
    assignee_name: str
    update_time_us: int
    """0 when the provider gave none."""


def hand_over(
    conversation: Conversation, mode: HandoffMode, source: HandoffSource, moment: datetime, reason: str
) -> None:
    """Gives the conversation to a person or back; one who has it already keeps it as it came."""
    if conversation.handoff_mode is mode:
        return
    conversation.handoff_mode = mode
    conversation.handoff_source = source
    conversation.handoff_time = moment
    conversation.handoff_reason = reason
    conversation.handoff_actor_principal = conversation.handoff_actor_name = ""


def preview(text: str) -> str:
    """The beginning of a text, on one line."""
    return " ".join(text[: 4 * PREVIEW_LENGTH_MAX].split())[:PREVIEW_LENGTH_MAX]


def display_id(text: str) -> str:
    """A Chatwoot display id. Raises InvalidArgument PROVIDER_CONVERSATION_ID_INVALID."""
    if _DISPLAY_ID.fullmatch(text) is None:
        raise InvalidArgument(
            "PROVIDER_CONVERSATION_ID_INVALID",
            "provider_conversation_id must be the conversation's number in Chatwoot, such as 391.",
        )
    return text


def _order(moment: datetime, provider_message_id: str) -> tuple[datetime, int, str]:
    """Sorts messages of one moment by their provider's number, whatever the order they came in."""
    return moment, len(provider_message_id), provider_message_id


def is_newest(conversation: Conversation, message: Message) -> bool:
    if conversation.last_message_time is None:
        return True
    last = _order(conversation.last_message_time, conversation.last_provider_message_id)
    return _order(message.create_time, message.provider_message_id) > last


def is_last(conversation: Conversation, message: Message) -> bool:
    return (
        message.provider_message_id == conversation.last_provider_message_id
        and message.create_time == conversation.last_message_time
    )


def make_last(conversation: Conversation, message: Message) -> None:
    conversation.last_message_time = message.create_time
    conversation.activity_time = message.create_time
    conversation.last_message_preview = preview(message.text)
    conversation.last_message_direction = message.direction
    conversation.last_provider_message_id = message.provider_message_id
