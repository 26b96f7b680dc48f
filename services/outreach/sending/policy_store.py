"""Send policies in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import orjson

from chassis.db import Tx
from services.outreach.sending.policy import QuietHours, SendPolicy

NUMBERS = (
    "reply_grace_seconds",
    "number_hour_limit",
    "number_day_limit",
    "burst_limit",
    "burst_seconds",
    "number_gap_seconds",
    "contact_gap_seconds",
)
COLUMNS = ("quiet_hours", *NUMBERS, "update_time", "version")

# The first change of a policy waits for another first change, and then finds its row.
_LOCK = f"""
insert into outreach.send_policies (organization_id, {", ".join(COLUMNS)})
values (%(organization_id)s, {", ".join(f"%({column})s" for column in COLUMNS)})
on conflict (organization_id) do nothing
"""

_FIND = f"""
select organization_id, quiet_hours::text, {", ".join(COLUMNS[1:])} from outreach.send_policies
where organization_id = %(organization_id)s
"""

_UPDATE = f"""
update outreach.send_policies set {", ".join(f"{column} = %({column})s" for column in COLUMNS)}
where organization_id = %(organization_id)s
"""


async def find_policy(tx: Tx, organization_id: UUID) -> SendPolicy:
    """The organization's policy; the one that everybody begins with where it has changed nothing."""
    found = await tx.execute(_FIND, {"organization_id": organization_id})
    row = found.one_or_none()
    return SendPolicy(organization_id) if row is None else policy_of(row)


async def lock_policy(tx: Tx, beginning: SendPolicy) -> SendPolicy:
    """The organization's policy, locked; ``beginning`` where it has changed nothing."""
    await tx.execute(_LOCK, _values(beginning))
    found = await tx.execute(f"{_FIND} for update", {"organization_id": beginning.organization_id})
    return policy_of(found.one())


async def update_policy(tx: Tx, policy: SendPolicy) -> None:
    """Writes a policy that is locked."""
    await tx.execute(_UPDATE, _values(policy))


def policy_of(row: Any) -> SendPolicy:
    """A policy from a row that has its columns, the quiet hours as text."""
    return SendPolicy(
        organization_id=row.organization_id,
        quiet_hours=tuple(
            QuietHours(tuple(weekdays), start_minute, end_minute)
            for weekdays, start_minute, end_minute in orjson.loads(row.quiet_hours)
        ),
        update_time=row.update_time if row.version else None,
        version=row.version,
        **{name: getattr(row, name) for name in NUMBERS},
    )


def _values(policy: SendPolicy) -> dict[str, object]:
    quiet_hours = [[period.weekdays, period.start_minute, period.end_minute] for period in policy.quiet_hours]
    return {
        "organization_id": policy.organization_id,
        "quiet_hours": orjson.dumps(quiet_hours).decode(),
        "update_time": policy.update_time,
        "version": policy.version,
        **{name: getattr(policy, name) for name in NUMBERS},
    }
