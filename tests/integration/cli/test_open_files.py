"""How many files the processes of Prosa may have open, wherever and by whomever they are started."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]  # no stubs are published with it
import pytest

from chassis.open_files import OPEN_FILES_FLOOR
from embedded.ports import free_port
from embedded.servers import EmbeddedServers
from embedded.shapes import source_path
from embedded.suite import answers_ready
from tests.world import role_url

FEW = 256
READY_SECONDS = 60.0


@pytest.mark.case("S4", "O3")
async def test_serve_may_open_all_files_that_the_system_allows(
    servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> None:
    async with _serving(f"ulimit -Sn {FEW}", servers, database_url, keys_dir) as (process, _):
        soft, hard = process.rlimit(resource.RLIMIT_NOFILE)
    assert soft == hard == resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    assert soft > FEW


@pytest.mark.case("S4", "O3")
async def test_serve_says_where_few_files_are_allowed(
    servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> None:
    async with _serving(f"ulimit -n {FEW}", servers, database_url, keys_dir) as (process, logged):
        assert process.rlimit(resource.RLIMIT_NOFILE) == (FEW, FEW)
    assert "open_files_few" in logged[0]
    assert str(OPEN_FILES_FLOOR) in logged[0]
    assert "LimitNOFILE" in logged[0]


@asynccontextmanager
async def _serving(
    limit: str, servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> AsyncIterator[tuple[Any, list[str]]]:
    """A `prosa serve` under a shell's limit; its log is there once it has ended."""
    port = free_port()
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROSA_")}
    process = await asyncio.create_subprocess_exec(
        *("/bin/sh", "-c", f'{limit} && exec "$0" "$@"', sys.executable, "-P", "-m", "cli.main"),
        *("serve", "--target", "crm"),
        env=clean
        | {
            "PYTHONPATH": source_path({}),
            "PROSA_CRM_DATABASE_URL": role_url(database_url, "crm"),
            "PROSA_NATS_URL": servers.nats_url,
            "PROSA_KEYS_DIR": str(keys_dir),
            "PROSA_GRPC_ADDRESS": "127.0.0.1:0",
            "PROSA_METRICS_PORT": str(port),
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    logged: list[str] = []
    try:
        async with asyncio.timeout(READY_SECONDS):
            while not await _listens(port):
                assert process.returncode is None
                await asyncio.sleep(0.05)
        yield psutil.Process(process.pid), logged
    finally:
        if process.returncode is None:
            process.terminate()
        out, _ = await process.communicate()
        logged.append(out.decode())


async def _listens(port: int) -> bool:
    try:
        await answers_ready(port)
    except OSError:
        return False
    return True
