"""The history of deals in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.crm.domain import DealState
from services.crm.moves import Mover, MoveSource, StageMove

_COLUMNS = (
    "organization_id, id, deal_id, board_id, from_stage_id, from_stage_label, to_stage_id, to_stage_label, from_state,"
    " to_state, principal, principal_name, source, correlation_id, ai_summary, note, create_time"
)

_INSERT = f"""
insert into crm.stage_moves ({_COLUMNS})
values (%(organization_id)s, %(id)s, %(deal_id)s, %(board_id)s, %(from_stage_id)s, %(from_stage_label)s,
        %(to_stage_id)s, %(to_stage_label)s, %(from_state)s, %(to_state)s, %(principal)s, %(principal_name)s,
        %(source)s, %(correlation_id)s, %(ai_summary)s, %(note)s, %(create_time)s)
"""


async def insert_move(tx: Tx, move: StageMove) -> None:
    """Writes one line of a deal's history."""
    await tx.execute(
        _INSERT,
        {
            "organization_id": move.organization_id,
            "id": move.id,
            "deal_id": move.deal_id,
            "board_id": move.board_id,
            "from_stage_id": move.from_stage_id,
            "from_stage_label": move.from_stage_label,
            "to_stage_id": move.to_stage_id,
            "to_stage_label": move.to_stage_label,
            "from_state": move.from_state.value,
            "to_state": move.to_state.value,
            "principal": move.mover.principal,
            "principal_name": move.mover.name,
            "source": move.mover.source.value,
            "correlation_id": move.mover.correlation_id,
            "ai_summary": move.ai_summary,
            "note": move.note,
            "create_time": move.create_time,
        },
    )


async def last_move(tx: Tx, organization_id: UUID, deal_id: UUID) -> StageMove | None:
    """The newest line of a deal's history."""
    moves = await list_moves(tx, organization_id, deal_id=deal_id, board_id=None, before=None, row_limit=1)
    return moves[0] if moves else None


async def last_open_stage(tx: Tx, organization_id: UUID, deal_id: UUID) -> UUID | None:
    """The stage in which the deal was when it was open last."""
    found = await tx.execute(
        "select from_stage_id from crm.stage_moves where organization_id = %(organization_id)s and deal_id ="
        " %(deal_id)s and from_state = 'OPEN' order by id desc limit 1",
        {"organization_id": organization_id, "deal_id": deal_id},
    )
    row = found.first()
    return None if row is None else row.from_stage_id


async def list_moves(
    tx: Tx, organization_id: UUID, *, deal_id: UUID | None, board_id: UUID | None, before: UUID | None, row_limit: int
) -> list[StageMove]:
    """Moves of one deal or of all, older than ``before``, newest first."""
    values: dict[str, object] = {"organization_id": organization_id, "row_limit": row_limit}
    conditions = ["organization_id = %(organization_id)s"]
    for column, operator, value in (("deal_id", "=", deal_id), ("board_id", "=", board_id), ("id", "<", before)):
        if value is not None:
            conditions.append(f"{column} {operator} %({column})s")
            values[column] = value
    found = await tx.execute(
        f"select {_COLUMNS} from crm.stage_moves where {' and '.join(conditions)} order by id desc limit %(row_limit)s",
        values,
    )
    return [_move(row) for row in found]


def _move(row: Any) -> StageMove:
    return StageMove(
        organization_id=row.organization_id,
        id=row.id,
        deal_id=row.deal_id,
        board_id=row.board_id,
        from_stage_id=row.from_stage_id,
        from_stage_label=row.from_stage_label,
        to_stage_id=row.to_stage_id,
        to_stage_label=row.to_stage_label,
        from_state=DealState(row.from_state),
        to_state=DealState(row.to_state),
        mover=Mover(row.principal, row.principal_name, MoveSource(row.source), row.correlation_id),
        ai_summary=row.ai_summary,
        note=row.note,
        create_time=row.create_time,
    )
