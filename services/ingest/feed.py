"""The event feed: one writer copies every fact of every service, once, into a table with positions.

Positions are given out by one writer under a lease, so they grow by commit: a reader that has seen one has seen all
before it. From here come live updates and everything else that is sent out; never from JetStream's own sequences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from nats.aio.client import Client as Nats

from chassis.clock import Clock
from chassis.consumer import ConsumedEvent
from chassis.db import Tx
from chassis.migrations import SERVICES

WRITER = "feed"
SOURCES = SERVICES
GROWN_SUBJECT = "prosa.wake.ingest.feed"

_APPEND = """
insert into ingest.feed
  (write_time, event_id, organization_id, type, payload, event_time, correlation_id, trace_parent)
select %(now)s, event_id, organization_id, type, payload, event_time, correlation_id, trace_parent
from unnest(%(event_ids)b::uuid[], %(organization_ids)b::uuid[], %(types)b::text[], %(payloads)b::bytea[],
  %(event_times)b::timestamptz[], %(correlation_ids)b::text[], %(trace_parents)b::text[])
  with ordinality as fact (event_id, organization_id, type, payload, event_time, correlation_id, trace_parent, place)
order by place
"""


class FeedWriter:
    """Appends facts; the handler of the consumer ``feed``."""

    def __init__(self, clock: Clock, nats: Nats) -> None:
        self._clock = clock
        self._nats = nats

    async def append(self, tx: Tx, events: Sequence[ConsumedEvent]) -> None:
        """Appends facts in their order."""
        await tx.exec_driver_sql(
            _APPEND,
            {
                "now": self._clock.now(),
                "event_ids": [event.event_id for event in events],
                "organization_ids": [event.organization_id for event in events],
                "types": [event.type for event in events],
                "payloads": [event.payload for event in events],
                "event_times": [event.event_time for event in events],
                "correlation_ids": [event.correlation_id for event in events],
                "trace_parents": [event.trace_parent for event in events],
            },
        )

    async def announce(self) -> None:
        """Tells subscribers that the feed has grown; called after the commit."""
        if self._nats.is_connected:
            await self._nats.publish(GROWN_SUBJECT, b"")


class FeedReader:
    """Reads an organization's facts by position, and knows when to look again."""

    def __init__(self, nats: Nats) -> None:
        self._nats = nats
        self._waiting: set[asyncio.Event] = set()

    async def watch(self) -> None:
        """Hears that the feed has grown."""

        async def on_grown(_message: Any) -> None:
            for event in self._waiting:
                event.set()

        await self._nats.subscribe(GROWN_SUBJECT, cb=on_grown)

    def watcher(self) -> asyncio.Event:
        """An event that is set whenever the feed has grown; to be given back to ``forget``."""
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def forget(self, event: asyncio.Event) -> None:
        """Sets the event no more."""
        self._waiting.discard(event)


async def read_after(tx: Tx, organization_id: UUID, position: int, types: Sequence[str], limit: int) -> Sequence[Any]:
    """The organization's facts after a position, oldest first; of these types only, where some are named.

    A type is a fact's full name, or its last part.
    """
    rows = await tx.exec_driver_sql(
        """
        select position, event_id, type, payload, event_time, trace_parent from ingest.feed
        where organization_id = %(organization_id)s and position > %(position)s
          and (%(types)b::text[] is null or type = any (%(types)b::text[])
               or split_part(type, '.', 4) = any (%(types)b::text[]))
        order by position limit %(limit)s
        """,
        {
            "organization_id": organization_id,
            "position": position,
            "types": list(types) or None,
            "limit": limit,
        },
    )
    return rows.all()


async def bounds(tx: Tx, organization_id: UUID) -> tuple[int, int]:
    """Where the feed of all begins, and the organization's last position; 0 where there is none."""
    row = (
        await tx.exec_driver_sql(
            "select ingest.feed_first_position() as first, (select coalesce(max(position), 0) from ingest.feed"
            " where organization_id = %(organization_id)s) as last",
            {"organization_id": organization_id},
        )
    ).one()
    return row.first, row.last
