"""The webhook bodies of Chatwoot 4.15, key by key and in its order.

There is no envelope: the message, the conversation or the contact is the root, and `event` one of its keys.
"""

from datetime import UTC, datetime
from typing import Any

import orjson

from sandbox.chatwoot.records import (
    MESSAGE_TYPES,
    Account,
    Agent,
    Attachment,
    Bot,
    Contact,
    ContactInbox,
    Conversation,
    Message,
)

Payload = dict[str, Any]
Change = tuple[Any, Any]

_RAILS_ESCAPES = (
    (b"<", b"\\u003c"),
    (b">", b"\\u003e"),
    (b"&", b"\\u0026"),
    ("\u2028".encode(), b"\\u2028"),
    ("\u2029".encode(), b"\\u2029"),
)

_CONVERSATION_COLUMNS = (
    "status",
    "assignee_id",
    "updated_at",
    "additional_attributes",
    "team_id",
    "snoozed_until",
    "custom_attributes",
    "first_reply_created_at",
    "priority",
    "waiting_since",
    "cached_label_list",
    "assignee_agent_bot_id",
    "label_list",
)
_CONTACT_COLUMNS = (
    "name",
    "email",
    "phone_number",
    "updated_at",
    "additional_attributes",
    "identifier",
    "custom_attributes",
    "last_activity_at",
    "blocked",
)


def compact_json(payload: Payload) -> bytes:
    """The bytes Rails would send: compact UTF-8, with `<`, `>`, `&` and the two line separators escaped."""
    body = orjson.dumps(payload)
    # None of these characters can stand outside a JSON string, so replacing bytes is safe.
    for character, escaped in _RAILS_ESCAPES:
        body = body.replace(character, escaped)
    return body


def iso(time: datetime) -> str:
    """ISO 8601 in UTC with exactly three decimals."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{time.microsecond // 1000:03d}Z"


def epoch(time: datetime | None) -> int:
    """Whole Unix seconds, 0 for none."""
    return 0 if time is None else int(time.timestamp())


def account_brief(account: Account) -> Payload:
    """The account as every payload names it."""
    return {"id": account.id, "name": account.name}


def contact_root(contact: Contact) -> Payload:
    """A contact as the root `sender` or the root of contact events. It has no `type`."""
    return {
        "account": account_brief(contact.account),
        "additional_attributes": contact.additional_attributes,
        "avatar": contact.thumbnail,
        "custom_attributes": contact.custom_attributes,
        "email": contact.email,
        "id": contact.id,
        "identifier": contact.identifier,
        "name": contact.name,
        "phone_number": contact.phone_number,
        "thumbnail": contact.thumbnail,
        "blocked": contact.blocked,
    }


def contact_push(contact: Contact) -> Payload:
    """A contact inside `meta` and `messages[]`."""
    return {
        "additional_attributes": contact.additional_attributes,
        "custom_attributes": contact.custom_attributes,
        "email": contact.email,
        "id": contact.id,
        "identifier": contact.identifier,
        "name": contact.name,
        "phone_number": contact.phone_number,
        "thumbnail": contact.thumbnail,
        "blocked": contact.blocked,
        "type": "contact",
    }


def actor_root(actor: Contact | Agent | Bot | None) -> Payload | None:
    """The root `sender`; null for automations, templates and echoes of the native app."""
    match actor:
        case Contact():
            return contact_root(actor)
        case Agent():
            return {"id": actor.id, "name": actor.name, "email": actor.email, "type": "user"}
        case Bot():
            return {"id": actor.id, "name": actor.name, "type": "agent_bot"}
        case None:
            return None


def actor_push(actor: Contact | Agent | Bot) -> Payload:
    """An actor inside `meta`, `messages[]` and REST answers."""
    match actor:
        case Contact():
            return contact_push(actor)
        case Agent():
            return {
                "id": actor.id,
                "name": actor.name,
                "available_name": actor.available_name,
                "avatar_url": actor.avatar_url,
                "type": "user",
                "availability_status": actor.availability_status,
                "thumbnail": actor.avatar_url,
            }
        case Bot():
            return {"id": actor.id, "name": actor.name, "avatar_url": actor.avatar_url, "type": "agent_bot"}


def actor_type(actor: Contact | Agent | Bot | None) -> str | None:
    """Rails' class name of an actor, as `sender_type` and `assignee_type` show it."""
    match actor:
        case Contact():
            return "Contact"
        case Agent():
            return "User"
        case Bot():
            return "AgentBot"
        case None:
            return None


def attachment(item: Attachment, message: Message) -> Payload:
    """One attachment, with the keys its file type has."""
    shown: Payload = {
        "id": item.id,
        "message_id": message.id,
        "file_type": item.file_type,
        "account_id": message.conversation.account.id,
        "extension": item.extension,
        "content_type": item.content_type,
        "data_url": item.data_url,
        "thumb_url": item.thumb_url,
        "file_size": item.file_size,
        "width": item.width,
        "height": item.height,
    }
    if item.file_type == "audio":
        shown["transcribed_text"] = ""
    return shown


def contact_inbox_row(row: ContactInbox) -> Payload:
    """The full database row, with the live credential `pubsub_token` that receivers must never keep."""
    return {
        "id": row.id,
        "contact_id": row.contact.id,
        "inbox_id": row.inbox.id,
        "source_id": row.source_id,
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
        "hmac_verified": row.hmac_verified,
        "pubsub_token": row.pubsub_token,
    }


def message_push(message: Message) -> Payload:
    """A message inside `conversation.messages[]`: here the type is an integer and the time epoch seconds."""
    conversation = message.conversation
    assignee = conversation.assignee
    shown: Payload = {
        "id": message.id,
        "content": message.content,
        "account_id": conversation.account.id,
        "inbox_id": conversation.inbox.id,
        "conversation_id": conversation.id,
        "message_type": message.message_type,
        "created_at": epoch(message.created_at),
        "updated_at": iso(message.updated_at),
        "private": message.private,
        "status": message.status,
        "source_id": message.source_id,
        "content_type": message.content_type,
        "content_attributes": message.content_attributes,
        "sender_type": actor_type(message.sender),
        "sender_id": None if message.sender is None else message.sender.id,
        "external_source_ids": {},
        "additional_attributes": message.additional_attributes,
        "processed_message_content": message.content,
        "sentiment": {},
        "conversation": {
            "assignee_id": assignee.id if isinstance(assignee, Agent) else None,
            "unread_count": conversation.unread_count,
            "last_activity_at": epoch(conversation.last_activity_at),
            "contact_inbox": {"source_id": conversation.contact_inbox.source_id},
        },
    }
    if message.attachments:
        shown["attachments"] = [attachment(item, message) for item in message.attachments]
    if message.sender is not None:
        shown["sender"] = actor_push(message.sender)
    return shown


def conversation_data(conversation: Conversation) -> Payload:
    """A conversation: the root of its own events, nested in those of messages and typing."""
    last = conversation.last_public_message()
    snoozed, replied = conversation.snoozed_until, conversation.first_reply_created_at
    return {
        "additional_attributes": conversation.additional_attributes,
        "can_reply": True,
        "channel": conversation.inbox.channel,
        "contact_inbox": contact_inbox_row(conversation.contact_inbox),
        "id": conversation.id,
        "inbox_id": conversation.inbox.id,
        "messages": [] if last is None else [message_push(last)],
        "labels": conversation.labels,
        "meta": {
            "sender": contact_push(conversation.contact),
            "assignee": None if conversation.assignee is None else actor_push(conversation.assignee),
            "assignee_type": actor_type(conversation.assignee),
            "team": None if conversation.team is None else {"id": conversation.team.id, "name": conversation.team.name},
            "hmac_verified": conversation.contact_inbox.hmac_verified,
        },
        "status": conversation.status,
        "custom_attributes": conversation.custom_attributes,
        "snoozed_until": None if snoozed is None else iso(snoozed),
        "unread_count": conversation.unread_count,
        "first_reply_created_at": None if replied is None else iso(replied),
        "priority": conversation.priority,
        "waiting_since": epoch(conversation.waiting_since),
        "agent_last_seen_at": epoch(conversation.agent_last_seen_at),
        "contact_last_seen_at": epoch(conversation.contact_last_seen_at),
        "last_activity_at": epoch(conversation.last_activity_at),
        "timestamp": epoch(conversation.last_activity_at),
        "created_at": epoch(conversation.created_at),
        "updated_at": conversation.updated_at.timestamp(),
        "account": account_brief(conversation.account),
    }


def message_event(name: str, message: Message) -> Payload:
    """message_created or message_updated. The message's status is not at the root, and its type is a string."""
    conversation = message.conversation
    payload: Payload = {
        "account": account_brief(conversation.account),
        "additional_attributes": message.additional_attributes,
        "content_attributes": message.content_attributes,
        "content_type": message.content_type,
        "content": message.content,
        "conversation": conversation_data(conversation),
        "created_at": iso(message.created_at),
        "id": message.id,
        "inbox": {"id": conversation.inbox.id, "name": conversation.inbox.name},
        "message_type": MESSAGE_TYPES[message.message_type],
        "private": message.private,
        "sender": actor_root(message.sender),
        "source_id": message.source_id,
    }
    if message.attachments:
        payload["attachments"] = [attachment(item, message) for item in message.attachments]
    payload["event"] = name
    return payload


def conversation_event(name: str, conversation: Conversation, changes: dict[str, Change] | None = None) -> Payload:
    """conversation_created, _updated or _status_changed; only the second shows what changed."""
    payload = conversation_data(conversation) | {"event": name}
    if name == "conversation_updated":
        payload["changed_attributes"] = changed_attributes(changes or {}, _CONVERSATION_COLUMNS)
    elif name == "conversation_status_changed":
        # Chatwoot asks for the pending change after it was saved, so the key is there and empty.
        payload["changed_attributes"] = None
    return payload


def contact_event(name: str, contact: Contact, changes: dict[str, Change] | None = None) -> Payload:
    """contact_created or contact_updated: no inbox, no source id, no times."""
    payload = contact_root(contact) | {"event": name}
    if name == "contact_updated":
        payload["changed_attributes"] = changed_attributes(changes or {}, _CONTACT_COLUMNS)
    return payload


def typing_event(name: str, actor: Contact | Agent, conversation: Conversation, *, private: bool) -> Payload:
    """conversation_typing_on or _off: the one payload without an id at its root."""
    return {
        "event": name,
        "user": actor_root(actor),
        "conversation": conversation_data(conversation),
        "is_private": private,
    }


def changed_attributes(changes: dict[str, Change], columns: tuple[str, ...]) -> list[Payload]:
    """An array of single-key objects in the order of the table's columns; times are ISO here."""
    return [
        {column: {"previous_value": _changed(changes[column][0]), "current_value": _changed(changes[column][1])}}
        for column in columns
        if column in changes
    ]


def _changed(value: Any) -> Any:
    return iso(value) if isinstance(value, datetime) else value
