"""One message of Evolution: what WhatsApp's own structure says, in whichever form the release wrote it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple

from services.ingest.normal_form import Author, Direction, MessageRecord, MessageStatus, Note, Reaction
from services.ingest.providers.fields import TEXT_LENGTH_MAX, Json, flag, identifier, instant, obj, text

NETWORK_PREFIX = "WAID:"
"""As Chatwoot shows the same ids."""
WRAPPERS = ("ephemeralMessage", "viewOnceMessage", "viewOnceMessageV2", "editedMessage", "documentWithCaptionMessage")
WRAPPED_MAX = 4
"""How deep a message may be wrapped; WhatsApp itself wraps twice."""
STATUSES: Mapping[str, MessageStatus] = {
    "SERVER_ACK": MessageStatus.SENT,
    "DELIVERY_ACK": MessageStatus.DELIVERED,
    "READ": MessageStatus.READ,
    "PLAYED": MessageStatus.READ,
    "ERROR": MessageStatus.FAILED,
    # Of numbers that Meta hosts.
    "SENT": MessageStatus.SENT,
    "DELIVERED": MessageStatus.DELIVERED,
    "FAILED": MessageStatus.FAILED,
}
ERROR_WITHOUT_REASON = "WhatsApp did not take it, and Evolution does not say why."
_FILES = {
    "imageMessage": "image",
    "videoMessage": "video",
    "ptvMessage": "video",
    "audioMessage": "audio",
    "documentMessage": "file",
    "stickerMessage": "sticker",
    "locationMessage": "location",
    "liveLocationMessage": "location",
    "contactMessage": "contact",
    "contactsArrayMessage": "contact",
}
_AMONG_DEVICES = frozenset(
    {
        *("messageContextInfo", "senderKeyDistributionMessage", "fastRatchetKeySenderKeyDistributionMessage"),
        *("protocolMessage", "deviceSentMessage", "call", "callLogMesssage", "keepInChatMessage", "pollUpdateMessage"),
        *("encReactionMessage", "secretEncryptedMessage", "base64", "mediaUrl", "speechToText"),
        *("conversation", "extendedTextMessage"),  # empty ones
    }
)
# Where the words stand in each kind of answer that is no plain text.
_ANSWERS = (
    ("buttonsResponseMessage", "selectedDisplayText"),
    ("listResponseMessage", "title"),
    ("templateButtonReplyMessage", "selectedDisplayText"),
)


class Said(NamedTuple):
    """What a message holds."""

    text: str | None
    content_type: str
    unread: bool = False
    """Whether it holds a file, of which nothing is kept yet but that it was there."""


def said_in(message: Json) -> Said | None:
    """What a person said in a message; None where it is only keys, settings and other talk among devices."""
    message = _unwrapped(message)
    for field in ("conversation", "extendedTextMessage"):
        written = message.get(field)
        found = text(obj(written).get("text") if isinstance(written, dict) else written, TEXT_LENGTH_MAX)
        if found is not None:
            return Said(found, "text")
    for kind, content_type in _FILES.items():
        if isinstance(message.get(kind), dict):
            content = obj(message[kind])
            words = content.get("caption") or content.get("displayName") or content.get("fileName")
            return Said(text(words, TEXT_LENGTH_MAX), content_type, unread=True)
    for kind, field in _ANSWERS:
        if isinstance(message.get(kind), dict):
            return Said(text(obj(message[kind]).get(field), TEXT_LENGTH_MAX), "text")
    interactive = obj(message.get("interactiveResponseMessage"))
    if interactive:
        return Said(text(obj(interactive.get("body")).get("text"), TEXT_LENGTH_MAX), "text")
    # Somebody said something that this release cannot read, such as a poll: it is kept that they did.
    return Said(None, "unsupported", unread=True) if message.keys() - _AMONG_DEVICES else None


def reaction_in(message: Json) -> tuple[Reaction, str | None] | None:
    """The emoji that a message is, and what it is on; an empty one takes it back."""
    found = _unwrapped(message).get("reactionMessage")
    if not isinstance(found, dict):
        return None
    target = identifier(obj(found.get("key")).get("id"))
    emoji = text(found.get("text"))
    return Reaction(target, None if target is None else NETWORK_PREFIX + target, removed=emoji is None), emoji


def read_message(data: Json, message_id: str, *, by_api: bool) -> tuple[MessageRecord, tuple[Note, ...]] | None:
    """A message of an upsert or, ``by_api``, of a send.message; None where nobody says anything in it."""
    content = obj(data.get("message"))
    reaction = reaction_in(content)
    said = Said(reaction[1], "text") if reaction is not None else said_in(content)
    if said is None:
        return None
    own = flag(obj(data.get("key")).get("fromMe"))
    quoted = identifier(obj(data.get("contextInfo")).get("stanzaId"))
    create_time = seconds(data.get("messageTimestamp"))
    record = MessageRecord(
        message_id=message_id,
        source_id=NETWORK_PREFIX + message_id,
        direction=Direction.OUTBOUND if own else Direction.INBOUND,
        author=Author.CONTACT if not own else Author.AUTOMATION if by_api else Author.NATIVE_APP,
        # Who had a program send it is known to who asked for it: what we know of our own messages stays.
        author_settled=not by_api,
        author_name=None if own else text(data.get("pushName")),
        text=said.text,
        content_type=said.content_type,
        attachments=(),
        create_time=create_time,
        in_reply_to=quoted,
        deleted=False,
        status=_status(data) if own else None,
        external_error=None,
        network_id=NETWORK_PREFIX + message_id,
        reaction=None if reaction is None else reaction[0],
    )
    notes: list[Note] = []
    if said.unread:
        notes.append(Note.CONTENT_UNSUPPORTED)
    if create_time is None:
        notes.append(Note.TIME_UNREADABLE)
    return record, tuple(notes)


def read_status(data: Json, message_id: str) -> MessageRecord | None:
    """What an update says of a message that is known; None where it says nothing of how far it came.

    Of what came in, it tells that somebody here has read it, which is nothing to keep.
    """
    word = data.get("status")
    status = STATUSES.get(word) if isinstance(word, str) else None
    # Meta's words come with fromMe false though they are of our own messages.
    ours = flag(data.get("fromMe")) or word in ("SENT", "DELIVERED", "FAILED")
    if status is None or not ours:
        return None
    error = ERROR_WITHOUT_REASON if status is MessageStatus.FAILED else None
    return _of_known(message_id, own=True, status=status, error=error)


def read_edit(data: Json, message_id: str) -> MessageRecord | None:
    """The new words of a message that is known; None where an update says nothing of them."""
    content = obj(data.get("message"))
    said = said_in(content) if content.get("editedMessage") else None
    if said is None or said.text is None:
        return None
    return _of_known(message_id, own=flag(data.get("fromMe")), words=said.text)


def read_deletion(key: Json, message_id: str) -> MessageRecord:
    """That whoever wrote a message has taken it back for everybody."""
    return _of_known(message_id, own=flag(key.get("fromMe")), deleted=True)


def _of_known(
    message_id: str,
    *,
    own: bool,
    words: str | None = None,
    deleted: bool = False,
    status: MessageStatus | None = None,
    error: str | None = None,
) -> MessageRecord:
    """Something that is told of a message by its id alone; who wrote it stays as it is known."""
    return MessageRecord(
        message_id=message_id,
        source_id=NETWORK_PREFIX + message_id,
        direction=Direction.OUTBOUND if own else Direction.INBOUND,
        author=Author.AUTOMATION if own else Author.CONTACT,
        author_settled=False,
        author_name=None,
        text=words,
        content_type="text",
        attachments=(),
        create_time=None,
        in_reply_to=None,
        deleted=deleted,
        status=status,
        external_error=error,
        deleted_by_contact=deleted and not own,
    )


def seconds(value: Any) -> datetime | None:
    """A time in any of the forms that releases wrote 64 bits in: number, text, or two halves of 32."""
    if isinstance(value, dict):
        low, high = value.get("low"), value.get("high")
        if type(low) is not int or type(high) is not int:
            return None
        return instant(((high & 0xFFFFFFFF) << 32) | (low & 0xFFFFFFFF))
    return instant(value)


def _status(data: Json) -> MessageStatus:
    """How far a message of the number itself is when it is told of: handed to WhatsApp, at the least."""
    word = data.get("status")
    return (STATUSES.get(word) if isinstance(word, str) else None) or MessageStatus.SENT


def _unwrapped(message: Json) -> Json:
    for _ in range(WRAPPED_MAX):
        inner = next((obj(obj(message.get(kind)).get("message")) for kind in WRAPPERS if message.get(kind)), None)
        if not inner:
            break
        message = inner
    return message
