"""The way down: how far it may go, who is at work, and what would be lost, found by trying it and taking it back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, event

from chassis.database_trouble import SEES_ALL
from chassis.lines import chassis_versions, known_versions
from chassis.migrate import applied_versions, connected, downgrade
from chassis.migrations import VERSION_TABLES, role
from chassis.system import SERVICES

OLDEST_SUPPORTED: Mapping[str, str] = {
    "identity": "identity_0005",
    "ingest": "ingest_0007",
    "conversation": "conversation_0006",
    "outreach": "outreach_0003",
    "crm": "crm_0003",
}
"""By service, the schema of the oldest release that this one can be taken back to. Below it there is no release whose
code would run, only an emptier database; a release raises it."""
OLDEST_CHASSIS = "chassis_0003"
"""The same for the chassis' tables, which are taken back after a service's own."""
_CONCURRENTLY = re.compile(r"\bconcurrently\b", re.IGNORECASE)
"""Has no place in a transaction, and makes no difference to what is lost."""
_VERSIONS = list(VERSION_TABLES)

_SESSIONS = """
select usename, count(*) from pg_stat_activity
where datname = current_database() and usename = any (%s) and pid <> pg_backend_pid()
group by usename order by usename"""
_COLUMNS = """
select attrelid::regclass::text, attname::text
from pg_attribute join pg_class on pg_class.oid = attrelid
where relnamespace = %s::regnamespace and relkind in ('r', 'p') and not relispartition
  and attnum > 0 and not attisdropped and relname <> all (%s)
order by attrelid::regclass::text, attnum"""
_CHANGED_ROWS = """
select coalesce(pg_partition_root(relid), relid)::regclass::text as name, sum(n_tup_del)::bigint, sum(n_tup_upd)::bigint
from pg_stat_xact_user_tables where schemaname = %s and relname <> all (%s)
group by 1 having sum(n_tup_del) + sum(n_tup_upd) > 0 order by 1"""
_ESTIMATE = """
select coalesce(sum(greatest(reltuples, 0)), 0)::bigint from pg_class
where oid in (select relid from pg_partition_tree(%s::regclass) union select %s::regclass)"""


@dataclass(frozen=True, slots=True)
class Descent:
    """One service's way down, in the revisions that are taken back, newest first."""

    service: str
    current: str
    target: str
    revisions: tuple[str, ...]
    targets: tuple[str, ...] = ()
    """Where each line that is taken back will stand: the service's own, the chassis', or one after the other."""


@dataclass(frozen=True, slots=True)
class Loss:
    """What a way down takes away. `kind` is table, column, deleted rows or changed rows."""

    kind: str
    name: str
    row_count: int
    exact: bool = True
    """False where row-level security hides the rows from whoever migrates, and only the planner's estimate is known."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """How many sessions a service's role has on the database."""

    role: str
    count: int


def available(database_url: str, services: Sequence[str] = SERVICES) -> dict[str, list[str]]:
    """By service, the revisions that may be taken back, newest first: those above the oldest supported release's, the
    service's own before the chassis'."""
    with connected(database_url) as connection:
        return {
            service: [
                *_above(OLDEST_SUPPORTED[service], applied_versions(service, connection)),
                *_above(OLDEST_CHASSIS, applied_versions(service, connection, chassis=True)),
            ]
            for service in services
        }


def plan(database_url: str, steps: int, services: Sequence[str] = SERVICES) -> list[Descent]:
    """The ways down of so many steps at most, of those services that have any."""
    descents = []
    for service, revisions in available(database_url, services).items():
        taken = revisions[:steps]
        if taken:
            lines = (known_versions(service), chassis_versions())
            lowest = [min(set(taken) & set(line), default="") for line in lines]
            targets = tuple(
                line[line.index(version) - 1] for line, version in zip(lines, lowest, strict=True) if version
            )
            descents.append(Descent(service, taken[0], targets[-1], tuple(taken), targets))
    return descents


def sessions(database_url: str) -> list[Sessions]:
    """Which services' roles are signed in to the database: while they are, what they need must not be taken away."""
    with connected(database_url) as connection:
        found = _rows(connection, _SESSIONS, [role(service) for service in SERVICES])
        return [Sessions(name, count) for name, count in found]


def losses(database_url: str, descents: Iterable[Descent]) -> list[Loss]:
    """What the ways down would take away, with how many rows. Each is gone in one transaction, which is taken back."""
    found: list[Loss] = []
    for descent in descents:
        with connected(database_url) as connection:
            before = _rows(connection, _COLUMNS, descent.service, _VERSIONS)
            with _within_one_transaction(connection):
                for target in descent.targets:
                    downgrade(descent.service, target, connection, in_one_transaction=True)
                after = set(_rows(connection, _COLUMNS, descent.service, _VERSIONS))
                changed = _rows(connection, _CHANGED_ROWS, descent.service, _VERSIONS)
                connection.rollback()
            found += _gone(connection, before, after)
            for name, deleted, updated in changed:
                found += [Loss("deleted rows", name, deleted)] if deleted else []
                found += [Loss("changed rows", name, updated)] if updated else []
    return found


def migrate_to(database_url: str, descents: Iterable[Descent]) -> None:
    """Goes the ways down."""
    for descent in descents:
        with connected(database_url) as connection:
            for target in descent.targets:
                downgrade(descent.service, target, connection)


def _above(oldest: str, applied: Sequence[str]) -> list[str]:
    return [version for version in reversed(applied) if version > oldest] if oldest in applied else []


def _gone(connection: Connection, before: Sequence[Any], after: set[Any]) -> list[Loss]:
    left = {table for table, _ in after}
    sees_all = bool(_rows(connection, SEES_ALL)[0][0])
    tables = dict.fromkeys(table for table, _ in before if table not in left)
    lost = [Loss("table", table, _count(connection, table, "*", exact=sees_all), sees_all) for table in tables]
    for table, column in before:
        if table in left and (table, column) not in after:
            counted = _count(connection, table, f'"{column}"', exact=sees_all)
            lost.append(Loss("column", f"{table}.{column}", counted, sees_all))
    return lost


def _count(connection: Connection, table: str, what: str, *, exact: bool) -> int:
    if exact:
        return int(_rows(connection, f"select count({what}) from {table}")[0][0])
    return int(_rows(connection, _ESTIMATE, table, table)[0][0])


def _rows(connection: Connection, statement: str, *parameters: object) -> list[Any]:
    # The driver's own cursor: this connection sends statements without parameters as they are written.
    cursor: Any = connection.connection.cursor()
    with cursor:
        cursor.execute(statement, parameters or None)
        return list(cursor.fetchall())


@contextmanager
def _within_one_transaction(connection: Connection) -> Iterator[None]:
    """Lets statements pass that otherwise need a transaction of their own."""

    def rewritten(_: Any, __: Any, statement: str, parameters: Any, ___: Any, ____: Any) -> tuple[str, Any]:
        return _CONCURRENTLY.sub("", statement), parameters

    event.listen(connection, "before_cursor_execute", rewritten, retval=True)
    try:
        yield
    finally:
        event.remove(connection, "before_cursor_execute", rewritten)
