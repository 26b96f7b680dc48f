"""Deals in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from chassis.redirects import Redirects
from services.crm.domain import Deal, DealState, Money

REDIRECTS = Redirects("crm")
_COLUMNS = (
    "organization_id, id, contact_id, board_id, stage_id, title, value_minor_units, value_currency,"
    " state, version, create_time, update_time"
)

_STAGE_CHANGE_TIME = "coalesce(stage_change_time, create_time)"
"""Unset until a deal first moves: making deals costs what it did."""

_CLOSE_TIME = "case when state <> 'OPEN' then coalesce(close_time, create_time) end"
"""Unset of a deal that was closed from the first."""

# The label by its key, row by row: joined, the planner may pair every deal with all stages of its organization first.
_SHOWN_COLUMNS = _COLUMNS.replace(
    "contact_id", f"{REDIRECTS.survivor_of('d.contact_id', 'd.organization_id')} as contact_id"
)
"""Whoever was merged is shown as who stands for them."""
_SHOWN = f"""
{_SHOWN_COLUMNS}, {_STAGE_CHANGE_TIME} as stage_change_time, {_CLOSE_TIME} as close_time, loss_reason, ai_summary,
(select label from crm.stages s where s.organization_id = d.organization_id and s.id = d.stage_id) as stage_label
"""

_INSERT = f"""
insert into crm.deals ({_COLUMNS})
select * from unnest(%(organization_ids)b::uuid[], %(ids)b::uuid[], %(contact_ids)b::uuid[], %(board_ids)b::uuid[],
                     %(stage_ids)b::uuid[], %(titles)b::text[], %(minor_units)b::bigint[], %(currencies)b::text[],
                     %(states)b::text[], %(versions)b::bigint[], %(create_times)b::timestamptz[],
                     %(update_times)b::timestamptz[])
"""

_FIND = f"select {_SHOWN} from crm.deals d where organization_id = %(organization_id)s and id = %(deal_id)s"

_UPDATE = """
update crm.deals set stage_id = %(stage_id)s, state = %(state)s, version = %(version)s, update_time = %(update_time)s,
  stage_change_time = %(stage_change_time)s, close_time = %(close_time)s, loss_reason = %(loss_reason)s,
  ai_summary = %(ai_summary)s
where organization_id = %(organization_id)s and id = %(deal_id)s
"""

_TOTALS = """
select stage_id, value_currency, count(*) as deal_count, coalesce(sum(value_minor_units), 0)::bigint as minor_units
from crm.deals where organization_id = %(organization_id)s and board_id = %(board_id)s
group by stage_id, value_currency order by stage_id, value_currency nulls first
"""


@dataclass(frozen=True, slots=True)
class DealFilter:
    """Which deals a list shows; None shows all."""

    contact_ids: tuple[UUID, ...] | None = None
    """All that are one person."""
    board_id: UUID | None = None
    stage_id: UUID | None = None
    state: DealState | None = None
    by_stage_change: bool = False
    """Whether those longest in their stage come first; else the newest do."""


@dataclass(frozen=True, slots=True)
class StageTotal:
    """What the deals of one stage and currency add up to; without a currency nobody gave them a value."""

    stage_id: UUID
    deal_count: int
    value: Money | None


async def insert_deals(tx: Tx, deals: Sequence[Deal]) -> None:
    """Writes new deals in one statement."""
    await tx.execute(
        _INSERT,
        {
            "organization_ids": [deal.organization_id for deal in deals],
            "ids": [deal.id for deal in deals],
            "contact_ids": [deal.contact_id for deal in deals],
            "board_ids": [deal.board_id for deal in deals],
            "stage_ids": [deal.stage_id for deal in deals],
            "titles": [deal.title for deal in deals],
            "minor_units": [deal.value.minor_units if deal.value else None for deal in deals],
            "currencies": [deal.value.currency if deal.value else None for deal in deals],
            "states": [deal.state.value for deal in deals],
            "versions": [deal.version for deal in deals],
            "create_times": [deal.create_time for deal in deals],
            "update_times": [deal.update_time for deal in deals],
        },
    )


async def find_deal(tx: Tx, organization_id: UUID, deal_id: UUID, *, lock: bool = False) -> Deal | None:
    """One of the organization's deals; `lock` makes everybody else who would change it wait until commit."""
    statement = f"{_FIND} for update of d" if lock else _FIND
    found = await tx.execute(statement, {"organization_id": organization_id, "deal_id": deal_id})
    row = found.one_or_none()
    return None if row is None else _deal(row)


async def update_deal(tx: Tx, deal: Deal) -> None:
    """Writes what moving a deal changes."""
    await tx.execute(
        _UPDATE,
        {
            "organization_id": deal.organization_id,
            "deal_id": deal.id,
            "stage_id": deal.stage_id,
            "state": deal.state.value,
            "version": deal.version,
            "update_time": deal.update_time,
            "stage_change_time": deal.stage_change_time,
            "close_time": deal.close_time,
            "loss_reason": deal.loss_reason,
            "ai_summary": deal.ai_summary,
        },
    )


async def stage_totals(tx: Tx, organization_id: UUID, board_id: UUID) -> list[StageTotal]:
    """What the deals of a board's stages add up to, by stage and currency; empty stages are not among them."""
    found = await tx.execute(_TOTALS, {"organization_id": organization_id, "board_id": board_id})
    return [
        StageTotal(
            row.stage_id,
            row.deal_count,
            None if row.value_currency is None else Money(row.minor_units, row.value_currency),
        )
        for row in found
    ]


async def list_deals(
    tx: Tx, organization_id: UUID, wanted: DealFilter, after: tuple[datetime, UUID] | None, row_limit: int
) -> list[Deal]:
    """Deals that pass the filter and come after the last one's sort key: newest first, or longest in their stage."""
    values: dict[str, object] = {"organization_id": organization_id, "row_limit": row_limit}
    conditions = ["organization_id = %(organization_id)s"]
    bounds = (
        ("board_id", wanted.board_id),
        ("stage_id", wanted.stage_id),
        ("state", wanted.state and wanted.state.value),
    )
    if wanted.contact_ids is not None:
        conditions.append("d.contact_id = any (%(contact_ids)b::uuid[])")
        values["contact_ids"] = list(wanted.contact_ids)
    for column, value in bounds:
        if value is not None:
            conditions.append(f"{column} = %({column})s")
            values[column] = value
    order = "id desc"
    if wanted.by_stage_change:
        order = f"{_STAGE_CHANGE_TIME}, id"
        if after is not None:
            conditions.append(f"({_STAGE_CHANGE_TIME}, id) > (%(after_time)s, %(after_id)s)")
            values |= {"after_time": after[0], "after_id": after[1]}
    elif after is not None:
        conditions.append("id < %(before)s")
        values["before"] = after[1]
    statement = (
        f"select {_SHOWN} from crm.deals d where {' and '.join(conditions)} order by {order} limit %(row_limit)s"
    )
    return [_deal(row) for row in await tx.execute(statement, values)]


def _deal(row: Any) -> Deal:
    value = None if row.value_currency is None else Money(row.value_minor_units, row.value_currency)
    return Deal(
        organization_id=row.organization_id,
        id=row.id,
        contact_id=row.contact_id,
        board_id=row.board_id,
        stage_id=row.stage_id,
        title=row.title,
        value=value,
        state=DealState(row.state),
        version=row.version,
        create_time=row.create_time,
        update_time=row.update_time,
        stage_label=row.stage_label,
        stage_change_time=row.stage_change_time,
        close_time=row.close_time,
        loss_reason=row.loss_reason or "",
        ai_summary=row.ai_summary or "",
    )
