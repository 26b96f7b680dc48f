"""SQL of what was audited."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx

_ENTRY = (
    "organization_id, audit_entry_id, create_time, principal, name, action, target_type, target_id, network,"
    " correlation_id, before_json, after_json, reason"
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that somebody did."""

    organization_id: UUID
    id: UUID
    create_time: datetime
    principal: str
    name: str
    action: str
    target_type: str
    target_id: str
    network: str
    correlation_id: str
    before_json: str
    after_json: str
    reason: str


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which entries to list; what is empty leaves all in."""

    principal: str = ""
    action: str = ""
    target_type: str = ""
    target_id: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None


async def insert_entry(tx: Tx, entry: Entry) -> None:
    """Adds an entry."""
    await tx.execute(
        f"insert into identity.audit_entries ({_ENTRY}) values (%(organization_id)s, %(id)s, %(create_time)s,"
        " %(principal)s, %(name)s, %(action)s, %(target_type)s, %(target_id)s, %(network)s, %(correlation_id)s,"
        " %(before_json)s, %(after_json)s, %(reason)s)",
        {
            "organization_id": entry.organization_id,
            "id": entry.id,
            "create_time": entry.create_time,
            "principal": entry.principal,
            "name": entry.name,
            "action": entry.action,
            "target_type": entry.target_type,
            "target_id": entry.target_id,
            "network": entry.network,
            "correlation_id": entry.correlation_id,
            "before_json": entry.before_json,
            "after_json": entry.after_json,
            "reason": entry.reason,
        },
    )


async def list_entries(
    tx: Tx, organization_id: UUID, wanted: Wanted, after: tuple[datetime, UUID] | None, limit: int
) -> list[Entry]:
    """Entries, newest first."""
    parameters: dict[str, Any] = {"organization_id": organization_id, "limit": limit}
    conditions = ["organization_id = %(organization_id)s"]
    for column in ("principal", "action", "target_type", "target_id"):
        if value := getattr(wanted, column):
            conditions.append(f"{column} = %({column})s")
            parameters[column] = value
    for name, comparison in (("start_time", ">="), ("end_time", "<")):
        if (moment := getattr(wanted, name)) is not None:
            conditions.append(f"create_time {comparison} %({name})s")
            parameters[name] = moment
    if after is not None:
        conditions.append("(create_time, audit_entry_id) < (%(after_time)s, %(after_id)s)")
        parameters["after_time"], parameters["after_id"] = after
    found = await tx.execute(
        f"select {_ENTRY} from identity.audit_entries where {' and '.join(conditions)}"
        " order by create_time desc, audit_entry_id desc limit %(limit)s",
        parameters,
    )
    return [Entry(*tuple(row)) for row in found]
