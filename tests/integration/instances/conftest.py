from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest_asyncio

from embedded.servers import EmbeddedServers
from tests.conftest import ALL_TARGETS, clear_streams
from tests.evolution import Admin, Fake, free_port, open_fake
from tests.harness import open_harness
from tests.world import PATIENCE_SECONDS, World, settings_for, start_world


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> AsyncIterator[World]:
    """All services in one process, which knows under which address Evolution reaches it."""
    port = free_port()
    settings = settings_for(
        *(database_url, servers.nats_url, servers.redis_url, keys_dir),
        http_port=port,
        public_url=f"http://127.0.0.1:{port}",
    )
    await clear_streams(servers.nats_url)
    running = await start_world(settings, database_url, ALL_TARGETS)
    try:
        yield running
    finally:
        await running.close()
        await running.host.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP as a client speaks it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def fake() -> AsyncIterator[Fake]:
    """An Evolution of the test's own."""
    async with open_fake() as running:
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def admin(world: World, session: aiohttp.ClientSession, fake: Fake) -> Admin:
    """An organization of the test's own, with an administrator."""
    return Admin(await open_harness(world, session, inboxes=()), fake)
