"""The table of reactions; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import fields
from uuid import UUID

import orjson

from chassis.db import Tx
from chassis.errors import Aborted
from services.conversation.messages.domain.message import Author, Direction, MessageKey
from services.conversation.messages.domain.reaction import Reaction

REACTIONS_PER_MESSAGE_MAX = 100
"""How many of a message's reactions a list of messages shows."""

_COLUMNS = tuple(field.name for field in fields(Reaction))
_NAMES = ", ".join(_COLUMNS)
_IDS = ("organization_id", "channel_id", "conversation_id")
_READ = ", ".join(f"{column}::text" if column in _IDS else column for column in _COLUMNS)
_TYPES = {
    **dict.fromkeys(_IDS, "uuid"),
    "removed": "boolean",
    "create_time": "timestamptz",
    "generation": "bigint",
    "told_time_us": "bigint",
}
_GIVEN = ", ".join(f"{column} {_TYPES.get(column, 'text')}" for column in _COLUMNS)

_LOAD = f"""
select {_READ}
from unnest(%(organization_ids)b::text[]::uuid[], %(channel_ids)b::text[]::uuid[], %(provider_ids)b::text[])
  as wanted (organization_id, channel_id, provider_message_id)
join conversation.message_reactions using (organization_id, channel_id, provider_message_id)
"""
# Whoever writes a reaction holds its conversation, but another conversation may get the same id at the same moment: the
# insertion waits for that one, and changes nothing of it.
_WRITE = f"""
insert into conversation.message_reactions as kept ({_NAMES})
select {_NAMES} from json_to_recordset(%(rows)s::json) as given ({_GIVEN})
on conflict on constraint message_reactions_pkey do update
set text = case when kept.removed then '' else excluded.text end, removed = kept.removed or excluded.removed
where kept.conversation_id = excluded.conversation_id
"""
# One person has one reaction on a message: the newest counts, and is shown unless it was taken back.
_OF_MESSAGES = f"""
select {_READ} from (
  select distinct on (target_provider_message_id, direction, author, author_name) *
  from conversation.message_reactions
  where conversation_id = %(conversation_id)s and organization_id = %(organization_id)s
    and target_provider_message_id = any (%(targets)b)
  order by target_provider_message_id, direction, author, author_name, create_time desc, provider_message_id desc
) newest
where not removed
order by create_time, provider_message_id
limit %(row_limit)s
"""


async def load_reactions(tx: Tx, keys: Collection[MessageKey]) -> dict[MessageKey, list[Reaction]]:
    """Those of the reactions that are known, the last that had each key first."""
    if not keys:
        return {}
    rows = await tx.execute(
        _LOAD,
        {
            "organization_ids": [key[0] for key in keys],
            "channel_ids": [key[1] for key in keys],
            "provider_ids": [key[2] for key in keys],
        },
    )
    found: dict[MessageKey, list[Reaction]] = {}
    for reaction in map(_reaction, rows):
        found.setdefault(reaction.key, []).append(reaction)
    for same_key in found.values():
        same_key.sort(key=lambda reaction: -reaction.generation)
    return found


async def write_reactions(tx: Tx, reactions: Sequence[Reaction]) -> None:
    """Adds reactions, or changes what is known of them.

    Raises Aborted CONVERSATION_RACED where another conversation got the same id of the provider at the same moment.
    """
    if not reactions:
        return
    ordered = sorted(reactions, key=lambda reaction: (reaction.key, reaction.generation))
    written = await tx.execute(_WRITE, {"rows": orjson.dumps(ordered).decode()})
    if written.rowcount < len(ordered):
        raise Aborted("CONVERSATION_RACED", "Another conversation got the reaction's id at the same moment. Try again.")


async def reactions_of(
    tx: Tx, organization_id: UUID, conversation_id: UUID, targets: Sequence[str]
) -> dict[str, list[Reaction]]:
    """Each person's newest reaction on each of a conversation's messages, by the provider's id of the message."""
    found: dict[str, list[Reaction]] = {}
    if not targets:
        return found
    rows = await tx.execute(
        _OF_MESSAGES,
        {
            "organization_id": organization_id,
            "conversation_id": conversation_id,
            "targets": list(targets),
            "row_limit": len(targets) * REACTIONS_PER_MESSAGE_MAX,
        },
    )
    for reaction in map(_reaction, rows):
        of_message = found.setdefault(reaction.target_provider_message_id, [])
        if len(of_message) < REACTIONS_PER_MESSAGE_MAX:
            of_message.append(reaction)
    return found


def _reaction(row: Sequence[object]) -> Reaction:
    reaction = Reaction(*row)  # type: ignore[arg-type]
    reaction.direction = Direction(reaction.direction)
    reaction.author = Author(reaction.author)
    return reaction
