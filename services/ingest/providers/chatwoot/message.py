"""One Chatwoot message: whether it is ours at all, who wrote it, and what it says."""

import re
from datetime import datetime
from typing import Any

from services.ingest.normal_form import (
    Attachment,
    Author,
    Direction,
    Ignored,
    IgnoredReason,
    Invalid,
    InvalidReason,
    MessageRecord,
    MessageStatus,
    Note,
    Reaction,
)
from services.ingest.providers.chatwoot.media import expiry
from services.ingest.providers.chatwoot.submitted import read_submitted
from services.ingest.providers.fields import (
    TEXT_LENGTH_MAX,
    URL_LENGTH_MAX,
    Json,
    coordinate,
    count,
    flag,
    identifier,
    instant,
    items,
    number,
    obj,
    text,
    url,
)

ATTACHMENTS_MAX = 30
ERROR_LENGTH_MAX = 1000
EVOLUTION_SOURCE_ID_PREFIX = "WAID:"

MARK = "prosa_delivery_id"
"""Where Prosa writes the id of its delivery when it sends."""
_DELIVERY_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
# Forks that speak WhatsApp Web themselves write the bare id of its key.
_KEY_ID = re.compile(r"[0-9A-F]{16,40}", re.ASCII)
# Cloud and 360dialog, Evolution, Instagram and Messenger in their present and their older form.
_META_IDS = ("wamid.", "aWdf", "m_", "mid.")
_NETWORK_IDS = (EVOLUTION_SOURCE_ID_PREFIX, *_META_IDS)

# A text at the root of an event, an integer in messages[0], in REST and in the legacy form.
_TYPES = {
    "incoming": "incoming",
    "outgoing": "outgoing",
    "activity": "activity",
    "template": "template",
    0: "incoming",
    1: "outgoing",
    2: "activity",
    3: "template",
}
_STATUSES = {status.value.lower(): status for status in MessageStatus}


def refuse(root: Json) -> Ignored | Invalid | None:
    """Says why a message is not to be recorded, or None when it is."""
    kind = _message_type(root)
    if kind is None:
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "message_type")
    if kind == "activity":
        return Ignored(IgnoredReason.ACTIVITY)
    return Ignored(IgnoredReason.PRIVATE_NOTE) if flag(root.get("private")) else None


def read_message(root: Json, conversation: Json, *, created: bool) -> tuple[MessageRecord, tuple[Note, ...]] | Invalid:
    """Reads the message at the root of an event whose type is known. `created`: this is its message_created."""
    message_id = number(root.get("id"))
    if message_id is None:
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "id")
    attributes = obj(root.get("content_attributes"))
    sender = obj(root.get("sender"))
    inbound = _message_type(root) == "incoming"
    author, settled = (Author.CONTACT, True) if inbound else _author(root, attributes, sender, created)
    by_contact = flag(attributes.get("deleted_by_contact"))
    deleted = flag(attributes.get("deleted")) or by_contact
    create_time = instant(root.get("created_at"))
    source_id = identifier(root.get("source_id"))
    record = MessageRecord(
        message_id=message_id,
        source_id=source_id,
        direction=Direction.INBOUND if inbound else Direction.OUTBOUND,
        author=author,
        author_settled=settled,
        author_name=text(sender.get("name")),
        # What stands in a deleted message is a notice in the language of the installation.
        text=None if deleted else text(root.get("content"), TEXT_LENGTH_MAX),
        content_type=text(root.get("content_type")) or "text",
        attachments=() if deleted else _attachments(root.get("attachments"), attributes, create_time),
        create_time=create_time,
        in_reply_to=number(attributes.get("in_reply_to")),
        deleted=deleted,
        status=None if inbound else _status(root, conversation, message_id),
        external_error=text(attributes.get("external_error"), ERROR_LENGTH_MAX),
        network_id=_network_id(source_id),
        # Through Meta no edit comes under the old id, and Chatwoot itself drops what comes twice.
        edits_keep_network_id=source_id is not None and not source_id.startswith(_META_IDS),
        deleted_by_contact=by_contact,
        submitted_values=() if deleted else read_submitted(attributes),
        reaction=_reaction(attributes, deleted=deleted) if flag(attributes.get("is_reaction")) else None,
        delivery_id=None if inbound else _mark(attributes.get(MARK)),
    )
    return record, _notes(root, attributes, record)


def _mark(value: Any) -> str | None:
    """The id of the delivery that Prosa sent it by."""
    return value if isinstance(value, str) and _DELIVERY_ID.fullmatch(value) else None


def _message_type(root: Json) -> str | None:
    kind = root.get("message_type")
    return _TYPES.get(kind) if isinstance(kind, str | int) and not isinstance(kind, bool) else None


def _author(root: Json, attributes: Json, sender: Json, created: bool) -> tuple[Author, bool]:
    """Who wrote an outbound message, and whether the payload settles it.

    Besides users, Chatwoot knows agent bots and Captain's assistants as senders: what is no user is a machine.
    """
    if attributes.get("automation_rule_id") is not None:
        return Author.AUTOMATION, True
    if obj(root.get("additional_attributes")).get("campaign_id") is not None:
        return Author.CAMPAIGN, True
    if _message_type(root) == "template":
        return Author.TEMPLATE, True
    if flag(attributes.get("external_echo")):
        return Author.NATIVE_APP, True
    sender_type = sender.get("type")
    if isinstance(sender_type, str) and sender_type != "user":
        return Author.BOT, True
    source_id = identifier(root.get("source_id"))
    if source_id is not None and source_id.startswith(EVOLUTION_SOURCE_ID_PREFIX):
        # Evolution writes its id into agents' replies too, but only once they are sent: at creation they have none.
        return (Author.NATIVE_APP, True) if created else (Author.AGENT, False)
    if sender:
        return Author.AGENT, True
    # Older echoes of Instagram carry no flag, but an id from the start; a deleted agent's message looks alike later.
    return (Author.NATIVE_APP if source_id is not None else Author.AUTOMATION), created


def _status(root: Json, conversation: Json, message_id: str) -> MessageStatus | None:
    """The status is in messages[0], which may be another message; newer releases may put it at the root."""
    at_root = root.get("status")
    if isinstance(at_root, str):
        return _STATUSES.get(at_root)
    for candidate in items(conversation.get("messages"))[:1]:
        newest = obj(candidate)
        status = newest.get("status")
        if isinstance(status, str) and number(newest.get("id")) == message_id:
            return _STATUSES.get(status)
    return None


def _network_id(source_id: str | None) -> str | None:
    """The source id where it can be nothing but the network's own."""
    if source_id is None or not (source_id.startswith(_NETWORK_IDS) or _KEY_ID.fullmatch(source_id)):
        return None
    # "WAID:" and "WAID:undefined" are what a bridge without an id at hand writes, under every message alike.
    return source_id if any(sign.isdigit() for sign in source_id) else None


def _reaction(attributes: Json, *, deleted: bool) -> Reaction:
    """What an emoji is on; where neither id tells, it is still no message."""
    target = number(attributes.get("in_reply_to"))
    return Reaction(target, identifier(attributes.get("in_reply_to_external_id")), removed=deleted)


def _attachments(value: Any, attributes: Json, create_time: datetime | None) -> tuple[Attachment, ...]:
    return tuple(
        _attachment(item, attributes, create_time) for item in items(value)[:ATTACHMENTS_MAX] if isinstance(item, dict)
    )


def _attachment(item: Json, attributes: Json, create_time: datetime | None) -> Attachment:
    address = url(item.get("data_url"))
    expiring, expire_time = expiry(item, address, attributes, create_time)
    title = text(item.get("fallback_title"))
    return Attachment(
        type=text(item.get("file_type")) or "file",
        url=address,
        name=title or _file_name(address),
        content_type=text(item.get("content_type")),
        size_bytes=count(item.get("file_size")) or None,
        latitude=coordinate(item.get("coordinates_lat")),
        longitude=coordinate(item.get("coordinates_long")),
        expiring=expiring,
        expire_time=expire_time,
    )


def _file_name(address: str | None) -> str | None:
    """The last part of an address, where that looks like a file's name."""
    if address is None:
        return None
    name = address[:URL_LENGTH_MAX].partition("?")[0].rpartition("/")[2]
    return name if "." in name else None


def _notes(root: Json, attributes: Json, record: MessageRecord) -> tuple[Note, ...]:
    notes: list[Note] = []
    content = root.get("content")
    if isinstance(content, str) and not record.deleted:
        if "\x00" in content:
            notes.append(Note.TEXT_CLEANED)
        if len(content) > TEXT_LENGTH_MAX:
            notes.append(Note.TEXT_SHORTENED)
    if record.create_time is None:
        notes.append(Note.TIME_UNREADABLE)
    if flag(attributes.get("is_unsupported")):
        notes.append(Note.CONTENT_UNSUPPORTED)
    return tuple(notes)
