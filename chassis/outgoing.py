"""The one way in which a service calls an address that somebody else gave us.

Such an address comes from an organization's administrator, who must not reach what only this machine can: loopback,
private ranges, metadata services of a cloud. The URL is read strictly (`chassis.addresses`), a name is refused where
any of its addresses is private, and the address of the very socket that connects is judged once more, so an answer of
the DNS that changes in between changes nothing. Redirects are answered and never followed; proxies of the environment
are not asked, for they would connect in our place.

Not called this way, because the operator alone names them: PostgreSQL, NATS, Redis, other services' listeners and the
collector of traces. Neither is what the command line and the sandbox call, with the rights of whoever runs them.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any

import aiohttp
import structlog
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from chassis.addresses import AddressInvalid, AllowedHosts, Target, public, read_url

TOTAL_SECONDS = 10.0
"""Of one call whose caller names no other time, from resolving the name to the last byte."""
CONNECTIONS_MAX = 100
CONNECTIONS_PER_HOST_MAX = 10
IDLE_SECONDS = 15.0
"""How long a connection is kept for the next call to the same host."""
ANSWER_BYTES_MAX = 1024 * 1024
HEADER_LINE_BYTES_MAX = 8_190
HEADERS_MAX = 100
CHUNK_BYTES = 65_536
RESOLVING_MAX = 8
"""Names looked up at once. Who owns a name says how long that takes, so no other work shares these threads."""

Judge = Callable[[str], bool]

logger = structlog.get_logger(__name__)


class Failed(StrEnum):
    """Why a call brought no answer."""

    INVALID = "invalid"
    """The URL is none that can be called."""
    REFUSED = "refused"
    """The host has no public address: it has none at all, or a private one. Which of the two is not told."""
    UNREACHABLE = "unreachable"
    """No connection came about."""
    UNTRUSTED = "untrusted"
    """It speaks no TLS, or its certificate is not to be trusted."""
    TIMEOUT = "timeout"
    BROKEN = "broken"
    """The connection broke off, or what came is no HTTP."""
    TOO_LARGE = "too_large"


class OutgoingError(Exception):
    """A call brought no answer."""

    def __init__(self, failed: Failed, detail: str, *, begun: bool = False) -> None:
        super().__init__(f"{failed}: {detail}")
        self.failed = failed
        self.detail = detail
        self.begun = begun
        """Whether a connection came about, so that something may have been sent."""


class AddressRefused(OSError):
    """An address that is not public, and not among the hosts that the operator allows."""

    def __init__(self, host: str) -> None:
        super().__init__(f"{host} is not public")
        self.host = host


@dataclass(frozen=True, slots=True)
class Answer:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Outgoing:
    """Calls addresses that somebody else gave us; one in a process, closed with it."""

    def __init__(
        self, allowed: AllowedHosts, *, resolver: AbstractResolver | None = None, judge: Judge = public
    ) -> None:
        """``resolver`` and ``judge`` are for tests, which must reach nothing but loopback."""
        self._allowed = allowed
        self._resolver = resolver or ApartResolver()
        self._judge = judge
        self._guarded: aiohttp.ClientSession | None = None
        self._open: aiohttp.ClientSession | None = None

    def read(self, url: str) -> Target:
        """What the URL names. Raises OutgoingError INVALID."""
        try:
            target = read_url(url)
        except AddressInvalid as error:
            raise OutgoingError(Failed.INVALID, str(error)) from None
        # The library reads the URL anew; where it sees another host, the one that was judged is not the one called.
        if _library_host(target.url) != target.host:
            raise OutgoingError(Failed.INVALID, "Its host can be read in more than one way.")
        return target

    def vague(self, target: Target) -> bool:
        """True where nothing may be told of what happens at the target's port.

        The operator let the host be called, which is private, but named no port: whoever gives the address must not
        learn which others are open.
        """
        return self._allowed.host(target.host) and not self._allowed.place(target.host, target.port)

    def refuses(self, target: Target) -> bool:
        """True where it can be said of the URL alone that it is not called: a name is judged by its addresses."""
        if self._allowed.host(target.host) or self._allowed.place(target.host, target.port):
            return False
        # A name of this machine or its network; the DNS of the internet knows none without a dot.
        nearby = "." not in target.host and ":" not in target.host
        return nearby or (target.literal and not self._judge(target.host))

    async def call(
        self,
        method: str,
        target: Target,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        total_seconds: float = TOTAL_SECONDS,
        connect_seconds: float | None = None,
        answer_bytes_max: int = ANSWER_BYTES_MAX,
        rest_ignored: bool = False,
    ) -> Answer:
        """What the target answers, a redirect like anything else. Raises OutgoingError.

        Where no connection came about within ``connect_seconds`` it raises UNREACHABLE: nothing was sent.
        A larger answer raises TOO_LARGE, or with ``rest_ignored`` is cut off: for who reads hardly more than a status.
        """
        try:
            async with self._session(target).request(
                method,
                URL(target.url, encoded=True),
                headers=headers,
                data=body,
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=total_seconds, connect=connect_seconds),
            ) as response:
                body_read = await _read(response, answer_bytes_max, cut=rest_ignored)
                return Answer(response.status, response.headers.copy(), body_read)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._failure(error, target) from error

    async def close(self) -> None:
        """Lets go of all connections."""
        for session in (self._guarded, self._open):
            if session is not None:
                await session.close()
        await self._resolver.close()

    def _session(self, target: Target) -> aiohttp.ClientSession:
        if self._allowed.host(target.host) or self._allowed.place(target.host, target.port):
            if self._open is None:
                self._open = _session(resolver=self._resolver)
            return self._open
        if self.refuses(target):
            raise AddressRefused(target.host)
        if self._guarded is None:
            # Without exception: what the operator allows never comes this way.
            self._guarded = _session(
                resolver=_GuardedResolver(self._judge, self._resolver), socket_factory=self._public_socket
            )
        return self._guarded

    def _public_socket(self, address: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, place = address
        if not self._judge(str(place[0])) or (family == socket.AF_INET6 and place[3]):
            raise AddressRefused(str(place[0]))
        return socket.socket(family=family, type=kind, proto=protocol)

    def _failure(self, error: Exception, target: Target) -> OutgoingError:
        failed = _failed(error)
        # For the operator, who may know; whoever gave the address is told by the caller, and less.
        logger.info("outgoing_failed", host=target.host, port=target.port, failed=failed, error=repr(error))
        return OutgoingError(failed, target.host, begun=_begun(error))


class ApartResolver(AbstractResolver):
    """Looks names up in threads of its own: in the loop's, a few slow names would keep everything else waiting."""

    def __init__(self, look_up: Callable[..., Any] = socket.getaddrinfo) -> None:
        self._look_up = look_up
        self._threads = ThreadPoolExecutor(RESOLVING_MAX, thread_name_prefix="resolving")

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of a name. Raises OSError."""
        look_up = partial(self._look_up, host, port, family=family, type=socket.SOCK_STREAM, flags=socket.AI_ADDRCONFIG)
        found = await asyncio.get_running_loop().run_in_executor(self._threads, look_up)
        return [
            ResolveResult(
                hostname=host,
                host=str(address[0]),
                port=int(address[1]),
                family=found_family,
                proto=protocol,
                flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            )
            for found_family, _, protocol, _, address in found
        ]

    async def close(self) -> None:
        """Waits for nobody: whoever asked is gone."""
        self._threads.shutdown(wait=False, cancel_futures=True)


class _GuardedResolver(AbstractResolver):
    """Refuses a name with any address that is not public."""

    def __init__(self, judge: Judge, inner: AbstractResolver) -> None:
        self._judge = judge
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        if not all(self._judge(result["host"]) for result in found):
            raise AddressRefused(host)
        return found

    async def close(self) -> None:
        await self._inner.close()


def _session(*, resolver: AbstractResolver | None, socket_factory: Any = None) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(
        resolver=resolver,
        socket_factory=socket_factory,
        # A name is resolved for each connection: an answer that is kept outlives what it said.
        use_dns_cache=False,
        limit=CONNECTIONS_MAX,
        limit_per_host=CONNECTIONS_PER_HOST_MAX,
        keepalive_timeout=IDLE_SECONDS,
    )
    return aiohttp.ClientSession(
        connector=connector,
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        max_line_size=HEADER_LINE_BYTES_MAX,
        max_field_size=HEADER_LINE_BYTES_MAX,
        max_headers=HEADERS_MAX,
    )


def _library_host(url: str) -> str | None:
    try:
        return URL(url, encoded=True).raw_host
    except ValueError:
        return None


async def _read(response: aiohttp.ClientResponse, bytes_max: int, *, cut: bool) -> bytes:
    received = bytearray()
    async for chunk in response.content.iter_chunked(CHUNK_BYTES):
        received += chunk
        if len(received) > bytes_max:
            response.close()
            if cut:
                return bytes(received[:bytes_max])
            raise OutgoingError(Failed.TOO_LARGE, f"{bytes_max}", begun=True)
    return bytes(received)


def _begun(error: Exception) -> bool:
    """False where it can be said for certain that no connection came about."""
    return not isinstance(error, (AddressRefused, aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError))


def _failed(error: Exception) -> Failed:
    cause = error.os_error if isinstance(error, aiohttp.ClientConnectorError) else error
    if isinstance(cause, AddressRefused) or isinstance(error, aiohttp.ClientConnectorDNSError):
        return Failed.REFUSED
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Failed.UNREACHABLE
    if isinstance(error, TimeoutError):
        return Failed.TIMEOUT
    if isinstance(error, (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError, ssl.SSLError)):
        return Failed.UNTRUSTED
    if isinstance(error, aiohttp.ClientConnectorError):
        return Failed.UNREACHABLE
    if isinstance(error, ValueError):
        return Failed.INVALID
    return Failed.BROKEN
