"""`prosa migrate` on a database of its own."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from chassis import descent, migrate
from chassis.system import SERVICES
from embedded.servers import EmbeddedServers
from tests.conftest import create_database
from tests.integration.cli.operator import Operator


@pytest.fixture
async def empty(servers: EmbeddedServers, tmp_path: Path) -> Operator:
    """Somebody with an empty database."""
    name = f"prosa_{uuid4().hex[:12]}"
    await create_database(servers.database_url, name)
    url = make_url(servers.database_url).set(database=name).render_as_string(hide_password=False)
    return Operator({"PROSA_DATABASE_URL": url, "PROSA_HOME": str(tmp_path / "no-home")}, tmp_path)


async def test_check_is_red_until_everything_is_applied_and_again_after_a_step_down(empty: Operator) -> None:
    check = ("migrate", "--check")
    red = await empty.prosa(*check)
    assert red.code == 1
    assert "Run `prosa migrate`" in red.err
    up = (await empty.prosa("migrate", "--json")).document
    assert up["up_to_date"] is True
    assert {item["service"] for item in up["services"]} == set(SERVICES)
    await asyncio.to_thread(migrate.migrate_down, empty.environment["PROSA_DATABASE_URL"], 1, ["crm"])
    red = await empty.prosa(*check)
    assert red.code == 1
    assert "crm" in red.err
    assert "identity" not in red.err
    assert (await empty.prosa("migrate", "crm")).code == 0
    assert (await empty.prosa(*check)).code == 0


@pytest.mark.case("O2")
async def test_the_way_down_ends_at_the_oldest_supported_release(empty: Operator) -> None:
    before = (await empty.prosa("migrate", "--json")).document
    refused = await empty.prosa("migrate", "down", "99", "--yes", "--json")
    assert refused.code == 2
    error = refused.document["error"]
    assert error["reason"] == "BELOW_OLDEST_RELEASE"
    url = empty.environment["PROSA_DATABASE_URL"]
    for service, revisions in (await asyncio.to_thread(descent.available, url)).items():
        assert f"{service} {len(revisions)}" in error["message"]
    assert (await empty.prosa("migrate", "--check", "--json")).document == before
