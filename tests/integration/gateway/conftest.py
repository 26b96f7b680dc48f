"""The gateway's world, served anew for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.integration.gateway.fake_services import World, serve_gateway


@pytest.fixture
async def gateway() -> AsyncIterator[World]:
    """A gateway over real HTTP, in front of fake services over real gRPC."""
    async with serve_gateway() as world:
        yield world
