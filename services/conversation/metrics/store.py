"""Reads the table of figures: messages by number, direction and quarter of an hour; in the caller's transaction."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chassis.db import Tx
from services.conversation.messages.domain.message import Direction
from services.conversation.metrics.domain import QuarterCount


async def list_counts(
    tx: Tx, organization_id: UUID, start: datetime, channel_id: UUID | None, direction: Direction | None
) -> list[QuarterCount]:
    """What was counted from a moment on, of all numbers together or of one."""
    parameters: dict[str, object] = {"organization_id": organization_id, "start": start}
    conditions = ""
    if channel_id is not None:
        conditions += " and channel_id = %(channel_id)s"
        parameters["channel_id"] = channel_id
    if direction is not None:
        conditions += " and direction = %(direction)s"
        parameters["direction"] = str(direction)
    rows = await tx.execute(
        "select quarter, direction, sum(count)::bigint, sum(failed_count)::bigint from conversation.message_rollups"
        f" where organization_id = %(organization_id)s and quarter >= %(start)s{conditions}"
        " group by quarter, direction",
        parameters,
    )
    return [QuarterCount(quarter, Direction(kept), count, failed) for quarter, kept, count, failed in rows]
