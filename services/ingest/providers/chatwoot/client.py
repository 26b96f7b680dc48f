"""Reads a Chatwoot account over REST, for checking a connection.

Every failure is a ChatwootError with a sentence that says what was seen and what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any, TypeVar

from chassis.addresses import URL_LENGTH_MAX, Target
from chassis.json_reading import JsonMalformed, read_json
from chassis.outgoing import Answer, Failed, Outgoing, OutgoingError
from services.ingest.connections.check import Checked, Kept
from services.ingest.limits import CHATWOOT_ANSWER_BYTES_MAX, CHATWOOT_TIMEOUT_SECONDS
from services.ingest.providers.chatwoot.check import Failure, Inbox, Profile, Seen, Webhook, administers, evaluate

SHOWN_LENGTH_MAX = 255
"""Of a name or another text in an answer: as long as Chatwoot's own may be."""
# nginx drops headers with underscores, which Chatwoot's own spelling has.
TOKEN_HEADER = "Api-Access-Token"  # noqa: S105 - the name of a header

Outcome = TypeVar("Outcome")


class ChatwootError(Exception):
    """Chatwoot did not give what was asked for; the message says why, for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class ChatwootClient:
    """Opens accounts."""

    def __init__(self, outgoing: Outgoing, *, timeout_seconds: float = CHATWOOT_TIMEOUT_SECONDS) -> None:
        self._outgoing = outgoing
        self._timeout_seconds = timeout_seconds

    async def observe(self, base_url: str, access_token: str, account_id: int | None) -> Seen:
        """All that a check wants to know, asked side by side."""
        if not base_url:
            missing = Failure("No base_url is kept for this connection, so Chatwoot's API cannot be asked.")
            return Seen(missing, missing, missing, missing)
        began = asyncio.get_running_loop().time()
        account = ChatwootAccount(self._outgoing, self._timeout_seconds, base_url, access_token, account_id)
        version, profile, inboxes, webhooks = await asyncio.gather(
            _outcome(account.version()),
            _outcome(account.profile()),
            _outcome(account.inboxes()),
            _outcome(account.webhooks()),
        )
        if isinstance(version, Failure) and account.vague:
            # Nor may the time tell an open port from a closed one.
            await asyncio.sleep(began + self._timeout_seconds - asyncio.get_running_loop().time())
            return Seen(version, version, version, version)
        return Seen(version, profile, inboxes, webhooks)


async def check_connection(outgoing: Outgoing, kept: Kept) -> Checked:
    """Asks Chatwoot, and holds what it shows against what is kept."""
    seen = await ChatwootClient(outgoing).observe(kept.base_url, kept.access_token, kept.account_id)
    return Checked(evaluate(kept, seen), administers(seen.profile, kept.account_id))


async def _outcome(call: Awaitable[Outcome]) -> Outcome | Failure:
    try:
        return await call
    except ChatwootError as error:
        return Failure(error.sentence)


class ChatwootAccount:
    """The calls a check makes. Each raises ChatwootError."""

    def __init__(
        self, outgoing: Outgoing, timeout_seconds: float, base_url: str, access_token: str, account_id: int | None
    ) -> None:
        self._outgoing = outgoing
        self._timeout_seconds = timeout_seconds
        self._base_url = base_url.rstrip("/")
        self._access_token = access_token
        self._account_id = account_id

    @property
    def vague(self) -> bool:
        """True where whoever gave the address must not learn what is behind its port, unless it is Chatwoot."""
        try:
            return self._outgoing.vague(self._outgoing.read(self._base_url))
        except OutgoingError:
            return False

    async def version(self) -> str:
        """The release that answers; needs no token."""
        try:
            version = _text(_mapping(await self._get("/api", signed=False)).get("version"))
            if not version:
                raise ChatwootError(f"{self._base_url}/api answers, but not as Chatwoot does. Check the base_url.")
        except ChatwootError:
            if self.vague:
                raise ChatwootError(
                    f"{self._base_url}/api does not answer as Chatwoot does. Check the base_url, and that Chatwoot "
                    "runs there; the operator finds the cause in the log."
                ) from None
            raise
        return version

    async def profile(self) -> Profile:
        """Whose token it is."""
        body = _mapping(await self._get("/api/v1/profile"))
        roles = {
            account["id"]: _text(account.get("role"))
            for account in _rows(body.get("accounts"))
            if type(account.get("id")) is int
        }
        return Profile(name=_text(body.get("name")) or "somebody", roles=roles)

    async def inboxes(self) -> tuple[Inbox, ...]:
        """The inboxes that the token's user may see."""
        body = _mapping(await self._get(self._account_path("inboxes")))
        return tuple(
            Inbox(id=row["id"], name=_text(row.get("name")), channel_type=_text(row.get("channel_type")))
            for row in _rows(body.get("payload"))
            if type(row.get("id")) is int
        )

    async def webhooks(self) -> tuple[Webhook, ...]:
        """The account's webhooks; Chatwoot shows them to administrators alone."""
        body = _mapping(await self._get(self._account_path("webhooks")))
        return tuple(
            Webhook(
                url=_text(row.get("url"), URL_LENGTH_MAX),
                subscriptions=frozenset(event for event in _list(row.get("subscriptions")) if isinstance(event, str)),
                secret=secret if isinstance(secret := row.get("secret"), str) else "",
            )
            for row in _rows(_mapping(body.get("payload")).get("webhooks"))
        )

    def _account_path(self, noun: str) -> str:
        if self._account_id is None:
            raise ChatwootError(
                f"The connection names no account_id, so the {noun} of its account cannot be asked for."
            )
        return f"/api/v1/accounts/{self._account_id}/{noun}"

    async def _get(self, path: str, *, signed: bool = True) -> Any:
        if signed and not self._access_token:
            raise ChatwootError("No access token is kept for this connection. Keep the token of an administrator.")
        url = self._base_url + path
        headers: Mapping[str, str] = {"Accept": "application/json"}
        if signed:
            headers = {**headers, TOKEN_HEADER: self._access_token}
        try:
            target = self._outgoing.read(url)
            answer = await self._outgoing.call(
                "GET",
                target,
                headers=headers,
                total_seconds=self._timeout_seconds,
                answer_bytes_max=CHATWOOT_ANSWER_BYTES_MAX,
            )
        except OutgoingError as error:
            raise ChatwootError(_unanswered(error, url)) from error
        _check_status(answer, target)
        try:
            return read_json(answer.body)
        except JsonMalformed:
            raise ChatwootError(f"{url} answers, but not with JSON. Check the base_url.") from None


def _check_status(answer: Answer, target: Target) -> None:
    status, url = answer.status, target.url
    if status == 200:
        return
    if 300 <= status < 400:
        elsewhere = _text(answer.headers.get("Location")) or "elsewhere"
        sentence = f"{url} redirects to {elsewhere}. Give the address that answers itself as base_url."
    elif status == 401:
        sentence = f"Chatwoot refuses the access token for {url}: it is wrong, or its user may not read this."
    elif status == 404:
        sentence = f"{url} does not exist. Check base_url and account_id."
    elif status == 429:
        sentence = "Chatwoot answers too many requests. Check again in a minute."
    elif status >= 500:
        sentence = f"Chatwoot is failing: {url} answers {status}. Look at its logs."
    else:
        sentence = f"{url} answers {status}, which was not expected."
    raise ChatwootError(sentence)


def _unanswered(error: OutgoingError, url: str) -> str:
    match error.failed:
        case Failed.INVALID:
            return f"The base_url is no address that can be called. {error.detail}"
        case Failed.REFUSED:
            return (
                f"{error.detail} leads to no public address, so it is not called. Check the base_url; a Chatwoot in a "
                "private network has to be among the operator's PROSA_ALLOWED_HOSTS."
            )
        case Failed.UNREACHABLE:
            return f"{error.detail} refuses the connection. Check the base_url, and that Chatwoot runs."
        case Failed.UNTRUSTED:
            return f"The certificate of {error.detail} is not to be trusted, or it speaks no TLS. Check the base_url."
        case Failed.TIMEOUT:
            return f"{error.detail} did not answer in time. Check the base_url, and that Chatwoot runs."
        case Failed.BROKEN:
            return f"The connection to {error.detail} broke off. Check again."
        case Failed.TOO_LARGE:
            return f"The answer of {url} is larger than {error.detail} bytes."


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in _list(value) if isinstance(row, dict)]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: Any, length_max: int = SHOWN_LENGTH_MAX) -> str:
    """A text as it can be shown: whatever answers at the address may say anything, at any length."""
    if not isinstance(value, str):
        return ""
    shown = "".join(character if character.isprintable() else " " for character in value[: length_max + 1])
    return shown if len(shown) <= length_max else shown[:length_max] + "…"
