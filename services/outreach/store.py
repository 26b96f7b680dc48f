"""Suppressions in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.outreach.domain import Suppression

_COLUMNS = "organization_id, id, source, external_id, contact_id, reason, create_time"

_INSERT = f"""
insert into outreach.suppressions ({_COLUMNS})
values (%(organization_id)s, %(id)s, %(source)s, %(external_id)s, %(contact_id)s, %(reason)s, %(create_time)s)
on conflict (organization_id, source, external_id) do nothing
returning id
"""

_FIND_ADDRESS = f"""
select {_COLUMNS} from outreach.suppressions
where organization_id = %(organization_id)s and source = %(source)s and external_id = %(external_id)s
"""

_FIND = f"select {_COLUMNS} from outreach.suppressions where organization_id = %(organization_id)s and id = %(id)s"


async def insert_suppression(tx: Tx, suppression: Suppression) -> bool:
    """Writes a suppression unless its address has one, waiting for whoever writes the same; answers whether it did."""
    inserted = await tx.execute(
        _INSERT,
        {
            "organization_id": suppression.organization_id,
            "id": suppression.id,
            "source": suppression.source,
            "external_id": suppression.external_id,
            "contact_id": suppression.contact_id,
            "reason": suppression.reason,
            "create_time": suppression.create_time,
        },
    )
    return inserted.first() is not None


async def find_address(tx: Tx, organization_id: UUID, source: str, external_id: str) -> Suppression | None:
    """The suppression of an address in its canonical form."""
    found = await tx.execute(
        _FIND_ADDRESS, {"organization_id": organization_id, "source": source, "external_id": external_id}
    )
    row = found.one_or_none()
    return None if row is None else _suppression(row)


async def find_suppression(tx: Tx, organization_id: UUID, suppression_id: UUID) -> Suppression | None:
    """One of the organization's suppressions."""
    found = await tx.execute(_FIND, {"organization_id": organization_id, "id": suppression_id})
    row = found.one_or_none()
    return None if row is None else _suppression(row)


async def list_suppressions(
    tx: Tx, organization_id: UUID, contact_id: UUID | None, before: UUID | None, row_limit: int
) -> list[Suppression]:
    """Suppressions of a contact (None: all) that are older than ``before``, newest first."""
    values: dict[str, object] = {"organization_id": organization_id, "row_limit": row_limit}
    conditions = ["organization_id = %(organization_id)s"]
    if contact_id is not None:
        conditions.append("contact_id = %(contact_id)s")
        values["contact_id"] = contact_id
    if before is not None:
        conditions.append("id < %(before)s")
        values["before"] = before
    found = await tx.execute(
        f"select {_COLUMNS} from outreach.suppressions where {' and '.join(conditions)}"
        " order by id desc limit %(row_limit)s",
        values,
    )
    return [_suppression(row) for row in found]


def _suppression(row: Any) -> Suppression:
    return Suppression(
        organization_id=row.organization_id,
        id=row.id,
        source=row.source,
        external_id=row.external_id,
        contact_id=row.contact_id,
        reason=row.reason,
        create_time=row.create_time,
    )
