"""Imports, the parts of their files and their rows at fault in SQL; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from chassis.db import Tx
from services.outreach.lists.domain import Columns, Import, ImportState, RowError
from services.outreach.sending.kill_switch import Actor

_CHANGING = (
    *("state", "file_size", "columns", "encoding", "delimiter", "dry_run", "position", "line", "processed_count"),
    *("row_count", "created_count", "existing_count", "error_count", "explanation", "end_time", "tell_time", "version"),
)
_COLUMNS = (
    *("organization_id", "id", "contact_list_id", "source", "file_name", "principal", "principal_name", "create_time"),
    *_CHANGING,
)

_INSERT = f"""
insert into outreach.contact_imports ({", ".join(_COLUMNS)})
values ({", ".join(f"%({column})s" for column in _COLUMNS)})
"""

_READ = ", ".join("columns::text as columns" if column == "columns" else column for column in _COLUMNS)
_FIND = f"select {_READ} from outreach.contact_imports where organization_id = %(organization_id)s"

_UPDATE = f"""
update outreach.contact_imports set {", ".join(f"{column} = %({column})s" for column in _CHANGING)}
where organization_id = %(organization_id)s and id = %(id)s
"""

_INSERT_PART = """
insert into outreach.import_parts (organization_id, contact_import_id, position, part, create_time)
values (%(organization_id)s, %(id)s, %(position)s, %(part)s, %(now)s)
"""

_HAS_PART = """
select part = %(part)s as same from outreach.import_parts
where organization_id = %(organization_id)s and contact_import_id = %(id)s and position = %(position)s
"""

_READ_FILE = """
select greatest(position, %(position)s) as begins,
  substring(part from (greatest(%(position)s - position, 0) + 1)::int for %(size)s::int) as slice
from outreach.import_parts
where organization_id = %(organization_id)s and contact_import_id = %(id)s
  and position < %(position)s + %(size)s and position + octet_length(part) > %(position)s
order by position
"""

_INSERT_ERRORS = """
insert into outreach.import_errors
  (organization_id, contact_import_id, line, column_name, value, reason, message, create_time)
select %(organization_id)s, %(id)s, fault.*, %(now)s
from unnest(%(lines)b::bigint[], %(columns)b::text[], %(values)b::text[], %(reasons)b::text[], %(messages)b::text[])
  as fault
"""


async def insert_import(tx: Tx, made: Import) -> None:
    """Writes a new import."""
    await tx.execute(_INSERT, _values(made))


async def find_import(tx: Tx, organization_id: UUID, import_id: UUID, *, lock: bool = False) -> Import | None:
    """One of the organization's imports, locked if it is to be changed."""
    locking = " for update" if lock else ""
    found = await tx.execute(f"{_FIND} and id = %(id)s{locking}", {"organization_id": organization_id, "id": import_id})
    row = found.one_or_none()
    return None if row is None else _import(row)


async def list_imports(tx: Tx, organization_id: UUID, before: UUID | None, row_limit: int) -> list[Import]:
    """Imports older than ``before``, newest first."""
    values: dict[str, object] = {"organization_id": organization_id, "row_limit": row_limit}
    condition = ""
    if before is not None:
        condition = "and id < %(before)s"
        values["before"] = before
    found = await tx.execute(f"{_FIND} {condition} order by id desc limit %(row_limit)s", values)
    return [_import(row) for row in found]


async def count_open(tx: Tx, organization_id: UUID, since: datetime) -> int:
    """How many imports made since then run, or have a file that nobody has read to its end."""
    found = await tx.execute(
        "select count(*) from outreach.contact_imports where organization_id = %(organization_id)s"
        " and state in ('UPLOADING', 'RUNNING') and create_time > %(since)s",
        {"organization_id": organization_id, "since": since},
    )
    count: int = found.scalar_one()
    return count


async def count_file_bytes(tx: Tx, organization_id: UUID) -> int:
    """How large all files are together that the organization keeps."""
    found = await tx.execute(
        "select coalesce(sum(file_size), 0)::bigint from outreach.contact_imports"
        " where organization_id = %(organization_id)s and id in ("
        "select contact_import_id from outreach.import_parts where organization_id = %(organization_id)s)",
        {"organization_id": organization_id},
    )
    count: int = found.scalar_one()
    return count


async def update_import(tx: Tx, changed: Import) -> None:
    """Writes an import that is locked."""
    await tx.execute(_UPDATE, _values(changed))


async def insert_part(tx: Tx, to: Import, part: bytes, now: datetime) -> None:
    """Keeps a part of the file, at its end."""
    await tx.execute(_INSERT_PART, _part(to, to.file_size, part) | {"now": now})


async def has_part(tx: Tx, of: Import, position: int, part: bytes) -> bool:
    """Whether this very part is kept at that place."""
    found = await tx.execute(_HAS_PART, _part(of, position, part))
    return bool(found.scalar())


async def read_file(tx: Tx, of: Import, position: int, size: int) -> bytes:
    """The file's bytes from a position on; fewer where parts are gone or it ends."""
    found = await tx.execute(
        _READ_FILE, {"organization_id": of.organization_id, "id": of.id, "position": position, "size": size}
    )
    data = b""
    for row in found:
        if row.begins != position + len(data):
            break
        data += bytes(row.slice)
    return data[:size]


async def delete_parts(tx: Tx, of: Import) -> None:
    """Forgets the file."""
    await tx.execute(
        "delete from outreach.import_parts where organization_id = %(organization_id)s and contact_import_id = %(id)s",
        {"organization_id": of.organization_id, "id": of.id},
    )


async def insert_errors(tx: Tx, of: Import, errors: Sequence[RowError], now: datetime) -> None:
    """Keeps rows at fault."""
    if not errors:
        return
    await tx.execute(
        _INSERT_ERRORS,
        {
            "organization_id": of.organization_id,
            "id": of.id,
            "lines": [error.line for error in errors],
            "columns": [error.column for error in errors],
            "values": [error.value for error in errors],
            "reasons": [error.reason for error in errors],
            "messages": [error.message for error in errors],
            "now": now,
        },
    )


async def delete_errors(tx: Tx, of: Import) -> None:
    """Forgets the rows at fault, which are to be found again."""
    await tx.execute(
        "delete from outreach.import_errors where organization_id = %(organization_id)s and contact_import_id = %(id)s",
        {"organization_id": of.organization_id, "id": of.id},
    )


async def list_errors(
    tx: Tx, organization_id: UUID, import_id: UUID, after_line: int, row_limit: int
) -> list[RowError]:
    """Rows at fault after a line, by line."""
    found = await tx.execute(
        "select line, column_name, value, reason, message from outreach.import_errors"
        " where organization_id = %(organization_id)s and contact_import_id = %(id)s and line > %(after)s"
        " order by line limit %(row_limit)s",
        {"organization_id": organization_id, "id": import_id, "after": after_line, "row_limit": row_limit},
    )
    return [RowError(*row) for row in found]


def _part(of: Import, position: int, part: bytes) -> dict[str, object]:
    return {"organization_id": of.organization_id, "id": of.id, "position": position, "part": part}


def _values(kept: Import) -> dict[str, object]:
    values: dict[str, object] = {column: getattr(kept, column, None) for column in _COLUMNS}
    return values | {
        "columns": orjson.dumps(asdict(kept.columns)).decode(),
        "state": kept.state.value,
        "principal": kept.actor.principal,
        "principal_name": kept.actor.name,
    }


def _import(row: Any) -> Import:
    values = {column: getattr(row, column) for column in _COLUMNS if column not in ("principal", "principal_name")}
    return Import(
        **(values | {"columns": Columns(**orjson.loads(row.columns)), "state": ImportState(row.state)}),
        actor=Actor(row.principal, row.principal_name),
    )
