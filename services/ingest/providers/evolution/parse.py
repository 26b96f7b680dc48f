"""From the bytes of an Evolution webhook to the normal form. Pure: no clock, no network, and it never raises.

The README beside this file says which rules of Evolution's wire stand behind each branch.
"""

from __future__ import annotations

from typing import Any

from services.ingest.normal_form import (
    ChannelInfo,
    ConnectionContext,
    ConversationState,
    EventKind,
    Ignored,
    IgnoredReason,
    InstanceNews,
    Invalid,
    InvalidReason,
    NormalEvent,
    ParsedEvent,
    Person,
)
from services.ingest.providers.evolution.chat import chat_of, identities, is_no_person, read_person
from services.ingest.providers.evolution.message import read_deletion, read_edit, read_message, read_status
from services.ingest.providers.fields import Json, count, flag, identifier, obj, read_object, text

MESSAGE_EVENT, SENT_EVENT, STATUS_EVENT = "messages.upsert", "send.message", "messages.update"
DELETE_EVENT = "messages.delete"
CONNECTION_EVENT, QR_EVENT = "connection.update", "qrcode.updated"
QR_CODE_LENGTH_MAX = 1024
_MESSAGE_EVENTS = frozenset({MESSAGE_EVENT, SENT_EVENT, STATUS_EVENT, DELETE_EVENT})
# Told beside connection.update, in any order, and saying nothing that it does not say.
_TOLD_BESIDE = frozenset({"status.instance", "logout.instance", "instance.create", "instance.delete"})
_NOBODY = Person(identity=None, aliases=())


def event_name(root: Any) -> object:
    """What an event says that it is, None where it says nothing."""
    return root.get("event") if isinstance(root, dict) else None


def ordering_key(root: Any) -> str:
    """What must be processed in order within a connection: a chat's events, and those of the instance itself."""
    if not isinstance(root, dict):
        return ""
    event, data = root.get("event"), obj(root.get("data"))
    if event in (CONNECTION_EVENT, QR_EVENT):
        return "i"
    # A receipt names the chat by the LID where its message named the phone: only the message's id is the same.
    if event == STATUS_EVENT:
        message_id = identifier(data.get("keyId"))
        return "" if message_id is None else f"m:{message_id}"
    if event == DELETE_EVENT:
        message_id = identifier(_key_of_deleted(data).get("id"))
        return "" if message_id is None else f"m:{message_id}"
    if not isinstance(event, str) or event not in _MESSAGE_EVENTS:
        return ""
    key = obj(data.get("key"))
    found = identities(key, own=flag(key.get("fromMe")))
    return f"c:{found[0].external_id}" if found else ""


def parse(body: bytes, context: ConnectionContext) -> ParsedEvent:
    """Reads one webhook body as an event of the connection it came through."""
    root = read_object(body)
    if isinstance(root, Invalid):
        return root
    event, instance = root.get("event"), identifier(root.get("instance"))
    if not isinstance(event, str):
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "event")
    if event in _TOLD_BESIDE:
        return Ignored(IgnoredReason.PROVIDER_NOTICE, event)
    if event not in _MESSAGE_EVENTS and event not in (CONNECTION_EVENT, QR_EVENT):
        return Ignored(IgnoredReason.UNKNOWN_EVENT, text(event) or "")
    if instance is None:
        return Invalid(InvalidReason.NO_INBOX_CONTEXT)
    channel = context.channels.get(instance)
    if channel is None:
        return Ignored(IgnoredReason.FOREIGN_INBOX, instance)
    data = root.get("data")
    if not isinstance(data, dict):
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "data")
    if event == CONNECTION_EVENT:
        return _connection_event(data)
    if event == QR_EVENT:
        return _qr_event(data)
    if event == STATUS_EVENT:
        return _status_event(data, channel)
    if event == DELETE_EVENT:
        return _delete_event(data, channel)
    return _message_event(event, data, channel, identifier(root.get("sender")), context)


def _connection_event(data: Json) -> ParsedEvent:
    state = text(data.get("state"))
    if state is None:
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "data.state")
    return InstanceNews(
        connection_state=state,
        status_reason=count(data.get("statusReason")),
        own_jid=identifier(data.get("wuid")) or "",
        profile_name=text(data.get("profileName")) or "",
    )


def _qr_event(data: Json) -> ParsedEvent:
    found = data.get("qrcode")
    if not isinstance(found, dict):
        # The limit was reached; connection.update says so too, and what state follows.
        return Ignored(IgnoredReason.PROVIDER_NOTICE, text(data.get("message")) or "")
    code = text(found.get("code"), QR_CODE_LENGTH_MAX + 1)
    if code is None or len(code) > QR_CODE_LENGTH_MAX:
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "data.qrcode.code")
    return InstanceNews(qr_code=code, pairing_code=text(found.get("pairingCode")) or "")


def _status_event(data: Json, channel: ChannelInfo) -> ParsedEvent:
    message_id = identifier(data.get("keyId"))
    if message_id is None:
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "data.keyId")
    jid = identifier(data.get("remoteJid"))
    if jid is not None and is_no_person(jid):
        return Ignored(IgnoredReason.GROUP)
    # An edit comes with the state that the message was in when it was first sent, which is known.
    record = read_edit(data, message_id) or read_status(data, message_id)
    if record is None:
        return Ignored(IgnoredReason.NO_CHANGE, text(data.get("status")) or "")
    # Whose chat it is, only the message tells: receipts name people by ids that nothing else may have named.
    return NormalEvent(EventKind.MESSAGE_UPDATED, _NOBODY, channel, _conversation(), record)


def _delete_event(data: Json, channel: ChannelInfo) -> ParsedEvent:
    key = _key_of_deleted(data)
    message_id, jid = identifier(key.get("id")), identifier(key.get("remoteJid"))
    if message_id is None:
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "data.id")
    if jid is not None and is_no_person(jid):
        return Ignored(IgnoredReason.GROUP)
    return NormalEvent(EventKind.MESSAGE_UPDATED, _NOBODY, channel, _conversation(), read_deletion(key, message_id))


def _key_of_deleted(data: Json) -> Json:
    """The key of WhatsApp itself: where somebody deleted by the API, the id beside it is one of Evolution's own."""
    return obj(data.get("key")) or data


def _message_event(
    event: str, data: Json, channel: ChannelInfo, account: str | None, context: ConnectionContext
) -> ParsedEvent:
    key = obj(data.get("key"))
    jid, message_id = chat_of(key), identifier(key.get("id"))
    if jid is None or message_id is None:
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "data.key.remoteJid" if jid is None else "data.key.id")
    if is_no_person(jid):
        return Ignored(IgnoredReason.GROUP)
    own = flag(key.get("fromMe"))
    person = read_person(key, text(data.get("pushName")), own=own)
    if person is None:
        return Invalid(InvalidReason.NO_VALID_IDENTITY)
    if person.phone is not None and (person.phone in context.own_numbers or _is_account(account, person.phone)):
        return Ignored(IgnoredReason.OWN_NUMBER)
    read = read_message(data, message_id, by_api=event == SENT_EVENT)
    if read is None:
        return Ignored(IgnoredReason.NO_CONTENT, text(data.get("messageType")) or "")
    record, notes = read
    return NormalEvent(EventKind.MESSAGE_CREATED, person, channel, _conversation(), record, notes)


def _is_account(account: str | None, phone: str) -> bool:
    """Whether the other side is the connected number itself: what people write to themselves."""
    if account is None:
        return False
    found = identities({"remoteJid": account}, own=True)
    return bool(found) and found[0].phone == phone


def _conversation() -> ConversationState:
    """Evolution has no conversations: there is one with each contact, and nothing is told of its state."""
    return ConversationState(
        conversation_id="",
        inbox_id=None,
        account_id=None,
        contact_id=None,
        status=None,
        labels=(),
        assignee_name=None,
        unread_count=0,
        updated_at=None,
    )
