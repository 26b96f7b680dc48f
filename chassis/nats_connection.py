"""The process's connection to NATS: kept for as long as the process lives, and never in the way of its start or end."""

from __future__ import annotations

import asyncio
import contextlib

import structlog
from nats.errors import Error as NatsError

from chassis import streams
from chassis.inner import NotReady

RECONNECT_SECONDS = 0.5
PING_SECONDS = 3
CONNECT_SECONDS = 3
REFUSES = "authorization violation"
AWAITED_SECONDS = 5.0
"""How long a start waits for NATS to answer or to refuse; everything but facts on their way goes on without it."""

logger = structlog.get_logger(__name__)


class NatsConnection:
    """Connects one client, and says whether that can be worked with."""

    def __init__(self, url: str) -> None:
        self.client = streams.Client()
        self._url = url
        self._called = False
        self._answered = asyncio.Event()
        self._said = ""
        """What went wrong last; empty while it is connected."""

    async def keep(self) -> None:
        """Connects for as long as that takes; from then on the client reconnects by itself."""

        async def on_error(error: Exception) -> None:
            # What a refusal is followed by, such as a connection that ends, says less than the refusal.
            if REFUSES not in self._said.lower():
                self._said = str(error)
            if self._answered.is_set():
                logger.info("nats_error", error=repr(error))
            else:
                logger.warning("nats_away_at_start", error=repr(error))
                self._answered.set()

        self._called = True
        await self.client.connect(
            self._url,
            max_reconnect_attempts=-1,
            reconnect_time_wait=RECONNECT_SECONDS,  # part of a second will do too
            connect_timeout=CONNECT_SECONDS,
            ping_interval=PING_SECONDS,
            max_outstanding_pings=2,
            error_cb=on_error,
        )
        self._answered.set()
        await asyncio.Event().wait()

    async def wait_for_answer(self) -> None:
        """Returns once NATS has answered or refused, or after a while."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AWAITED_SECONDS):
                await self._answered.wait()

    async def check(self) -> None:
        """Raises NotReady, saying why and what to do, unless NATS can be worked with."""
        waiting = "Webhooks are stored; facts wait in PostgreSQL until then."
        if self.client.is_connected:
            self._said = ""
            if not self.client.has_jetstream:
                raise NotReady(f"NATS has JetStream off. Turn it on in the server's configuration. {waiting}")
        elif REFUSES in self._said.lower():
            raise NotReady(f"NATS refuses the user or password of PROSA_NATS_URL. Correct it and start anew. {waiting}")
        else:
            raise NotReady("NATS does not answer. Webhooks are stored; facts wait in PostgreSQL until it is back.")

    async def close(self) -> None:
        """Closes the client, where it was ever told to connect."""
        if not self._called:
            return
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.client.close()
        except (NatsError, OSError, TimeoutError, RuntimeError) as error:
            # A connection that broke a moment ago refuses the client's last words: uvloop with a RuntimeError.
            logger.info("nats_not_closed", error=repr(error))
