"""What a statement and a transaction cost this process besides their work, against psycopg's own cursor and pool."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import UUID, uuid4

import psycopg_pool
from psycopg.rows import namedtuple_row

from bench.accept import Effort
from bench.figures import Figure, at_most
from chassis.db import IDLE_IN_TRANSACTION_TIMEOUT, PREPARE_AFTER, Database
from embedded.servers import embedded_servers

GOAL = 1.0
"""Dearer than psycopg's own, and there would be no reason for one of ours."""
STATEMENT = "select %(id)b::uuid as id, %(number)s::bigint as number, %(text)s::text as text"
PARAMETERS = {"id": uuid4(), "number": 70_000, "text": "Olá"}
ORGANIZATION = UUID(int=1)
MANY = 100
WARM = 20

Way = Callable[[int], Awaitable[None]]
"""Runs one transaction of so many statements."""


async def measure(effort: Effort) -> list[Figure]:
    """Processor time of this process alone, in turns; PostgreSQL's is the same for both."""
    with tempfile.TemporaryDirectory(prefix="prosa-bench-") as directory:
        # PostgreSQL may run as another user, who must be able to pass.
        Path(directory).chmod(0o755)  # noqa: ASYNC240 before anything runs
        async with embedded_servers(Path(directory) / "servers") as servers:
            database = Database.connect(servers.near_database_url, prepared=True)
            options = {"prepare_threshold": PREPARE_AFTER, "row_factory": namedtuple_row}
            pool = psycopg_pool.AsyncConnectionPool(servers.near_database_url, kwargs=options, open=False)
            await pool.open()
            try:
                return await _figures(effort, ours(database), theirs(pool))
            finally:
                await pool.close()
                await database.close()


def ours(database: Database) -> Way:
    """As the product does it."""

    async def run(statements: int) -> None:
        async with database.transaction(ORGANIZATION) as tx:
            for _ in range(statements):
                (await tx.execute(STATEMENT, PARAMETERS)).one()

    return run


def theirs(pool: psycopg_pool.AsyncConnectionPool) -> Way:
    """The same with what psycopg brings."""
    opening = (
        f"set local app.organization_ids = '{ORGANIZATION}';"
        f" set local idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_TIMEOUT}'"
    ).encode()

    async def run(statements: int) -> None:
        async with pool.connection() as connection, connection.cursor(binary=True) as cursor:
            await cursor.execute(opening, binary=False)
            for _ in range(statements):
                await cursor.execute(STATEMENT, PARAMETERS)
                await cursor.fetchone()

    return run


async def _figures(effort: Effort, mine: Way, limit: Way) -> list[Figure]:
    figures = []
    for name, statements, divisor in (
        ("f our processor time a statement, besides its work; limit is psycopg's cursor", MANY, MANY),
        ("f our processor time a transaction of one statement; limit is psycopg's pool", 1, 1),
    ):
        product, limits = [], []
        for _ in range(effort.runs):
            limits.append(await _microseconds(limit, statements, effort.seconds) / divisor)
            product.append(await _microseconds(mine, statements, effort.seconds) / divisor)
        figures.append(Figure(name, "us", product, limits, [at_most(GOAL)]))
    return figures


async def _microseconds(way: Way, statements: int, seconds: float) -> float:
    """Processor time of one transaction."""
    for _ in range(WARM):
        await way(statements)
    count, spent, until = 0, time.process_time(), time.monotonic() + seconds
    while time.monotonic() < until:
        await way(statements)
        count += 1
    return (time.process_time() - spent) / count * 1e6
