"""`prosa migrate` on a database of its own."""

from __future__ import annotations

from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy.engine import make_url

from chassis.embedded.servers import EmbeddedServers
from chassis.migrations import SERVICES
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
    down = (await empty.prosa("migrate", "down", "1", "crm", "--json")).document
    assert down["up_to_date"] is False
    red = await empty.prosa(*check)
    assert red.code == 1
    assert "crm" in red.err
    assert "identity" not in red.err
    assert (await empty.prosa("migrate", "crm")).code == 0
    assert (await empty.prosa(*check)).code == 0
