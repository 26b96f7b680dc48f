"""Storing webhooks: events, their delivery keys and their places in the queue, all in one statement.

The statement is a transaction of its own: the provider waits, and each trip to PostgreSQL is a good part of that.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from chassis.db import SCOPE, Database, Effect
from services.ingest.processing.queue import WEBHOOKS

# Bodies travel as bytea in binary form: as text arrays they would be quoted byte by byte, three times slower.
_STORE = f"""
with {SCOPE}, incoming as (
  select webhook.* from scope cross join unnest(
    %(id)b::uuid[], %(receive_time)b::timestamptz[], %(organization_id)b::uuid[], %(connection_id)b::uuid[],
    %(provider)b::text[], %(event)b::text[], %(ordering_key)b::text[], %(lane)b::smallint[], %(signed)b::bool[],
    %(delivery_key)b::text[], %(trace_parent)b::text[], %(body)b::bytea[])
  with ordinality as webhook (id, receive_time, organization_id, connection_id, provider, event, ordering_key, lane,
    signed, delivery_key, trace_parent, body, place)
), keyed as (
  insert into ingest.delivery_keys (connection_id, delivery_key, webhook_event_id, organization_id, receive_time)
  select distinct on (connection_id, delivery_key) connection_id, delivery_key, id, organization_id, receive_time
  from incoming
  order by connection_id, delivery_key, place
  on conflict do nothing
  returning webhook_event_id
), stored as (
  insert into ingest.webhook_events (id, receive_time, organization_id, connection_id, provider, event, ordering_key,
    signed, correlation_id, trace_parent, state, reason, detail, attempt_count, body)
  select id, receive_time, organization_id, connection_id, provider, event, ordering_key,
    signed, id::text, trace_parent, 'PENDING', '', '', 0, body
  from incoming join keyed on keyed.webhook_event_id = incoming.id
), queued as (
  {WEBHOOKS.into}
  select lane, ordering_key, id, receive_time, organization_id, 0
  from incoming join keyed on keyed.webhook_event_id = incoming.id
  order by place
)
select count(*) from keyed having count(*) > 0
"""

_FIRST_OF = """
select delivery_keys.connection_id, delivery_keys.delivery_key, delivery_keys.webhook_event_id
from unnest(%(connection_id)b::uuid[], %(delivery_key)b::text[]) as wanted (connection_id, delivery_key)
join ingest.delivery_keys using (connection_id, delivery_key)
"""


class NewEvent(NamedTuple):
    """One webhook about to be stored."""

    id: UUID
    receive_time: datetime
    organization_id: UUID
    connection_id: UUID
    provider: str
    event: str
    ordering_key: str
    lane: int
    signed: bool
    delivery_key: str
    trace_parent: str
    body: bytes


async def store(db: Database, events: Sequence[NewEvent], wake: Effect) -> list[UUID]:
    """Stores what is new; answers for each event the one that holds its delivery key: itself, or the one before it.

    ``wake`` is called after the commit where anything is.
    """
    columns = dict(zip(NewEvent._fields, map(list, zip(*events, strict=True)), strict=True))
    organization_ids = set(columns["organization_id"])
    stored = await db.insert(_STORE, columns, *organization_ids, after_commit=wake)
    if stored.scalar() == len(events):
        return columns["id"]
    # Some were here before, or twice in this batch: the keys say who came first.
    async with db.transaction(*organization_ids) as tx:
        rows = await tx.execute(_FIRST_OF, columns)
    first = {(row.connection_id, row.delivery_key): row.webhook_event_id for row in rows}
    return [first[event.connection_id, event.delivery_key] for event in events]
