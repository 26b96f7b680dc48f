"""Reads a Chatwoot account over REST, for checking a connection.

Every failure is a ChatwootError with a sentence that says what was seen and what to do.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp
import orjson
from aiohttp.abc import AbstractResolver

from services.ingest.address_guard import AddressRefused, GuardedResolver, check_literal, read_hosts
from services.ingest.connection_check import Failure, Inbox, Profile, Seen, Webhook
from services.ingest.limits import CHATWOOT_ANSWER_BYTES_MAX, CHATWOOT_TIMEOUT_SECONDS

# nginx drops headers with underscores, which Chatwoot's own spelling has.
TOKEN_HEADER = "Api-Access-Token"  # noqa: S105 - the name of a header

Answer = TypeVar("Answer")


class ChatwootError(Exception):
    """Chatwoot did not give what was asked for; the message says why, for people."""

    def __init__(self, sentence: str) -> None:
        super().__init__(sentence)
        self.sentence = sentence


class ChatwootClient:
    """Opens accounts. Holds no connections between calls."""

    def __init__(
        self,
        allowed_hosts: str,
        *,
        resolver: AbstractResolver | None = None,
        timeout_seconds: float = CHATWOOT_TIMEOUT_SECONDS,
    ) -> None:
        """``allowed_hosts``, comma separated, may be reached although their addresses are private."""
        self._allowed_hosts = read_hosts(allowed_hosts)
        self._resolver = resolver
        self._timeout_seconds = timeout_seconds

    @asynccontextmanager
    async def account(self, base_url: str, access_token: str, account_id: int | None) -> AsyncIterator[ChatwootAccount]:
        """One account, for the length of the block; an empty token can ask for the version alone."""
        connector = aiohttp.TCPConnector(resolver=GuardedResolver(self._allowed_hosts, self._resolver))
        async with aiohttp.ClientSession(
            connector=connector,
            timeout=aiohttp.ClientTimeout(total=self._timeout_seconds),
            headers={"Accept": "application/json"},
            cookie_jar=aiohttp.DummyCookieJar(),
        ) as session:
            yield ChatwootAccount(session, self._allowed_hosts, base_url, access_token, account_id)

    async def observe(self, base_url: str, access_token: str, account_id: int | None) -> Seen:
        """All that a check wants to know, asked side by side."""
        if not base_url:
            missing = Failure("No base_url is kept for this connection, so Chatwoot's API cannot be asked.")
            return Seen(missing, missing, missing, missing)
        async with self.account(base_url, access_token, account_id) as account:
            version, profile, inboxes, webhooks = await asyncio.gather(
                _outcome(account.version()),
                _outcome(account.profile()),
                _outcome(account.inboxes()),
                _outcome(account.webhooks()),
            )
        return Seen(version, profile, inboxes, webhooks)


async def _outcome(call: Awaitable[Answer]) -> Answer | Failure:
    try:
        return await call
    except ChatwootError as error:
        return Failure(error.sentence)


class ChatwootAccount:
    """The calls a check makes. Each raises ChatwootError."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        allowed_hosts: frozenset[str],
        base_url: str,
        access_token: str,
        account_id: int | None,
    ) -> None:
        self._session = session
        self._allowed_hosts = allowed_hosts
        self._base_url = base_url.rstrip("/")
        self._access_token = access_token
        self._account_id = account_id

    async def version(self) -> str:
        """The release that answers; needs no token."""
        body = await self._get("/api", signed=False)
        version = _mapping(body).get("version")
        if not isinstance(version, str):
            raise ChatwootError(f"{self._base_url}/api answers, but not as Chatwoot does. Check the base_url.")
        return version

    async def profile(self) -> Profile:
        """Whose token it is."""
        body = _mapping(await self._get("/api/v1/profile"))
        roles = {
            account["id"]: str(account.get("role", ""))
            for account in _rows(body.get("accounts"))
            if isinstance(account.get("id"), int)
        }
        return Profile(name=str(body.get("name") or "somebody"), roles=roles)

    async def inboxes(self) -> tuple[Inbox, ...]:
        """The inboxes that the token's user may see."""
        body = _mapping(await self._get(self._account_path("inboxes")))
        return tuple(
            Inbox(id=row["id"], name=str(row.get("name") or ""), channel_type=str(row.get("channel_type") or ""))
            for row in _rows(body.get("payload"))
            if isinstance(row.get("id"), int)
        )

    async def webhooks(self) -> tuple[Webhook, ...]:
        """The account's webhooks; Chatwoot shows them to administrators alone."""
        body = _mapping(await self._get(self._account_path("webhooks")))
        return tuple(
            Webhook(
                url=str(row.get("url") or ""),
                subscriptions=frozenset(str(event) for event in row.get("subscriptions") or ()),
                secret=str(row.get("secret") or ""),
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
        host = urlsplit(url).hostname or ""
        try:
            check_literal(host, self._allowed_hosts)
            # A redirect could lead anywhere, with the token.
            async with self._session.get(
                url, allow_redirects=False, headers={TOKEN_HEADER: self._access_token} if signed else {}
            ) as response:
                body = await _read_bounded(response)
                _check_status(response, url)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ChatwootError(_unreachable(error, host)) from error
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            raise ChatwootError(f"{url} answers, but not with JSON. Check the base_url.") from None


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    received = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        received += chunk
        if len(received) > CHATWOOT_ANSWER_BYTES_MAX:
            raise ChatwootError(f"The answer of {response.url} is larger than {CHATWOOT_ANSWER_BYTES_MAX} bytes.")
    return bytes(received)


def _check_status(response: aiohttp.ClientResponse, url: str) -> None:
    status = response.status
    if status == 200:
        return
    if 300 <= status < 400:
        target = response.headers.get("Location", "elsewhere")
        sentence = f"{url} redirects to {target}. Give the address that answers itself as base_url."
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


def _unreachable(error: Exception, host: str) -> str:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, AddressRefused):
        return (
            f"{host} leads into a private network, which is not called. If it is meant, the operator adds it to "
            "PROSA_ALLOWED_HOSTS."
        )
    if isinstance(error, TimeoutError):
        return f"{host} did not answer in time. Check the base_url, and that Chatwoot runs."
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"The name {host} cannot be resolved. Check the base_url."
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError)):
        return f"The certificate of {host} is not to be trusted, or it speaks no TLS. Check the base_url."
    if isinstance(error, (aiohttp.InvalidURL, ValueError)):
        return "The base_url is no address that can be called."
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"{host} refuses the connection. Check the base_url, and that Chatwoot runs."
    return f"The connection to {host} broke off. Check again."


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _rows(value: Any) -> list[dict[str, Any]]:
    return [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
