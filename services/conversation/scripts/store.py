"""Scripts in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from dataclasses import astuple
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from chassis.db import Tx, refused_by
from chassis.errors import AlreadyExists
from services.conversation.scripts.script import CatchUp, Participant, Script, ScriptState
from services.conversation.scripts.week import Window

_PLAIN = (
    *("organization_id", "script_id", "name", "state", "time_zone", "exchanges_min", "exchanges_max"),
    *("delay_min_seconds", "delay_max_seconds", "round_gap_seconds", "catch_up", "grace_seconds", "create_time"),
    "version",
)
_LISTS = ("participants", "topics", "windows")
_COLUMNS = (*_PLAIN, *_LISTS)
_INSERT = f"""
insert into conversation.scripts ({", ".join(_COLUMNS)}) values ({", ".join(f"%({column})s" for column in _COLUMNS)})
"""
_UPDATE = f"""
update conversation.scripts set {", ".join(f"{column} = %({column})s" for column in _COLUMNS[2:])}
where organization_id = %(organization_id)s and script_id = %(script_id)s
"""
_SELECT = f"""
select {", ".join(_PLAIN)}, {", ".join(f"{column}::text" for column in _LISTS)} from conversation.scripts
where organization_id = %(organization_id)s
"""


async def find(tx: Tx, organization_id: UUID, script_id: UUID, *, lock: bool = False) -> Script | None:
    """One script; ``lock`` keeps it as it is until commit."""
    found = await tx.execute(
        f"{_SELECT} and script_id = %(script_id)s{' for update' if lock else ''}",
        {"organization_id": organization_id, "script_id": script_id},
    )
    row = found.one_or_none()
    return None if row is None else _script(row)


async def list_by_name(
    tx: Tx, organization_id: UUID, state: str | None, after: tuple[str, UUID] | None, row_limit: int
) -> list[Script]:
    """Scripts after a name and id."""
    name, script_id = after or ("", UUID(int=0))
    found = await tx.execute(
        f"{_SELECT} and (%(state)s::text is null or state = %(state)s) and (name, script_id) > (%(name)s, %(after)s)"
        " order by name, script_id limit %(row_limit)s",
        {
            "organization_id": organization_id,
            "state": state,
            "name": name,
            "after": script_id,
            "row_limit": row_limit,
        },
    )
    return [_script(row) for row in found]


async def count(tx: Tx, organization_id: UUID) -> int:
    """How many the organization has."""
    found = await tx.execute(
        "select count(*) from conversation.scripts where organization_id = %(organization_id)s",
        {"organization_id": organization_id},
    )
    return int(found.scalar_one())


async def insert(tx: Tx, script: Script) -> None:
    """Writes a new one. Raises AlreadyExists NAME_TAKEN."""
    await _write(tx, _INSERT, script)


async def update(tx: Tx, script: Script) -> None:
    """Writes one that is locked. Raises AlreadyExists NAME_TAKEN."""
    await _write(tx, _UPDATE, script)


async def uses_of(tx: Tx, organization_id: UUID, persona_id: UUID) -> list[str]:
    """The scripts that a persona speaks in, in words."""
    found = await tx.execute(
        "select name from conversation.scripts where organization_id = %(organization_id)s and exists ("
        "select from jsonb_array_elements(participants) one where one ->> 1 = %(persona_id)s) order by name",
        {"organization_id": organization_id, "persona_id": str(persona_id)},
    )
    return [f'the script "{row.name}"' for row in found]


async def next_round_times(tx: Tx, organization_id: UUID) -> dict[UUID, datetime]:
    """By script, when its next round is due."""
    found = await tx.execute(
        "select script_id, min(due_time) as due_time from conversation.rounds"
        " where organization_id = %(organization_id)s and state = 'PLANNED' group by script_id",
        {"organization_id": organization_id},
    )
    return {row.script_id: row.due_time for row in found}


async def _write(tx: Tx, statement: str, script: Script) -> None:
    values: dict[str, Any] = {column: getattr(script, column) for column in _PLAIN}
    values |= {"state": script.state.value, "catch_up": script.catch_up.value}
    values["participants"] = orjson.dumps([astuple(participant) for participant in script.participants]).decode()
    values["topics"] = orjson.dumps(script.topics).decode()
    values["windows"] = orjson.dumps([astuple(window) for window in script.windows]).decode()
    taken = AlreadyExists("NAME_TAKEN", f'Another script is called "{script.name}". Choose another name.')
    with refused_by("scripts_name", taken):
        await tx.execute(statement, values)


def _script(row: Any) -> Script:
    values = {column: getattr(row, column) for column in _PLAIN}
    values |= {"state": ScriptState(row.state), "catch_up": CatchUp(row.catch_up)}
    return Script(
        participants=tuple(
            Participant(UUID(channel_id), UUID(persona_id), phone)
            for channel_id, persona_id, phone in orjson.loads(row.participants)
        ),
        topics=tuple(orjson.loads(row.topics)),
        windows=tuple(Window(*window) for window in orjson.loads(row.windows)),
        **values,
    )
