"""Personas in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import orjson

from chassis.db import Tx, refused_by
from chassis.errors import AlreadyExists
from services.conversation.personas.persona import Persona, ReplyTemplate

PLAIN_COLUMNS = (
    *("organization_id", "persona_id", "name", "create_time"),
    *("morning_greeting", "afternoon_greeting", "evening_greeting"),
    *("style", "language", "temperature", "text_length_max", "version"),
)
_COLUMNS = (*PLAIN_COLUMNS, "fallback_texts", "reply_templates")

_INSERT = f"""
insert into conversation.personas ({", ".join(_COLUMNS)})
values ({", ".join(f"%({column})s" for column in _COLUMNS)})
"""
_UPDATE = f"""
update conversation.personas set {", ".join(f"{column} = %({column})s" for column in _COLUMNS[2:])}
where organization_id = %(organization_id)s and persona_id = %(persona_id)s
"""
_SELECT = f"""
select {", ".join(PLAIN_COLUMNS)}, fallback_texts::text, reply_templates::text from conversation.personas
where organization_id = %(organization_id)s
"""


async def find(tx: Tx, organization_id: UUID, persona_id: UUID, *, lock: bool = False) -> Persona | None:
    """One persona; ``lock`` keeps it as it is until commit."""
    found = await tx.execute(
        f"{_SELECT} and persona_id = %(persona_id)s{' for update' if lock else ''}",
        {"organization_id": organization_id, "persona_id": persona_id},
    )
    row = found.one_or_none()
    return None if row is None else _persona(row)


async def hold(tx: Tx, organization_id: UUID, persona_ids: Sequence[UUID]) -> set[UUID]:
    """Those of the personas that there are; none of them ends before the commit."""
    found = await tx.execute(
        "select persona_id from conversation.personas where organization_id = %(organization_id)s"
        " and persona_id = any (%(persona_ids)b::uuid[]) order by persona_id for share",
        {"organization_id": organization_id, "persona_ids": list(persona_ids)},
    )
    return {row.persona_id for row in found}


async def list_by_name(tx: Tx, organization_id: UUID, after: tuple[str, UUID] | None, row_limit: int) -> list[Persona]:
    """Personas after a name and id."""
    name, persona_id = after or ("", UUID(int=0))
    found = await tx.execute(
        f"{_SELECT} and (name, persona_id) > (%(name)s, %(persona_id)s) order by name, persona_id limit %(row_limit)s",
        {"organization_id": organization_id, "name": name, "persona_id": persona_id, "row_limit": row_limit},
    )
    return [_persona(row) for row in found]


async def count(tx: Tx, organization_id: UUID) -> int:
    """How many the organization has."""
    found = await tx.execute(
        "select count(*) from conversation.personas where organization_id = %(organization_id)s",
        {"organization_id": organization_id},
    )
    return int(found.scalar_one())


async def insert(tx: Tx, persona: Persona) -> None:
    """Writes a new one. Raises AlreadyExists NAME_TAKEN."""
    await _write(tx, _INSERT, persona)


async def update(tx: Tx, persona: Persona) -> None:
    """Writes one that is locked. Raises AlreadyExists NAME_TAKEN."""
    await _write(tx, _UPDATE, persona)


async def delete(tx: Tx, organization_id: UUID, persona_id: UUID) -> None:
    """Ends one that is locked."""
    await tx.execute(
        "delete from conversation.personas where organization_id = %(organization_id)s and persona_id = %(persona_id)s",
        {"organization_id": organization_id, "persona_id": persona_id},
    )


async def _write(tx: Tx, statement: str, persona: Persona) -> None:
    values: dict[str, Any] = {column: getattr(persona, column) for column in PLAIN_COLUMNS}
    values["fallback_texts"] = orjson.dumps(persona.fallback_texts).decode()
    values["reply_templates"] = orjson.dumps(
        [[template.intent, template.phrases, template.texts] for template in persona.reply_templates]
    ).decode()
    taken = AlreadyExists("NAME_TAKEN", f'Another persona is called "{persona.name}". Choose another name.')
    with refused_by("personas_name", taken):
        await tx.execute(statement, values)


def _persona(row: Any) -> Persona:
    return Persona(
        fallback_texts=tuple(orjson.loads(row.fallback_texts)),
        reply_templates=tuple(
            ReplyTemplate(intent, tuple(phrases), tuple(texts))
            for intent, phrases, texts in orjson.loads(row.reply_templates)
        ),
        **{column: getattr(row, column) for column in PLAIN_COLUMNS},
    )
