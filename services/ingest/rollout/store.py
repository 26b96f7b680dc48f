"""How far organizations are, and what was seen before they went live or back, kept as evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from chassis.db import Tx
from services.ingest.limits import COMPLETE_SCAN_MAX, LAST_EVENT_SCAN_MAX
from services.ingest.rollout.state import Rollout, RolloutState

_REPORT = (
    *("organization_id", "id", "phase", "passed", "items", "principal", "principal_name", "create_time", "duration_ms"),
    *("reason", "rollout_before", "rollout_after"),
)
_ROLLOUT = (
    *("organization_id", "state", "activate_time", "roll_back_time", "reason", "principal", "principal_name"),
    *("update_time", "version"),
)

_CAME_IN = ("connection_id", "id", "receive_time", "contact_id", "deal_id", "conversation_id", "message_id")
_COMPLETE = (
    "event.state = 'PROCESSED' and event.signed and event.contact_id is not null and event.deal_id is not null"
    " and event.conversation_id is not null and event.message_id is not null"
)


@dataclass(frozen=True, slots=True)
class Report:
    """One run, with its items as JSON and how far the organization was and is as messages."""

    id: UUID
    organization_id: UUID
    phase: str
    passed: bool
    items: bytes
    principal: str
    principal_name: str
    create_time: datetime
    duration_ms: int
    reason: str = ""
    rollout_before: bytes | None = None
    rollout_after: bytes | None = None


class CameIn(NamedTuple):
    """A customer's message that came in and led to all that it should."""

    connection_id: UUID
    webhook_event_id: UUID
    receive_time: datetime
    contact_id: UUID
    deal_id: UUID
    conversation_id: UUID
    message_id: UUID


async def insert(tx: Tx, report: Report) -> None:
    """Keeps a report; nobody changes one."""
    await tx.execute(
        f"insert into ingest.rollout_reports ({', '.join(_REPORT)})"
        f" values ({', '.join(f'%({column})s' for column in _REPORT)})",
        asdict(report),
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


async def find_rollout(tx: Tx, organization_id: UUID, *, lock: bool = False) -> Rollout:
    """How far the organization is; ``lock`` keeps it so until commit, unless it has no row yet."""
    found = await tx.execute(
        f"select {', '.join(_ROLLOUT)} from ingest.rollouts where organization_id = %(organization_id)s"
        + (" for update" if lock else ""),
        {"organization_id": organization_id},
    )
    row = found.one_or_none()
    if row is None:
        return Rollout(organization_id)
    values = {column: getattr(row, column) for column in _ROLLOUT}
    return Rollout(**{**values, "state": RolloutState(row.state)})


async def lock_rollout(tx: Tx, organization_id: UUID, now: datetime) -> Rollout:
    """How far the organization is, kept so until commit: of two first changes one waits for the other."""
    await tx.execute(
        "insert into ingest.rollouts (organization_id, state, reason, principal, principal_name, update_time, version)"
        " values (%(organization_id)s, 'PREPARING', '', '', '', %(now)s, 0) on conflict (organization_id) do nothing",
        {"organization_id": organization_id, "now": now},
    )
    return await find_rollout(tx, organization_id, lock=True)


async def update_rollout(tx: Tx, rollout: Rollout) -> None:
    """Writes what ``lock_rollout`` holds."""
    await tx.execute(
        f"update ingest.rollouts set {', '.join(f'{column} = %({column})s' for column in _ROLLOUT[1:])}"
        " where organization_id = %(organization_id)s",
        asdict(rollout) | {"state": rollout.state.value},
    )


async def last_came_in(
    tx: Tx, organization_id: UUID, connection_ids: Sequence[UUID], since: datetime
) -> dict[UUID, CameIn]:
    """By connection, the last signed event since a time that led to contact, deal, conversation and message.

    Looks through LAST_EVENT_SCAN_MAX of the organization's events, where busy connections are found, and then through
    COMPLETE_SCAN_MAX of each other connection's own: what comes in over others hides none.
    """
    wanted = {"organization_id": organization_id, "since": since, "connection_ids": list(connection_ids)}
    newest = await tx.execute(
        f"select distinct on (connection_id) {', '.join(_CAME_IN)} from ("
        "  select * from ingest.webhook_events where organization_id = %(organization_id)s"
        "  order by id desc limit %(limit)s"
        f") event where connection_id = any(%(connection_ids)b::uuid[]) and receive_time >= %(since)s and {_COMPLETE}"
        " order by connection_id, id desc",
        wanted | {"limit": LAST_EVENT_SCAN_MAX},
    )
    found = {row[0]: CameIn(*row) for row in newest}
    own = await tx.execute(
        f"select {', '.join(f'came_in.{column}' for column in _CAME_IN)}"
        " from unnest(%(connection_ids)b::uuid[]) as quiet (connection_id) cross join lateral ("
        "  select event.* from ("
        "    select webhook_event_id, receive_time from ingest.delivery_keys"
        "    where connection_id = quiet.connection_id and organization_id = %(organization_id)s"
        "      and receive_time >= %(since)s order by receive_time desc limit %(limit)s"
        "  ) kept join ingest.webhook_events event"
        "    on event.id = kept.webhook_event_id and event.receive_time = kept.receive_time"
        f"  where event.organization_id = %(organization_id)s and {_COMPLETE} order by event.receive_time desc limit 1"
        ") came_in",
        wanted | {"connection_ids": [one for one in connection_ids if one not in found], "limit": COMPLETE_SCAN_MAX},
    )
    return found | {row[0]: CameIn(*row) for row in own}


async def waiting_since(tx: Tx, organization_id: UUID) -> datetime | None:
    """When the oldest of the organization's events that wait to be processed came; None where none does."""
    found = await tx.execute(
        "select min(receive_time) from ingest.webhook_queue where organization_id = %(organization_id)s",
        {"organization_id": organization_id},
    )
    moment: datetime | None = found.scalar_one()
    return moment
