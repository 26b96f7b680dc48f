"""Tables and SQL for looking at webhook events and putting them back; the transaction is the first argument.

``webhook_events`` is partitioned by receive_time and read by (organization, id). Ids are UUIDv7 made at the acceptor,
within moments of receive_time, so a range of times is also one of ids: the former prunes partitions, the latter is
looked up in the index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chassis.db import Effect, Tx
from chassis.queues.queue import lane_of
from services.ingest.processing.queue import WEBHOOKS

PENDING, DEAD_LETTER = "PENDING", "DEAD_LETTER"
ID_TIME_SLACK = timedelta(hours=1)
"""How far an id's time may lie from receive_time: a request's way from gateway to ingest, and skewed clocks."""


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A row of ``webhook_events``; the body is None where it was not asked for."""

    id: UUID
    organization_id: UUID
    connection_id: UUID
    provider: str
    event: str
    ordering_key: str
    state: str
    reason: str
    detail: str
    attempt_count: int
    receive_time: datetime
    process_time: datetime | None
    contact_id: UUID | None
    conversation_id: UUID | None
    deal_id: UUID | None
    message_id: UUID | None
    body: bytes | None = None


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events are meant; None leaves a condition out. Received at or after start_time and before end_time."""

    state: str | None = None
    connection_id: UUID | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    reason: str | None = None
    contact_ids: tuple[UUID, ...] | None = None


@dataclass(frozen=True, slots=True)
class EventPlace:
    """What must be known of an event to put it back into its lane."""

    id: UUID
    receive_time: datetime
    ordering_key: str


_COLUMNS = (
    "event.id, event.organization_id, event.connection_id, event.provider, event.event, event.ordering_key,"
    " event.state, event.reason, event.detail, event.attempt_count, event.receive_time, event.process_time,"
    " event.contact_id, event.conversation_id, event.deal_id, event.message_id"
)
# Where a small table knows which events are in a state, it leads to them; the rest is read off the events themselves.
_LEADS = {
    PENDING: "ingest.webhook_queue lead",
    DEAD_LETTER: "ingest.dead_letters lead",
}
_EVENT_OF_LEAD = (
    " join ingest.webhook_events event on event.id = lead.webhook_event_id and event.receive_time = lead.receive_time"
)


async def find_event(tx: Tx, organization_id: UUID, event_id: UUID, *, lock: bool = False) -> StoredEvent | None:
    """One of the organization's events with its body; with ``lock`` its row is held until commit."""
    found = await tx.execute(
        f"select {_COLUMNS}, event.body from ingest.webhook_events event"
        f" where event.organization_id = %(organization_id)s and event.id = %(id)s {'for update' if lock else ''}",
        {"organization_id": organization_id, "id": event_id},
    )
    row = found.first()
    return None if row is None else _event(row, bytes(row.body))


async def list_events(
    tx: Tx, organization_id: UUID, wanted: EventFilter, before: UUID | None, limit: int
) -> list[StoredEvent]:
    """The organization's events that match, newest first, without their bodies."""
    source, conditions, parameters = _matching(organization_id, wanted)
    key = "event.id" if source.startswith("ingest.webhook_events") else "lead.webhook_event_id"
    if before is not None:
        conditions.append(f"{key} < %(before)s")
    found = await tx.execute(
        f"select {_COLUMNS} from {source} where {' and '.join(conditions)} order by {key} desc limit %(limit)s",
        parameters | {"before": before, "limit": limit},
    )
    return [_event(row, None) for row in found]


async def count_by_reason(tx: Tx, organization_id: UUID, wanted: EventFilter) -> list[tuple[str, str, int]]:
    """How many events match, as (state, reason, count), the most frequent first."""
    source, conditions, parameters = _matching(organization_id, wanted)
    found = await tx.execute(
        f"select event.state, event.reason, count(*) as matched from {source} where {' and '.join(conditions)}"
        " group by event.state, event.reason order by matched desc, event.reason",
        parameters,
    )
    return [(row.state, row.reason, row.matched) for row in found]


async def lock_events(
    tx: Tx, organization_id: UUID, wanted: EventFilter, after: UUID | None, limit: int
) -> list[EventPlace]:
    """The next events that match, oldest first, held until commit; those put back meanwhile are left out."""
    source, conditions, parameters = _matching(organization_id, wanted)
    conditions.append("event.state <> 'PENDING'")
    key = "event.id" if source.startswith("ingest.webhook_events") else "lead.webhook_event_id"
    if after is not None:
        conditions.append(f"{key} > %(after)s")
    found = await tx.execute(
        "select event.id, event.receive_time, event.ordering_key"
        f" from {source} where {' and '.join(conditions)} order by {key} limit %(limit)s for update of event",
        parameters | {"after": after, "limit": limit},
    )
    return [EventPlace(row.id, row.receive_time, row.ordering_key) for row in found]


async def put_back(tx: Tx, organization_id: UUID, places: Sequence[EventPlace], wake: Effect) -> None:
    """Makes events pending again, in this order, as if they had just arrived; the caller holds their rows.

    ``wake`` is called after the commit.
    """
    if not places:
        return
    times = [place.receive_time for place in places]
    await tx.execute(
        f"""
        with wanted as (
          select id, receive_time, lane, place
          from unnest(%(ids)b::uuid[], %(times)b::timestamptz[], %(lanes)b::int[])
            with ordinality as item (id, receive_time, lane, place)
        ),
        updated as (
          update ingest.webhook_events event
          set state = 'PENDING', reason = '', detail = '', attempt_count = 0, process_time = null
          from wanted
          where event.id = wanted.id and event.receive_time = wanted.receive_time
            and event.receive_time between %(first_time)s and %(last_time)s
            and event.organization_id = %(organization_id)s
          returning event.id, event.receive_time, event.organization_id, event.ordering_key, wanted.lane, wanted.place
        ),
        forgotten as (
          delete from ingest.dead_letters dead using wanted
          where dead.organization_id = %(organization_id)s and dead.webhook_event_id = wanted.id
        )
        {WEBHOOKS.into}
        select lane, ordering_key, id, receive_time, organization_id, 0 from updated order by place
        on conflict on constraint webhook_queue_event do nothing
        """,
        {
            "organization_id": organization_id,
            "ids": [place.id for place in places],
            "times": times,
            "lanes": [lane_of(place.ordering_key) for place in places],
            "first_time": min(times),
            "last_time": max(times),
        },
    )
    tx.after_commit(wake)


def first_id_at(moment: datetime, later: timedelta = timedelta()) -> UUID:
    """The lowest UUIDv7 of a millisecond so much later; a moment at an end of the calendar cannot itself be moved."""
    return UUID(int=max(0, int((moment.timestamp() + later.total_seconds()) * 1000)) << 80)


def _matching(organization_id: UUID, wanted: EventFilter) -> tuple[str, list[str], dict[str, Any]]:
    """The tables to read, the conditions and their parameters."""
    lead = _LEADS.get(wanted.state or "")
    source = f"{lead}{_EVENT_OF_LEAD}" if lead else "ingest.webhook_events event"
    alias, id_column = ("lead", "webhook_event_id") if lead else ("event", "id")
    conditions = [f"{alias}.organization_id = %(organization_id)s", "event.organization_id = %(organization_id)s"]
    if wanted.state is not None:
        conditions.append("event.state = %(state)s")
    if wanted.connection_id is not None:
        conditions.append("event.connection_id = %(connection_id)s")
    if wanted.start_time is not None:
        conditions.append(f"event.receive_time >= %(start_time)s and {alias}.{id_column} >= %(first_id)s")
    if wanted.end_time is not None:
        conditions.append(f"event.receive_time < %(end_time)s and {alias}.{id_column} < %(end_id)s")
    if wanted.reason is not None:
        conditions.append("event.reason = %(reason)s")
    if wanted.contact_ids is not None:
        conditions.append("event.contact_id = any (%(contact_ids)b::uuid[])")
    parameters = {
        "organization_id": organization_id,
        "state": wanted.state,
        "connection_id": wanted.connection_id,
        "start_time": wanted.start_time,
        "end_time": wanted.end_time,
        "first_id": None if wanted.start_time is None else first_id_at(wanted.start_time, -ID_TIME_SLACK),
        "end_id": None if wanted.end_time is None else first_id_at(wanted.end_time, ID_TIME_SLACK),
        "reason": wanted.reason,
        "contact_ids": list(wanted.contact_ids or ()),
    }
    return source, conditions, parameters


def _event(row: Any, body: bytes | None) -> StoredEvent:
    return StoredEvent(
        id=row.id,
        organization_id=row.organization_id,
        connection_id=row.connection_id,
        provider=row.provider,
        event=row.event,
        ordering_key=row.ordering_key,
        state=row.state,
        reason=row.reason,
        detail=row.detail,
        attempt_count=row.attempt_count,
        receive_time=row.receive_time,
        process_time=row.process_time,
        contact_id=row.contact_id,
        conversation_id=row.conversation_id,
        deal_id=row.deal_id,
        message_id=row.message_id,
        body=body,
    )
