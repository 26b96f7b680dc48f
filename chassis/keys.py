"""Key files are drawn only where nothing is sealed yet: a lost one is put back, never replaced.

What is sealed begins with the id of its key, and ids are drawn, so the database itself says which keys it needs.
"""

from __future__ import annotations

from pathlib import Path

import psycopg
from psycopg import sql
from sqlalchemy.engine import make_url

from chassis import auth, crypto
from chassis.migrations import SERVICES

SEALED_COLUMNS = "%sealed%"
"""What the columns with sealed values are called."""
KEY_ID_LENGTH_MAX = 64


class KeysLost(Exception):
    """Something is sealed with keys that are not there; the message says what to do."""

    def __init__(self, keys_dir: Path, missing: set[str]) -> None:
        named = ", ".join(sorted(missing))
        super().__init__(
            f"{keys_dir / crypto.KEY_FILE} lacks the key {named}, with which secrets in the database are sealed. Put "
            "the file back from a backup: no other key opens them. Where it is lost for good, the runbook's section "
            "about lost keys says how to go on."
        )


def create_keys(keys_dir: Path, database_url: str = "") -> None:
    """Draws the key files that are missing. Raises KeysLost where the database needs one that is."""
    if database_url:
        require_keys(keys_dir, database_url)
    auth.create_key_files(keys_dir)
    crypto.create_key_file(keys_dir)


def require_keys(keys_dir: Path, database_url: str) -> None:
    """Raises KeysLost where something in the database is sealed with a key that the file lacks."""
    missing = sealed_key_ids(database_url) - crypto.read_key_ids(keys_dir)
    if missing:
        raise KeysLost(keys_dir, missing)


def sealed_key_ids(database_url: str) -> set[str]:
    """The ids of the keys with which something is sealed, as far as the URL's role may see."""
    url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url, autocommit=True) as connection:
        columns = connection.execute(
            "select table_schema, table_name, column_name from information_schema.columns"
            " where table_schema = any (%s) and column_name like %s and data_type = 'bytea'",
            [list(SERVICES), SEALED_COLUMNS],
        ).fetchall()
        found = set()
        for schema, table, column in columns:
            query = sql.SQL(
                "select distinct split_part(encode(substring({column} for {length}), 'escape'), ':', 1)"
                " from {table} where {column} is not null"
            ).format(
                column=sql.Identifier(column),
                length=sql.Literal(KEY_ID_LENGTH_MAX),
                table=sql.Identifier(schema, table),
            )
            found |= {key_id for (key_id,) in connection.execute(query)}
        return found
