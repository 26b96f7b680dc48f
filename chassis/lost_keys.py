"""Taking leave of an encryption key: one that seals nothing any more, or one that is lost with all it sealed.

Whoever migrates does it, in one transaction. Forced row-level security would show that role no row, so the owner's
policy of migrations stands for as long as the transaction lasts; nobody else sees it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

import psycopg
from psycopg import sql

from chassis.keys import SEALED_COLUMNS, plain_url
from chassis.migrations import all_rows
from chassis.system import SERVICES

LOCK_TIMEOUT = "10s"


@dataclass(frozen=True, slots=True)
class SealedColumn:
    """A column with values sealed with one key."""

    service: str
    table: str
    column: str
    required: bool
    """Whether a row cannot be without it: then the row goes with its key."""
    count: int = 0

    @property
    def place(self) -> str:
        """``service.table.column``."""
        return f"{self.service}.{self.table}.{self.column}"


class StillSealed(Exception):
    """The key is in use: without it these values could never be opened again."""

    def __init__(self, columns: Sequence[SealedColumn]) -> None:
        super().__init__(", ".join(f"{column.place} ({column.count})" for column in columns))
        self.columns = list(columns)


def sealed_with(database_url: str, key_id: str) -> list[SealedColumn]:
    """The columns in which something is sealed with this key, with the number of values; changes nothing."""
    with _every_row(database_url) as connection:
        return _count(connection, key_id)


def forget_key(database_url: str, key_id: str, *, lost: bool, now: datetime) -> list[SealedColumn]:
    """Deletes the key's fingerprints, and with ``lost`` all that it sealed; answers what that was.

    A connection that loses its last secret takes no unsigned webhook from ``now`` on. Raises StillSealed where
    something is sealed with the key and it is not lost; nothing is changed then.
    """
    with _every_row(database_url) as connection:
        found = _count(connection, key_id)
        if found and not lost:
            raise StillSealed(found)
        if any(column.service == "ingest" for column in found):
            _accept_nothing_unsigned(connection, key_id, now)
        for column in found:
            connection.execute(_removal(column), [_prefix(key_id)])
        for service in _services_with_fingerprints(connection):
            name = sql.Identifier(service, "key_fingerprints")
            connection.execute(sql.SQL("delete from {} where key_id = %s").format(name), [key_id])
    return found


@contextmanager
def _every_row(database_url: str) -> Iterator[psycopg.Connection]:
    """One transaction that sees the rows of every organization in the tables with sealed columns."""
    with psycopg.connect(plain_url(database_url)) as connection, ExitStack() as policies:
        connection.execute(sql.SQL("set local lock_timeout = {}").format(sql.Literal(LOCK_TIMEOUT)))
        columns = sorted(_sealed_columns(connection), key=lambda column: column.service)
        for service, of_service in groupby(columns, key=lambda column: column.service):
            tables = sorted({column.table for column in of_service})
            policies.enter_context(all_rows(lambda statement: connection.execute(statement.encode()), service, *tables))
        yield connection


def _sealed_columns(connection: psycopg.Connection) -> list[SealedColumn]:
    rows = connection.execute(
        "select c.table_schema, c.table_name, c.column_name, c.is_nullable = 'NO' from information_schema.columns c"
        " join information_schema.tables t using (table_schema, table_name)"
        " where c.table_schema = any (%s) and c.column_name like %s and c.data_type = 'bytea'"
        " and t.table_type = 'BASE TABLE' order by 1, 2, 3",
        [list(SERVICES), SEALED_COLUMNS],
    )
    return [SealedColumn(*row) for row in rows]


def _count(connection: psycopg.Connection, key_id: str) -> list[SealedColumn]:
    found = []
    for column in _sealed_columns(connection):
        query = sql.SQL("select count(*) from {} where position(%s::bytea in {}) = 1").format(
            sql.Identifier(column.service, column.table), sql.Identifier(column.column)
        )
        row = connection.execute(query, [_prefix(key_id)]).fetchone()
        if row is not None and row[0]:
            found.append(SealedColumn(column.service, column.table, column.column, column.required, row[0]))
    return found


def _removal(column: SealedColumn) -> sql.Composed:
    table, name = sql.Identifier(column.service, column.table), sql.Identifier(column.column)
    if column.required:
        return sql.SQL("delete from {} where position(%s::bytea in {}) = 1").format(table, name)
    return sql.SQL("update {} set {} = null where position(%s::bytea in {}) = 1").format(table, name, name)


def _accept_nothing_unsigned(connection: psycopg.Connection, key_id: str, now: datetime) -> None:
    """A lost secret must not open the way that is meant for connections which have none yet."""
    connection.execute(
        "update ingest.connections c set unsigned_end_time = %(now)s where exists (select from"
        " ingest.connection_secrets s where s.connection_id = c.id and position(%(prefix)s::bytea in"
        " s.secret_sealed) = 1)",
        {"now": now, "prefix": _prefix(key_id)},
    )


def _services_with_fingerprints(connection: psycopg.Connection) -> list[str]:
    rows = connection.execute(
        "select schemaname from pg_tables where tablename = 'key_fingerprints' and schemaname = any (%s) order by 1",
        [list(SERVICES)],
    )
    return [service for (service,) in rows]


def _prefix(key_id: str) -> bytes:
    return key_id.encode() + b":"
