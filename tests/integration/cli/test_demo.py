"""What `up --demo` makes and what `bootstrap.json` says of it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio

from chassis.crypto import Vault
from cli import bootstrap
from cli.calls import Calls
from cli.demo import state
from cli.demo.seed import seed_demo
from embedded.servers import EmbeddedServers
from prosa.identity.v1 import access_service_pb2 as access
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from services.ingest.connections.store import ACCESS_TOKEN_COLUMN
from tests.conftest import ALL_TARGETS, TEMPLATE, clear_streams, create_database
from tests.isolation.filling import named_url
from tests.world import World, settings_for, start_world

ENDPOINTS = bootstrap.Endpoints(
    url="http://127.0.0.1:8080",
    metrics_url="http://127.0.0.1:1/metrics",
    grpc_address="127.0.0.1:2",
    database_url="postgresql://reader@127.0.0.1/prosa",
)
CHATWOOT = "http://127.0.0.1:3"
KEYS = {
    "url",
    "metrics_url",
    "grpc_address",
    "database_url",
    "organization_id",
    "admin",
    "api_key",
    "chatwoot",
    "evolution",
}


@pytest_asyncio.fixture(loop_scope="session")
async def database_url(servers: EmbeddedServers, template_url: str) -> str:
    """A migrated database of each test's own: a demo that another made would be found again."""
    name = f"prosa_{uuid4().hex[:12]}"
    await create_database(servers.database_url, name, TEMPLATE)
    return named_url(servers.database_url, name)


@pytest_asyncio.fixture(loop_scope="session")
async def world(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> AsyncIterator[World]:
    """All services, on that database."""
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    await clear_streams(servers.nats_url)
    running = await start_world(settings, database_url, ALL_TARGETS)
    try:
        yield running
    finally:
        await running.close()
        await running.host.stop()


@pytest.fixture
async def calls(world: World) -> AsyncIterator[Calls]:
    """Calls as the command line."""
    opened = Calls(world.host.signer("cli"), {}, world.host.grpc_address)
    yield opened
    await opened.close()


async def counts(world: World) -> dict[str, Any]:
    """How many of everything there are."""
    rows = await world.rows(
        """
        select (select count(*) from identity.organizations) as organizations,
               (select count(*) from identity.api_keys) as keys,
               (select count(*) from crm.boards) as boards,
               (select count(*) from ingest.connections) as connections,
               (select count(*) from ingest.channels) as channels
        """
    )
    return rows[0]


async def test_the_demo_is_made_once_and_bootstrap_tells_how_to_get_in(
    world: World, calls: Calls, tmp_path: Path
) -> None:
    nothing = await bootstrap.describe(ENDPOINTS, calls, state.load(tmp_path))
    assert nothing.keys() == KEYS
    assert [nothing[name] for name in ("organization_id", "admin", "api_key", "chatwoot", "evolution")] == [None] * 5

    made = await seed_demo(calls, tmp_path, CHATWOOT)
    before = await counts(world)
    assert before == {"organizations": 1, "keys": 1, "boards": 1, "connections": 1, "channels": 2}
    assert await seed_demo(calls, tmp_path, CHATWOOT) == made
    assert await counts(world) == before
    assert (tmp_path / state.FILE).stat().st_mode & 0o077 == 0

    told = await bootstrap.describe(ENDPOINTS, calls, state.load(tmp_path))
    assert told.keys() == KEYS
    assert told["organization_id"] == made.organization_id
    assert told["admin"] == {"email": made.admin_email, "password": made.admin_password}
    assert told["api_key"] == made.api_key
    assert told["chatwoot"] == {
        "account_id": 7,
        "webhook_url": f"{ENDPOINTS.url}{made.webhook_path}",
        "webhook_secret": made.webhook_secret,
        "inboxes": {"whatsapp": 21, "instagram": 22},
    }
    session = await calls.stub(AccessServiceStub, "identity").CreateSession(
        access.CreateSessionRequest(email=made.admin_email, password=made.admin_password)
    )
    assert session.organization_id == made.organization_id


async def test_a_home_that_lost_its_memory_gets_new_secrets_for_the_same_organization(
    world: World, calls: Calls, tmp_path: Path
) -> None:
    first = await seed_demo(calls, tmp_path, CHATWOOT)
    (tmp_path / state.FILE).unlink()
    # The owner's password is asked for nowhere: only its owner could say it again.
    second = await seed_demo(calls, tmp_path, "http://127.0.0.1:4")
    assert (second.organization_id, second.connection_id) == (first.organization_id, first.connection_id)
    assert second.webhook_secret != first.webhook_secret
    assert second.api_key != first.api_key
    secrets = await world.rows("select count(*) as live from ingest.connection_secrets")
    assert secrets[0]["live"] == 1
    (kept,) = await world.rows("select * from ingest.connections")
    vault = Vault.load(world.settings.keys_dir)
    token = vault.open(
        kept["access_token_sealed"], organization_id=kept["organization_id"], column=ACCESS_TOKEN_COLUMN
    ).decode()
    assert (token, kept["base_url"]) == (second.access_token, "http://127.0.0.1:4")
    assert second.access_token != first.access_token


async def test_without_the_demo_bootstrap_speaks_of_the_oldest_organization_and_tells_no_secret(
    calls: Calls, tmp_path: Path
) -> None:
    made = await seed_demo(calls, tmp_path, CHATWOOT)
    for name in ("A depois", "Z depois"):
        await calls.stub(AccessServiceStub, "identity").CreateOrganization(
            access.CreateOrganizationRequest(name=name, admin_email="z@depois.example")
        )
    told = await bootstrap.describe(ENDPOINTS, calls, state.DemoState())
    assert told["organization_id"] == made.organization_id
    assert told["admin"] is None
    assert told["api_key"] is None
    assert told["chatwoot"]["webhook_secret"] is None
    assert told["chatwoot"]["inboxes"] == {"whatsapp": 21, "instagram": 22}


def test_the_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    file = tmp_path / "bootstrap.json"
    bootstrap.write(file, {"url": "a"})
    bootstrap.write(file, {"url": "b"})
    assert json.loads(file.read_text()) == {"url": "b"}
    assert file.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file]
