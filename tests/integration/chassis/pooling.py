"""What the tests of a pool of connections share: its size, how long what goes may take, and whose turn it is."""

from __future__ import annotations

from chassis.db import Database

SIZE = 2
GONE_SECONDS_MAX = 12.0
"""psycopg alone would stay for 15."""


async def pid_of(database: Database) -> int:
    """The backend that a transaction runs on."""
    async with database.transaction() as tx:
        return int((await tx.execute("select pg_backend_pid()")).scalar_one())
