"""Storing webhooks: events, their delivery keys and their places in the queue, all in one statement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.db import Tx

# Bodies travel as bytea in binary form: as text arrays they would be quoted byte by byte, three times slower.
_STORE = """
with incoming as (
  select * from unnest(
    %(ids)b::uuid[], %(receive_times)b::timestamptz[], %(organization_ids)b::uuid[], %(connection_ids)b::uuid[],
    %(providers)s::text[], %(events)s::text[], %(ordering_keys)s::text[], %(lanes)s::smallint[], %(signed)s::bool[],
    %(delivery_keys)s::text[], %(trace_parents)s::text[], %(bodies)b::bytea[])
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
  insert into ingest.webhook_queue
    (lane, ordering_key, webhook_event_id, receive_time, organization_id, attempt_count)
  select lane, ordering_key, id, receive_time, organization_id, 0
  from incoming join keyed on keyed.webhook_event_id = incoming.id
  order by place
)
select webhook_event_id from keyed
"""

_FIRST_OF = """
select delivery_keys.connection_id, delivery_keys.delivery_key, delivery_keys.webhook_event_id
from unnest(%(connection_ids)b::uuid[], %(delivery_keys)s::text[]) as wanted (connection_id, delivery_key)
join ingest.delivery_keys using (connection_id, delivery_key)
"""


@dataclass(frozen=True, slots=True)
class NewEvent:
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


async def store(tx: Tx, events: Sequence[NewEvent]) -> dict[tuple[UUID, str], UUID]:
    """Stores what is new; answers the event that holds each delivery key: the one given, or the one that was first."""
    result = await tx.exec_driver_sql(
        _STORE,
        {
            "ids": [event.id for event in events],
            "receive_times": [event.receive_time for event in events],
            "organization_ids": [event.organization_id for event in events],
            "connection_ids": [event.connection_id for event in events],
            "providers": [event.provider for event in events],
            "events": [event.event for event in events],
            "ordering_keys": [event.ordering_key for event in events],
            "lanes": [event.lane for event in events],
            "signed": [event.signed for event in events],
            "delivery_keys": [event.delivery_key for event in events],
            "trace_parents": [event.trace_parent for event in events],
            "bodies": [event.body for event in events],
        },
    )
    stored = {event_id for (event_id,) in result}
    first = {(event.connection_id, event.delivery_key): event.id for event in events if event.id in stored}
    repeated = {(event.connection_id, event.delivery_key) for event in events} - first.keys()
    if repeated:
        rows = await tx.exec_driver_sql(
            _FIRST_OF,
            {"connection_ids": [key[0] for key in repeated], "delivery_keys": [key[1] for key in repeated]},
        )
        first |= {(row.connection_id, row.delivery_key): row.webhook_event_id for row in rows}
    return first
