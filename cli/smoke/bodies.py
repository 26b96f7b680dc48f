"""Webhook bodies as Chatwoot sends them (flat), and as the legacy smoke sent them (nested)."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from prosa.v1.options_pb2 import Source

Body = dict[str, Any]

PERSON_IDS_FROM = 900_000_000
PERSON_IDS = 99_000_000
CHANNEL_TYPES = {Source.SOURCE_WHATSAPP: "Channel::Whatsapp", Source.SOURCE_INSTAGRAM: "Channel::Instagram"}


@dataclass(frozen=True, slots=True)
class Writer:
    """A person who writes to one inbox; an empty external id is a person without any valid identity."""

    source: Source.ValueType
    external_id: str
    name: str
    account_id: int
    inbox_id: int

    @property
    def contact_id(self) -> int:
        """Chatwoot's id of the contact: the same person always has the same, and two people never share one."""
        return PERSON_IDS_FROM + zlib.crc32(f"{self.source}:{self.external_id}".encode()) % PERSON_IDS

    @property
    def phone(self) -> str | None:
        """The phone as Chatwoot shows it; Instagram tells none."""
        return self.external_id or None if self.source == Source.SOURCE_WHATSAPP else None


def nested_conversation(writer: Writer, conversation_id: int, now: datetime) -> Body:
    """conversation_created as the legacy smoke sent it."""
    sender: Body = {"id": writer.contact_id, "name": writer.name, "phone_number": writer.phone}
    if writer.source == Source.SOURCE_INSTAGRAM:
        # The legacy form has the Instagram-scoped id here; real Chatwoot never does.
        sender["identifier"] = writer.external_id
    return {
        "event": "conversation_created",
        "account": {"id": writer.account_id},
        "inbox": {"id": writer.inbox_id, "channel_type": CHANNEL_TYPES[writer.source]},
        "conversation": {
            "id": conversation_id,
            "account_id": writer.account_id,
            "inbox_id": writer.inbox_id,
            "status": "open",
            "channel": CHANNEL_TYPES[writer.source],
            "meta": {"sender": sender, "channel": CHANNEL_TYPES[writer.source]},
            "created_at": int(now.timestamp()),
        },
        "contact": sender,
    }


def flat_conversation(writer: Writer, conversation_id: int, now: datetime, *, unread_count: int = 1) -> Body:
    """conversation_created as Chatwoot sends it."""
    return {**_conversation(writer, conversation_id, now, unread_count), "event": "conversation_created"}


def flat_message(
    writer: Writer, conversation_id: int, message_id: int, text: str, now: datetime, *, unread_count: int = 1
) -> Body:
    """message_created of a customer as Chatwoot sends it."""
    account = {"id": writer.account_id, "name": "Smoke"}
    return {
        "account": account,
        "additional_attributes": {},
        "content_attributes": {},
        "content_type": "text",
        "content": text,
        "conversation": _conversation(writer, conversation_id, now, unread_count),
        "created_at": _iso(now),
        "id": message_id,
        "inbox": {"id": writer.inbox_id, "name": "Smoke"},
        "message_type": "incoming",
        "private": False,
        "sender": {"account": account, **_contact(writer)},
        "source_id": f"smoke.{message_id}",
        "event": "message_created",
    }


def _conversation(writer: Writer, conversation_id: int, now: datetime, unread_count: int) -> Body:
    seconds = int(now.timestamp())
    return {
        "additional_attributes": {},
        "can_reply": True,
        "channel": CHANNEL_TYPES[writer.source],
        "contact_inbox": {
            "id": writer.contact_id,
            "contact_id": writer.contact_id,
            "inbox_id": writer.inbox_id,
            "source_id": writer.external_id.lstrip("+") or "no-valid-identity",
            "created_at": _iso(now),
            "updated_at": _iso(now),
            "hmac_verified": False,
        },
        "id": conversation_id,
        "inbox_id": writer.inbox_id,
        "messages": [],
        "labels": [],
        "meta": {
            "sender": {**_contact(writer), "type": "contact"},
            "assignee": None,
            "assignee_type": None,
            "team": None,
            "hmac_verified": False,
        },
        "status": "open",
        "custom_attributes": {},
        "snoozed_until": None,
        "unread_count": unread_count,
        "first_reply_created_at": None,
        "priority": None,
        "waiting_since": seconds,
        "agent_last_seen_at": 0,
        "contact_last_seen_at": 0,
        "last_activity_at": seconds,
        "timestamp": seconds,
        "created_at": seconds,
        "updated_at": now.timestamp(),
        "account": {"id": writer.account_id, "name": "Smoke"},
    }


def _contact(writer: Writer) -> Body:
    return {
        "additional_attributes": {},
        "custom_attributes": {},
        "email": None,
        "id": writer.contact_id,
        "identifier": None,
        "name": writer.name,
        "phone_number": writer.phone,
        "thumbnail": "",
        "blocked": False,
    }


def _iso(now: datetime) -> str:
    return now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
