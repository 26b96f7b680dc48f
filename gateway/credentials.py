"""Who calls, and under which ids: what a request's headers become for the calls made for it.

The ids travel in the context (`chassis.context`), from which channels add them to every call.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar
from uuid import UUID

import grpc
from aiohttp import web
from multidict import istr

from chassis.context import accepted_correlation_id, accepted_trace_parent
from chassis.errors import ProsaError, Unauthenticated
from gateway.limits import (
    API_KEY_LENGTH_MAX,
    REFUSED_KEY_SECONDS,
    TOKEN_CACHE_ENTRIES_MAX,
    TOKEN_RENEWAL_MARGIN_SECONDS,
)
from gateway.problems import to_prosa_error
from prosa.identity.v1.access_service_pb2 import Token

if TYPE_CHECKING:
    from gateway.sessions import Sessions

Answer = TypeVar("Answer")
Exchange = Callable[[str], Awaitable[Token]]
"""Calls identity.ExchangeApiKey with a whole key."""

# Names that know already how they compare: every request is asked for them.
TRACE_PARENT = istr("traceparent")
_CORRELATION_ID, _REQUEST_ID = istr("X-Correlation-Id"), istr("X-Request-Id")
API_KEY_PREFIX = "ncrm_"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}")

correlation_id_key: web.RequestKey[str] = web.RequestKey("correlation_id", str)


@dataclass(frozen=True, slots=True)
class Subscriber:
    """Somebody who may watch an organization's facts."""

    organization_id: UUID
    # When the token ends; the stream ends with it.
    expire_time: datetime


class Authorizer(Protocol):
    """Believes or refuses a caller's token, as the services do."""

    def admit(self, token: str, rpc_path: str) -> Subscriber:
        """Answers whose token it is and checks that it may call the RPC.

        Raises Unauthenticated, PermissionDenied, or Unavailable where nothing is known of revocations.
        """
        ...

    def listen(self, heard: Callable[[], None]) -> None:
        """``heard`` is called when somebody who was admitted may be so no longer."""
        ...

    def account(self, token: str, rpc_path: str) -> str:
        """Answers on whose account a caller's body for the RPC is read: his organization's.

        Raises Unauthenticated, or PermissionDenied where he may not call it.
        """
        ...


class ServiceTokens(Protocol):
    """Signs the gateway's own short tokens, as chassis.auth.TokenSigner does."""

    def service_token(self, audience: str, organization_id: UUID | None = None) -> str:
        """Answers a token of the gateway for calls to one service, for one organization or for none."""
        ...


class Exchanged(Generic[Answer]):
    """What secrets were exchanged for, remembered by a hash of the secret for as long as it is good."""

    def __init__(
        self,
        exchange: Callable[[str], Awaitable[Answer]],
        seconds: Callable[[Answer], float],
        refusal: Callable[[], ProsaError],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """``seconds`` says for how long an answer is good; ``refusal`` is told where a secret cannot be one."""
        self._exchange, self._seconds, self._refusal = exchange, seconds, refusal
        self._monotonic = monotonic
        self._known: OrderedDict[bytes, tuple[Answer | ProsaError, float]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[Answer]] = {}

    async def of(self, secret: str) -> Answer:
        """Answers what the secret stands for; many who ask at once cause one exchange. Raises the refusal."""
        if not secret.isascii() or len(secret) > API_KEY_LENGTH_MAX:
            raise self._refusal()
        digest = hashlib.sha256(secret.encode()).digest()
        known = self._known.get(digest)
        if known is not None and self._monotonic() < known[1]:
            self._known.move_to_end(digest)
            if isinstance(known[0], ProsaError):
                raise type(known[0])(known[0].reason, known[0].message)
            return known[0]
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._ask(digest, secret))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        # Shielded: one caller who leaves must not take the answer away from the others.
        return await asyncio.shield(task)

    def forget(self, secret: str) -> None:
        """Drops what is remembered of a secret whose token was just refused."""
        self._known.pop(hashlib.sha256(secret.encode("utf-8", "replace")).digest(), None)

    async def _ask(self, digest: bytes, secret: str) -> Answer:
        asked_at = self._monotonic()
        try:
            answer = await self._exchange(secret)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNAUTHENTICATED:
                raise
            refused = to_prosa_error(error) or self._refusal()
            self._keep(digest, refused, asked_at + REFUSED_KEY_SECONDS)
            raise refused from None
        self._keep(digest, answer, asked_at + self._seconds(answer) - TOKEN_RENEWAL_MARGIN_SECONDS)
        return answer

    def _keep(self, digest: bytes, value: Answer | ProsaError, until: float) -> None:
        self._known[digest] = (value, until)
        self._known.move_to_end(digest)
        while len(self._known) > TOKEN_CACHE_ENTRIES_MAX:
            self._known.popitem(last=False)


class ApiKeys:
    """Turns API keys into tokens and remembers them, by a hash of the key, until shortly before they end."""

    def __init__(self, exchange: Exchange, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exchanged: Exchanged[Token] = Exchanged(exchange, lambda token: token.expires_in, _key_unknown, monotonic)

    async def token(self, api_key: str) -> str:
        """Answers a token for the key; many who ask at once cause one exchange. Raises API_KEY_INVALID."""
        return (await self._exchanged.of(api_key)).access_token

    def forget(self, api_key: str) -> None:
        """Drops what is remembered of a key whose token was just refused."""
        self._exchanged.forget(api_key)


def _key_unknown() -> ProsaError:
    return Unauthenticated("API_KEY_INVALID", "The API key is not known, or was revoked.")


class Credentials:
    """Reads a request's credentials and writes them as metadata of calls."""

    def __init__(self, api_keys: ApiKeys, sessions: Sessions) -> None:
        self._api_keys = api_keys
        self.sessions = sessions

    async def token(self, request: web.Request, *, by_cookie: bool = True) -> str | None:
        """Answers the token the request acts with, or None where it brings no credentials.

        A header goes before a cookie, which counts only where nobody else's page sent it. Raises Unauthenticated where
        what it brings cannot be one, and PermissionDenied CSRF_INVALID.
        """
        scheme, _, value = request.headers.get("Authorization", "").strip().partition(" ")
        value = value.strip()
        api_key = request.headers.get("X-Api-Key", "").strip()
        if scheme:
            if scheme.lower() != "bearer" or not _TOKEN.fullmatch(value):
                raise Unauthenticated("TOKEN_INVALID", "Authorization must read: Bearer, a space, and the token.")
            if not value.startswith(API_KEY_PREFIX):
                return value
            # Many HTTP clients know bearer tokens only; a key is one just as well.
            api_key = value
        if api_key:
            return await self._api_keys.token(api_key)
        return await self.sessions.token(request) if by_cookie else None

    def refused(self, request: web.Request) -> None:
        """Learns that a service did not believe the request's token: a key is exchanged anew the next time."""
        for value in (request.headers.get("X-Api-Key", ""), request.headers.get("Authorization", "").partition(" ")[2]):
            if value.strip():
                self._api_keys.forget(value.strip())
        self.sessions.forget(request)


def by_header(request: web.Request) -> bool:
    """Says whether the request brings credentials of its own; a browser's cookie comes by itself."""
    return any(request.headers.get(name, "").strip() for name in ("Authorization", "X-Api-Key"))


def named_by_caller(request: web.Request) -> bool:
    """Says whether the request's correlation id is one that its caller chose."""
    headers = request.headers
    return (headers.get(_CORRELATION_ID) or headers.get(_REQUEST_ID)) == request[correlation_id_key]


def identify(request: web.Request) -> tuple[str, str]:
    """Answers the request's correlation id and trace: the caller's where they are well formed, else new ones."""
    headers = request.headers
    correlation_id = accepted_correlation_id(headers.get(_CORRELATION_ID) or headers.get(_REQUEST_ID))
    request[correlation_id_key] = correlation_id
    return correlation_id, accepted_trace_parent(headers.get(TRACE_PARENT))
