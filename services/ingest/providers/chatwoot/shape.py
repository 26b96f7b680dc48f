"""The two shapes of a Chatwoot webhook: Chatwoot sends the event's object flat, the legacy smoke nests it in a body.

Everything behind this module sees the flat shape only.
"""

from collections.abc import Mapping
from typing import Any

from services.ingest.providers.fields import Json, number, obj

CONVERSATION_EVENTS = frozenset({"conversation_created", "conversation_updated", "conversation_status_changed"})
MESSAGE_CREATED = "message_created"
MESSAGE_EVENTS = frozenset({MESSAGE_CREATED, "message_updated"})
CONTACT_EVENTS = frozenset({"contact_created", "contact_updated"})
_NOTHING: Mapping[str, Any] = {}


def flatten(root: Json) -> tuple[Json, bool]:
    """Answers the flat form of an event and whether it came nested."""
    event = root.get("event")
    if not isinstance(event, str):
        return root, False
    if event in CONVERSATION_EVENTS:
        conversation = root.get("conversation")
        if isinstance(conversation, dict) and "meta" not in root:
            return {**root, **_conversation(conversation, root)}, True
    elif event in MESSAGE_EVENTS:
        message = root.get("message")
        if isinstance(message, dict):
            conversation = _conversation(obj(root.get("conversation")), root)
            return {**root, **message, "event": event, "conversation": conversation}, True
        conversation = obj(root.get("conversation"))
        if conversation and not isinstance(conversation.get("meta"), dict):
            return {**root, "conversation": _conversation(conversation, root)}, True
    elif event in CONTACT_EVENTS:
        contact = root.get("contact")
        if isinstance(contact, dict) and "id" not in root:
            return {**root, **contact, "event": event}, True
    return root, False


def _conversation(conversation: Json, root: Json) -> dict[str, Any]:
    """Fills in, from the rest of a nested body, what the real conversation object would hold itself."""
    inbox = obj(root.get("inbox"))
    meta = obj(conversation.get("meta"))
    flat = dict(conversation)
    if "inbox_id" not in flat:
        flat["inbox_id"] = inbox.get("id")
    if not isinstance(flat.get("channel"), str):
        flat["channel"] = inbox.get("channel_type") or meta.get("channel")
    sender = meta.get("sender") or root.get("contact") or conversation.get("contact") or _contact_sender(root)
    assignee = meta.get("assignee") or conversation.get("assignee")
    flat["meta"] = {**meta, "sender": sender, "assignee": assignee}
    if "account" not in flat and "account_id" in flat:
        flat["account"] = {"id": flat["account_id"]}
    return flat


def _contact_sender(root: Json) -> Json | None:
    """The sender at the root, if it is the contact: only agents and bots have another type."""
    message_sender = obj(obj(root.get("message")).get("sender"))
    sender = obj(root.get("sender")) or message_sender
    return sender if sender.get("type") in (None, "contact") else None


def event_name(root: Any) -> object:
    """Answers what an event says that it is, None where it says nothing."""
    return root.get("event") if isinstance(root, dict) else None


def ordering_key(root: Any) -> str:
    """Answers within a connection what must be processed in order: "c:<conversation>" or "p:<contact>".

    Works on any JSON value and answers "" for what belongs to neither; never raises.
    """
    if not isinstance(root, dict):
        return ""
    event = root.get("event")
    if not isinstance(event, str):
        return ""
    if event in CONTACT_EVENTS:
        contact_id = number(root.get("id")) or number(obj(root.get("contact")).get("id"))
        return "" if contact_id is None else f"p:{contact_id}"
    conversation_id = number(obj(root.get("conversation")).get("id"))
    if conversation_id is None and event in CONVERSATION_EVENTS:
        conversation_id = number(root.get("id"))
    return "" if conversation_id is None else f"c:{conversation_id}"
