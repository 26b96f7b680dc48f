from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from tests.harness import Harness, open_harness
from tests.world import PATIENCE_SECONDS, World


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP as a client speaks it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def harness(world: World, session: aiohttp.ClientSession) -> Harness:
    """An organization of the test's own."""
    return await open_harness(world, session)
