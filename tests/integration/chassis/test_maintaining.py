"""Upkeep of partitions: it needs the whole table for a moment, and makes nobody wait for longer."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest

from chassis.clock import SettableClock, SystemClock
from chassis.migrations import PARTITIONS_AHEAD
from chassis.process import Host, Process
from embedded.servers import EmbeddedServers
from tests.integration.ingest.processing.quiet import QuietIngest, StoredEvents
from tests.world import World, settings_for

AHEAD = timedelta(days=3)
"""Beyond the partitions that are there already."""
WRITE_SECONDS_MAX = 60.0


async def test_upkeep_that_waits_for_a_long_reader_does_not_hold_up_writers(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, organization_id: UUID
) -> None:
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    host = Host(settings, clock=SettableClock(SystemClock().now() + AHEAD))
    await host.start({"ingest": QuietIngest().start})
    world = World(database_url, settings, host, host.clock)
    stored_events = StoredEvents(world, organization_id)
    try:
        await _forget_newest(world)
        async with await world.admin() as reader, reader.transaction():
            # As a backup reads.
            await reader.execute("lock table ingest.webhook_events in access share mode")
            maintaining = asyncio.create_task(Process(host, "ingest")._maintain())
            try:
                await world.until_waiting_on_locks(1)
                async with asyncio.timeout(WRITE_SECONDS_MAX):
                    await stored_events.put("PENDING", SystemClock().now(), queued=True)
                assert not maintaining.done()
                assert len(await stored_events.queue()) == 1
            finally:
                maintaining.cancel()
                await asyncio.wait([maintaining])
    finally:
        await world.close()
        await host.stop()


async def test_upkeep_by_two_at_once_makes_each_partition_once(
    servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> None:
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    host = Host(settings, clock=SettableClock(SystemClock().now() + AHEAD))
    await host.start({"ingest": QuietIngest().start})
    world = World(database_url, settings, host, host.clock)
    try:
        await _forget_newest(world)
        async with await world.admin() as reader, reader.transaction():
            # Both have to wait before they can make what both have found missing.
            await reader.execute("lock table ingest.webhook_events in access share mode")
            both = [asyncio.create_task(Process(host, "ingest").maintain_once()) for _ in range(2)]
            await world.until_waiting_on_locks(2)
        await asyncio.gather(*both)
        assert await world.rows("select 1 where to_regclass(%s) is not null", _newest(host).decode())
    finally:
        await world.close()
        await host.stop()


async def test_what_expects_a_partition_is_served_once_it_is_there(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    host = Host(settings, clock=SettableClock(SystemClock().now() + AHEAD + timedelta(days=1)))

    async def start(process: Process) -> None:
        # Only what comes before the jobs.
        monkeypatch.setattr(process, "run", lambda *_: None)
        process.maintain()

    await host.start({"ingest": start})
    world = World(database_url, settings, host, host.clock)
    try:
        assert await world.rows("select 1 where to_regclass(%s) is not null", _newest(host).decode())
    finally:
        await world.close()
        await host.stop()


async def _forget_newest(world: World) -> None:
    """Lets upkeep have something to make, also where another test had it made before."""
    async with await world.admin() as admin:
        await admin.execute(b"drop table if exists " + _newest(world.host))


def _newest(host: Host) -> bytes:
    """The last partition that upkeep makes."""
    return f"ingest.webhook_events_{host.clock.now() + PARTITIONS_AHEAD * timedelta(days=1):%Y%m%d}".encode()
