"""Rounds in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.conversation.scripts.round import Round, RoundMessage, RoundState

_COLUMNS = tuple(field.name for field in fields(Round) if field.name != "messages")
_MESSAGE_COLUMNS = tuple(field.name for field in fields(RoundMessage))
_CHANGING = ("state", "reason", "start_time", "end_time", "sent_count", "conversation_id", "version")
_SELECT = f"select {', '.join(_COLUMNS)} from conversation.rounds where organization_id = %(organization_id)s"


async def insert(tx: Tx, planned: Round) -> bool:
    """Writes a planned one; False where it is there already."""
    inserted = await tx.execute(
        f"insert into conversation.rounds ({', '.join(_COLUMNS)})"
        f" values ({', '.join(f'%({column})s' for column in _COLUMNS)}) on conflict do nothing",
        _values(planned),
    )
    return bool(inserted.rowcount)


async def update(tx: Tx, changed: Round) -> None:
    """Writes what may change of one that is locked."""
    await tx.execute(
        f"update conversation.rounds set {', '.join(f'{column} = %({column})s' for column in _CHANGING)}"
        " where organization_id = %(organization_id)s and round_id = %(round_id)s",
        _values(changed),
    )


async def find(tx: Tx, organization_id: UUID, round_id: UUID, *, lock: bool = False) -> Round | None:
    """One round with what was said; ``lock`` keeps it as it is until commit."""
    found = await tx.execute(
        f"{_SELECT} and round_id = %(round_id)s{' for update' if lock else ''}",
        {"organization_id": organization_id, "round_id": round_id},
    )
    row = found.one_or_none()
    if row is None:
        return None
    read = _round(row)
    said = await tx.execute(
        f"select {', '.join(_MESSAGE_COLUMNS)} from conversation.round_messages"
        " where organization_id = %(organization_id)s and round_id = %(round_id)s order by position",
        {"organization_id": organization_id, "round_id": round_id},
    )
    read.messages = [RoundMessage(*message) for message in said]
    return read


async def list_rounds(
    tx: Tx,
    organization_id: UUID,
    wanted: Mapping[str, object],
    times: tuple[datetime | None, datetime | None],
    before: tuple[datetime, UUID] | None,
    row_limit: int,
) -> list[Round]:
    """Rounds whose columns have the wanted values, due from the first time on and before the second; latest first."""
    conditions = "".join(f" and {column} = %({column})s" for column in wanted)
    conditions += "" if times[0] is None else " and due_time >= %(from_time)s"
    conditions += "" if times[1] is None else " and due_time < %(to_time)s"
    conditions += "" if before is None else " and (due_time, round_id) < (%(before_time)s, %(before_id)s)"
    found = await tx.execute(
        f"{_SELECT}{conditions} order by due_time desc, round_id desc limit %(row_limit)s",
        {
            **wanted,
            "organization_id": organization_id,
            "from_time": times[0],
            "to_time": times[1],
            **({} if before is None else {"before_time": before[0], "before_id": before[1]}),
            "row_limit": row_limit,
        },
    )
    return [_round(row) for row in found]


async def forget_planned(tx: Tx, organization_id: UUID, script_id: UUID, after: datetime) -> list[UUID]:
    """Takes back what is planned of a script and not due yet; answers which rounds."""
    gone = await tx.execute(
        "delete from conversation.rounds where organization_id = %(organization_id)s and script_id = %(script_id)s"
        " and state = 'PLANNED' and due_time > %(after)s returning round_id",
        {"organization_id": organization_id, "script_id": script_id, "after": after},
    )
    return [row.round_id for row in gone]


async def topic_before(tx: Tx, organization_id: UUID, script_id: UUID, moment: datetime) -> str:
    """What the script's last round before a moment is about; empty where there is none."""
    found = await tx.execute(
        "select topic from conversation.rounds where organization_id = %(organization_id)s"
        " and script_id = %(script_id)s and due_time < %(moment)s order by due_time desc limit 1",
        {"organization_id": organization_id, "script_id": script_id, "moment": moment},
    )
    row = found.one_or_none()
    return "" if row is None else str(row.topic)


async def later_due(tx: Tx, late: Round, now: datetime) -> bool:
    """Whether another planned round of the script has come due since."""
    found = await tx.execute(
        "select exists (select from conversation.rounds where organization_id = %(organization_id)s"
        " and script_id = %(script_id)s and state = 'PLANNED' and due_time > %(due_time)s and due_time <= %(now)s)",
        {
            "organization_id": late.organization_id,
            "script_id": late.script_id,
            "due_time": late.due_time,
            "now": now,
        },
    )
    return bool(found.scalar_one())


async def insert_message(tx: Tx, said_in: Round, message: RoundMessage) -> None:
    """Fixes the next message of a round that is locked."""
    await tx.execute(
        f"insert into conversation.round_messages (organization_id, round_id, {', '.join(_MESSAGE_COLUMNS)})"
        f" values (%(organization_id)s, %(round_id)s, {', '.join(f'%({column})s' for column in _MESSAGE_COLUMNS)})",
        {
            "organization_id": said_in.organization_id,
            "round_id": said_in.round_id,
            **{column: getattr(message, column) for column in _MESSAGE_COLUMNS},
        },
    )


async def take_numbers(tx: Tx, taker: Round, channel_ids: Collection[UUID]) -> bool:
    """Keeps numbers for one round until they are left; False where another has one of them."""
    for channel_id in sorted(channel_ids):
        await tx.execute(
            "insert into conversation.round_locks (organization_id, channel_id, round_id)"
            " values (%(organization_id)s, %(channel_id)s, %(round_id)s) on conflict do nothing",
            {"organization_id": taker.organization_id, "channel_id": channel_id, "round_id": taker.round_id},
        )
    taken = await tx.execute(
        "select count(*) from conversation.round_locks where organization_id = %(organization_id)s"
        " and round_id = %(round_id)s",
        {"organization_id": taker.organization_id, "round_id": taker.round_id},
    )
    if int(taken.scalar_one()) == len(set(channel_ids)):
        return True
    await leave_numbers(tx, taker)
    return False


async def leave_numbers(tx: Tx, taker: Round) -> None:
    """Lets other rounds have the numbers."""
    await tx.execute(
        "delete from conversation.round_locks where organization_id = %(organization_id)s and round_id = %(round_id)s",
        {"organization_id": taker.organization_id, "round_id": taker.round_id},
    )


async def conversation_between(tx: Tx, organization_id: UUID, channel_id: UUID, key: str) -> UUID | None:
    """The newest conversation on a channel with somebody."""
    found = await tx.execute(
        "select conversation_id from conversation.conversations where organization_id = %(organization_id)s"
        " and conversation_key = %(key)s and channel_id = %(channel_id)s"
        " order by activity_time desc, conversation_id desc limit 1",
        {"organization_id": organization_id, "key": key, "channel_id": channel_id},
    )
    row = found.one_or_none()
    return None if row is None else row.conversation_id


async def channel_known(tx: Tx, organization_id: UUID, channel_id: UUID) -> bool:
    """Whether anything was ever said on the channel."""
    found = await tx.execute(
        "select exists (select from conversation.message_rollups where organization_id = %(organization_id)s"
        " and channel_id = %(channel_id)s)",
        {"organization_id": organization_id, "channel_id": channel_id},
    )
    return bool(found.scalar_one())


def _values(kept: Round) -> dict[str, Any]:
    return {column: getattr(kept, column) for column in _COLUMNS} | {"state": kept.state.value}


def _round(row: Sequence[Any]) -> Round:
    read = Round(*row)
    read.state = RoundState(read.state)
    return read
