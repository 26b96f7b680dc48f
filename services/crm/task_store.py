"""Reconciliation tasks in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.crm.domain import ReconciliationTask, TaskState

_COLUMNS = (
    "organization_id, id, identity_conflict_id, source, external_id, contact_id, candidate_contact_ids,"
    " state, create_time"
)

# One by one: an array of arrays cannot hold lists of different lengths, and conflicts are rare.
_INSERT = f"""
insert into crm.reconciliation_tasks ({_COLUMNS})
values (%(organization_id)s, %(id)s, %(identity_conflict_id)s, %(source)s, %(external_id)s, %(contact_id)s,
        %(candidate_contact_ids)b::uuid[], %(state)s, %(create_time)s)
on conflict (organization_id, identity_conflict_id) do nothing
returning id
"""


async def insert_task(tx: Tx, task: ReconciliationTask) -> bool:
    """Writes a task unless its conflict has one already; answers whether it did."""
    inserted = await tx.execute(
        _INSERT,
        {
            "organization_id": task.organization_id,
            "id": task.id,
            "identity_conflict_id": task.identity_conflict_id,
            "source": task.source,
            "external_id": task.external_id,
            "contact_id": task.contact_id,
            "candidate_contact_ids": list(task.candidate_contact_ids),
            "state": task.state.value,
            "create_time": task.create_time,
        },
    )
    return inserted.first() is not None


async def list_tasks(
    tx: Tx, organization_id: UUID, state: TaskState | None, before: UUID | None, row_limit: int
) -> Sequence[ReconciliationTask]:
    """Tasks in a state (None: in any) that are older than ``before``, newest first."""
    values: dict[str, object] = {"organization_id": organization_id, "row_limit": row_limit}
    conditions = ["organization_id = %(organization_id)s"]
    if state is not None:
        conditions.append("state = %(state)s")
        values["state"] = state.value
    if before is not None:
        conditions.append("id < %(before)s")
        values["before"] = before
    found = await tx.execute(
        f"select {_COLUMNS} from crm.reconciliation_tasks where {' and '.join(conditions)}"
        " order by id desc limit %(row_limit)s",
        values,
    )
    return [_task(row) for row in found]


def _task(row: Any) -> ReconciliationTask:
    return ReconciliationTask(
        organization_id=row.organization_id,
        id=row.id,
        identity_conflict_id=row.identity_conflict_id,
        source=row.source,
        external_id=row.external_id,
        contact_id=row.contact_id,
        candidate_contact_ids=tuple(row.candidate_contact_ids),
        state=TaskState(row.state),
        create_time=row.create_time,
    )
