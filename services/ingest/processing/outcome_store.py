"""What becomes of events: one statement a batch marks them, and tells of dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias
from uuid import UUID

import structlog

from chassis.db import Tx
from chassis.outbox import Fact, Outbox
from chassis.queues import items
from chassis.queues.items import Dead, Item, Retry, storable
from prosa.ingest.v1 import events_pb2
from services.ingest.processing.queue import WEBHOOKS

BATCH_BYTES_MAX = 8 * 1024 * 1024
"""Of the bodies of one batch, but for its last event, which may be of any size."""

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Pending(Item):
    """One event that was claimed from the queue: an item with its event."""

    connection_id: UUID
    provider: str
    body: bytes
    correlation_id: str
    trace_parent: str


@dataclass(slots=True)
class Done(items.Done[Pending]):
    """An event that needs no further attempt, and what it led to."""

    state: Literal["PROCESSED", "IGNORED"]
    reason: str = ""
    detail: str = ""
    contact_id: str | None = None
    conversation_id: str | None = None
    deal_id: str | None = None
    message_id: str | None = None


Outcome: TypeAlias = items.Outcome[Pending]


def state_of(outcome: Done | Dead[Pending]) -> str:
    """The state that the event is in from then on."""
    return outcome.state if isinstance(outcome, Done) else "DEAD_LETTER"


async def load(tx: Tx, claimed: Sequence[Item], bytes_max: int = BATCH_BYTES_MAX) -> list[Pending]:
    """The claimed events with their bodies, in the order of the queue; where they are large, the first of them.

    The places of events that have expired meanwhile are given up: enough of them would hold up all that came later.
    """
    times = [item.put_time for item in claimed]
    found = await tx.execute(
        """
        select * from (
          select event.connection_id, event.provider, event.body, event.correlation_id, event.trace_parent,
                 coalesce(sum(octet_length(event.body)) over before, 0) as bytes_before, item.place
          from unnest(%(ids)b::uuid[], %(times)b::timestamptz[]) with ordinality as item (id, receive_time, place)
          left join ingest.webhook_events event
            on event.id = item.id and event.receive_time = item.receive_time
            and event.receive_time between %(first_time)s and %(last_time)s
          window before as (order by place rows between unbounded preceding and 1 preceding)
        ) claimed
        where bytes_before < %(bytes_max)s
        order by place
        """,
        {
            "ids": [item.item_id for item in claimed],
            "times": times,
            "first_time": min(times),
            "last_time": max(times),
            "bytes_max": bytes_max,
        },
    )
    # The bytes before only grow, so that what was left out is the end. The columns are the fields, in their order.
    rows = list(zip(claimed, found.all(), strict=False))
    if gone := [item.item_id for item, row in rows if row.connection_id is None]:
        await WEBHOOKS.remove(tx, gone)
        logger.warning("expired_webhooks_given_up", count=len(gone))
    return [
        Pending(
            item.sequence,
            item.lane,
            item.key,
            item.item_id,
            item.put_time,
            item.organization_id,
            item.attempt_count,
            *row[:-2],
        )
        for item, row in rows
        if row.connection_id is not None
    ]


async def mark(tx: Tx, outbox: Outbox, outcomes: Sequence[Outcome], now: datetime) -> None:
    """Marks events with what became of them, and announces dead letters."""
    ended = [outcome for outcome in outcomes if isinstance(outcome, Done | Dead)]
    if ended:
        await _mark_ended(tx, ended, now)
    if retries := [outcome for outcome in outcomes if isinstance(outcome, Retry)]:
        await _mark_tried(tx, retries)
    await _announce_dead_letters(tx, outbox, [outcome for outcome in ended if isinstance(outcome, Dead)], now)


async def _mark_ended(tx: Tx, ended: Sequence[Done | Dead[Pending]], now: datetime) -> None:
    found = [outcome if isinstance(outcome, Done) else None for outcome in ended]
    await tx.execute(
        """
        with outcome as (
          select * from unnest(%(ids)b::uuid[], %(times)b::timestamptz[], %(states)b::text[],
            %(reasons)b::text[], %(details)b::text[], %(attempts)b::int[], %(contacts)b::text[]::uuid[],
            %(conversations)b::text[]::uuid[], %(deals)b::text[]::uuid[], %(messages)b::text[]::uuid[])
          as given (id, receive_time, state, reason, detail, attempt_count, contact_id, conversation_id,
            deal_id, message_id)
        )
        update ingest.webhook_events event
        set state = outcome.state, reason = outcome.reason, detail = outcome.detail,
            attempt_count = outcome.attempt_count, process_time = %(now)s, contact_id = outcome.contact_id,
            conversation_id = outcome.conversation_id, deal_id = outcome.deal_id, message_id = outcome.message_id
        from outcome
        where event.id = outcome.id and event.receive_time = outcome.receive_time
        """,
        {
            "ids": [outcome.item.item_id for outcome in ended],
            "times": [outcome.item.put_time for outcome in ended],
            "states": [state_of(outcome) for outcome in ended],
            "reasons": [outcome.reason for outcome in ended],
            "details": [storable(outcome.detail) for outcome in ended],
            "attempts": [outcome.item.attempt_count + 1 for outcome in ended],
            "contacts": [done and done.contact_id for done in found],
            "conversations": [done and done.conversation_id for done in found],
            "deals": [done and done.deal_id for done in found],
            "messages": [done and done.message_id for done in found],
            "now": now,
        },
    )


async def _mark_tried(tx: Tx, retries: Sequence[Retry[Pending]]) -> None:
    await tx.execute(
        """
        update ingest.webhook_events event set detail = retry.detail, attempt_count = event.attempt_count + 1
        from unnest(%(ids)b::uuid[], %(times)b::timestamptz[], %(details)b::text[])
          as retry (id, receive_time, detail)
        where event.id = retry.id and event.receive_time = retry.receive_time
        """,
        {
            "ids": [retry.item.item_id for retry in retries],
            "times": [retry.item.put_time for retry in retries],
            "details": [storable(retry.detail) for retry in retries],
        },
    )


async def _announce_dead_letters(tx: Tx, outbox: Outbox, dead: Sequence[Dead[Pending]], now: datetime) -> None:
    if not dead:
        return
    await tx.execute(
        """
        insert into ingest.dead_letters (webhook_event_id, receive_time, organization_id, connection_id, reason)
        select * from unnest(%(ids)b::uuid[], %(times)b::timestamptz[], %(organizations)b::uuid[],
          %(connections)b::uuid[], %(reasons)b::text[])
        on conflict (webhook_event_id) do update set reason = excluded.reason
        """,
        {
            "ids": [letter.item.item_id for letter in dead],
            "times": [letter.item.put_time for letter in dead],
            "organizations": [letter.item.organization_id for letter in dead],
            "connections": [letter.item.connection_id for letter in dead],
            "reasons": [letter.reason for letter in dead],
        },
    )
    facts = [
        Fact(
            letter.item.organization_id,
            events_pb2.WebhookEventDeadLettered(
                organization_id=str(letter.item.organization_id),
                webhook_event_id=str(letter.item.item_id),
                connection_id=str(letter.item.connection_id),
                reason=letter.reason,
                detail=storable(letter.detail),
                attempt_count=letter.item.attempt_count + 1,
            ),
            correlation_id=letter.item.correlation_id,
        )
        for letter in dead
    ]
    await outbox.add(tx, facts, now)
