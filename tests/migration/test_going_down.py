"""`prosa migrate down`: what it says, whom it asks, and when it refuses."""

from __future__ import annotations

import asyncio
import os
import pty
import sys
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from chassis import descent, migrate
from chassis.lines import known_versions
from chassis.system import SERVICES
from embedded.shapes import source_path
from tests.isolation.catalogue import connect, rows
from tests.isolation.parties import Filled
from tests.migration.conftest import NewDatabase
from tests.migration.test_migrations import row_counts, structure
from tests.world import ROLE_PASSWORD

COMMAND_SECONDS = 60.0
FIRST = {service: f"{service}_0001" for service in SERVICES}
PROGRAM = """
import sys
from chassis import descent
descent.OLDEST_SUPPORTED = {first!r}
sys.argv[0] = "prosa"
from cli.main import main
main()
"""
"""The command, as of a release that can be taken back to the first schema."""


async def down(url: str, home: Path, *words: str, typed: str | None = None) -> tuple[int, str]:
    """Runs `prosa migrate down …`, at a terminal where something is typed; answers its code and what it said."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PROSA_")}
    environment = {**clean, "PYTHONPATH": source_path({}), "PROSA_DATABASE_URL": url, "PROSA_HOME": str(home)}
    ours, theirs = pty.openpty()
    try:
        if typed is not None:
            os.write(ours, typed.encode())
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-c", PROGRAM.format(first=FIRST), "migrate", "down", *words),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL if typed is None else theirs,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(COMMAND_SECONDS):
            out, err = await process.communicate()
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode is not None
    return process.returncode, out.decode() + err.decode()


@pytest.mark.case("O2")
async def test_it_says_what_is_lost_and_changes_nothing_before_it_is_told_to(
    new_database: NewDatabase, filled: Filled, tmp_path: Path
) -> None:
    url = await new_database(filled.name)
    counts, first = row_counts(url), structure(url)
    # Below what made the table, in the one, and the column, in the other.
    steps = str(max(len(known_versions("conversation")) - 3, len(known_versions("ingest")) - 4))
    code, said = await down(url, tmp_path, steps, "conversation", "ingest")
    assert (code, "Say --yes to go on; nothing was changed" in said) == (2, True)
    activity = counts["conversation.conversation_activity"]
    assert activity > 0
    assert f"table conversation.conversation_activity: {activity} row" in said
    connections = counts["ingest.connections"]
    assert f"column ingest.connections.version: {connections} value" in said
    assert "table conversation.messages: " not in said
    code, said = await down(url, tmp_path, steps, "conversation", "ingest", typed="n\n")
    assert (code, "Nothing was changed." in said) == (2, True)
    assert (row_counts(url), structure(url)) == (counts, first)


@pytest.mark.case("O2")
@pytest.mark.parametrize("typed", [None, "y\n"])
async def test_it_goes_as_far_as_it_said_and_leaves_what_it_did_not_name(
    new_database: NewDatabase, filled: Filled, tmp_path: Path, typed: str | None
) -> None:
    url = await new_database(filled.name)
    counts = row_counts(url)
    steps = len(known_versions("conversation")) - 1
    confirmed = ["--yes"] if typed is None else []
    code, said = await down(url, tmp_path, str(steps), "conversation", *confirmed, typed=typed)
    assert code == 0, said
    assert f"back to conversation_0001 ({steps} steps)" in said
    left = row_counts(url)
    lost = set(counts) - set(left)
    assert lost == {name for name in counts if f"table {name}: " in said}
    # The register of what expires loses the tables that went, and nothing else.
    register = "conversation.expiring_tables"
    assert {name: left[name] for name in left if left[name] != counts[name] and name != register} == {}
    with connect(url) as admin:
        kept = {f"conversation.{row['table_name']}" for row in rows(admin, f"select table_name from {register}")}
    assert kept
    assert kept <= left.keys()
    await asyncio.to_thread(migrate.migrate_up, url)
    assert row_counts(url).keys() == counts.keys()


@pytest.mark.case("O2")
async def test_it_refuses_while_a_service_is_signed_in(new_database: NewDatabase, tmp_path: Path) -> None:
    url = await new_database(None)
    await asyncio.to_thread(migrate.migrate_up, url)
    first = structure(url)
    service = make_url(url).set(username="prosa_crm", password=ROLE_PASSWORD).render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(service):
        code, said = await down(url, tmp_path, "1", "ingest", "--yes")
    assert (code, "prosa_crm (1 session)" in said, "Stop every `prosa serve`" in said) == (2, True, True)
    assert structure(url) == first


@pytest.mark.case("O2")
async def test_rows_that_a_way_down_would_delete_or_change_are_counted(
    new_database: NewDatabase, filled: Filled, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = await new_database(filled.name)
    counts = row_counts(url)

    def downgrade(_: str, __: str, connection: object, **___: bool) -> None:
        run = connection.exec_driver_sql  # type: ignore[attr-defined]
        run("delete from crm.reconciliation_tasks")
        run("update ingest.connections set name = name || '!'")

    monkeypatch.setattr(descent, "downgrade", downgrade)
    ways = [descent.Descent(service, "", "", (), ("",)) for service in ("crm", "ingest")]
    assert descent.losses(url, ways) == [
        descent.Loss("deleted rows", "crm.reconciliation_tasks", counts["crm.reconciliation_tasks"]),
        descent.Loss("changed rows", "ingest.connections", counts["ingest.connections"]),
    ]
    assert row_counts(url) == counts
