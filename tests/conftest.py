"""Real servers for every test worker, and a database cloned from a migrated template for every test module.

A worker's PostgreSQL, NATS and Redis are its own, so that a test may stop, freeze or flush them.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import hypothesis
import psycopg
import pytest
import pytest_asyncio
import uvloop
from sqlalchemy.engine import make_url

from chassis import auth, crypto, migrate, open_files, telemetry
from chassis.migrations import READER_ROLE, role
from chassis.system import SERVICES
from embedded.forks import collect_nothing_in_forks
from embedded.servers import EmbeddedServers, embedded_servers
from tests.world import ROLE_PASSWORD, World, settings_for, start_world

TEMPLATE = "prosa_template"
ALL_TARGETS = ("identity", "crm", "outreach", "conversation", "ingest", "gateway")


def pytest_configure() -> None:
    """What the whole run needs of its process, before any test begins."""
    # Many tests at an ordinary user's 1024 files would end in the middle of anything.
    open_files.raise_open_files()
    # Tests spawn beside closed channels of gRPC: a child that came to collect one would hang the run for good.
    collect_nothing_in_forks()
    # How long an example takes says what else the machine does; a test of speed is for the bench.
    hypothesis.settings.register_profile("prosa", deadline=None, database=None)
    hypothesis.settings.load_profile("prosa")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What may take longer than others comes first: begun last, it would keep one worker when the rest are done."""
    items.sort(key=lambda item: item.get_closest_marker("timeout") is None)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Shows what a test has told besides having passed: the property `told`."""
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for text in (value for name, value in report.user_properties if name == "told"):
                terminalreporter.section(report.nodeid)
                terminalreporter.write_line(str(text))


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> dict[str, object]:
    """Tests run on the loop that the product runs on."""
    return {"uvloop": uvloop.new_event_loop}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def servers(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EmbeddedServers]:
    """This worker's own PostgreSQL, NATS and Redis."""
    async with embedded_servers(tmp_path_factory.mktemp("servers"), durable=False) as running:
        yield running


@pytest.fixture(scope="session")
def keys_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Signing and encryption keys of this worker."""
    directory = tmp_path_factory.mktemp("keys")
    auth.create_key_files(directory)
    crypto.create_key_file(directory)
    return directory


def migrated_services() -> list[str]:
    """The services that have migrations."""
    root = Path(__file__).resolve().parent.parent / "services"
    return [service for service in SERVICES if list((root / service / "migrations").glob("*.py"))]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def template_url(servers: EmbeddedServers) -> str:
    """A migrated, empty database that no test touches."""
    url = make_url(servers.database_url).set(database=TEMPLATE).render_as_string(hide_password=False)
    await create_database(servers.database_url, TEMPLATE)
    passwords = {role(service): ROLE_PASSWORD for service in SERVICES} | {READER_ROLE: ROLE_PASSWORD}
    await asyncio.to_thread(migrate.create_roles, url, passwords)
    await asyncio.to_thread(migrate.migrate_up, url, migrated_services(), simulated_clock=True)
    return url


async def create_database(admin_url: str, name: str, template: str | None = None) -> None:
    """Creates a database, as a copy of the template if one is named."""
    plain = make_url(admin_url).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(plain, autocommit=True) as connection:
        copied = f' template "{template}"' if template else ""
        await connection.execute(f'create database "{name}"{copied}'.encode())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def database_url(servers: EmbeddedServers, template_url: str) -> str:
    """A migrated database of this test module's own; the URL may do everything."""
    name = f"prosa_{uuid4().hex[:12]}"
    await create_database(servers.database_url, name, TEMPLATE)
    return make_url(servers.database_url).set(database=name).render_as_string(hide_password=False)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    request: pytest.FixtureRequest, servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> AsyncIterator[World]:
    """All services in one process; a module that names ``TARGETS`` gets only those.

    The gateway answers webhooks by ``WEBHOOK_LIMITS``, where a module names them.
    """
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    await clear_streams(servers.nats_url)
    running = await start_world(
        settings,
        database_url,
        getattr(request.module, "TARGETS", ALL_TARGETS),
        webhook_limits=getattr(request.module, "WEBHOOK_LIMITS", None),
    )
    try:
        yield running
    finally:
        await running.close()
        await running.host.stop()


async def clear_streams(nats_url: str) -> None:
    """Forgets the facts of the test module before: its database is gone too."""
    import nats

    client = await nats.connect(nats_url)
    js = client.jetstream()
    for info in await js.streams_info():
        assert info.config.name is not None
        await js.delete_stream(info.config.name)
    await client.close()


@pytest.fixture
def organization_id() -> UUID:
    """An organization that no other test knows."""
    return uuid4()


@pytest.fixture(scope="session", autouse=True)
def quiet_logs() -> None:
    """Logs as the product writes them, kept from view: tests break things on purpose, and traces are dear to draw."""
    telemetry.configure_logging("error", stream=io.StringIO())
