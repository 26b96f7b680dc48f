"""Databases to migrate: empty ones, and copies of the filled one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest_asyncio

from embedded.servers import EmbeddedServers
from tests.conftest import TEMPLATE, create_database
from tests.isolation.filling import filled_database, named_url
from tests.isolation.parties import Filled

NewDatabase = Callable[[str | None], Awaitable[str]]
"""Creates a database, a copy of the one named, and answers its URL."""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def filled(servers: EmbeddedServers, template_url: str, keys_dir: Path) -> Filled:
    """A database that two organizations have worked in."""
    return await filled_database(servers, TEMPLATE, keys_dir)


@pytest_asyncio.fixture(loop_scope="session")
async def new_database(servers: EmbeddedServers, template_url: str) -> NewDatabase:
    """Makes databases of the test's own; the roles are there."""

    async def create(template: str | None) -> str:
        name = f"prosa_{uuid4().hex[:12]}"
        await create_database(servers.database_url, name, template)
        return named_url(servers.database_url, name)

    return create
