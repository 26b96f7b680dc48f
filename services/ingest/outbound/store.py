"""SQL of endpoints, their secrets and what they were sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.ingest.outbound.rules import CANCELLED, PENDING, Result

_ENDPOINT = """
select endpoint.*,
  (select count(*) from ingest.outbound_secrets secret
   where secret.organization_id = endpoint.organization_id and secret.outbound_endpoint_id = endpoint.id)
   as secret_count,
  (select count(*) from ingest.outbound_deliveries delivery
   where delivery.organization_id = endpoint.organization_id and delivery.outbound_endpoint_id = endpoint.id
     and delivery.state = 'PENDING') as pending_count
from ingest.outbound_endpoints endpoint
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An address that facts are posted to."""

    organization_id: UUID
    id: UUID
    name: str
    url: str
    types: Sequence[str]
    enabled: bool
    disabled_reason: str
    position: int
    version: int
    failure_count: int
    failing_since: datetime | None
    resume_time: datetime | None
    create_time: datetime
    last_success_time: datetime | None
    last_failure_time: datetime | None
    last_failure_explanation: str
    secret_count: int
    pending_count: int


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries a list answers."""

    endpoint_id: UUID
    state: str | None
    type: str | None
    event_id: UUID | None


async def insert(tx: Tx, endpoint: Endpoint, secret_id: UUID, secret_sealed: bytes) -> None:
    """Keeps a new endpoint with its first secret."""
    await tx.execute(
        """
        with endpoint as (
          insert into ingest.outbound_endpoints (organization_id, id, name, url, types, enabled, position, create_time)
          values (%(organization_id)s, %(id)s, %(name)s, %(url)s, %(types)b::text[], true, %(position)s, %(now)s)
        )
        insert into ingest.outbound_secrets (organization_id, id, outbound_endpoint_id, secret_sealed, create_time)
        values (%(organization_id)s, %(secret_id)s, %(id)s, %(sealed)s, %(now)s)
        """,
        {
            "organization_id": endpoint.organization_id,
            "id": endpoint.id,
            "name": endpoint.name,
            "url": endpoint.url,
            "types": list(endpoint.types),
            "position": endpoint.position,
            "now": endpoint.create_time,
            "secret_id": secret_id,
            "sealed": secret_sealed,
        },
    )


async def lock_number(tx: Tx, organization_id: UUID) -> int:
    """How many endpoints the organization has; nobody else makes one of its until the transaction ends."""
    await tx.execute(
        "select pg_advisory_xact_lock(hashtextextended(%(key)s, 0))", {"key": f"outbound_endpoints {organization_id}"}
    )
    found = await tx.execute(
        "select count(*) from ingest.outbound_endpoints where organization_id = %(organization_id)s",
        {"organization_id": organization_id},
    )
    return int(found.scalar_one())


async def find(tx: Tx, organization_id: UUID, endpoint_id: UUID, *, lock: bool = False) -> Endpoint | None:
    """One endpoint; with ``lock`` no fact is appended that it would be told of, until the transaction ends."""
    found = await tx.execute(
        _ENDPOINT
        + "where endpoint.organization_id = %(organization_id)s and endpoint.id = %(id)s"
        + (" for no key update of endpoint" if lock else ""),
        {"organization_id": organization_id, "id": endpoint_id},
    )
    row = found.first()
    return None if row is None else _endpoint(row)


async def list_endpoints(tx: Tx, organization_id: UUID, before: UUID | None, limit: int) -> list[Endpoint]:
    """The organization's endpoints, newest first."""
    found = await tx.execute(
        _ENDPOINT
        + "where endpoint.organization_id = %(organization_id)s and (%(before)s::uuid is null or endpoint.id <"
        " %(before)s) order by endpoint.id desc limit %(limit)s",
        {"organization_id": organization_id, "before": before, "limit": limit},
    )
    return [_endpoint(row) for row in found]


async def delete(tx: Tx, organization_id: UUID, endpoint_id: UUID) -> None:
    """Forgets an endpoint that the transaction holds, its secrets and what it was sent."""
    given = {"organization_id": organization_id, "id": endpoint_id}
    for table in ("outbound_deliveries", "outbound_secrets"):
        await tx.execute(
            f"delete from ingest.{table} where organization_id = %(organization_id)s and outbound_endpoint_id = %(id)s",
            given,
        )
    await tx.execute(
        "delete from ingest.outbound_endpoints where organization_id = %(organization_id)s and id = %(id)s", given
    )


async def sealed_secrets(tx: Tx, organization_id: UUID, endpoint_id: UUID) -> list[bytes]:
    """The secrets that sign, newest first."""
    found = await tx.execute(
        "select secret_sealed from ingest.outbound_secrets where organization_id = %(organization_id)s"
        " and outbound_endpoint_id = %(id)s order by id desc",
        {"organization_id": organization_id, "id": endpoint_id},
    )
    return [bytes(row.secret_sealed) for row in found]


async def hold_told(tx: Tx, organization_ids: Sequence[UUID]) -> Sequence[Any]:
    """The enabled endpoints of these organizations: organization, id, types, and until when they are left alone.

    They are held until the transaction ends: whoever looks whether an endpoint has more to be told sees its facts.
    """
    found = await tx.execute(
        "select organization_id, id, types, resume_time from ingest.outbound_endpoints"
        " where organization_id = any (%(organization_ids)b::uuid[]) and enabled order by organization_id, id"
        " for share",
        {"organization_ids": list(organization_ids)},
    )
    return found.all()


async def due(tx: Tx, endpoint: Endpoint, now: datetime, limit: int) -> Sequence[Any]:
    """What was not taken and is to be tried again now, oldest fact first, each with what the feed still has of it."""
    found = await tx.execute(
        """
        select delivery.event_id, delivery.type, delivery.position, delivery.ordering_key, delivery.attempt_count,
          delivery.create_time, fact.payload, fact.event_time, fact.trace_parent
        from ingest.outbound_deliveries delivery
        left join ingest.feed fact
          on fact.organization_id = delivery.organization_id and fact.position = delivery.position
        where delivery.organization_id = %(organization_id)s and delivery.outbound_endpoint_id = %(id)s
          and delivery.state = 'PENDING' and delivery.retry_time <= %(now)s
        order by delivery.position limit %(limit)s
        """,
        {"organization_id": endpoint.organization_id, "id": endpoint.id, "now": now, "limit": limit},
    )
    return found.all()


async def waiting(tx: Tx, endpoint: Endpoint, now: datetime, since: datetime) -> Sequence[Any]:
    """Of each conversation the oldest fact made since a moment that was not taken and is not to be tried yet."""
    found = await tx.execute(
        """
        select distinct on (ordering_key) ordering_key, position, create_time, retry_time
        from ingest.outbound_deliveries
        where organization_id = %(organization_id)s and outbound_endpoint_id = %(id)s and state = 'PENDING'
          and retry_time > %(now)s and create_time > %(since)s and ordering_key <> ''
        order by ordering_key, position
        """,
        {"organization_id": endpoint.organization_id, "id": endpoint.id, "now": now, "since": since},
    )
    return found.all()


async def keep_results(
    tx: Tx, endpoint: Endpoint, results: Sequence[Result], ids: Sequence[UUID], now: datetime
) -> None:
    """Keeps where posts stand; those that were never kept take the ids."""
    await tx.execute(
        """
        insert into ingest.outbound_deliveries (organization_id, id, outbound_endpoint_id, event_id, type, position,
          ordering_key, state, attempt_count, retry_time, hold_reason, create_time, settle_time, status_code,
          explanation)
        select %(organization_id)s, id, %(endpoint_id)s, event_id, type, position, ordering_key, state, attempt_count,
          retry_time, hold_reason, create_time, case when state <> 'PENDING' then %(now)s end, status_code, explanation
        from unnest(%(ids)b::uuid[], %(event_ids)b::uuid[], %(types)b::text[], %(positions)b::bigint[],
          %(ordering_keys)b::text[], %(states)b::text[], %(attempts)b::int[], %(retry_times)b::timestamptz[],
          %(hold_reasons)b::text[], %(create_times)b::timestamptz[], %(statuses)b::int[], %(explanations)b::text[])
          as result (id, event_id, type, position, ordering_key, state, attempt_count, retry_time, hold_reason,
            create_time, status_code, explanation)
        on conflict on constraint outbound_deliveries_event do update set state = excluded.state,
          attempt_count = excluded.attempt_count, retry_time = excluded.retry_time,
          hold_reason = excluded.hold_reason, settle_time = excluded.settle_time,
          -- What only waits for another was not tried.
          status_code = case when excluded.hold_reason = '' then excluded.status_code
            else outbound_deliveries.status_code end,
          explanation = case when excluded.hold_reason = '' then excluded.explanation
            else outbound_deliveries.explanation end
        """,
        {
            "organization_id": endpoint.organization_id,
            "endpoint_id": endpoint.id,
            "now": now,
            "ids": list(ids),
            "event_ids": [result.post.event_id for result in results],
            "types": [result.post.type for result in results],
            "positions": [result.post.position for result in results],
            "ordering_keys": [result.post.ordering_key for result in results],
            "states": [result.state for result in results],
            "attempts": [result.attempt_count for result in results],
            "retry_times": [result.retry_time for result in results],
            "hold_reasons": [result.hold_reason for result in results],
            "create_times": [result.post.create_time for result in results],
            "statuses": [result.status for result in results],
            "explanations": [result.explanation for result in results],
        },
    )


async def update(tx: Tx, endpoint: Endpoint) -> None:
    """Keeps how far an endpoint is, and how it fares."""
    await tx.execute(
        """
        update ingest.outbound_endpoints set enabled = %(enabled)s, disabled_reason = %(disabled_reason)s,
          position = %(position)s, version = %(version)s, failure_count = %(failure_count)s,
          failing_since = %(failing_since)s, resume_time = %(resume_time)s,
          last_success_time = %(last_success_time)s, last_failure_time = %(last_failure_time)s,
          last_failure_explanation = %(last_failure_explanation)s
        where organization_id = %(organization_id)s and id = %(id)s
        """,
        {
            name: getattr(endpoint, name)
            for name in (
                *("organization_id", "id", "enabled", "disabled_reason", "position", "version", "failure_count"),
                *("failing_since", "resume_time", "last_success_time", "last_failure_time"),
                "last_failure_explanation",
            )
        },
    )


async def cancel_pending(tx: Tx, endpoint: Endpoint, now: datetime) -> None:
    """Gives up all that waits to be tried again."""
    await tx.execute(
        "update ingest.outbound_deliveries set state = %(cancelled)s, retry_time = null, hold_reason = '',"
        " settle_time = %(now)s where organization_id = %(organization_id)s and outbound_endpoint_id = %(id)s"
        " and state = %(pending)s",
        {
            "organization_id": endpoint.organization_id,
            "id": endpoint.id,
            "now": now,
            "cancelled": CANCELLED,
            "pending": PENDING,
        },
    )


async def next_retry(tx: Tx, endpoint: Endpoint) -> datetime | None:
    """When something is to be tried again next."""
    found = await tx.execute(
        "select min(retry_time) from ingest.outbound_deliveries where organization_id = %(organization_id)s"
        " and outbound_endpoint_id = %(id)s and state = 'PENDING'",
        {"organization_id": endpoint.organization_id, "id": endpoint.id},
    )
    moment: datetime | None = found.scalar_one()
    return moment


async def list_deliveries(
    tx: Tx, organization_id: UUID, wanted: DeliveryFilter, before: UUID | None, limit: int
) -> Sequence[Any]:
    """What an endpoint was sent, newest first."""
    found = await tx.execute(
        """
        select * from ingest.outbound_deliveries
        where organization_id = %(organization_id)s and outbound_endpoint_id = %(endpoint_id)s
          and (%(before)s::uuid is null or id < %(before)s)
          and (%(state)s::text is null or state = %(state)s)
          and (%(type)s::text is null or type = %(type)s)
          and (%(event_id)s::uuid is null or event_id = %(event_id)s)
        order by id desc limit %(limit)s
        """,
        {
            "organization_id": organization_id,
            "endpoint_id": wanted.endpoint_id,
            "state": wanted.state,
            "type": wanted.type,
            "event_id": wanted.event_id,
            "before": before,
            "limit": limit,
        },
    )
    return found.all()


async def find_delivery(tx: Tx, organization_id: UUID, delivery_id: UUID) -> Any | None:
    """One delivery, and whether the feed still has its fact."""
    found = await tx.execute(
        """
        select delivery.*, exists (
          select from ingest.feed fact
          where fact.organization_id = delivery.organization_id and fact.position = delivery.position) as kept
        from ingest.outbound_deliveries delivery
        where delivery.organization_id = %(organization_id)s and delivery.id = %(id)s
        """,
        {"organization_id": organization_id, "id": delivery_id},
    )
    return found.first()


async def put_back(tx: Tx, organization_id: UUID, delivery_id: UUID, now: datetime) -> None:
    """Makes a delivery one that is due now, and tried as often as a new one."""
    await tx.execute(
        "update ingest.outbound_deliveries set state = %(pending)s, attempt_count = 0, retry_time = %(now)s,"
        " hold_reason = '', settle_time = null where organization_id = %(organization_id)s and id = %(id)s",
        {"organization_id": organization_id, "id": delivery_id, "now": now, "pending": PENDING},
    )


def _endpoint(row: Any) -> Endpoint:
    return Endpoint(**row._asdict())
