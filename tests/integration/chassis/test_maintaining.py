"""Upkeep of partitions: it needs the whole table for a moment, and makes nobody wait for longer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
import structlog
from structlog.testing import LogCapture

from chassis.clock import SettableClock, SystemClock
from chassis.migrations import PARTITIONS_AHEAD
from chassis.process import Host, Process
from chassis.upkeep import LOCK_TIMEOUT, Upkeep
from chassis.upkeep_functions import SWEPT_ROWS_MAX
from embedded.servers import EmbeddedServers
from tests.integration.ingest.processing.quiet import QuietIngest, StoredEvents
from tests.world import World, settings_for

AHEAD = timedelta(days=3)
FOR_EVER = "0"
"""As PostgreSQL writes a wait without an end."""
"""Beyond the partitions that are there already."""
WRITE_SECONDS_MAX = 60.0


@asynccontextmanager
async def quiet_ingest(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> AsyncIterator[World]:
    """Ingest without upkeep, at a time that no partition is there for."""
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    host = Host(settings, clock=SettableClock(SystemClock().now() + AHEAD))
    await host.start({"ingest": QuietIngest().start})
    world = World(database_url, settings, host, host.clock)
    try:
        yield world
    finally:
        await world.close()
        await host.stop()


def upkeep(world: World, lock_timeout: str = LOCK_TIMEOUT) -> Upkeep:
    """As the process of ingest does it; with ``FOR_EVER`` it waits for as long as somebody is in its way."""
    return Upkeep("ingest", world.host.database("ingest"), world.host.clock, lock_timeout)


async def test_upkeep_that_waits_for_a_long_reader_does_not_hold_up_writers(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, organization_id: UUID
) -> None:
    async with quiet_ingest(servers, database_url, keys_dir) as world:
        stored_events = StoredEvents(world, organization_id)
        await _forget_newest(world)
        async with await world.admin() as reader, reader.transaction():
            # As a backup reads.
            await reader.execute("lock table ingest.webhook_events in access share mode")
            maintaining = asyncio.create_task(upkeep(world).run())
            try:
                await world.until_waiting_on_locks(1)
                async with asyncio.timeout(WRITE_SECONDS_MAX):
                    await stored_events.put("PENDING", SystemClock().now(), queued=True)
                assert not maintaining.done()
                assert len(await stored_events.queue()) == 1
            finally:
                maintaining.cancel()
                await asyncio.wait([maintaining])


async def test_a_sweep_that_somebody_blocks_holds_up_neither_acceptance_nor_other_tables(
    servers: EmbeddedServers,
    database_url: str,
    keys_dir: Path,
    organization_id: UUID,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = LogCapture()
    monkeypatch.setattr(
        "chassis.upkeep.logger", structlog.wrap_logger(None, processors=[log], wrapper_class=structlog.BoundLogger)
    )
    async with quiet_ingest(servers, database_url, keys_dir) as world:
        stored_events = StoredEvents(world, organization_id)
        await _forget_newest(world)
        await _put_expired(world, organization_id)
        async with await world.admin() as holder, holder.transaction():
            await holder.execute("select from ingest.consumed_events for update")
            blocked = asyncio.create_task(upkeep(world, FOR_EVER).once())
            try:
                await world.until_waiting_on_locks(1)
                assert not blocked.done()
                # It had made a partition, for which it needed the whole table.
                assert await world.rows("select 1 where to_regclass(%s) is not null", _newest(world.host).decode())
                async with asyncio.timeout(WRITE_SECONDS_MAX):
                    await stored_events.put("PENDING", SystemClock().now(), queued=True)
                    # Another process' upkeep, which does not wait as long.
                    assert not await upkeep(world, "10ms").once()
                (postponed,) = (line for line in log.entries if line["event"] == "maintenance_postponed")
                assert (postponed["step"], postponed["table"]) == ("sweep", "consumed_events")
                assert not await world.rows("select 1 from ingest.request_answers")
                assert await world.rows("select 1 from ingest.consumed_events")
            except BaseException:
                blocked.cancel()
                raise
        assert await blocked
        assert not await world.rows("select 1 from ingest.consumed_events")


async def test_many_expired_rows_go_in_several_transactions_of_a_known_size(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, organization_id: UUID
) -> None:
    async with quiet_ingest(servers, database_url, keys_dir) as world:
        await _put_expired(world, organization_id, SWEPT_ROWS_MAX + 1)
        async with await world.admin() as admin:
            now = [world.clock.now()]
            swept = await admin.execute("select ingest.sweep(%s, 'consumed_events') as more", now)
            assert await swept.fetchone() == {"more": True}
            assert len(await world.rows("select 1 from ingest.consumed_events")) == 1
            swept = await admin.execute("select ingest.sweep(%s, 'consumed_events') as more", now)
            assert await swept.fetchone() == {"more": False}
        await _put_expired(world, organization_id, SWEPT_ROWS_MAX + 1)
        assert await upkeep(world).once()
        assert not await world.rows("select 1 from ingest.consumed_events")


async def test_a_day_is_kept_in_which_something_is_put_back_while_it_is_about_to_go(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, organization_id: UUID
) -> None:
    async with quiet_ingest(servers, database_url, keys_dir) as world, await world.admin() as dropper:
        first, second = await _expired_days(world, dropper)
        event_id = await StoredEvents(world, organization_id).put("DEAD_LETTER", first)
        async with await world.admin() as replaying, replaying.transaction():
            await replaying.execute("update ingest.webhook_events set state = 'PENDING' where id = %s", [event_id])
            await replaying.execute(
                "insert into ingest.webhook_queue (lane, ordering_key, webhook_event_id, receive_time,"
                " organization_id, attempt_count) select 3, ordering_key, id, receive_time, organization_id, 0"
                " from ingest.webhook_events where id = %s",
                [event_id],
            )
            dropping = asyncio.create_task(_drop_expired(world, dropper))
            await world.until_waiting_on_locks(1)
        assert await dropping == f"webhook_events_{second:%Y%m%d}"
        assert await world.rows("select 1 from ingest.webhook_events where id = %s", event_id)
        await dropper.execute("delete from ingest.webhook_queue where webhook_event_id = %s", [event_id])
        assert await _drop_expired(world, dropper) == f"webhook_events_{first:%Y%m%d}"


async def test_who_reads_all_days_and_who_drops_one_do_not_wait_for_each_other(
    servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> None:
    async with quiet_ingest(servers, database_url, keys_dir) as world, await world.admin() as dropper:
        first, _ = await _expired_days(world, dropper)
        async with await world.admin() as reader, reader.transaction():
            await reader.execute("lock table only ingest.webhook_events in access share mode")
            dropping = asyncio.create_task(_drop_expired(world, dropper))
            await world.until_waiting_on_locks(1)
            # Of two that wait for each other one is ended by the server.
            await reader.execute("select count(*) from ingest.webhook_events")
        assert await dropping == f"webhook_events_{first:%Y%m%d}"


async def test_upkeep_by_two_at_once_makes_each_partition_once(
    servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> None:
    async with quiet_ingest(servers, database_url, keys_dir) as world:
        await _forget_newest(world)
        async with await world.admin() as reader, reader.transaction():
            # Both have to wait before they can make what both have found missing.
            await reader.execute("lock table ingest.webhook_events in access share mode")
            both = [asyncio.create_task(upkeep(world, FOR_EVER).once()) for _ in range(2)]
            await world.until_waiting_on_locks(2)
        assert await asyncio.gather(*both) == [True, True]
        assert await world.rows("select 1 where to_regclass(%s) is not null", _newest(world.host).decode())


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


async def _put_expired(world: World, organization_id: UUID, events: int = 1) -> None:
    """Rows that have expired in each of two tables, which are swept in this order."""
    time = world.host.clock.now() - timedelta(days=30)
    parameters = {"organization": organization_id, "time": time, "events": events}
    async with await world.admin() as admin:
        await admin.execute(
            "insert into ingest.consumed_events (consumer, event_id, organization_id, consume_time)"
            " select 'c', gen_random_uuid(), %(organization)s, %(time)s from generate_series(1, %(events)s)",
            parameters,
        )
        await admin.execute(
            "insert into ingest.request_answers (organization_id, request_id, method, body_hash, create_time)"
            " values (%(organization)s, gen_random_uuid(), 'M', '', %(time)s)",
            parameters,
        )


async def _expired_days(world: World, admin: psycopg.AsyncConnection[Any]) -> tuple[datetime, datetime]:
    """Two days of webhooks that have expired, the first that go."""
    second = world.host.clock.now() - timedelta(days=40)
    await admin.execute("select ingest.make_partitions(%s, 'webhook_events')", [second])
    return second - timedelta(days=1), second


async def _drop_expired(world: World, admin: psycopg.AsyncConnection[Any]) -> str:
    """Drops one day of webhooks; answers which."""
    found = await admin.execute("select ingest.drop_expired(%s, 'webhook_events') as dropped", [world.host.clock.now()])
    row = await found.fetchone()
    assert row is not None
    dropped: str = row["dropped"]
    return dropped


async def _forget_newest(world: World) -> None:
    """Lets upkeep have something to make, also where another test had it made before."""
    async with await world.admin() as admin:
        await admin.execute(b"drop table if exists " + _newest(world.host))


def _newest(host: Host) -> bytes:
    """The last partition that upkeep makes."""
    return f"ingest.webhook_events_{host.clock.now() + PARTITIONS_AHEAD * timedelta(days=1):%Y%m%d}".encode()
