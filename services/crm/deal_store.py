"""Deals in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.crm.domain import Deal, DealState, Money

_COLUMNS = (
    "organization_id, id, contact_id, board_id, stage_id, title, value_minor_units, value_currency,"
    " state, version, create_time, update_time"
)

_INSERT = f"""
insert into crm.deals ({_COLUMNS})
select * from unnest(%(organization_ids)b::uuid[], %(ids)b::uuid[], %(contact_ids)b::uuid[], %(board_ids)b::uuid[],
                     %(stage_ids)b::uuid[], %(titles)b::text[], %(minor_units)b::bigint[], %(currencies)b::text[],
                     %(states)b::text[], %(versions)b::bigint[], %(create_times)b::timestamptz[],
                     %(update_times)b::timestamptz[])
"""

_FIND = f"select {_COLUMNS} from crm.deals where organization_id = %(organization_id)s and id = %(deal_id)s"


@dataclass(frozen=True, slots=True)
class DealFilter:
    """Which deals a list shows; None shows all."""

    contact_id: UUID | None = None
    board_id: UUID | None = None
    stage_id: UUID | None = None
    state: DealState | None = None


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


async def find_deal(tx: Tx, organization_id: UUID, deal_id: UUID) -> Deal | None:
    """One of the organization's deals."""
    found = await tx.execute(_FIND, {"organization_id": organization_id, "deal_id": deal_id})
    row = found.one_or_none()
    return None if row is None else _deal(row)


async def list_deals(
    tx: Tx, organization_id: UUID, wanted: DealFilter, before: UUID | None, row_limit: int
) -> list[Deal]:
    """Deals that pass the filter and are older than ``before``, newest first."""
    values: dict[str, object] = {"organization_id": organization_id, "row_limit": row_limit}
    conditions = ["organization_id = %(organization_id)s"]
    bounds = (
        ("contact_id", wanted.contact_id),
        ("board_id", wanted.board_id),
        ("stage_id", wanted.stage_id),
        ("state", wanted.state and wanted.state.value),
    )
    for column, value in bounds:
        if value is not None:
            conditions.append(f"{column} = %({column})s")
            values[column] = value
    if before is not None:
        conditions.append("id < %(before)s")
        values["before"] = before
    statement = (
        f"select {_COLUMNS} from crm.deals where {' and '.join(conditions)} order by id desc limit %(row_limit)s"
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
    )
