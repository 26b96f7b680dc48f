"""Redis: one client per process, and two ways to call it, because each caller must say what holds while it is away.

What only limits or remembers goes on without it (``or_else``: fails open). What must not happen unseen does not happen
(``required``: fails closed). Redis keeps nothing on disk, so nothing in it is the truth of anything. Nothing is sent a
second time: the first may have had its effect.

While Redis is away ``/readyz`` names it, and the process stays ready: what needs it is refused by itself, all else goes
on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias, TypeVar

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram
from redis.asyncio import BlockingConnectionPool
from redis.asyncio import Redis as Client
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import (
    AuthenticationError,
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
)
from redis.exceptions import (
    ConnectionError as RedisConnectionError,
)
from redis.exceptions import (
    TimeoutError as RedisTimeoutError,
)

from chassis.errors import Unavailable
from chassis.inner import NotReady

CALL_SECONDS = 0.25
"""All that a call may take, a new connection and the wait for a free one included."""
AWAY_SECONDS = 1.0
"""After a failure nobody asks for so long: a Redis that hangs must not cost each of many requests its time."""
CONNECTIONS_MAX = 32
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5)

Answer = TypeVar("Answer")
Call: TypeAlias = Callable[[Client], Awaitable[Answer]]

_AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    OutOfMemoryError,
    NoPermissionError,
    OSError,
    TimeoutError,
)
"""What says that Redis is away, or does not write for us; every other error is a mistake of ours."""

logger = structlog.get_logger(__name__)


class Redis:
    """The process's client. A purpose names in metrics and log what a call was for, such as ``rate_limit``."""

    def __init__(
        self,
        url: str,
        registry: CollectorRegistry,
        monotonic: Callable[[], float] = time.monotonic,
        call_seconds: float = CALL_SECONDS,
    ) -> None:
        self._call_seconds = call_seconds
        self._pool = BlockingConnectionPool.from_url(
            url,
            max_connections=CONNECTIONS_MAX,
            timeout=call_seconds,
            socket_timeout=call_seconds,
            socket_connect_timeout=call_seconds,
            # A call that may have had its effect is not for a library to repeat.
            retry=Retry(NoBackoff(), 0),
        )
        self._client = Client(connection_pool=self._pool)
        self._monotonic = monotonic
        self._away_until = 0.0
        self._calls = Counter(
            "prosa_redis_calls", "Calls of Redis by what became of them.", ["purpose", "outcome"], registry=registry
        )
        self._seconds = Histogram(
            "prosa_redis_seconds", "How long Redis took to answer.", ["purpose"], buckets=BUCKETS, registry=registry
        )

    async def or_else(self, purpose: str, call: Call[Answer], otherwise: Answer) -> Answer:
        """What Redis answers, or the other where it is away: for what goes on without it, such as a rate limit."""
        try:
            return await self._ask(purpose, call, "open")
        except _AWAY:
            return otherwise

    async def required(self, purpose: str, call: Call[Answer]) -> Answer:
        """What Redis answers. Raises Unavailable REDIS_UNAVAILABLE where it is away: for what must not be done then.

        What was asked may have been done all the same, where only its answer was lost.
        """
        try:
            return await self._ask(purpose, call, "closed")
        except _AWAY as error:
            raise Unavailable("REDIS_UNAVAILABLE", "Redis does not answer. Try again soon.") from error

    async def _ask(self, purpose: str, call: Call[Answer], failing: str) -> Answer:
        """Raises one of ``_AWAY``."""
        if self._monotonic() < self._away_until:
            self._calls.labels(purpose, f"failed_{failing}").inc()
            raise RedisConnectionError("Redis was away a moment ago.")
        began = self._monotonic()
        try:
            async with asyncio.timeout(self._call_seconds):
                answer = await call(self._client)
        except _AWAY as error:
            if self._away_until == 0:
                logger.warning("redis_away", purpose=purpose, error=repr(error))
            self._away_until = self._monotonic() + AWAY_SECONDS
            self._calls.labels(purpose, f"failed_{failing}").inc()
            raise
        if self._away_until:
            self._away_until = 0.0
            logger.info("redis_back", purpose=purpose)
        self._calls.labels(purpose, "answered").inc()
        self._seconds.labels(purpose).observe(self._monotonic() - began)
        return answer

    async def check(self) -> None:
        """Raises NotReady with a sentence while Redis cannot be used."""
        try:
            async with asyncio.timeout(self._call_seconds):
                await self._client.ping()
        except AuthenticationError as error:
            raise NotReady(
                "Redis refuses the user or password of PROSA_REDIS_URL. Correct it and start anew."
            ) from error
        except _AWAY as error:
            raise NotReady(
                "Redis does not answer. Nothing that needs it is done until it is back; limits do not hold."
            ) from error

    async def close(self) -> None:
        """Closes all connections."""
        await self._client.aclose()
        await self._pool.disconnect()
