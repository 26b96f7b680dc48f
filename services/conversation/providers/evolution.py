"""Sends through Evolution, with the token of the number's own instance.

Its answers say little: a message may have left though the answer is an error, so what is not known to be refused before
anything was sent is UNCERTAIN, and looked for among the messages that Evolution keeps.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import orjson

from chassis.canonical import Source, split_key, try_identify
from chassis.errors import InvalidArgument, Unavailable
from chassis.outgoing import Answer as HttpAnswer
from chassis.outgoing import Failed, Outgoing, OutgoingError
from services.conversation.limits import ANSWER_BYTES_MAX
from services.conversation.providers.sender import Account, Answer, NotBegun, Outbound, Refused, Sender, Taken, Unknown

SEND_SECONDS = 90.0
"""Evolution waits for WhatsApp, which may take a minute."""
LOOK_SECONDS = 15.0
CLOCKS_APART = timedelta(minutes=10)
NETWORK_PREFIX = "WAID:"
OTHER_PERSON = (
    "Evolution sent the message to another number than the one that was meant. Look at the contact's number, and tell"
    " whoever got it."
)


def number_of(message: Outbound) -> str:
    """Whom it goes to in Evolution's words: bare digits, or the LID of whoever is known by nothing else; else empty."""
    try:
        _, external_id = split_key(message.conversation_key)
    except InvalidArgument:
        external_id = ""
    if external_id.startswith("lid:"):
        return external_id.removeprefix("lid:") + "@lid"
    written = external_id if external_id.startswith("+") else message.contact_phone
    # Signs around the digits would make Evolution stricter about a number's forms than WhatsApp is.
    return "".join(sign for sign in written if sign.isascii() and sign.isdigit())


async def send(outgoing: Outgoing, account: Account, message: Outbound, connect_seconds: float) -> Answer:
    """Hands the message to WhatsApp, once."""
    number = number_of(message)
    if not number:
        return Refused("NUMBER_UNKNOWN", "Neither a number nor a WhatsApp id of the contact is known.")
    body = {"number": number, "text": message.text, "linkPreview": False}
    try:
        answer = await _call(outgoing, account, "message/sendText", body, SEND_SECONDS, connect_seconds)
    except OutgoingError as error:
        if error.failed is Failed.INVALID and not error.begun:
            return Refused("CHANNEL_CANNOT_SEND", "The address of Evolution cannot be called. Check it.")
        if not error.begun:
            return NotBegun("Evolution cannot be reached. It is tried again by itself.")
        return Unknown("Evolution did not answer whether the message left.")
    read = _read(answer)
    if answer.status == 201:
        return _taken(read, number) or Unknown("Evolution answered without an id of the message.")
    return _refused(answer.status, read) or Unknown(
        f"Evolution answered {answer.status}, which does not tell whether the message left."
    )


async def find(outgoing: Outgoing, account: Account, message: Outbound) -> Taken | None:
    """Looks for our own newest message of the same text to the same person, sent since it was begun."""
    number = number_of(message)
    try:
        answer = await _call(
            outgoing, account, "chat/findMessages", {"where": {"key": {"fromMe": True}}, "page": 1, "offset": 100},
            LOOK_SECONDS, LOOK_SECONDS,
        )  # fmt: skip
    except OutgoingError as error:
        raise _away() from error
    if answer.status != 200:
        raise _away()
    records = _object(_read(answer).get("messages")).get("records")
    found: list[Taken] = []
    for record in records if isinstance(records, list) else []:
        row = _object(record)
        content = _object(row.get("message"))
        said = content.get("conversation") or _object(content.get("extendedTextMessage")).get("text")
        taken = _taken(row, number)
        if said != message.text or not isinstance(taken, Taken) or taken.told_time is None:
            continue
        if taken.told_time >= message.send_time.replace(microsecond=0) - timedelta(seconds=1):
            found.append(taken)
    # Two alike cannot be told apart; the first one is this one's, for another would have been begun later.
    return min(found, key=lambda taken: taken.told_time or message.send_time, default=None)


def _refused(status: int, read: dict[str, Any]) -> Refused | None:
    """What is known to have been refused before anything was sent; None where that is not known.

    By the words, not by the status: the same cause comes under several.
    """
    said = _object(read.get("response")).get("message", read.get("message"))
    first = said[0] if isinstance(said, list) and said else said
    if isinstance(first, dict) and first.get("exists") is False:
        return Refused("NUMBER_UNKNOWN", "The number has no WhatsApp.")
    if isinstance(first, list) or (status == 400 and first == "Text is required"):
        return Refused("PROVIDER_REFUSED", "Evolution does not take this message.")
    if status == 401:
        return Refused("PROVIDER_REFUSED", "Evolution does not take the number's token. Connect the number again.")
    if status == 404:
        return Refused("PROVIDER_REFUSED", "Evolution has no such number any more. Connect it again.")
    return None


def _taken(row: dict[str, Any], number: str) -> Taken | Refused | None:
    key = _object(row.get("key"))
    message_id, jid = key.get("id"), key.get("remoteJid")
    if not isinstance(message_id, str) or not message_id:
        return None
    if isinstance(jid, str) and not _same_person(jid, number):
        return Refused("PROVIDER_REFUSED", OTHER_PERSON)
    return Taken(message_id, NETWORK_PREFIX + message_id, _time(row.get("messageTimestamp")))


def _same_person(jid: str, number: str) -> bool:
    """Whether Evolution sent it to whom it was meant for: it may take another form of the number for the same."""
    told = try_identify(Source.WHATSAPP, jid)
    meant = try_identify(Source.WHATSAPP, number if "@" in number else f"{number}@s.whatsapp.net")
    # One named by a LID, the other by the phone, cannot be compared.
    return told is None or meant is None or told.kind is not meant.kind or told.key == meant.key


async def _call(
    outgoing: Outgoing, account: Account, path: str, body: dict[str, Any], total_seconds: float, connect_seconds: float
) -> HttpAnswer:
    name = quote(account.provider_account_id, safe="")
    return await outgoing.call(
        "POST",
        outgoing.read(f"{account.base_url.rstrip('/')}/{path}/{name}"),
        headers={"apikey": account.access_token, "Content-Type": "application/json", "User-Agent": "Prosa"},
        body=orjson.dumps(body),
        total_seconds=total_seconds,
        connect_seconds=connect_seconds,
        answer_bytes_max=ANSWER_BYTES_MAX,
    )


def _read(answer: HttpAnswer) -> dict[str, Any]:
    try:
        return _object(orjson.loads(answer.body))
    except orjson.JSONDecodeError:
        return {}


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _time(value: Any) -> datetime | None:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) <= 11:
        value = int(value)
    return datetime.fromtimestamp(value, UTC) if type(value) is int and 0 < value < 10**11 else None


def _away() -> Unavailable:
    return Unavailable("PROVIDER_UNAVAILABLE", "Evolution does not answer. Try again later.")


EVOLUTION = Sender(name="EVOLUTION", send=send, find=find)
