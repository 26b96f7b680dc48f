"""What was seen before organizations went live, kept as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx


@dataclass(frozen=True, slots=True)
class Report:
    """One run, with its items as JSON."""

    id: UUID
    organization_id: UUID
    phase: str
    passed: bool
    items: bytes
    principal: str
    principal_name: str
    create_time: datetime
    duration_ms: int


async def insert(tx: Tx, report: Report) -> None:
    """Keeps a report; nobody changes one."""
    await tx.execute(
        "insert into ingest.rollout_reports (organization_id, id, phase, passed, items, principal, principal_name,"
        " create_time, duration_ms) values (%(organization_id)s, %(id)s, %(phase)s, %(passed)s, %(items)s,"
        " %(principal)s, %(principal_name)s, %(create_time)s, %(duration_ms)s)",
        {
            "organization_id": report.organization_id,
            "id": report.id,
            "phase": report.phase,
            "passed": report.passed,
            "items": report.items,
            "principal": report.principal,
            "principal_name": report.principal_name,
            "create_time": report.create_time,
            "duration_ms": report.duration_ms,
        },
    )


async def list_reports(
    tx: Tx, organization_id: UUID, phase: str | None, before: UUID | None, limit: int
) -> Sequence[Any]:
    """Reports, newest first."""
    found = await tx.execute(
        """
        select * from ingest.rollout_reports
        where organization_id = %(organization_id)s and (%(before)s::uuid is null or id < %(before)s)
          and (%(phase)s::text is null or phase = %(phase)s)
        order by id desc limit %(limit)s
        """,
        {"organization_id": organization_id, "phase": phase, "before": before, "limit": limit},
    )
    return found.all()
