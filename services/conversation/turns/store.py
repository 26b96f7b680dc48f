"""Turns, and the tokens that models took, in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from datetime import date, datetime
from typing import Any
from uuid import UUID

import orjson

from chassis.db import Tx
from services.conversation.messages.domain.message import Message
from services.conversation.messages.rows_store import MESSAGE_READ, read_message
from services.conversation.turns.turn import Turn, TurnState

_COLUMNS = tuple(field.name for field in fields(Turn))
_SELECT = f"select {', '.join(_COLUMNS).replace('message_ids', 'message_ids::text')} from conversation.turns"


async def lock_open(tx: Tx, conversation_ids: Collection[UUID]) -> dict[UUID, Turn]:
    """The open turns of conversations of the transaction's organizations, by conversation, held until commit."""
    found = await tx.execute(
        f"{_SELECT} where conversation_id = any (%(ids)b::uuid[]) and state = 'OPEN' order by turn_id for update",
        {"ids": sorted(conversation_ids)},
    )
    return {turn.conversation_id: turn for turn in map(_turn, found)}


async def lock(tx: Tx, organization_id: UUID, turn_id: UUID) -> Turn | None:
    """One turn, held until commit."""
    found = await tx.execute(
        f"{_SELECT} where organization_id = %(organization_id)s and turn_id = %(turn_id)s for update",
        {"organization_id": organization_id, "turn_id": turn_id},
    )
    row = found.one_or_none()
    return None if row is None else _turn(row)


async def write(tx: Tx, turns: Sequence[Turn]) -> None:
    """Writes new ones, and what may change of those that are held."""
    changing = ("due_time", "state", "reason", "message_ids", "reply_message_id")
    await tx.execute(
        f"insert into conversation.turns ({', '.join(_COLUMNS)})"
        f" select {', '.join(_COLUMNS)} from json_populate_recordset(null::conversation.turns, %(rows)s::json)"
        f" on conflict (organization_id, turn_id) do update"
        f" set {', '.join(f'{column} = excluded.{column}' for column in changing)}",
        {"rows": orjson.dumps(turns).decode()},
    )


async def messages_of(tx: Tx, turn: Turn) -> list[Message]:
    """What was written in a turn, oldest first."""
    found = await tx.execute(
        f"select {MESSAGE_READ} from conversation.messages where conversation_id = %(conversation_id)s"
        " and organization_id = %(organization_id)s and message_id = any (%(message_ids)b::text[]::uuid[])"
        " order by create_time, message_id",
        {
            "conversation_id": turn.conversation_id,
            "organization_id": turn.organization_id,
            "message_ids": turn.message_ids,
        },
    )
    return [read_message(row) for row in found]


async def history(tx: Tx, organization_id: UUID, conversation_id: UUID, limit: int) -> list[tuple[str, str]]:
    """The newest texts of a conversation, oldest first, with their directions."""
    found = await tx.execute(
        "select direction, text from conversation.messages where conversation_id = %(conversation_id)s"
        " and organization_id = %(organization_id)s and text <> '' and not deleted"
        " and state not in ('FAILED', 'SUPPRESSED', 'CANCELLED')"
        " order by create_time desc, message_id desc limit %(limit)s",
        {"organization_id": organization_id, "conversation_id": conversation_id, "limit": limit},
    )
    return [(row.direction, row.text) for row in found][::-1]


async def has_replies(tx: Tx, turn: Turn, since: datetime, count: int) -> bool:
    """Whether the turn's conversation was given so many automatic replies since a time; no more are looked at."""
    found = await tx.execute(
        "select count(*) from (select from conversation.deliveries where organization_id = %(organization_id)s"
        " and conversation_id = %(conversation_id)s and send_class = 'REPLY' and create_time >= %(since)s"
        " order by create_time desc limit %(count)s) replies",
        {
            "organization_id": turn.organization_id,
            "conversation_id": turn.conversation_id,
            "since": since,
            "count": count,
        },
    )
    return int(found.scalar_one()) >= count


async def tokens_used(tx: Tx, organization_id: UUID, day: date) -> int:
    """How many tokens the organization's model took on a day."""
    found = await tx.execute(
        "select coalesce(sum(token_count), 0) from conversation.model_usage"
        " where organization_id = %(organization_id)s and usage_date = %(day)s",
        {"organization_id": organization_id, "day": day},
    )
    return int(found.scalar_one())


async def add_tokens(tx: Tx, organization_id: UUID, day: date, token_count: int) -> None:
    """Counts tokens that were just taken."""
    await tx.execute(
        "insert into conversation.model_usage as used (organization_id, usage_date, token_count)"
        " values (%(organization_id)s, %(day)s, %(token_count)s) on conflict (organization_id, usage_date)"
        " do update set token_count = used.token_count + excluded.token_count",
        {"organization_id": organization_id, "day": day, "token_count": token_count},
    )


def _turn(row: Sequence[Any]) -> Turn:
    turn = Turn(*row)
    turn.state = TurnState(turn.state)
    turn.message_ids = orjson.loads(turn.message_ids)  # type: ignore[arg-type]
    return turn
