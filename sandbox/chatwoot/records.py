"""What the fake knows: the rows of a Chatwoot account, linked by plain references."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Attributes = dict[str, Any]
Role = Literal["administrator", "agent"]

WHATSAPP = "Channel::Whatsapp"
INSTAGRAM = "Channel::Instagram"
FACEBOOK_PAGE = "Channel::FacebookPage"
API = "Channel::Api"
CHANNELS = (WHATSAPP, INSTAGRAM, FACEBOOK_PAGE, API)

INCOMING, OUTGOING, ACTIVITY, TEMPLATE = range(4)
MESSAGE_TYPES = ("incoming", "outgoing", "activity", "template")
STATUSES = ("open", "resolved", "pending", "snoozed")

EVENTS = (
    "conversation_status_changed",
    "conversation_updated",
    "conversation_created",
    "contact_created",
    "contact_updated",
    "message_created",
    "message_updated",
    "webwidget_triggered",
    "inbox_created",
    "inbox_updated",
    "conversation_typing_on",
    "conversation_typing_off",
)
DEFAULT_SUBSCRIPTIONS = EVENTS[:8]
"""What a webhook gets when its maker names no subscriptions: neither typing nor inbox events."""


@dataclass(slots=True)
class Account:
    id: int
    name: str


@dataclass(slots=True)
class Agent:
    id: int
    name: str
    available_name: str
    email: str
    role: Role
    access_token: str
    avatar_url: str = ""
    availability_status: str | None = "online"


@dataclass(slots=True)
class Bot:
    id: int
    name: str
    access_token: str
    avatar_url: str = ""


@dataclass(slots=True)
class Team:
    id: int
    name: str


@dataclass(slots=True)
class Inbox:
    id: int
    name: str
    channel: str
    identifier: str
    secret: str
    phone_number: str | None = None
    instagram_id: str | None = None
    page_id: str | None = None
    webhook_url: str | None = None
    greeting: str | None = None
    lock_to_single_conversation: bool = False
    starts_pending: bool = False


@dataclass(slots=True)
class Contact:
    id: int
    account: Account
    name: str
    email: str | None
    phone_number: str | None
    identifier: str | None
    additional_attributes: Attributes
    custom_attributes: Attributes
    created_at: datetime
    updated_at: datetime
    last_activity_at: datetime | None = None
    thumbnail: str = ""
    blocked: bool = False


@dataclass(slots=True)
class ContactInbox:
    id: int
    contact: Contact
    inbox: Inbox
    source_id: str
    pubsub_token: str
    created_at: datetime
    updated_at: datetime
    hmac_verified: bool = False


@dataclass(slots=True)
class Attachment:
    id: int
    file_type: str
    data_url: str
    thumb_url: str
    content_type: str
    file_size: int
    extension: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(slots=True)
class Message:
    id: int
    conversation: "Conversation"
    content: str | None
    message_type: int
    created_at: datetime
    updated_at: datetime
    sender: Contact | Agent | Bot | None = None
    private: bool = False
    status: str = "sent"
    source_id: str | None = None
    content_type: str = "text"
    content_attributes: Attributes = field(default_factory=dict)
    additional_attributes: Attributes = field(default_factory=dict)
    attachments: list[Attachment] = field(default_factory=list)


@dataclass(slots=True)
class Conversation:
    id: int
    """The display id: unique within the account only, and the one REST uses."""
    uuid: str
    account: Account
    contact_inbox: ContactInbox
    status: str
    created_at: datetime
    updated_at: datetime
    last_activity_at: datetime
    waiting_since: datetime | None
    messages: list[Message] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    assignee: Agent | Bot | None = None
    team: Team | None = None
    additional_attributes: Attributes = field(default_factory=dict)
    custom_attributes: Attributes = field(default_factory=dict)
    snoozed_until: datetime | None = None
    unread_count: int = 0
    first_reply_created_at: datetime | None = None
    priority: str | None = None
    agent_last_seen_at: datetime | None = None
    contact_last_seen_at: datetime | None = None

    @property
    def inbox(self) -> Inbox:
        """Where the conversation takes place."""
        return self.contact_inbox.inbox

    @property
    def contact(self) -> Contact:
        """The person on the other side."""
        return self.contact_inbox.contact

    def last_public_message(self) -> Message | None:
        """The newest message that is neither a note nor an activity: what payloads show as `messages[0]`."""
        shown = (m for m in reversed(self.messages) if not m.private and m.message_type != ACTIVITY)
        return next(shown, None)


@dataclass(slots=True)
class Webhook:
    id: int
    url: str
    secret: str | None
    subscriptions: tuple[str, ...]
    name: str | None = None
    inbox_id: int | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One address that is owed an event. `inbox_id` is set for the webhook of an API inbox."""

    url: str
    secret: str | None
    inbox_id: int | None = None


@dataclass(slots=True)
class Event:
    """One thing that happened. `order_key` names the conversation or contact whose events follow each other."""

    name: str
    order_key: str
    build: Callable[[], bytes]
    inbox_id: int | None = None
    message_id: int | None = None
    _body: bytes | None = None

    def body(self) -> bytes:
        """The raw JSON. Built once, at the first call: early or, like Chatwoot's background job, late."""
        if self._body is None:
            self._body = self.build()
        return self._body
