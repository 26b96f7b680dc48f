"""The event feed: one writer copies every fact of every service, once, into a table with positions.

Positions are given out by one writer under a lease, so they grow by commit: a reader that has seen one has seen all
before it. From here come live updates and everything else that is sent out; never from JetStream's own sequences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any
from uuid import UUID

from chassis import streams
from chassis.clock import Clock
from chassis.db import Tx
from chassis.system import SERVICES
from services.ingest.feed import store as feed_store

WRITER = "feed"
SOURCES = SERVICES
GROWN_SUBJECT = "prosa.wake.ingest.feed"
NAMED_MAX = 1_000
"""So many organizations are named in one message that the feed has grown; where it is more, all are woken."""
_ID_BYTES = 16

Follow = Callable[[Tx, Sequence[streams.StreamMessage]], Awaitable[None]]


class FeedWriter:
    """Appends facts; the handler of the consumer ``feed``."""

    def __init__(self, clock: Clock, nats: streams.Client, follow: Follow) -> None:
        """``follow`` does in the same transaction what follows from a growing feed."""
        self._clock, self._follow = clock, follow
        self._grown = streams.Waker(nats, GROWN_SUBJECT, self._named)
        self._of: set[UUID] = set()

    async def append(self, tx: Tx, events: Sequence[streams.StreamMessage]) -> None:
        """Appends facts in their order, and tells subscribers that the feed has grown."""
        await feed_store.append(tx, events, self._clock.now())
        await self._follow(tx, events)
        tx.after_commit(partial(self._wake, {event.organization_id for event in events}))

    def _wake(self, organization_ids: set[UUID]) -> None:
        # One more than can be named says that it is too many, however long nobody is told.
        if len(self._of) <= NAMED_MAX:
            self._of |= organization_ids
        self._grown.wake()

    def _named(self) -> bytes:
        named, self._of = self._of, set()
        return b"".join(one.bytes for one in named) if len(named) <= NAMED_MAX else b""


class FeedReader:
    """Reads an organization's facts by position, and knows when to look again."""

    def __init__(self, nats: streams.Client) -> None:
        self._nats = nats
        self._waiting: dict[UUID, set[asyncio.Event]] = {}

    async def watch(self) -> None:
        """Listens for the news that the feed has grown."""

        async def on_grown(message: Any) -> None:
            self.grown(message.data)

        await self._nats.listen(GROWN_SUBJECT, on_grown)

    def grown(self, organization_ids: bytes = b"") -> None:
        """Wakes who waits for facts of these organizations, 16 bytes each; without any, everybody."""
        if not organization_ids or len(organization_ids) % _ID_BYTES:
            named = list(self._waiting)
        else:
            starts = range(0, len(organization_ids), _ID_BYTES)
            named = [UUID(bytes=organization_ids[start : start + _ID_BYTES]) for start in starts]
        for organization_id in named:
            for event in self._waiting.get(organization_id, ()):
                event.set()

    def waiter(self, organization_id: UUID) -> asyncio.Event:
        """An event that is set whenever the organization's feed has grown; to be given back to ``forget``."""
        event = asyncio.Event()
        self._waiting.setdefault(organization_id, set()).add(event)
        return event

    def forget(self, organization_id: UUID, event: asyncio.Event) -> None:
        """Sets the event no more."""
        waiting = self._waiting[organization_id]
        waiting.discard(event)
        if not waiting:
            del self._waiting[organization_id]
