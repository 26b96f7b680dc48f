"""Kill switches in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.outreach.sending.kill_switch import Actor, KillSwitch

_VALUES = "engaged, reason, principal, principal_name, change_time"
_GIVEN = "%(engaged)s, %(reason)s, %(principal)s, %(principal_name)s, %(change_time)s"
_SET = """
do update set engaged = excluded.engaged, reason = excluded.reason, principal = excluded.principal,
  principal_name = excluded.principal_name, change_time = excluded.change_time
"""

# Of a switch that stands as it is wanted, whoever turned it first stays named.
_TURN = f"""
insert into outreach.kill_switches (organization_id, {_VALUES}) values (%(organization_id)s, {_GIVEN})
on conflict (organization_id) {_SET} where kill_switches.engaged <> excluded.engaged
returning 1
"""

_TURN_GLOBAL = f"""
insert into outreach.global_kill ({_VALUES}) values ({_GIVEN})
on conflict (singleton) {_SET} where global_kill.engaged <> excluded.engaged
returning 1
"""

_FIND = f"select {_VALUES} from outreach.kill_switches where organization_id = %(organization_id)s"
_FIND_GLOBAL = f"select {_VALUES} from outreach.global_kill"


async def turn(tx: Tx, wanted: KillSwitch) -> bool:
    """Turns a switch on or off, waiting for whoever is just doing so; False where it stands so already."""
    values = {
        "organization_id": wanted.organization_id,
        "engaged": wanted.engaged,
        "reason": wanted.reason,
        "principal": wanted.actor.principal,
        "principal_name": wanted.actor.name,
        "change_time": wanted.change_time,
    }
    if wanted.organization_id is None:
        del values["organization_id"]
    turned = await tx.execute(_TURN_GLOBAL if wanted.organization_id is None else _TURN, values)
    return turned.first() is not None


async def find(tx: Tx, organization_id: UUID | None) -> KillSwitch:
    """The organization's switch, or with None the global one; off where nobody ever touched it."""
    if organization_id is None:
        found = await tx.execute(_FIND_GLOBAL)
    else:
        found = await tx.execute(_FIND, {"organization_id": organization_id})
    row: Any = found.one_or_none()
    if row is None:
        return KillSwitch(organization_id)
    return KillSwitch(
        organization_id, row.engaged, row.reason, Actor(row.principal, row.principal_name), row.change_time
    )
