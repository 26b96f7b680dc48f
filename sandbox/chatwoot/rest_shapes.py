"""How REST shows the same rows: flat messages, epoch times, contacts with their inboxes."""

from typing import Any

from sandbox.chatwoot.payloads import actor_push, actor_type, attachment, epoch, message_push
from sandbox.chatwoot.records import (
    ACTIVITY,
    Account,
    Agent,
    Bot,
    Contact,
    ContactInbox,
    Conversation,
    Inbox,
    Message,
    Team,
    Webhook,
)

Json = dict[str, Any]
VERSION = "4.15.1"


def message(row: Message) -> Json:
    """A message as REST answers it: integer type, epoch time, and the status that webhooks lack."""
    shown: Json = {
        "id": row.id,
        "content": row.content,
        "inbox_id": row.conversation.inbox.id,
        "conversation_id": row.conversation.id,
        "message_type": row.message_type,
        "content_type": row.content_type,
        "status": row.status,
        "content_attributes": row.content_attributes,
        "created_at": epoch(row.created_at),
        "private": row.private,
        "source_id": row.source_id,
    }
    if row.sender is not None:
        shown["sender"] = actor_push(row.sender)
    if row.attachments:
        shown["attachments"] = [attachment(item, row) for item in row.attachments]
    return shown


def contact(row: Contact, inboxes: list[ContactInbox] | None = None) -> Json:
    """A contact; with its contact_inboxes where the call gives them."""
    shown: Json = {
        "additional_attributes": row.additional_attributes,
        "availability_status": "offline",
        "email": row.email,
        "id": row.id,
        "name": row.name,
        "phone_number": row.phone_number,
        "blocked": row.blocked,
        "identifier": row.identifier,
        "thumbnail": row.thumbnail,
        "custom_attributes": row.custom_attributes,
        "last_activity_at": epoch(row.last_activity_at) or None,
        "created_at": epoch(row.created_at),
    }
    if inboxes is not None:
        shown["contact_inboxes"] = [
            {"source_id": place.source_id, "inbox": inbox_brief(place.inbox)} for place in inboxes
        ]
    return shown


def inbox_brief(row: Inbox) -> Json:
    """An inbox inside a contact."""
    return {
        "id": row.id,
        "avatar_url": "",
        "channel_id": row.id,
        "name": row.name,
        "channel_type": row.channel,
        "provider": "whatsapp_cloud" if row.phone_number else None,
    }


def inbox(row: Inbox, *, administrator: bool) -> Json:
    """An inbox; its secret is for administrators."""
    shown: Json = inbox_brief(row) | {
        "greeting_enabled": row.greeting is not None,
        "greeting_message": row.greeting,
        "lock_to_single_conversation": row.lock_to_single_conversation,
        "phone_number": row.phone_number,
        "instagram_id": row.instagram_id,
        "page_id": row.page_id,
        "webhook_url": row.webhook_url,
        "inbox_identifier": row.identifier,
    }
    if administrator:
        shown["secret"] = row.secret
    return shown


def conversation(row: Conversation) -> Json:
    """A conversation: with uuid, account_id and meta.channel, without contact_inbox and root channel."""
    assignee = row.assignee
    last = next(reversed(row.messages), None)
    spoken = next((m for m in reversed(row.messages) if m.message_type != ACTIVITY), None)
    return {
        "meta": {
            "sender": contact(row.contact),
            "channel": row.inbox.channel,
            "assignee": None if assignee is None else actor_push(assignee),
            "assignee_type": actor_type(assignee),
            "team": team(row.team),
            "hmac_verified": row.contact_inbox.hmac_verified,
        },
        "id": row.id,
        "messages": [] if last is None else [message_push(last)],
        "account_id": row.account.id,
        "uuid": row.uuid,
        "additional_attributes": row.additional_attributes,
        "agent_last_seen_at": epoch(row.agent_last_seen_at),
        "assignee_last_seen_at": 0,
        "can_reply": True,
        "contact_last_seen_at": epoch(row.contact_last_seen_at),
        "custom_attributes": row.custom_attributes,
        "inbox_id": row.inbox.id,
        "labels": row.labels,
        "muted": False,
        "snoozed_until": epoch(row.snoozed_until) or None,
        "status": row.status,
        "created_at": epoch(row.created_at),
        "updated_at": row.updated_at.timestamp(),
        "timestamp": epoch(row.last_activity_at),
        "first_reply_created_at": epoch(row.first_reply_created_at),
        "unread_count": row.unread_count,
        "last_non_activity_message": None if spoken is None else message_push(spoken),
        "last_activity_at": epoch(row.last_activity_at),
        "priority": row.priority,
        "waiting_since": epoch(row.waiting_since),
        "sla_policy_id": None,
    }


def webhook(row: Webhook, account: Account) -> Json:
    """A webhook, secret included: the call is for administrators alone."""
    return {
        "id": row.id,
        "name": row.name,
        "url": row.url,
        "account_id": account.id,
        "subscriptions": list(row.subscriptions),
        "secret": row.secret,
    }


def team(row: Team | None) -> Json | None:
    """A team or null."""
    return None if row is None else {"id": row.id, "name": row.name}


def assignee(row: Agent | Bot | None, account: Account) -> Json | None:
    """What the assignments call answers: the agent, the bot, or null."""
    match row:
        case Agent():
            return {
                "id": row.id,
                "account_id": account.id,
                "availability_status": row.availability_status,
                "auto_offline": True,
                "confirmed": True,
                "email": row.email,
                "available_name": row.available_name,
                "name": row.name,
                "role": row.role,
                "thumbnail": row.avatar_url,
            }
        case Bot():
            return actor_push(row)
        case None:
            return None


def profile(row: Agent, account: Account) -> Json:
    """Who the token is, with the role in each account."""
    return {
        "access_token": row.access_token,
        "account_id": account.id,
        "available_name": row.available_name,
        "avatar_url": row.avatar_url,
        "confirmed": True,
        "display_name": None,
        "email": row.email,
        "id": row.id,
        "name": row.name,
        "provider": "email",
        "role": row.role,
        "type": None,
        "uid": row.email,
        "accounts": [
            {
                "id": account.id,
                "name": account.name,
                "status": "active",
                "role": row.role,
                "permissions": [row.role],
                "availability": row.availability_status,
            }
        ],
    }
