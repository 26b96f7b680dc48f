"""The event feed: one writer copies every fact of every service, once, into a table with positions.

Positions are given out by one writer under a lease, so they grow by commit: a reader that has seen one has seen all
before it. From here come live updates and everything else that is sent out; never from JetStream's own sequences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from chassis import streams
from chassis.clock import Clock
from chassis.db import Tx
from chassis.system import SERVICES
from services.ingest.feed import store as feed_store

WRITER = "feed"
SOURCES = SERVICES
GROWN_SUBJECT = "prosa.wake.ingest.feed"

Follow = Callable[[Tx, Sequence[streams.StreamMessage]], Awaitable[None]]


class FeedWriter:
    """Appends facts; the handler of the consumer ``feed``."""

    def __init__(self, clock: Clock, nats: streams.Client, follow: Follow) -> None:
        """``follow`` does in the same transaction what follows from a growing feed."""
        self._clock, self._follow = clock, follow
        self._grown = streams.Waker(nats, GROWN_SUBJECT)

    async def append(self, tx: Tx, events: Sequence[streams.StreamMessage]) -> None:
        """Appends facts in their order, and tells subscribers that the feed has grown."""
        await feed_store.append(tx, events, self._clock.now())
        await self._follow(tx, events)
        tx.after_commit(self._grown.wake)


class FeedReader:
    """Reads an organization's facts by position, and knows when to look again."""

    def __init__(self, nats: streams.Client) -> None:
        self._nats = nats
        self._waiting: set[asyncio.Event] = set()

    async def watch(self) -> None:
        """Listens for the news that the feed has grown."""

        async def on_grown(_message: Any) -> None:
            for event in self._waiting:
                event.set()

        await self._nats.listen(GROWN_SUBJECT, on_grown)

    @property
    def waiting_count(self) -> int:
        """How many wait to be told."""
        return len(self._waiting)

    def waiter(self) -> asyncio.Event:
        """An event that is set whenever the feed has grown; to be given back to ``forget``."""
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def forget(self, event: asyncio.Event) -> None:
        """Sets the event no more."""
        self._waiting.discard(event)
