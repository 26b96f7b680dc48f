"""The event feed: one writer copies every fact of every service, once, into a table with positions.

Positions are given out by one writer under a lease, so they grow by commit: a reader that has seen one has seen all
before it. From here come live updates and everything else that is sent out; never from JetStream's own sequences.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chassis import streams
from chassis.clock import Clock
from chassis.db import Tx
from chassis.migrations import SERVICES

WRITER = "feed"
SOURCES = SERVICES
GROWN_SUBJECT = "prosa.wake.ingest.feed"
SCAN_MAX = 2_000
"""How many facts one look goes through where only some types are wanted."""

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

    def __init__(self, clock: Clock, nats: streams.Client) -> None:
        self._clock = clock
        self._grown = streams.Waker(nats, GROWN_SUBJECT)

    async def append(self, tx: Tx, events: Sequence[streams.StreamMessage]) -> None:
        """Appends facts in their order, and tells subscribers that the feed has grown."""
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
        tx.after_commit(self._grown.wake)


class FeedReader:
    """Reads an organization's facts by position, and knows when to look again."""

    def __init__(self, nats: streams.Client) -> None:
        self._nats = nats
        self._waiting: set[asyncio.Event] = set()

    async def watch(self) -> None:
        """Hears that the feed has grown."""

        async def on_grown(_message: Any) -> None:
            for event in self._waiting:
                event.set()

        await self._nats.hear(GROWN_SUBJECT, on_grown)

    def watcher(self) -> asyncio.Event:
        """An event that is set whenever the feed has grown; to be given back to ``forget``."""
        event = asyncio.Event()
        self._waiting.add(event)
        return event

    def forget(self, event: asyncio.Event) -> None:
        """Sets the event no more."""
        self._waiting.discard(event)


@dataclass(frozen=True, slots=True)
class Page:
    """What one look at the feed found."""

    facts: Sequence[Any]
    position: int
    """Where the next look begins: all before it was gone through, also what was of other types."""
    more: bool
    """True when the look ended at a limit and not at the end of the feed."""


async def read_after(tx: Tx, organization_id: UUID, position: int, types: Sequence[str], limit: int) -> Page:
    """The organization's facts after a position, oldest first, at most ``limit``; of these types only, where some are
    named. A page may then be without facts and yet have more behind it.

    A type is a fact's full name, or its last part.
    """
    scan_limit = max(limit, SCAN_MAX) if types else limit
    found = await tx.exec_driver_sql(
        """
        with scanned as (
          select position, event_id, type, payload, event_time, trace_parent from ingest.feed
          where organization_id = %(organization_id)s and position > %(position)s
          order by position limit %(scan_limit)s
        ), wanted as (
          select * from scanned
          where %(types)b::text[] is null or type = any (%(types)b::text[])
            or split_part(type, '.', 4) = any (%(types)b::text[])
          order by position limit %(limit)s
        )
        select scan.reached, scan.scanned_count, wanted.*
        from (select max(position) as reached, count(*) as scanned_count from scanned) scan
        left join wanted on true
        order by wanted.position
        """,
        {
            "organization_id": organization_id,
            "position": position,
            "types": list(types) or None,
            "limit": limit,
            "scan_limit": scan_limit,
        },
    )
    rows = found.all()
    facts = [row for row in rows if row.position is not None]
    if len(facts) == limit:
        return Page(facts, facts[-1].position, more=True)
    return Page(facts, rows[0].reached or position, more=rows[0].scanned_count == scan_limit)


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
