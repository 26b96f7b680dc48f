"""SQL of the event feed: facts are appended with positions, and read by them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from chassis.streams import StreamMessage

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


async def append(tx: Tx, facts: Sequence[StreamMessage], now: datetime) -> None:
    """Appends facts in their order."""
    await tx.execute(
        _APPEND,
        {
            "now": now,
            "event_ids": [fact.event_id for fact in facts],
            "organization_ids": [fact.organization_id for fact in facts],
            "types": [fact.type for fact in facts],
            "payloads": [fact.payload for fact in facts],
            "event_times": [fact.event_time for fact in facts],
            "correlation_ids": [fact.correlation_id for fact in facts],
            "trace_parents": [fact.trace_parent for fact in facts],
        },
    )


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
    found = await tx.execute(
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
        await tx.execute(
            "select ingest.feed_first_position() as first, (select coalesce(max(position), 0) from ingest.feed"
            " where organization_id = %(organization_id)s) as last",
            {"organization_id": organization_id},
        )
    ).one()
    return row.first, row.last
