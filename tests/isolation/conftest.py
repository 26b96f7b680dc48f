"""The filled database, and a copy of it for every test module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import pytest_asyncio

from embedded.servers import EmbeddedServers
from tests.conftest import TEMPLATE, create_database
from tests.isolation.catalogue import connect, tables_of_organizations
from tests.isolation.filling import filled_database, named_url
from tests.isolation.parties import Filled
from tests.isolation.rpc_leaks import Cases
from tests.world import World


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def filled(servers: EmbeddedServers, template_url: str, keys_dir: Path) -> Filled:
    """Organizations A and B, with rows of both in every table."""
    return await filled_database(servers, TEMPLATE, keys_dir)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def database_url(servers: EmbeddedServers, filled: Filled) -> str:
    """A copy of the filled database, this module's own; the URL may do everything."""
    name = f"prosa_{uuid4().hex[:12]}"
    await create_database(servers.database_url, name, filled.name)
    return named_url(servers.database_url, name)


@pytest.fixture(scope="module")
def cases(world: World, filled: Filled) -> Iterator[Cases]:
    """What A and B have, and every RPC, while nothing moves in the background."""
    with connect(world.database_url) as admin:
        # The same statements over and over, one or two for each table: planned once.
        admin.prepare_threshold, admin.prepared_max = 0, None
        yield Cases(world, admin, tables_of_organizations(admin, filled), filled)
