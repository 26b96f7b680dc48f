"""What an administrator gives as base_url, through the gateway: nothing private is called, or told of."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from chassis import rpc
from embedded.servers import EmbeddedServers
from services.ingest.limits import CHATWOOT_TIMEOUT_SECONDS
from tests.conftest import ALL_TARGETS
from tests.harness import Harness, open_harness
from tests.listeners import Listener, http, listening
from tests.spellings import EMBEDDED, ODD, PLAIN
from tests.world import World, settings_for, start_world

pytestmark = pytest.mark.case("S3")

VERSION = http(b'{"version":"4.15.1"}')


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> AsyncIterator[World]:
    """All services, of an operator who allows 127.0.0.1 with any port and nothing else."""
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir, allowed_hosts="127.0.0.1")
    running = await start_world(settings, database_url, ALL_TARGETS)
    try:
        yield running
    finally:
        await running.close()
        await running.host.stop()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def harness(world: World) -> AsyncIterator[Harness]:
    async with aiohttp.ClientSession() as session:
        yield await open_harness(world, session)


async def checked(harness: Harness, connection_id: str) -> dict[str, str]:
    """What a check says of each item that failed, by its name."""
    status, answer = await harness.send(f"/api/v1/connections/{connection_id}:check", {})
    assert status == 200, answer
    return {item["name"]: item["detail"] for item in answer["items"] if not item["passed"]}


async def created(harness: Harness, base_url: str) -> tuple[int, dict[str, Any]]:
    return await harness.send(
        "/api/v1/connections",
        {
            "provider": "CHATWOOT",
            "name": f"Another {uuid4()}",
            "account_id": 8,
            "base_url": base_url,
            "access_token": "the-token-of-the-tests",
        },
    )


async def kept_before(harness: Harness, base_url: str) -> str:
    """A connection whose base_url was kept by a release that took any."""
    status, connection = await created(harness, "https://chat.example.com")
    assert status == 200, connection
    connection_id: str = connection["connection_id"]
    async with await harness.world.admin() as admin:
        await admin.execute(
            "update ingest.connections set base_url = %s where id = %s", (base_url, UUID(connection_id))
        )
    return connection_id


@pytest_asyncio.fixture(loop_scope="session")
async def listener() -> AsyncIterator[Listener]:
    async with listening(VERSION) as heard:
        yield heard


@pytest.mark.parametrize("host", ODD)
async def test_an_odd_spelling_of_loopback_is_neither_kept_nor_called(
    harness: Harness, listener: Listener, host: str
) -> None:
    url = f"http://{host}:{listener.port}"
    status, answer = await created(harness, url)
    assert (status, answer["reason"]) == (400, "BASE_URL_INVALID"), answer
    failed = await checked(harness, await kept_before(harness, url))
    assert "no address that can be called" in failed["api_reachable"]
    assert await listener.nothing_came()


@pytest.mark.parametrize("host", [*(host for host in PLAIN if host != "127.0.0.1"), *EMBEDDED])
async def test_a_private_host_that_nobody_allowed_is_not_called(
    harness: Harness, listener: Listener, host: str
) -> None:
    status, connection = await created(harness, f"http://{host}:{listener.port}")
    assert status == 200, connection
    failed = await checked(harness, connection["connection_id"])
    assert "leads to no public address" in failed["api_reachable"]
    assert await listener.nothing_came()


async def test_open_closed_and_other_ports_of_an_allowed_host_are_answered_alike(harness: Harness) -> None:
    async with listening(b"") as closed:
        pass
    async with (
        listening(b"220 mail.example.com ESMTP\r\n") as mail,
        listening(http(b"<html>")) as pages,
        listening(http(b"", "401 Unauthorized")) as locked,
        listening(http(b"", "302 Found", "Location: /secret")) as moved,
        listening(b"") as curt,
    ):
        # Each an organization's own, which checks one connection at a time.
        harnesses = {
            listener.port: await open_harness(harness.world, harness.session)
            for listener in (closed, mail, pages, locked, moved, curt)
        }
        ids = {port: await kept_before(harness, f"http://127.0.0.1:{port}") for port, harness in harnesses.items()}
        clock = asyncio.get_running_loop().time

        async def told(port: int) -> tuple[frozenset[tuple[str, str]], float]:
            began = clock()
            failed = await checked(harnesses[port], ids[port])
            # When unsigned webhooks end is the connection's own.
            del failed["secret_set"]
            return frozenset((name, said.replace(str(port), "PORT")) for name, said in failed.items()), clock() - began

        answers = await asyncio.gather(*(told(port) for port in ids))
        assert len({said for said, _ in answers}) == 1, answers
        assert "does not answer as Chatwoot does" in dict(answers[0][0])["api_reachable"]
        assert all(seconds >= CHATWOOT_TIMEOUT_SECONDS for _, seconds in answers)
        assert all(listener.received for listener in (mail, pages, locked, moved, curt))


async def test_calls_between_services_ask_no_proxy_of_the_environment(
    world: World, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{listener.port}")
    channel = rpc.open_channel(world.host.grpc_address, world.host.signer("cli"))
    stub: Any = health_pb2_grpc.HealthStub(channel)
    await stub.Check(health_pb2.HealthCheckRequest(), timeout=5.0)
    await channel.close()
    assert await listener.nothing_came()
