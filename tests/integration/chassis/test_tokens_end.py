"""A token is believed until it ends: by calls that come again, and by streams that stay."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from chassis.auth import CLOCK_SKEW_SECONDS, PERSON_TOKEN_SECONDS, TokenSigner, load_private_key
from chassis.clock import SettableClock, SystemClock
from chassis.process import Host, Process
from embedded.servers import EmbeddedServers
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import EventServiceStub, add_EventServiceServicer_to_server
from prosa.v1 import options_pb2
from services.ingest.feed.positions import FeedReader
from services.ingest.feed.servicer import FeedServicer
from tests.world import PATIENCE_SECONDS, World, error_info, settings_for

pytestmark = pytest.mark.case("S11")

LIFE_SECONDS = PERSON_TOKEN_SECONDS + CLOCK_SKEW_SECONDS
WAIT_SECONDS = PATIENCE_SECONDS
"""Below the feed's heartbeat, which would otherwise be what looks at the token."""


async def start(process: Process) -> None:
    """A feed that nobody writes."""
    name = pb.DESCRIPTOR.services_by_name["EventService"].full_name
    process.serve(add_EventServiceServicer_to_server, FeedServicer(process.database(), FeedReader(process.nats)), name)


@pytest_asyncio.fixture(loop_scope="session")
async def world(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> AsyncIterator[World]:
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    host = Host(settings, clock=SettableClock(SystemClock().now()))
    await host.start({"ingest": start})
    host.revocations.update([], complete=True)
    running = World(database_url, settings, host, host.clock)
    yield running
    await running.close()
    await host.stop()


def stub(world: World, organization_id: UUID, *, left: float) -> Any:
    """A person whose token will be believed for so many seconds, a part of one less."""
    issued = world.clock.now() - timedelta(seconds=LIFE_SECONDS - left)
    signer = TokenSigner("identity", load_private_key(world.settings.keys_dir, "identity"), SettableClock(issued))
    token, _ = signer.person_token(
        kind="user", principal="user:a", organization_id=organization_id, role=options_pb2.ROLE_OWNER
    )
    return world.with_token(token).stub(EventServiceStub)


def reason(error: grpc.aio.AioRpcError) -> tuple[grpc.StatusCode, str]:
    return error.code(), error_info(error).reason


async def test_a_token_that_was_believed_before_is_refused_once_it_has_ended(
    world: World, organization_id: UUID
) -> None:
    person = stub(world, organization_id, left=LIFE_SECONDS)
    assert isinstance(world.clock, SettableClock)
    await person.ListFeedEvents(pb.ListFeedEventsRequest())
    world.clock.advance(timedelta(seconds=LIFE_SECONDS - 2))
    await person.ListFeedEvents(pb.ListFeedEventsRequest())
    world.clock.advance(timedelta(seconds=2))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await person.ListFeedEvents(pb.ListFeedEventsRequest())
    assert reason(refused.value) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")


async def test_a_quiet_stream_ends_with_its_token(world: World, organization_id: UUID) -> None:
    stream = stub(world, organization_id, left=1.5).Subscribe(pb.SubscribeRequest())
    first = await stream.read()
    assert isinstance(first, pb.FeedEvent)
    assert first.heartbeat
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        async with asyncio.timeout(WAIT_SECONDS):
            await stream.read()
    assert reason(ended.value) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")


async def test_a_busy_stream_ends_with_its_token_though_the_clock_was_set(world: World, organization_id: UUID) -> None:
    assert isinstance(world.clock, SettableClock)
    stream = stub(world, organization_id, left=LIFE_SECONDS).Subscribe(pb.SubscribeRequest())
    await stream.read()
    world.clock.advance(timedelta(seconds=LIFE_SECONDS))
    async with await world.admin() as admin:
        await admin.execute(
            "insert into ingest.feed (write_time, event_id, organization_id, type, payload, event_time, correlation_id,"
            " trace_parent) values (now(), gen_random_uuid(), %s, 'prosa.crm.v1.BoardCreated', '', now(), '', '')",
            [organization_id],
        )
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        async with asyncio.timeout(WAIT_SECONDS):
            await stream.read()
    assert reason(ended.value) == (grpc.StatusCode.UNAUTHENTICATED, "TOKEN_EXPIRED")
