"""What became of events: one transaction a batch marks them, empties the queue of them and tells of dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

import structlog

from chassis.db import SCOPED, Tx
from chassis.outbox import Fact, Outbox
from prosa.ingest.v1 import events_pb2

ATTEMPTS_MAX = 5
RETRY_SECONDS = (1, 2, 4, 8)
"""How long a failed event, and what comes after it in its conversation, waits before the next attempt."""
DETAIL_LENGTH_MAX = 1_000
BATCH_BYTES_MAX = 8 * 1024 * 1024
"""Of the bodies of one batch, but for its last event, which may be of any size."""

logger = structlog.get_logger(__name__)

State = Literal["PROCESSED", "IGNORED", "DEAD_LETTER"]


class Pending(NamedTuple):
    """One event that was claimed from the queue."""

    sequence: int
    lane: int
    ordering_key: str
    attempt_count: int
    event_id: UUID
    receive_time: datetime
    organization_id: UUID
    connection_id: UUID
    provider: str
    body: bytes
    correlation_id: str
    trace_parent: str


class Done(NamedTuple):
    """An event that needs no further attempt."""

    pending: Pending
    state: State
    reason: str = ""
    detail: str = ""
    contact_id: str | None = None
    conversation_id: str | None = None
    deal_id: str | None = None
    message_id: str | None = None


class Retry(NamedTuple):
    """An event that is to be tried once more."""

    pending: Pending
    next_attempt_time: datetime
    detail: str


async def claim(tx: Tx, lanes: Sequence[int], now: datetime, limit: int) -> list[int]:
    """The places in the queue, oldest first, that the holder of the lanes may process.

    The rest of the transaction sees their organizations.
    """
    rows = await tx.exec_driver_sql(
        f"""
        with pending as materialized (
          select pending_sequence, pending_organization_id
          from ingest.webhooks_pending(%(lanes)b::smallint[], %(now)s, %(limit)s)
        ), {SCOPED}
        select pending_sequence from pending cross join scoped
        """,
        {"lanes": list(lanes), "now": now, "limit": limit},
    )
    return [row.pending_sequence for row in rows]


async def load(tx: Tx, sequences: Sequence[int], bytes_max: int = BATCH_BYTES_MAX) -> list[Pending]:
    """The claimed events with their bodies, in the order of the queue; where they are large, the first of them.

    The places of events that have expired meanwhile are given up: enough of them would hold up all that came later.
    """
    found = await tx.exec_driver_sql(
        """
        select * from (
          select queued.sequence, queued.lane, queued.ordering_key, queued.attempt_count, event.id as event_id,
                 event.receive_time,
                 event.organization_id, event.connection_id, event.provider, event.body, event.correlation_id,
                 event.trace_parent,
                 coalesce(sum(octet_length(event.body)) over before, 0) as bytes_before
          from ingest.webhook_queue queued
          left join ingest.webhook_events event
            on event.id = queued.webhook_event_id and event.receive_time = queued.receive_time
          where queued.sequence = any (%(sequences)b)
          window before as (order by queued.sequence rows between unbounded preceding and 1 preceding)
        ) claimed
        where bytes_before < %(bytes_max)s
        order by sequence
        """,
        {"sequences": list(sequences), "bytes_max": bytes_max},
    )
    if gone := [row.sequence for row in found if row.event_id is None]:
        await tx.exec_driver_sql("delete from ingest.webhook_queue where sequence = any (%(gone)b)", {"gone": gone})
        logger.warning("expired_webhooks_given_up", count=len(gone))
    # The columns are the fields, in their order, and the bytes before.
    return [Pending(*row[:-1]) for row in found if row.event_id is not None]


async def finish(tx: Tx, outbox: Outbox, done: Sequence[Done], now: datetime) -> None:
    """Marks events and takes them out of the queue; announces dead letters."""
    if not done:
        return
    await tx.exec_driver_sql(
        """
        with outcome as (
          select * from unnest(%(sequences)b::bigint[], %(ids)b::uuid[], %(times)b::timestamptz[], %(states)b::text[],
            %(reasons)b::text[], %(details)b::text[], %(attempts)b::int[], %(contacts)b::text[]::uuid[],
            %(conversations)b::text[]::uuid[], %(deals)b::text[]::uuid[], %(messages)b::text[]::uuid[])
          as given (sequence, id, receive_time, state, reason, detail, attempt_count, contact_id, conversation_id,
            deal_id, message_id)
        ), emptied as (
          delete from ingest.webhook_queue queued using outcome where queued.sequence = outcome.sequence
        )
        update ingest.webhook_events event
        set state = outcome.state, reason = outcome.reason, detail = outcome.detail,
            attempt_count = outcome.attempt_count, process_time = %(now)s, contact_id = outcome.contact_id,
            conversation_id = outcome.conversation_id, deal_id = outcome.deal_id, message_id = outcome.message_id
        from outcome
        where event.id = outcome.id and event.receive_time = outcome.receive_time
        """,
        {
            "sequences": [item.pending.sequence for item in done],
            "ids": [item.pending.event_id for item in done],
            "times": [item.pending.receive_time for item in done],
            "states": [item.state for item in done],
            "reasons": [item.reason for item in done],
            "details": [_storable(item.detail) for item in done],
            "attempts": [item.pending.attempt_count + 1 for item in done],
            "contacts": [item.contact_id for item in done],
            "conversations": [item.conversation_id for item in done],
            "deals": [item.deal_id for item in done],
            "messages": [item.message_id for item in done],
            "now": now,
        },
    )
    await _bury(tx, outbox, [item for item in done if item.state == "DEAD_LETTER"], now)


async def postpone(tx: Tx, retries: Sequence[Retry]) -> None:
    """Leaves events in the queue for a later attempt; what comes after each in its conversation waits too."""
    if not retries:
        return
    await tx.exec_driver_sql(
        """
        with retry as (
          select * from unnest(%(sequences)b::bigint[], %(times)b::timestamptz[], %(ids)b::uuid[],
            %(receive_times)b::timestamptz[], %(details)b::text[])
          as given (sequence, next_attempt_time, id, receive_time, detail)
        ), told as (
          update ingest.webhook_events event set detail = retry.detail, attempt_count = event.attempt_count + 1
          from retry where event.id = retry.id and event.receive_time = retry.receive_time
        )
        update ingest.webhook_queue queued
        set attempt_count = queued.attempt_count + 1, next_attempt_time = retry.next_attempt_time
        from retry where queued.sequence = retry.sequence
        """,
        {
            "sequences": [item.pending.sequence for item in retries],
            "times": [item.next_attempt_time for item in retries],
            "ids": [item.pending.event_id for item in retries],
            "receive_times": [item.pending.receive_time for item in retries],
            "details": [_storable(item.detail) for item in retries],
        },
    )


async def _bury(tx: Tx, outbox: Outbox, dead: Sequence[Done], now: datetime) -> None:
    if not dead:
        return
    await tx.exec_driver_sql(
        """
        insert into ingest.dead_letters (webhook_event_id, receive_time, organization_id, connection_id, reason)
        select * from unnest(%(ids)b::uuid[], %(times)b::timestamptz[], %(organizations)b::uuid[],
          %(connections)b::uuid[], %(reasons)b::text[])
        on conflict (webhook_event_id) do update set reason = excluded.reason
        """,
        {
            "ids": [item.pending.event_id for item in dead],
            "times": [item.pending.receive_time for item in dead],
            "organizations": [item.pending.organization_id for item in dead],
            "connections": [item.pending.connection_id for item in dead],
            "reasons": [item.reason for item in dead],
        },
    )
    facts = [
        Fact(
            item.pending.organization_id,
            events_pb2.WebhookEventDeadLettered(
                organization_id=str(item.pending.organization_id),
                webhook_event_id=str(item.pending.event_id),
                connection_id=str(item.pending.connection_id),
                reason=item.reason,
                detail=_storable(item.detail),
                attempt_count=item.pending.attempt_count + 1,
            ),
            correlation_id=item.pending.correlation_id,
        )
        for item in dead
    ]
    await outbox.add(tx, facts, now)


def _storable(detail: str) -> str:
    """A detail may quote a provider's text: PostgreSQL takes no NUL, and nobody reads more than this."""
    return detail.replace("\x00", "")[:DETAIL_LENGTH_MAX].encode("utf-8", "replace").decode()
