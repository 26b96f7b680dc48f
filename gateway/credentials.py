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
from typing import Protocol
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

Exchange = Callable[[str], Awaitable[Token]]
"""Calls identity.ExchangeApiKey with a whole key."""

# Names that know already how they compare: every request is asked for them.
TRACE_PARENT = istr("traceparent")
_CORRELATION_ID, _REQUEST_ID = istr("X-Correlation-Id"), istr("X-Request-Id")
API_KEY_PREFIX = "ncrm_"
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]{1,8192}")

correlation_id_key: web.RequestKey[str] = web.RequestKey("correlation_id", str)


@dataclass(frozen=True, slots=True)
class Watcher:
    """Somebody who may watch an organization's facts."""

    organization_id: UUID
    # When the token ends; the stream ends with it.
    expire_time: datetime


class Gate(Protocol):
    """Believes or refuses a caller's token, as the services do."""

    def admit(self, token: str, rpc_path: str) -> Watcher:
        """Answers whose token it is and checks that it may call the RPC.

        Raises Unauthenticated, PermissionDenied, or Unavailable where nothing is known of revocations.
        """
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


class ApiKeys:
    """Turns API keys into tokens and remembers them, by a hash of the key, until shortly before they end."""

    def __init__(self, exchange: Exchange, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._exchange = exchange
        self._monotonic = monotonic
        self._known: OrderedDict[bytes, tuple[str | ProsaError, float]] = OrderedDict()
        self._asking: dict[bytes, asyncio.Task[str]] = {}

    async def token(self, api_key: str) -> str:
        """Answers a token for the key; many who ask at once cause one exchange. Raises API_KEY_INVALID."""
        if not api_key.isascii() or len(api_key) > API_KEY_LENGTH_MAX:
            raise Unauthenticated("API_KEY_INVALID", "The API key is not known, or was revoked.")
        digest = hashlib.sha256(api_key.encode()).digest()
        known = self._known.get(digest)
        if known is not None and self._monotonic() < known[1]:
            self._known.move_to_end(digest)
            if isinstance(known[0], ProsaError):
                raise type(known[0])(known[0].reason, known[0].message)
            return known[0]
        task = self._asking.get(digest)
        if task is None:
            task = self._asking[digest] = asyncio.create_task(self._ask(digest, api_key))
            task.add_done_callback(lambda _: self._asking.pop(digest, None))
        # Shielded: one caller who leaves must not take the answer away from the others.
        return await asyncio.shield(task)

    def forget(self, api_key: str) -> None:
        """Drops what is remembered of a key whose token was just refused."""
        self._known.pop(hashlib.sha256(api_key.encode("utf-8", "replace")).digest(), None)

    async def _ask(self, digest: bytes, api_key: str) -> str:
        asked_at = self._monotonic()
        try:
            answer = await self._exchange(api_key)
        except grpc.aio.AioRpcError as error:
            if error.code() != grpc.StatusCode.UNAUTHENTICATED:
                raise
            refused = to_prosa_error(error) or Unauthenticated("API_KEY_INVALID", "The API key is not valid.")
            self._keep(digest, refused, asked_at + REFUSED_KEY_SECONDS)
            raise refused from None
        self._keep(digest, answer.access_token, asked_at + answer.expires_in - TOKEN_RENEWAL_MARGIN_SECONDS)
        return answer.access_token

    def _keep(self, digest: bytes, value: str | ProsaError, until: float) -> None:
        self._known[digest] = (value, until)
        self._known.move_to_end(digest)
        while len(self._known) > TOKEN_CACHE_ENTRIES_MAX:
            self._known.popitem(last=False)


class Credentials:
    """Reads a request's credentials and writes them as metadata of calls."""

    def __init__(self, api_keys: ApiKeys) -> None:
        self._api_keys = api_keys

    async def token(self, request: web.Request) -> str | None:
        """Answers the token the request acts with, or None where it brings no credentials.

        Raises Unauthenticated where what it brings cannot be one.
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
        return await self._api_keys.token(api_key) if api_key else None

    def refused(self, request: web.Request) -> None:
        """Learns that a service did not believe the request's token: a key is exchanged anew the next time."""
        for value in (request.headers.get("X-Api-Key", ""), request.headers.get("Authorization", "").partition(" ")[2]):
            if value.strip():
                self._api_keys.forget(value.strip())


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
