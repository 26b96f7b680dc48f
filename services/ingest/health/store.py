"""What became of webhooks by minute, and alerts, in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, fields
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from chassis.db import Tx
from services.ingest.health.rules import Alert, AlertKind, AlertState, Counts

_ALERT = tuple(field.name for field in fields(Alert))
_READ = f"select {', '.join(_ALERT)} from ingest.alerts"


class Ended(NamedTuple):
    """How many of an organization's events ended so."""

    organization_id: UUID
    processed_count: int
    ignored_count: int
    failed_count: int


async def add(tx: Tx, ended: Sequence[Ended], start_time: datetime, lane: int) -> None:
    """Adds to the organizations' counts of the minute that begins then; ``ended`` is in the order of organizations."""
    await tx.execute(
        """
        insert into ingest.health_windows as kept
          (organization_id, start_time, lane, processed_count, ignored_count, failed_count)
        select organization_id, %(start_time)s, %(lane)s, processed_count, ignored_count, failed_count
        from unnest(%(organization_ids)b::uuid[], %(processed)b::bigint[], %(ignored)b::bigint[], %(failed)b::bigint[])
          with ordinality as added (organization_id, processed_count, ignored_count, failed_count, place)
        order by place
        on conflict (organization_id, start_time, lane) do update
        set processed_count = kept.processed_count + excluded.processed_count,
          ignored_count = kept.ignored_count + excluded.ignored_count,
          failed_count = kept.failed_count + excluded.failed_count
        """,
        {
            "organization_ids": [row.organization_id for row in ended],
            "processed": [row.processed_count for row in ended],
            "ignored": [row.ignored_count for row in ended],
            "failed": [row.failed_count for row in ended],
            "start_time": start_time,
            "lane": lane,
        },
    )


async def sums(tx: Tx, organization_ids: Collection[UUID], since: datetime) -> dict[UUID, Counts]:
    """What became of the organizations' webhooks in the minutes after ``since``; without those that had none."""
    found = await tx.execute(
        "select organization_id, sum(processed_count + ignored_count + failed_count)::bigint,"
        " sum(failed_count)::bigint from ingest.health_windows"
        " where organization_id = any (%(organization_ids)b::uuid[]) and start_time > %(since)s"
        " group by organization_id",
        {"organization_ids": list(organization_ids), "since": since},
    )
    return {row[0]: Counts(row[1], row[2]) for row in found}


async def open_alerts(tx: Tx, organization_ids: Collection[UUID], kind: AlertKind) -> dict[UUID, Alert]:
    """The organizations' open alerts of a kind, kept so until commit."""
    found = await tx.execute(
        f"{_READ} where organization_id = any (%(organization_ids)b::uuid[]) and kind = %(kind)s and state = 'OPEN'"
        " order by organization_id for update",
        {"organization_ids": list(organization_ids), "kind": kind.value},
    )
    return {row.organization_id: _alert(row) for row in found}


async def write(tx: Tx, alerts: Sequence[Alert]) -> None:
    """Writes alerts that are new, or changed."""
    if alerts:
        await tx.execute(
            f"insert into ingest.alerts ({', '.join(_ALERT)})"
            f" select {', '.join(_ALERT)} from json_populate_recordset(null::ingest.alerts, %(rows)s::json)"
            " on conflict (organization_id, id) do update"
            " set state = excluded.state, resolve_time = excluded.resolve_time, version = excluded.version",
            {"rows": orjson.dumps([asdict(alert) for alert in alerts]).decode()},
        )


async def list_alerts(
    tx: Tx, organization_id: UUID, state: AlertState | None, before: UUID | None, limit: int
) -> list[Alert]:
    """The organization's alerts, newest first."""
    found = await tx.execute(
        f"{_READ} where organization_id = %(organization_id)s and (%(before)s::uuid is null or id < %(before)s)"
        " and (%(state)s::text is null or state = %(state)s) order by id desc limit %(limit)s",
        {
            "organization_id": organization_id,
            "before": before,
            "state": None if state is None else state.value,
            "limit": limit,
        },
    )
    return [_alert(row) for row in found]


def _alert(row: Any) -> Alert:
    values = {column: getattr(row, column) for column in _ALERT}
    return Alert(**{**values, "kind": AlertKind(row.kind), "state": AlertState(row.state)})
