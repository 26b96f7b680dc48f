"""The cases of one table: what a service's role can do to A's rows while it may see B's alone.

The same cases run twice: on the database as it is, where they must find nothing, and with one policy opened, where
they must find something.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import Any

import psycopg
from psycopg import errors
from psycopg.types.json import Jsonb

from tests.isolation.catalogue import APPEND_ONLY, Connection, Table, rows
from tests.isolation.parties import Filled


class _Undone(Exception):
    """Ends a transaction whose effects are not wanted."""


def set_organizations(connection: Connection, *organization_ids: Any) -> None:
    """Names the organizations that the rest of the transaction may see, as ``chassis.db.scope`` does."""
    connection.execute(
        "select set_config('app.organization_ids', %s, true)", [",".join(str(value) for value in organization_ids)]
    )


def leaks(service: Connection, admin: Connection, table: Table, filled: Filled) -> list[str]:
    """What B can do with rows that are A's; empty where the two are kept apart."""
    found = []
    with suppress(_Undone), service.transaction():
        set_organizations(service, filled.b.organization_id)
        if count(service, table, table.of_a):
            found.append("reads A's rows")
        if count(service, table, f"not ({table.of_b})"):
            found.append("reads rows that are not B's")
        found += _written(service, admin, table)
        raise _Undone
    return found


def _written(service: Connection, admin: Connection, table: Table) -> Iterable[str]:
    attempts = {
        "updates A's rows": f"update {table} set {table.owner_column} = {table.owner_column} where {table.of_a}",
        "deletes A's rows": f"delete from {table} where {table.of_a}",
        "makes its own rows A's": f"update {table} set {table.owner_column} = '{table.id_of_a}' where {table.of_b}",
    }
    for sentence, statement in attempts.items():
        outcome = _attempt(service, statement)
        if outcome not in ("0 rows", "refused") and not (table.view and outcome != "rows"):
            yield f"{sentence} ({outcome})"
    outcome = insert_copy(service, admin, table, table.of_a)
    if outcome != "refused" and not (table.view and outcome != "rows"):
        yield f"inserts rows for A ({outcome})"


def insert_copy(service: Connection, admin: Connection, table: Table, condition: str) -> str:
    """Inserts a copy of one of those rows; its key is taken, but a policy is asked before any key."""
    (row,) = rows(admin, f"select to_jsonb(t) as row from {table} t where {condition} limit 1")
    return _attempt(
        service,
        f"insert into {table} overriding system value select * from jsonb_populate_record(null::{table}, %s)",
        Jsonb(row["row"]),
    )


def _attempt(service: Connection, statement: str, *parameters: Any) -> str:
    """How a statement ends: ``refused``, ``0 rows``, ``rows``, or the name of another error."""
    outcome = "rows"
    with suppress(_Undone), service.transaction():
        try:
            with service.transaction():
                if service.execute(statement.encode(), parameters or None).rowcount == 0:
                    outcome = "0 rows"
        except errors.InsufficientPrivilege:
            outcome = "refused"
        except psycopg.Error as error:
            outcome = type(error).__name__
        raise _Undone
    return outcome


def count(service: Connection, table: Table, condition: str = "true") -> int:
    """How many rows of a table the connection sees."""
    (row,) = rows(service, f"select count(*) as found from {table} where {condition}")
    return int(row["found"])


def own_hand(service: Connection, admin: Connection, table: Table, filled: Filled) -> list[str]:
    """The control: everything that B cannot do with A's rows, A can. Empty when that is so."""
    missing = []
    with suppress(_Undone), service.transaction():
        set_organizations(service, filled.a.organization_id)
        expected = count(admin, table, table.of_a)
        if not expected:
            missing.append("A has no row; fill the table in tests/isolation/filling*.py")
        elif count(service, table) != expected:
            missing.append("A does not read all of its rows")
        elif not table.view:
            missing += _not_written(service, admin, table)
        raise _Undone
    return missing


def _not_written(service: Connection, admin: Connection, table: Table) -> Iterable[str]:
    touch = f"update {table} set {table.owner_column} = {table.owner_column} where {table.of_a}"
    if str(table) in APPEND_ONLY:
        for statement in (touch, f"delete from {table} where {table.of_a}"):
            if (outcome := _attempt(service, statement)) != "refused":
                yield f"A changes what is only ever added ({outcome})"
        if (outcome := insert_copy(service, admin, table, table.of_a)) not in ("UniqueViolation", "rows"):
            yield f"A does not insert rows ({outcome})"
        return
    if (outcome := _attempt(service, touch)) != "rows":
        yield f"A does not update its rows ({outcome})"
    # A row that others refer to stays, for a reason that is not a policy's.
    if (outcome := _attempt(service, f"delete from {table} where {table.of_a}")) not in ("rows", "ForeignKeyViolation"):
        yield f"A does not delete its rows ({outcome})"
    if (outcome := insert_copy(service, admin, table, table.of_a)) not in ("UniqueViolation", "rows"):
        yield f"A does not insert rows ({outcome})"


def seen_without_organization(service: Connection, table: Table) -> list[str]:
    """What is seen or touched while no organization is named; empty where nothing is. Never fails."""
    found = []
    try:
        if count(service, table):
            found.append("rows are read")
        touch = f"update {table} set {table.owner_column} = {table.owner_column}"
        statements = () if table.view else (touch, f"delete from {table}")
        outcomes = {statement.split()[0]: _attempt(service, statement) for statement in statements}
        harmless = "refused" if str(table) in APPEND_ONLY else "0 rows"
        found += [f"{verb} ({outcome})" for verb, outcome in outcomes.items() if outcome != harmless]
    except psycopg.Error as error:
        found.append(repr(error))
    return found
