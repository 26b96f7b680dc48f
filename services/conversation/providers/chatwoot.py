"""Sends through Chatwoot, as whoever the connection's token is of."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import orjson

from chassis.errors import Unavailable
from chassis.outgoing import Answer as HttpAnswer
from chassis.outgoing import Failed, Outgoing, OutgoingError
from services.conversation.limits import ANSWER_BYTES_MAX, LOOK_PAGES_MAX, SEND_SECONDS
from services.conversation.messages.domain.delivery import WORD_JOINER
from services.conversation.providers.sender import (
    Account,
    Answer,
    NotBegun,
    Outbound,
    Refused,
    Sender,
    Taken,
    Unknown,
    Written,
)

# nginx drops headers with underscores, which Chatwoot's own spelling has.
TOKEN_HEADER = "Api-Access-Token"  # noqa: S105 - the name of a header
MARK = "prosa_delivery_id"
"""Comes back in the message's webhooks, and when it is looked for."""
REFUSALS = {
    401: "Chatwoot does not take the connection's access token. Give the connection a valid one.",
    403: "The access token's user may not write in this conversation. Add the user to the inbox in Chatwoot.",
    404: "Chatwoot has no such conversation. It may have been deleted there.",
    422: "Chatwoot does not take this message.",
}
"""What Chatwoot answers without having written anything."""
HTTP_OK = 200
CLOCKS_APART = timedelta(minutes=10)

_TEMPLATE = re.compile(r"\{(?=[{%])")


def written_out(text: str) -> str:
    """The text so that Chatwoot's Liquid finds no template in it, and its readers see what was typed."""
    return _TEMPLATE.sub("{" + WORD_JOINER, text)


async def send(outgoing: Outgoing, account: Account, message: Outbound, connect_seconds: float) -> Answer:
    """Writes the message in its conversation. Never with a source_id: Chatwoot would take it for sent."""
    body = {
        "content": written_out(message.text),
        "message_type": "outgoing",
        "private": False,
        "content_attributes": {MARK: str(message.delivery_id)},
    }
    try:
        answer = await _call(outgoing, account, "POST", _path(account, message), body, connect_seconds)
    except OutgoingError as error:
        if error.failed is Failed.INVALID and not error.begun:
            return Refused("CHANNEL_CANNOT_SEND", "The connection's base_url cannot be called. Check it.")
        if not error.begun:
            return NotBegun("Chatwoot cannot be reached. It is tried again by itself.")
        return Unknown("Chatwoot did not answer whether it took the message.")
    if answer.status in REFUSALS:
        return Refused("PROVIDER_REFUSED", REFUSALS[answer.status])
    taken = _taken(_read(answer)) if 200 <= answer.status < 300 else None
    return taken or Unknown(f"Chatwoot answered {answer.status}, which does not tell whether it took the message.")


async def find(outgoing: Outgoing, account: Account, message: Outbound) -> Taken | None:
    """Looks through the conversation's newest messages for the one that bears our mark."""
    before: int | None = None
    for _ in range(LOOK_PAGES_MAX):
        query = "" if before is None else f"?before={before}"
        try:
            answer = await _call(outgoing, account, "GET", _path(account, message) + query, None, SEND_SECONDS)
        except OutgoingError as error:
            raise _away() from error
        if answer.status != HTTP_OK:
            raise _away()
        rows = [row for row in _list(_read(answer).get("payload")) if isinstance(row, dict)]
        for row in rows:
            attributes = row.get("content_attributes")
            if isinstance(attributes, dict) and attributes.get(MARK) == str(message.delivery_id):
                return _taken(row)
        numbers = [row["id"] for row in rows if type(row.get("id")) is int]
        times = [moment for row in rows if (moment := _time(row.get("created_at"))) is not None]
        if not numbers or (times and min(times) < message.send_time - CLOCKS_APART):
            return None
        before = min(numbers)
    return None


async def set_label(
    outgoing: Outgoing, account: Account, provider_conversation_id: str, label: str, wanted: bool
) -> Written | NotBegun | Refused:
    """Changes one member of the set, which Chatwoot takes only as a whole: what stands there is read just before."""
    path = f"/api/v1/accounts/{account.provider_account_id}/conversations/{provider_conversation_id}/labels"
    try:
        answer = await _call(outgoing, account, "GET", path, None, SEND_SECONDS)
        labels = [name for name in _list(_read(answer).get("payload")) if isinstance(name, str)]
        if answer.status == HTTP_OK and (label in labels) is not wanted:
            labels = [*labels, label] if wanted else [name for name in labels if name != label]
            answer = await _call(outgoing, account, "POST", path, {"labels": labels}, SEND_SECONDS)
    except OutgoingError:
        return NotBegun("Chatwoot did not answer. The label is written again by itself.")
    if answer.status in REFUSALS:
        return Refused("PROVIDER_REFUSED", REFUSALS[answer.status])
    if answer.status != HTTP_OK:
        return NotBegun(f"Chatwoot answered {answer.status}. The label is written again by itself.")
    try:
        return Written(parsedate_to_datetime(answer.headers.get("Date", "")))
    except ValueError:
        return Written(None)


async def _call(
    outgoing: Outgoing, account: Account, method: str, path: str, body: Any, connect_seconds: float
) -> HttpAnswer:
    target = outgoing.read(account.base_url.rstrip("/") + path)
    return await outgoing.call(
        method,
        target,
        headers={TOKEN_HEADER: account.access_token, "Content-Type": "application/json", "User-Agent": "Prosa"},
        body=None if body is None else orjson.dumps(body),
        total_seconds=SEND_SECONDS,
        connect_seconds=connect_seconds,
        answer_bytes_max=ANSWER_BYTES_MAX,
    )


def _path(account: Account, message: Outbound) -> str:
    return f"/api/v1/accounts/{account.provider_account_id}/conversations/{message.provider_conversation_id}/messages"


def _read(answer: HttpAnswer) -> dict[str, Any]:
    try:
        body = orjson.loads(answer.body)
    except orjson.JSONDecodeError:
        return {}
    return body if isinstance(body, dict) else {}


def _taken(row: dict[str, Any]) -> Taken | None:
    number = row.get("id")
    if type(number) is not int or number <= 0:
        return None
    source_id = row.get("source_id")
    return Taken(str(number), source_id if isinstance(source_id, str) else "", _time(row.get("created_at")))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _time(value: Any) -> datetime | None:
    if type(value) is not int or not 0 < value < 10**11:
        return None
    return datetime.fromtimestamp(value, UTC)


def _away() -> Unavailable:
    return Unavailable("PROVIDER_UNAVAILABLE", "Chatwoot does not answer. Try again later.")


CHATWOOT = Sender(name="CHATWOOT", send=send, find=find, set_label=set_label)
