"""What upkeep drops, and what it never drops whatever the clock says."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import pytest_asyncio
from psycopg import sql
from sqlalchemy.engine import make_url
from structlog.testing import capture_logs

from chassis.clock import SettableClock, SystemClock
from chassis.process import Host, Process
from chassis.system import SERVICES
from chassis.upkeep_functions import CLOCK_APART_SECONDS_MAX, CLOCK_DIFFERS, NEWEST_ROW_FAR, SILENCE_DAYS_MAX
from embedded.servers import EmbeddedServers
from tests.conftest import TEMPLATE, create_database
from tests.world import role_url, settings_for

pytestmark = pytest.mark.case("S7")

DAY = timedelta(days=1)
OLD = datetime(2031, 3, 5, tzinfo=UTC)
"""A day that no partition of a new database is near."""
KEPT_DAYS = {
    **{f"{service}.outbox": 3 for service in SERVICES},
    "ingest.webhook_events": 30,
    "ingest.feed": 7,
}
KEPT_MONTHS = {"identity.identity_resolutions": 3, "identity.audit_entries": 6}
KEPT_FOR_GOOD = {"conversation.messages", "identity.identity_resolution_problems"}

Admin = psycopg.AsyncConnection[dict[str, Any]]


@pytest_asyncio.fixture(loop_scope="session")
async def url(servers: EmbeddedServers, template_url: str) -> str:
    """A migrated database that no other test has."""
    name = f"upkeep_{uuid4().hex[:12]}"
    await create_database(servers.database_url, name, TEMPLATE)
    return make_url(servers.database_url).set(database=name).render_as_string(hide_password=False)


@pytest_asyncio.fixture(loop_scope="session")
async def admin(url: str) -> AsyncIterator[Admin]:
    """May do everything; its installation was made with a simulated clock."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    connection: Admin = await psycopg.AsyncConnection.connect(plain, autocommit=True, row_factory=psycopg.rows.dict_row)
    async with connection:
        yield connection


async def by_the_real_clock(admin: Admin) -> None:
    """Makes the installation one like any that an operator has."""
    await admin.execute("update chassis.installation set simulated_clock = false")


async def maintain(url: str, service: str, as_of: datetime) -> str | None:
    """One run of upkeep, as the service's own role; answers why it dropped nothing."""
    plain = make_url(role_url(url, service)).set(drivername="postgresql").render_as_string(hide_password=False)
    async with await psycopg.AsyncConnection.connect(plain) as connection:
        query = sql.SQL("select {}.upkeep(%s)").format(sql.Identifier(service))
        row = await (await connection.execute(query, [as_of])).fetchone()
        assert row is not None
        answer: str | None = row[0]
        return answer


async def partitions(admin: Admin, table: str) -> set[str]:
    """The first days of a table's partitions."""
    found = await admin.execute(
        "select inhrelid::regclass::text as name from pg_inherits where inhparent = %s::regclass", [table]
    )
    return {row["name"].rpartition("_")[2] for row in await found.fetchall()}


def named(moment: datetime) -> str:
    return f"{moment:%Y%m%d}"


async def put_fact(admin: Admin, service: str, moment: datetime, *, waits: bool) -> None:
    """One fact in a service's outbox, published or not."""
    row = await (
        await admin.execute(
            sql.SQL(
                "insert into {}.outbox (event_id, organization_id, type, payload, event_time, correlation_id,"
                " trace_parent) values (gen_random_uuid(), %s, 'T', '', %s, '', '') returning position, organization_id"
            ).format(sql.Identifier(service)),
            [uuid4(), moment],
        )
    ).fetchone()
    assert row is not None
    if waits:
        await admin.execute(
            sql.SQL("insert into {}.outbox_queue (position, organization_id, event_time) values (%s, %s, %s)").format(
                sql.Identifier(service)
            ),
            [row["position"], row["organization_id"], moment],
        )


async def put_event(admin: Admin, moment: datetime, state: str) -> None:
    """One webhook event as it is stored, in the queue where it is to be worked on."""
    await admin.execute(
        "with stored as ("
        "insert into ingest.webhook_events (id, receive_time, organization_id, connection_id, provider, event,"
        " ordering_key, signed, correlation_id, trace_parent, state, reason, detail, attempt_count, body)"
        " values (gen_random_uuid(), %s, gen_random_uuid(), gen_random_uuid(), 'CHATWOOT', 'message_created', '', true,"
        " '', '', %s, '', '', 0, '') returning *)"
        " insert into ingest.webhook_queue (lane, ordering_key, webhook_event_id, receive_time, organization_id,"
        " attempt_count) select 0, '', id, receive_time, organization_id, 0 from stored where state = 'PENDING'",
        [moment, state],
    )


async def test_every_partitioned_table_has_its_time(admin: Admin) -> None:
    kept: dict[str, tuple[str, int | None]] = {}
    for service in SERVICES:
        found = await admin.execute(sql.SQL("select * from {}.partitioned_tables").format(sql.Identifier(service)))
        kept |= {f"{service}.{row['table_name']}": (row["unit"], row["keep"]) for row in await found.fetchall()}
    expected: dict[str, tuple[str, int | None]] = {table: ("day", days) for table, days in KEPT_DAYS.items()}
    expected |= {table: ("month", months) for table, months in KEPT_MONTHS.items()}
    expected |= dict.fromkeys(KEPT_FOR_GOOD, ("month", None))
    assert kept == expected


@pytest.mark.parametrize(("table", "days"), KEPT_DAYS.items())
async def test_a_day_is_dropped_when_its_last_row_is_old_enough_and_not_before(
    url: str, admin: Admin, table: str, days: int
) -> None:
    service = table.partition(".")[0]
    await maintain(url, service, OLD)
    due = OLD + DAY + days * DAY
    for _ in range(4):
        assert await maintain(url, service, due - timedelta(microseconds=1)) is None
    assert named(OLD) in await partitions(admin, table)
    for _ in range(4):
        await maintain(url, service, due)
    assert named(OLD) not in await partitions(admin, table)
    assert named(OLD + DAY) in await partitions(admin, table)


@pytest.mark.parametrize(("table", "months"), KEPT_MONTHS.items())
async def test_a_month_is_dropped_when_its_last_row_is_old_enough_and_not_before(
    url: str, admin: Admin, table: str, months: int
) -> None:
    # March ends with its last row; what that row was kept for ends as many months later.
    service, due = table.partition(".")[0], datetime(2031, 4 + months, 1, tzinfo=UTC)
    await maintain(url, service, OLD)
    for _ in range(4):
        await maintain(url, service, due - timedelta(microseconds=1))
    assert "20310301" in await partitions(admin, table)
    for _ in range(4):
        await maintain(url, service, due)
    assert "20310301" not in await partitions(admin, table)
    assert "20310401" in await partitions(admin, table)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_run_drops_one_partition_of_a_table(url: str, admin: Admin, service: str) -> None:
    await maintain(url, service, OLD)
    later = OLD + 20 * DAY
    before = await partitions(admin, f"{service}.outbox")
    for count in (1, 2, 3):
        await maintain(url, service, later)
        assert len(before - await partitions(admin, f"{service}.outbox")) == count


@pytest.mark.parametrize("service", SERVICES)
async def test_no_day_goes_with_a_fact_that_is_not_published(url: str, admin: Admin, service: str) -> None:
    table = f"{service}.outbox"
    await maintain(url, service, OLD)
    await put_fact(admin, service, OLD, waits=True)
    await put_fact(admin, service, OLD + DAY, waits=False)
    later = OLD + 6 * DAY
    await maintain(url, service, later)
    await put_fact(admin, service, later, waits=False)
    for _ in range(12):
        assert await maintain(url, service, later) is None
    left = await partitions(admin, table)
    assert named(OLD) in left
    assert named(OLD + DAY) not in left, "What was published goes in time, though something older waits."
    await admin.execute(sql.SQL("delete from {}.outbox_queue").format(sql.Identifier(service)))
    await maintain(url, service, later)
    assert named(OLD) not in await partitions(admin, table)


async def test_no_day_goes_with_an_event_that_is_not_done(url: str, admin: Admin) -> None:
    await maintain(url, "ingest", OLD)
    later = OLD + 40 * DAY
    await put_event(admin, OLD, "PENDING")
    for state in ("PROCESSED", "IGNORED", "DEAD_LETTER"):
        await put_event(admin, OLD + DAY, state)
    await maintain(url, "ingest", later)
    await put_event(admin, later, "PROCESSED")
    for _ in range(12):
        assert await maintain(url, "ingest", later) is None
    left = await partitions(admin, "ingest.webhook_events")
    assert named(OLD) in left
    assert named(OLD + DAY) not in left
    await admin.execute("update ingest.webhook_events set state = 'PROCESSED'")
    await admin.execute("delete from ingest.webhook_queue")
    await maintain(url, "ingest", later)
    assert named(OLD) not in await partitions(admin, "ingest.webhook_events")


async def test_what_waits_is_asked_of_a_queue_and_not_of_every_row(admin: Admin) -> None:
    found: dict[str, str | None] = {}
    for service in SERVICES:
        asked = await admin.execute(
            sql.SQL("select * from {}.partitioned_tables where waiting <> 'false'").format(sql.Identifier(service))
        )
        found |= {f"{service}.{row['table_name']}": row["waiting_within"] for row in await asked.fetchall()}
    assert found.keys() == {*(f"{service}.outbox" for service in SERVICES), "ingest.webhook_events"}
    for table, query in found.items():
        queue = "ingest.webhook_queue" if table == "ingest.webhook_events" else f"{table}_queue"
        assert query is not None, table
        assert query.startswith(f"select from {queue} where"), table


@pytest.mark.parametrize("service", SERVICES)
async def test_each_step_alone_believes_no_clock_either(url: str, admin: Admin, service: str) -> None:
    await by_the_real_clock(admin)
    now = SystemClock().now()
    name = sql.Identifier(service)
    await admin.execute(
        sql.SQL(
            "insert into {}.consumed_events (consumer, event_id, organization_id, consume_time)"
            " values ('c', gen_random_uuid(), gen_random_uuid(), %s)"
        ).format(name),
        [now],
    )
    await put_fact(admin, service, now, waits=False)
    before = await partitions(admin, f"{service}.outbox")
    later = now + 32 * DAY
    for step, table in (("drop_expired", "outbox"), ("sweep", "consumed_events")):
        await admin.execute(sql.SQL("select {}.{}(%s, %s)").format(name, sql.Identifier(step)), [later, table])
    assert await partitions(admin, f"{service}.outbox") == before
    assert await (await admin.execute(sql.SQL("select 1 from {}.consumed_events").format(name))).fetchall()
    # Once the clocks agree, it goes.
    await admin.execute("update chassis.installation set simulated_clock = true")
    await admin.execute(sql.SQL("select {}.make_partitions(%s, 'outbox')").format(name), [later])
    await put_fact(admin, service, later, waits=False)
    for step, table in (("drop_expired", "outbox"), ("sweep", "consumed_events")):
        await admin.execute(sql.SQL("select {}.{}(%s, %s)").format(name, sql.Identifier(step)), [later, table])
    assert len(before - await partitions(admin, f"{service}.outbox")) == 1
    assert not await (await admin.execute(sql.SQL("select 1 from {}.consumed_events").format(name))).fetchall()


@pytest.mark.parametrize("service", SERVICES)
async def test_a_time_far_from_the_newest_row_drops_nothing(url: str, admin: Admin, service: str) -> None:
    await maintain(url, service, OLD)
    await put_fact(admin, service, OLD, waits=False)
    before = await partitions(admin, f"{service}.outbox")
    far = OLD + DAY + SILENCE_DAYS_MAX * DAY
    assert await maintain(url, service, far + timedelta(microseconds=1)) == NEWEST_ROW_FAR
    assert before <= await partitions(admin, f"{service}.outbox")
    assert await maintain(url, service, far) is None
    assert not before <= await partitions(admin, f"{service}.outbox")


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("apart", [32 * DAY, -32 * DAY, timedelta(seconds=CLOCK_APART_SECONDS_MAX + 60)])
async def test_a_time_far_from_the_servers_drops_nothing(
    url: str, admin: Admin, service: str, apart: timedelta
) -> None:
    await by_the_real_clock(admin)
    now = SystemClock().now()
    await put_fact(admin, service, now, waits=False)
    await admin.execute(
        sql.SQL(
            "insert into {}.consumed_events (consumer, event_id, organization_id, consume_time)"
            " values ('c', gen_random_uuid(), gen_random_uuid(), %s)"
        ).format(sql.Identifier(service)),
        [now - 6 * DAY],
    )
    before = await partitions(admin, f"{service}.outbox")
    for _ in range(3):
        assert await maintain(url, service, now + apart) == CLOCK_DIFFERS
    after = await partitions(admin, f"{service}.outbox")
    assert before <= after
    assert named(now) in after
    for table in ("outbox", "consumed_events"):
        found = await admin.execute(sql.SQL("select 1 from {}").format(sql.Identifier(service, table)))
        assert len(await found.fetchall()) == 1
    assert await maintain(url, service, SystemClock().now()) is None


@pytest.mark.parametrize("service", SERVICES)
async def test_what_the_release_before_calls_believes_no_clock_either(url: str, admin: Admin, service: str) -> None:
    await by_the_real_clock(admin)
    before = await partitions(admin, f"{service}.outbox")
    await admin.execute(sql.SQL("select {}.maintain(now() + interval '32 days')").format(sql.Identifier(service)))
    assert before <= await partitions(admin, f"{service}.outbox")


async def test_a_process_whose_clock_ran_ahead_loses_nothing_and_says_so(
    servers: EmbeddedServers, url: str, admin: Admin, keys_dir: Path
) -> None:
    """As found: a month ahead, and events that were answered 200 were gone, with the current partition."""
    await by_the_real_clock(admin)
    now = SystemClock().now()
    await put_event(admin, now, "PENDING")
    ahead = SettableClock(now + 32 * DAY)

    async def start(process: Process) -> None:
        process.maintain()

    settings = settings_for(url, servers.nats_url, servers.redis_url, keys_dir)
    with capture_logs() as lines:
        host = Host(settings, clock=ahead)
        await host.start({"ingest": start})
        await host.stop()
    refused = [line for line in lines if line["event"] == "maintenance_refused"]
    assert refused
    assert {(line["reason"], line["log_level"]) for line in refused} == {(CLOCK_DIFFERS, "error")}
    assert "clocks are set right" in refused[0]["explanation"]
    assert len(await (await admin.execute("select 1 from ingest.webhook_events")).fetchall()) == 1
    # What it takes in meanwhile has a place.
    await put_event(admin, ahead.now(), "PENDING")
