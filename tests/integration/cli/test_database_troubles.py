"""A database that cannot be worked with: log, /readyz and command line say which of all troubles it is."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import aiohttp
import psycopg
import pytest
from sqlalchemy.engine import URL, make_url

from chassis import migrate
from embedded.ports import free_port
from embedded.servers import EmbeddedServers
from tests.conftest import TEMPLATE, create_database
from tests.integration.cli.operator import Operator
from tests.world import ROLE_PASSWORD

READY_SECONDS = 90.0
POLL_SECONDS = 0.1
AWAY_PORT = 1
"""Nothing listens there."""


@pytest.fixture
async def database(servers: EmbeddedServers, template_url: str) -> URL:
    """A migrated database; the URL may do everything."""
    return await new_database(servers, TEMPLATE)


async def new_database(servers: EmbeddedServers, template: str | None) -> URL:
    """A database of the test's own."""
    name = f"prosa_{uuid4().hex[:12]}"
    await create_database(servers.database_url, name, template)
    return make_url(servers.database_url).set(database=name)


def as_crm(database: URL) -> URL:
    """The same for crm's own role."""
    return database.set(username="prosa_crm", password=ROLE_PASSWORD)


def text(url: URL) -> str:
    """As it stands in a setting."""
    return url.render_as_string(hide_password=False)


async def run(database: URL, *statements: str) -> None:
    """Runs statements as whoever may do everything."""
    async with await psycopg.AsyncConnection.connect(text(database), autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement.encode())


class Serving:
    """A `prosa serve` that was started, and what it says."""

    def __init__(self, metrics_port: int) -> None:
        self._url = f"http://127.0.0.1:{metrics_port}/readyz"
        self.log: list[dict[str, Any]] = []

    async def ready(self) -> dict[str, Any]:
        """What /readyz says, as soon as it answers."""
        async with aiohttp.ClientSession() as session, asyncio.timeout(READY_SECONDS):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    async with session.get(self._url) as response:
                        return dict(await response.json())
                await asyncio.sleep(POLL_SECONDS)


@contextlib.asynccontextmanager
async def serving_crm(url: URL, keys_dir: Path, tmp_path: Path) -> AsyncIterator[Serving]:
    """`prosa serve --target crm` with this URL; its log is whole once it has stopped."""
    metrics_port = free_port()
    operator = Operator(
        {
            "PROSA_CRM_DATABASE_URL": text(url),
            "PROSA_KEYS_DIR": str(keys_dir),
            "PROSA_NATS_URL": f"nats://127.0.0.1:{AWAY_PORT}",
            "PROSA_GRPC_ADDRESS": "127.0.0.1:0",
            "PROSA_METRICS_PORT": str(metrics_port),
        },
        tmp_path,
    )
    process = await operator.start("serve", "--target", "crm")
    serving = Serving(metrics_port)
    try:
        yield serving
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(READY_SECONDS):
            out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        lines = [line for line in (out + err).decode().splitlines() if line.startswith("{")]
        serving.log += [json.loads(line) for line in lines]
        assert "Traceback" not in (out + err).decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


TROUBLES = {
    "DATABASE_PASSWORD_REFUSED": "refuses the password of prosa_crm, or has no such role. Correct PROSA_CRM_DATABASE",
    "DATABASE_MISSING": "There is no database prosa_nowhere",
    "DATABASE_HOST_UNKNOWN": "Nobody knows a host nowhere.invalid",
    "DATABASE_AWAY": f"127.0.0.1:{AWAY_PORT} does not answer. If that lasts: see whether PostgreSQL runs there",
    "DATABASE_ROLE_UNBOUND": "The role prosa is bound by no row-level security. Name the service's own role",
    "SCHEMA_MISSING": "has not been migrated for crm. Run `prosa migrate`",
    "SCHEMA_BEHIND": "is older than this release: crm stands at crm_0001",
    "SCHEMA_NEWER": "is newer than this release: crm stands at crm_9999",
}


@pytest.mark.case("O4", "S13")
@pytest.mark.parametrize("reason", TROUBLES)
async def test_log_and_readiness_say_which_trouble_it_is_and_what_to_do(
    reason: str, servers: EmbeddedServers, database: URL, keys_dir: Path, tmp_path: Path
) -> None:
    url = as_crm(database)
    match reason:
        case "DATABASE_PASSWORD_REFUSED":
            url = url.set(password="wrong")
        case "DATABASE_MISSING":
            url = url.set(database="prosa_nowhere")
        case "DATABASE_HOST_UNKNOWN":
            url = url.set(host="nowhere.invalid")
        case "DATABASE_ROLE_UNBOUND":
            url = database
        case "DATABASE_AWAY":
            url = url.set(port=AWAY_PORT)
        case "SCHEMA_MISSING":
            url = as_crm(await new_database(servers, None))
        case "SCHEMA_BEHIND":
            await run(database, "update crm.alembic_version set version_num = 'crm_0001'")
        case "SCHEMA_NEWER":
            await run(database, "update crm.alembic_version set version_num = 'crm_9999'")
    async with serving_crm(url, keys_dir, tmp_path) as serving:
        seen = (await serving.ready())["dependencies"]["postgres.crm"]
    assert TROUBLES[reason] in seen
    told = [line for line in serving.log if line["event"] == "database_unusable"]
    assert {"reason": reason, "explanation": seen}.items() <= told[-1].items()
    for sentence in (seen, str(told)):
        assert "wrong" not in sentence.split()
        assert ROLE_PASSWORD not in sentence


@pytest.mark.case("O4")
async def test_a_process_that_found_no_schema_goes_on_once_there_is_one(
    servers: EmbeddedServers, template_url: str, keys_dir: Path, tmp_path: Path
) -> None:
    empty = await new_database(servers, None)
    async with serving_crm(as_crm(empty), keys_dir, tmp_path) as serving:
        assert not (await serving.ready())["started"]
        await asyncio.to_thread(migrate.migrate_up, text(empty))
        async with asyncio.timeout(READY_SECONDS):
            while not (await serving.ready())["started"]:  # noqa: ASYNC110 another process has no event to wait for
                await asyncio.sleep(POLL_SECONDS)
        # The next release's schema comes before its code: what runs goes on.
        await run(empty, "update crm.alembic_version set version_num = 'crm_9999'")
        assert (await serving.ready())["dependencies"]["postgres.crm"] == "ok"
    assert [line["event"] for line in serving.log if line["event"] == "database_usable"] == ["database_usable"]


@pytest.mark.case("O4")
async def test_the_command_line_says_which_trouble_it_is(database: URL, tmp_path: Path) -> None:
    async def reason_of(url: URL, *words: str) -> tuple[int, str]:
        said = await Operator({"PROSA_DATABASE_URL": text(url)}, tmp_path).prosa("migrate", *words, "--json")
        return said.code, said.document["error"]["reason"]

    assert await reason_of(database.set(password="wrong")) == (1, "DATABASE_PASSWORD_REFUSED")
    assert await reason_of(database.set(port=AWAY_PORT), "--check") == (1, "DATABASE_AWAY")
    assert await reason_of(database.set(database="prosa_nowhere"), "--check") == (1, "DATABASE_MISSING")
    await run(database, "update crm.alembic_version set version_num = 'crm_9999'")
    for words in (["--check"], [], ["down", "1", "--yes"]):
        assert await reason_of(database, *words) == (1, "SCHEMA_NEWER")
    reading = Operator({"PROSA_READER_DATABASE_URL": text(database)}, tmp_path)
    await run(database, "drop schema identity cascade")
    said = await reading.prosa("sql", "links", "--json")
    assert (said.code, said.document["error"]["reason"]) == (1, "SCHEMA_MISSING")
