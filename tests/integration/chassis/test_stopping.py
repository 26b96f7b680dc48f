"""A process that is told to stop: what has no end of its own is ended."""

from __future__ import annotations

import asyncio
from pathlib import Path
from uuid import UUID

import grpc
import grpc.aio
import pytest

from chassis.process import Host, JobFailed, Process
from embedded.servers import EmbeddedServers
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import EventServiceStub
from tests.world import error_info, settings_for, start_world

DRAIN_SECONDS = 100.0
STOP_SECONDS_MAX = 60.0


async def test_a_stream_does_not_hold_up_a_stop_and_its_reader_is_told(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, organization_id: UUID
) -> None:
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir, drain_seconds=DRAIN_SECONDS)
    world = await start_world(settings, database_url, ("ingest",))
    stub = world.as_service("cli", organization_id).stub(EventServiceStub)
    stream = stub.Subscribe(pb.SubscribeRequest(after_position=0))
    first = await stream.read()
    assert isinstance(first, pb.FeedEvent)
    assert first.heartbeat
    stopping = asyncio.create_task(world.host.stop())
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            with pytest.raises(grpc.aio.AioRpcError) as ended:
                await stream.read()
            await asyncio.shield(stopping)
    finally:
        # Whatever the outcome, nothing of this world may outlive the test.
        stream.cancel()
        await stopping
        await world.close()
    assert (ended.value.code(), error_info(ended.value).reason) == (grpc.StatusCode.UNAVAILABLE, "SHUTTING_DOWN")


async def test_a_job_that_is_cancelled_though_nobody_stops_the_process_has_failed(
    servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> None:
    async def lost() -> None:
        raise asyncio.CancelledError

    async def start(process: Process) -> None:
        process.run("lost", lost)

    host = Host(settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir))
    await host.start({"ingest": start})
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            assert isinstance(await host.failed(), JobFailed)
    finally:
        await host.stop()
