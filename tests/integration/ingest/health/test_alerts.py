"""Webhooks of one organization fail: somebody is told once, and told again when it is over; nobody for one in forty."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from chassis.clock import SettableClock, SystemClock
from embedded.servers import EmbeddedServers
from prosa.ingest.v1 import alert_service_pb2 as pb
from prosa.ingest.v1.alert_service_pb2_grpc import AlertServiceStub
from prosa.ingest.v1.events_pb2 import AlertOpened, AlertResolved
from tests.conftest import ALL_TARGETS
from tests.harness import Harness, open_harness, sample
from tests.integration.cli.operator import Operator
from tests.world import PATIENCE_SECONDS, World, settings_for, start_world

OPEN = "select 1 from ingest.alerts where organization_id = %s and state = 'OPEN'"
RESOLVED = "select 1 from ingest.alerts where organization_id = %s and state = 'RESOLVED'"
WAITING = "select 1 from ingest.health_queue where organization_id = %s and next_attempt_time > %s"
QUIET = "conversation_typing_on.agent"
"""A body that is rightly ignored."""


@pytest.fixture(scope="module")
def clock() -> SettableClock:
    """Time, as these tests let it pass."""
    return SettableClock(SystemClock().now())


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, clock: SettableClock
) -> AsyncIterator[World]:
    """A process that lives by that clock."""
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    running = await start_world(settings, database_url, ALL_TARGETS, clock)
    try:
        yield running
    finally:
        await running.close()
        await running.host.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def harness(world: World) -> AsyncIterator[Harness]:
    """An organization of the test's own."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as session:
        yield await open_harness(world, session)


async def came(harness: Harness, well: int, failing: int) -> None:
    """Webhooks come, are worked off, and what failed has been looked at."""
    for _ in range(well):
        assert (await harness.deliver(sample(QUIET)))["state"] == "IGNORED"
    for place in range(failing):
        row = await harness.deliver(b'{"unreadable": "%d"' % place)
        assert row["state"] == "DEAD_LETTER"
    if failing:
        await harness.world.until(WAITING, harness.organization_id, harness.world.clock.now())


async def test_it_opens_once_is_listed_and_is_resolved_when_the_window_is_clean(
    harness: Harness, clock: SettableClock, keys_dir: Path, tmp_path: Path
) -> None:
    world, organization_id = harness.world, harness.organization_id
    environment = {
        "PROSA_HOME": str(tmp_path / "no-home"),
        "PROSA_GRPC_ADDRESS": world.host.grpc_address,
        "PROSA_KEYS_DIR": str(keys_dir),
    }
    operator, org = Operator(environment, tmp_path), ("--org", str(organization_id))
    await came(harness, well=4, failing=2)
    green = await operator.prosa_from_the_start("alerts", *org)
    assert (green.code, "No alert is open." in green.out) == (0, True)
    assert await world.rows(OPEN, organization_id) == []
    await came(harness, well=0, failing=1)
    await world.until(OPEN, organization_id)
    await came(harness, well=0, failing=3)
    [opened] = await world.announced(AlertOpened, organization_id)
    assert (opened.alert.failure_share.event_count, opened.alert.failure_share.failure_count) == (7, 3)
    status, listed = await harness.get("/api/v1/alerts", state="OPEN")
    assert (status, len(listed["alerts"])) == (200, 1)
    assert (listed["alerts"][0]["kind"], listed["alerts"][0]["failure_share"]["threshold"]) == (
        "WEBHOOK_FAILURES",
        0.02,
    )
    red = await operator.prosa("alerts", *org, "--json")
    assert (red.code, [row["state"] for row in red.document["alerts"]]) == (1, ["OPEN"])

    # Still within the window.
    clock.advance(timedelta(minutes=13))
    await world.until(WAITING, organization_id, clock.now())
    assert await world.rows(RESOLVED, organization_id) == []
    clock.advance(timedelta(minutes=3))
    await world.until(RESOLVED, organization_id)
    [resolved] = await world.announced(AlertResolved, organization_id)
    assert resolved.alert.alert_id == opened.alert.alert_id
    assert len(await world.announced(AlertOpened, organization_id)) == 1
    # Over gRPC: the command line's own clock has not moved, so its tokens are too old by now.
    stub = world.as_user(organization_id).stub(AlertServiceStub)
    assert not (await stub.ListAlerts(pb.ListAlertsRequest(state=pb.ALERT_STATE_OPEN))).alerts
    [past] = (await stub.ListAlerts(pb.ListAlertsRequest())).alerts
    assert (past.state, past.alert_id) == (pb.ALERT_STATE_RESOLVED, opened.alert.alert_id)


async def test_one_failure_in_forty_tells_nobody(harness: Harness) -> None:
    await came(harness, well=39, failing=1)
    assert await harness.world.rows(OPEN, harness.organization_id) == []
    (counted,) = await harness.world.rows(
        "select sum(processed_count + ignored_count)::int as well, sum(failed_count)::int as failed"
        " from ingest.health_windows where organization_id = %s",
        harness.organization_id,
    )
    assert (counted["well"], counted["failed"]) == (39, 1)
