"""What Evolution is asked about its instances, and what its answers mean. Its statuses lie: see its wire."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import quote

import orjson

from chassis.outgoing import Outgoing, OutgoingError
from services.conversation.instances.domain import CORRECT, Qr

CREATE_SECONDS = 30.0
"""Making one takes Evolution five seconds and more."""
CALL_SECONDS = 15.0
ANSWER_BYTES_MAX = 4 * 1024 * 1024
"""Codes come as pictures too."""
DETAIL_LENGTH_MAX = 300
EVENTS = (
    *("QRCODE_UPDATED", "CONNECTION_UPDATE", "STATUS_INSTANCE", "LOGOUT_INSTANCE"),
    *("MESSAGES_UPSERT", "MESSAGES_UPDATE", "MESSAGES_DELETE", "SEND_MESSAGE"),
)
"""None that Evolution waits for while others queue behind it, and none of which nothing is made here."""
UNREACHED = "Evolution cannot be reached."
LICENSE_ADVICE = "This Evolution waits for its licence to be activated: open its manager page, or run release 2.3.7."


@dataclass(frozen=True, slots=True)
class Away:
    """No answer, or one that says nothing: it may be otherwise the next time."""

    detail: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Evolution says no, and will again."""

    cause: str
    advice: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The name is taken already: by this very instance, where an answer was lost."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Evolution has no such instance."""


class Told(NamedTuple):
    """What it says of an instance; empty and None where it says nothing."""

    state: str = ""
    qr: Qr | None = None


@dataclass(frozen=True, slots=True)
class Access:
    """Whom to ask, about what."""

    base_url: str
    key: str
    name: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """An instance that is to be made."""

    own_token: str
    webhook_url: str
    webhook_secret: str
    phone: str


Answer = Told | Taken | Unknown | Refused | Away
"""Whatever it is asked."""


class Evolution:
    """Calls Evolution."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    def told(self, access: Access, answer: Answer) -> Answer:
        """The answer as the number's owner may know it: of a private host nobody learns which ports are open."""
        try:
            vague = self._outgoing.vague(self._outgoing.read(access.base_url))
        except OutgoingError:
            vague = False
        return Away(UNREACHED) if vague and isinstance(answer, Away) else answer

    async def create(self, access: Access, wanted: Wanted) -> Told | Taken | Refused | Away:
        """Makes the instance with its webhook; a new one has a code at once."""
        body: dict[str, Any] = {
            "instanceName": access.name,
            "integration": "WHATSAPP-BAILEYS",
            "qrcode": True,
            "token": wanted.own_token,
            "rejectCall": False,
            "groupsIgnore": True,
            "alwaysOnline": False,
            "readMessages": False,
            "readStatus": False,
            "syncFullHistory": False,
            "webhook": webhook(wanted),
        }
        if wanted.phone:
            body["number"] = wanted.phone
        answer = await self._call(access, "POST", "/instance/create", body, CREATE_SECONDS)
        if isinstance(answer, Away):
            return answer
        status, read = answer
        if status == 201:
            return Told(_text(_object(read.get("instance")).get("status")), _qr(_object(read.get("qrcode"))))
        if status == 403 and "already in use" in _detail(read):
            return Taken()
        return _refusal(status, read)

    async def is_ours(self, access: Access, own_token: str) -> bool | Away:
        """Whether the instance of that name was made with our token."""
        answer = await self._call(access, "GET", f"/instance/fetchInstances?instanceName={quote(access.name, safe='')}")
        if isinstance(answer, Away):
            return answer
        status, read = answer
        rows = _list(read.get(""))
        if status != 200 or not rows:
            return Away(f"Evolution answered {status} when it was asked for its instances.")
        return any(_object(row).get("token") == own_token for row in rows)

    async def set_webhook(self, access: Access, wanted: Wanted) -> bool:
        """Says where its webhooks go; whether Evolution took it."""
        answer = await self._call(access, "POST", f"/webhook/set/{access.name}", {"webhook": webhook(wanted)})
        return not isinstance(answer, Away) and answer[0] == 201

    async def connect(self, access: Access) -> Told | Unknown | Refused | Away:
        """Asks for a connection. Often there is no code yet: then it comes by webhook."""
        answer = await self._call(access, "GET", f"/instance/connect/{access.name}")
        if isinstance(answer, Away):
            return answer
        status, read = answer
        if status == 200:
            # Failures come as 200 here.
            if read.get("error") is True:
                return Away("Evolution could not connect it.")
            return Told(_text(_object(read.get("instance")).get("state")), _qr(read))
        return Unknown() if status == 404 else _refusal(status, read)

    async def state(self, access: Access) -> Told | Unknown | Refused | Away:
        """Asks how the instance is."""
        answer = await self._call(access, "GET", f"/instance/connectionState/{access.name}")
        if isinstance(answer, Away):
            return answer
        status, read = answer
        if status == 200:
            state = _text(_object(read.get("instance")).get("state"))
            # Of one that Evolution has in its database and not in memory it says nothing.
            return Told(state) if state else Away("Evolution knows the instance but does not run it.")
        return Unknown() if status == 404 else _refusal(status, read)

    async def _call(
        self,
        access: Access,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> tuple[int, dict[str, Any]] | Away:
        """Status and body; a list stands under the empty name."""
        try:
            target = self._outgoing.read(access.base_url.rstrip("/") + path)
            answer = await self._outgoing.call(
                method,
                target,
                headers={"apikey": access.key, "Content-Type": "application/json", "User-Agent": "Prosa"},
                body=None if body is None else orjson.dumps(body),
                total_seconds=seconds,
                answer_bytes_max=ANSWER_BYTES_MAX,
            )
        except OutgoingError as error:
            return Away(f"Evolution cannot be reached ({error.failed}).")
        try:
            read = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            return Away(f"Evolution answered {answer.status} without JSON.")
        read = read if isinstance(read, dict) else {"": read}
        if answer.status >= 400 and self._outgoing.vague(target) and not _object(read.get("response")):
            # Not in Evolution's words.
            return Away(UNREACHED)
        return answer.status, read


def webhook(wanted: Wanted) -> dict[str, Any]:
    """Where webhooks go. Of the header Evolution makes a token that says that they are its own."""
    return {
        "enabled": True,
        "url": wanted.webhook_url,
        "byEvents": False,
        "base64": False,
        "headers": {"jwt_key": wanted.webhook_secret},
        "events": list(EVENTS),
    }


def _refusal(status: int, read: Mapping[str, Any]) -> Refused | Away:
    detail = _detail(read)
    if read.get("code") == "LICENSE_REQUIRED":
        return Refused("Evolution's licence is not activated.", LICENSE_ADVICE)
    if status == 401:
        return Refused(
            "Evolution does not take the key.", f"Take Evolution's global key (its AUTHENTICATION_API_KEY). {CORRECT}"
        )
    if status == 404:
        return Refused(
            "There is no Evolution API at the address.", f"It must be that of Evolution API v2 itself. {CORRECT}"
        )
    if status in (400, 403):
        return Refused(f"Evolution does not take it: {detail}", "Mend what it says, and connect the number again.")
    return Away(f"Evolution answered {status}: {detail}")


def _detail(read: Mapping[str, Any]) -> str:
    """The message of an error, whichever of its five shapes it has."""
    message = _object(read.get("response")).get("message", read.get("message"))
    while isinstance(message, Sequence) and not isinstance(message, str) and message:
        message = message[0]
    return str(message if message is not None else read.get("error", ""))[:DETAIL_LENGTH_MAX]


def _qr(read: Mapping[str, Any]) -> Qr | None:
    code = _text(read.get("code"))
    return Qr(code, _text(read.get("pairingCode"))) if code else None


def _object(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
