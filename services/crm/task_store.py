"""Reconciliation tasks in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.crm.deal_store import REDIRECTS
from services.crm.domain import ReconciliationTask, TaskState

_COLUMNS = (
    "organization_id, id, identity_conflict_id, source, external_id, contact_id, candidate_contact_ids,"
    " state, create_time"
)

_DECIDED = "surviving_contact_id, merged, contact_merge_ids, decide_time, decider_principal, decider_name, version"

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


async def find_task(tx: Tx, organization_id: UUID, task_id: UUID) -> ReconciliationTask | None:
    """One task."""
    return await _find(tx, "id = %(id)s", {"organization_id": organization_id, "id": task_id})


async def find_by_conflict(tx: Tx, organization_id: UUID, conflict_id: UUID) -> ReconciliationTask | None:
    """The task of a conflict."""
    return await _find(tx, "identity_conflict_id = %(id)s", {"organization_id": organization_id, "id": conflict_id})


async def _find(tx: Tx, condition: str, values: dict[str, object]) -> ReconciliationTask | None:
    found = await tx.execute(
        f"select {_COLUMNS}, {_DECIDED} from crm.reconciliation_tasks"
        f" where organization_id = %(organization_id)s and {condition}",
        values,
    )
    row = found.one_or_none()
    return None if row is None else _task(row)


async def parties(tx: Tx, task: ReconciliationTask) -> set[UUID]:
    """All whom a task is about, and who stands for them."""
    named = {*task.candidate_contact_ids, *([task.contact_id] if task.contact_id is not None else [])}
    return named | set((await REDIRECTS.resolve(tx, named)).values())


async def decide(tx: Tx, task: ReconciliationTask) -> bool:
    """Keeps how an open task was decided; answers whether it was open still."""
    decided = await tx.execute(
        """
        update crm.reconciliation_tasks set state = %(state)s, surviving_contact_id = %(survivor)s, merged = %(merged)s,
          contact_merge_ids = %(merges)b::uuid[], decide_time = %(time)s, decider_principal = %(principal)s,
          decider_name = %(name)s, version = version + 1
        where organization_id = %(organization_id)s and id = %(id)s and state = 'OPEN'
        """,
        {
            "organization_id": task.organization_id,
            "id": task.id,
            "state": task.state.value,
            "survivor": task.surviving_contact_id,
            "merged": task.merged,
            "merges": list(task.contact_merge_ids),
            "time": task.decide_time,
            "principal": task.decider_principal,
            "name": task.decider_name,
        },
    )
    return decided.rowcount > 0


async def list_tasks(
    tx: Tx,
    organization_id: UUID,
    state: TaskState | None,
    before: UUID | None,
    row_limit: int,
    contact_id: UUID | None = None,
) -> Sequence[ReconciliationTask]:
    """Tasks in a state (None: in any) and of a contact (None: of any) that are older than ``before``, newest first."""
    values: dict[str, object] = {"organization_id": organization_id, "row_limit": row_limit}
    conditions = ["organization_id = %(organization_id)s"]
    if state is not None:
        conditions.append("state = %(state)s")
        values["state"] = state.value
    if contact_id is not None:
        conditions.append("(contact_id = any (%(contacts)b::uuid[]) or candidate_contact_ids && %(contacts)b::uuid[])")
        values["contacts"] = await REDIRECTS.one_with(tx, contact_id)
    if before is not None:
        conditions.append("id < %(before)s")
        values["before"] = before
    found = await tx.execute(
        f"select {_COLUMNS}, {_DECIDED} from crm.reconciliation_tasks where {' and '.join(conditions)}"
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
        surviving_contact_id=row.surviving_contact_id,
        merged=row.merged,
        contact_merge_ids=tuple(row.contact_merge_ids),
        decide_time=row.decide_time,
        decider_principal=row.decider_principal,
        decider_name=row.decider_name,
        version=row.version,
    )
