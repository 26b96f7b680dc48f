"""What PostgreSQL can do of the main way by itself: the rows of `path.sql`, driven by pgbench."""

from __future__ import annotations

import asyncio
import re
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import psycopg

from bench import bodies
from embedded.programs import binaries

SCHEMA = Path(__file__).with_name("path.sql")
BATCH = 100
CLIENTS = 2
_RATE = re.compile(r"tps = ([0-9.]+)")
_COUNT = re.compile(r"number of transactions actually processed: ([0-9]+)")


class Written(NamedTuple):
    """What pgbench did: rows a second, and how many in all."""

    rate: float
    messages: int


async def prepare(database_url: str, known: int) -> None:
    """Makes the schema with so many contacts in it."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
        await connection.execute(SCHEMA.read_bytes())
        body = bodies.body(1, 1, datetime.now(UTC))
        await connection.execute("insert into bare_path.sample values (%b)", [body])
        await connection.execute("select bare_path.preload(%s)", [known])
        await connection.execute("vacuum analyze")


async def path(database_url: str, known: int, seconds: int) -> Written:
    """Messages that two clients write in sets of a hundred."""
    return await _written(database_url, f"select bare_path.path_batch({BATCH}, {known})", CLIENTS, seconds)


async def resolve_rate(database_url: str, known: int, seconds: int, *, new: bool) -> float:
    """People per second whom one client finds, or makes, in sets of a hundred."""
    statement = f"select bare_path.resolve_batch({BATCH}, {known}, {new})"
    return (await _written(database_url, statement, 1, seconds)).rate


async def _written(database_url: str, statement: str, clients: int, seconds: int) -> Written:
    with tempfile.NamedTemporaryFile("w", suffix=".sql") as script:
        script.write(statement + ";\n")
        script.flush()
        process = await asyncio.create_subprocess_exec(
            str(binaries() / "pgbench"),
            *("-n", "-M", "prepared", "-c", str(clients), "-j", str(clients), "-T", str(seconds)),
            *("-f", script.name, database_url),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
    rate, count = _RATE.search(output.decode()), _COUNT.search(output.decode())
    if process.returncode != 0 or rate is None or count is None:
        raise RuntimeError(f"pgbench failed: {errors.decode()}")
    return Written(float(rate.group(1)) * BATCH, int(count.group(1)) * BATCH)
