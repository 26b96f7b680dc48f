"""Key files are drawn only where nothing is sealed yet: a lost one is put back, never replaced.

What is sealed begins with the id of its key, and ids are drawn, so the database itself says which keys it needs. Every
service that seals also keeps the fingerprints of the keys it has worked with: a process with another file does not
start.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import psycopg
import structlog
from psycopg import sql
from sqlalchemy.engine import make_url

from chassis import auth, crypto
from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Database
from chassis.errors import ProsaError
from chassis.inner import NotReady
from chassis.system import SEALING, SERVICES

SEALED_COLUMNS = "%sealed%"
"""What the columns with sealed values are called."""
KEY_ID_LENGTH_MAX = 64

logger = structlog.get_logger(__name__)


class KeysLost(Exception):
    """Something is sealed with keys that are not there; the message says what to do."""

    def __init__(self, keys_dir: Path, missing: set[str]) -> None:
        named = ", ".join(sorted(missing))
        super().__init__(
            f"{keys_dir / crypto.KEY_FILE} lacks the key {named}, with which this installation seals its secrets. Put "
            "the file back from a backup: no other key opens them. Where it is lost for good, say so with "
            "`prosa keys forget KEY_ID --lost`."
        )


def create_keys(keys_dir: Path, database_url: str = "") -> None:
    """Draws the key files that are missing. Raises KeysLost where the database needs one that is."""
    if database_url:
        require_keys(keys_dir, database_url)
    auth.create_key_files(keys_dir)
    crypto.create_key_file(keys_dir)


def require_keys(keys_dir: Path, database_url: str) -> None:
    """Raises KeysLost where something in the database is sealed with a key that the file lacks."""
    needed = known_key_ids(database_url) | sealed_key_ids(database_url)
    missing = needed - crypto.read_key_ids(keys_dir)
    if missing:
        raise KeysLost(keys_dir, missing)


def export_keys(keys_dir: Path, directory: Path, services: Collection[str]) -> list[str]:
    """Copies what processes of these services need into a new folder; answers the names of the files.

    That is the private key of each, the public halves of all, and what opens secrets where one of them keeps some.
    Raises OSError, FileExistsError where there is such a folder.
    """
    names = [f"{service}.key" for service in services]
    names += [path.name for path in keys_dir.glob("*.pub")]
    if SEALING & set(services):
        names.append(crypto.KEY_FILE)
    contents = {name: (keys_dir / name).read_bytes() for name in sorted(names)}
    directory.mkdir(mode=0o700, parents=True)
    for name, content in contents.items():
        crypto.write_whole(directory / name, content)
    return list(contents)


class Fingerprints:
    """The keys that a service has worked with, as its schema remembers them."""

    def __init__(self, db: Database, service: str, keys_dir: Path, vault: Vault, clock: Clock) -> None:
        self._db, self._service, self._keys_dir = db, service, keys_dir
        self._vault, self._clock = vault, clock
        self._compared = False

    async def compare(self) -> None:
        """Raises KeysLost where the key file lacks a key that was in use or has another under its id, and what the
        database raises; remembers the file's keys. Does nothing once that was done."""
        if self._compared:
            return
        mine = self._vault.fingerprints
        async with self._db.transaction() as tx:
            found = await tx.execute(f"select key_id, fingerprint from {self._service}.key_fingerprints")
            known = {row.key_id: bytes(row.fingerprint) for row in found}
            if missing := {key_id for key_id, fingerprint in known.items() if mine.get(key_id) != fingerprint}:
                raise KeysLost(self._keys_dir, missing)
            new = sorted(mine.keys() - known.keys())
            if new:
                written = await tx.execute(
                    f"insert into {self._service}.key_fingerprints (key_id, fingerprint, create_time)"
                    " select key_id, fingerprint, %(now)s from"
                    " unnest(%(key_ids)b::text[], %(fingerprints)b::bytea[]) as given (key_id, fingerprint)"
                    " on conflict do nothing",
                    {"now": self._clock.now(), "key_ids": new, "fingerprints": [mine[key_id] for key_id in new]},
                )
                if written.rowcount != len(new):
                    # Another process wrote its own meanwhile; the next look compares with those.
                    return
        self._compared = True

    async def compare_first(self) -> None:
        """The same before anything is served; where the database is away, /readyz tells until it was done."""
        try:
            await self.compare()
        except ProsaError as error:
            logger.warning("keys_not_compared", service=self._service, reason=error.reason)

    async def check(self) -> None:
        """The same for /readyz. Raises NotReady with the sentence."""
        try:
            await self.compare()
        except KeysLost as error:
            raise NotReady(str(error)) from error


def known_key_ids(database_url: str) -> set[str]:
    """The ids of the keys that services have worked with."""
    with psycopg.connect(plain_url(database_url), autocommit=True) as connection:
        tables = connection.execute(
            "select schemaname from pg_tables where tablename = 'key_fingerprints' and schemaname = any (%s)",
            [list(SERVICES)],
        ).fetchall()
        found = set()
        for (schema,) in tables:
            query = sql.SQL("select key_id from {}").format(sql.Identifier(schema, "key_fingerprints"))
            found |= {key_id for (key_id,) in connection.execute(query)}
        return found


def sealed_key_ids(database_url: str) -> set[str]:
    """The ids of the keys with which something is sealed, as far as the URL's role may see."""
    with psycopg.connect(plain_url(database_url), autocommit=True) as connection:
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


def plain_url(database_url: str) -> str:
    """The URL as psycopg takes it."""
    return make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
