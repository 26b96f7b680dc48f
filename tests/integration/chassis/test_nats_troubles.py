"""NATS that refuses us or keeps no streams is told from one that is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from chassis.process import Host, Process
from embedded.nats import nats_server
from embedded.ports import free_port
from embedded.servers import EmbeddedServers
from tests.world import settings_for

WAIT_SECONDS = 60.0


@asynccontextmanager
async def without_jetstream() -> AsyncIterator[str]:
    """The URL of a server that keeps no streams."""
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(nats_server(), "-a", "127.0.0.1", "-p", str(port)),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert process.stderr is not None
    try:
        async with asyncio.timeout(WAIT_SECONDS):
            while b"Server is ready" not in await process.stderr.readline():
                continue
        yield f"nats://127.0.0.1:{port}"
    finally:
        process.kill()
        await process.communicate()


async def readiness_of(nats_url: str, servers: EmbeddedServers, database_url: str, keys_dir: Path) -> str:
    """What a process says of this NATS."""

    async def start(_: Process) -> None:
        return

    host = Host(settings_for(database_url, nats_url, servers.redis_url, keys_dir))
    await host.start({"crm": start})
    try:
        return (await host.readiness.look())[1]["nats"]
    finally:
        await host.stop()


@pytest.mark.case("O4")
async def test_a_refusal_and_a_server_without_streams_are_not_called_away(
    servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> None:
    assert await readiness_of(servers.nats_url, servers, database_url, keys_dir) == "ok"
    wrong = servers.nats_url.replace("prosa:", "prosa:wrong", 1)
    said = await readiness_of(wrong, servers, database_url, keys_dir)
    assert said.startswith("NATS refuses the user or password of PROSA_NATS_URL.")
    async with without_jetstream() as url:
        said = await readiness_of(url, servers, database_url, keys_dir)
    assert said.startswith("NATS has JetStream off.")
    said = await readiness_of("nats://127.0.0.1:1", servers, database_url, keys_dir)
    assert said.startswith("NATS does not answer.")
