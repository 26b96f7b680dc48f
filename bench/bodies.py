"""Webhooks as Chatwoot sends them, signed ahead of time: a customer's message of 2.6 kB, each with ids of its own."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sandbox.chatwoot import payloads
from sandbox.chatwoot.signing import signed_request

ACCOUNT_ID = 7
INBOX_ID = 21
NEW_SHARE = 0.1
"""One message in ten is the first of somebody nobody knows."""
CONTACTS = 20_000
TEXT = "Oi, bom dia! Vocês atendem convênio? Queria marcar uma avaliação para a semana que vem. 😊"


@dataclass(frozen=True, slots=True)
class Stream:
    """A run of webhooks: who writes, and where its ids begin. Contacts to `known` exist, those after `fresh` do not."""

    run: str
    secret: str
    path: str
    host: str
    known: int
    fresh: int
    first_message_id: int
    new_share: float = NEW_SHARE


def phone_of(contact: int) -> str:
    """The digits of a contact's number; contacts are counted from 1."""
    return f"55119{contact:08d}"


def delivery_id(run: str, index: int) -> str:
    """The id under which Chatwoot would deliver; tells a run's webhooks apart afterwards."""
    return f"bench-{run}-{index}"


def body(contact: int, message_id: int, now: datetime) -> bytes:
    """The event of one incoming message."""
    stamp, moment = int(now.timestamp()), now.strftime("%Y-%m-%dT%H:%M:%S.204Z")
    account = {"id": ACCOUNT_ID, "name": "Clínica Sorriso Pleno"}
    digits, source_id = phone_of(contact), f"wamid.HBgNNTUxMTkwMDAwNDgyMRUCABIYFDNFQjA0{message_id:012d}"
    sender: dict[str, Any] = {
        "additional_attributes": {},
        "custom_attributes": {},
        "email": None,
        "id": contact,
        "identifier": None,
        "name": f"Marina Teles {contact}",
        "phone_number": f"+{digits}",
        "thumbnail": "",
        "blocked": False,
    }
    contact_inbox = {
        "id": contact,
        "contact_id": contact,
        "inbox_id": INBOX_ID,
        "source_id": digits,
        "created_at": moment,
        "updated_at": moment,
        "hmac_verified": False,
        "pubsub_token": "cwExPubSubTk0000000000A1",
    }
    message = {
        "id": message_id,
        "content": TEXT,
        "account_id": ACCOUNT_ID,
        "inbox_id": INBOX_ID,
        "conversation_id": contact,
        "message_type": 0,
        "created_at": stamp,
        "updated_at": moment,
        "private": False,
        "status": "sent",
        "source_id": source_id,
        "content_type": "text",
        "content_attributes": {},
        "sender_type": "Contact",
        "sender_id": contact,
        "external_source_ids": {},
        "additional_attributes": {},
        "processed_message_content": TEXT,
        "sentiment": {},
        "conversation": {
            "assignee_id": None,
            "unread_count": 1,
            "last_activity_at": stamp,
            "contact_inbox": {"source_id": digits},
        },
        "sender": {**sender, "type": "contact"},
    }
    conversation = {
        "additional_attributes": {},
        "can_reply": True,
        "channel": "Channel::Whatsapp",
        "contact_inbox": contact_inbox,
        "id": contact,
        "inbox_id": INBOX_ID,
        "messages": [message],
        "labels": [],
        "meta": {
            "sender": {**sender, "type": "contact"},
            "assignee": None,
            "assignee_type": None,
            "team": None,
            "hmac_verified": False,
        },
        "status": "open",
        "custom_attributes": {},
        "snoozed_until": None,
        "unread_count": 1,
        "first_reply_created_at": None,
        "priority": None,
        "waiting_since": stamp,
        "agent_last_seen_at": 0,
        "contact_last_seen_at": 0,
        "last_activity_at": stamp,
        "timestamp": stamp,
        "created_at": stamp,
        "updated_at": now.timestamp(),
        "account": account,
    }
    event = {
        "account": account,
        "additional_attributes": {},
        "content_attributes": {},
        "content_type": "text",
        "content": TEXT,
        "conversation": conversation,
        "created_at": moment,
        "id": message_id,
        "inbox": {"id": INBOX_ID, "name": "WhatsApp Recepção"},
        "message_type": "incoming",
        "private": False,
        "sender": {"account": account, "avatar": "", **sender},
        "source_id": source_id,
        "event": "message_created",
    }
    return payloads.compact_json(event)


def requests(stream: Stream, seed: int) -> Iterator[bytes]:
    """Whole HTTP requests, ready to be sent; the contact of each is drawn."""
    draw = random.Random(seed)
    now = datetime.now(UTC)
    fresh = stream.fresh
    index = 0
    while True:
        if draw.random() < stream.new_share:
            fresh += 1
            contact = fresh
        else:
            contact = draw.randint(1, stream.known)
        raw = body(contact, stream.first_message_id + index, now)
        headers = signed_request(raw, stream.secret, delivery_id(stream.run, index), int(now.timestamp()))
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"POST {stream.path} HTTP/1.1\r\nHost: {stream.host}\r\n{head}Content-Length: {len(raw)}\r\n\r\n"
        yield head.encode() + raw
        index += 1
