"""The feed as its readers see it: how far they have come, what they leave behind, and when they are sent away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import grpc.aio
import pytest
import pytest_asyncio

from chassis import auth
from chassis.clock import SystemClock
from chassis.process import Host, Process
from embedded.servers import EmbeddedServers
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import EventServiceStub, add_EventServiceServicer_to_server
from services.ingest.feed.positions import FeedReader
from services.ingest.feed.servicer import FeedServicer
from tests.world import PATIENCE_SECONDS, World, error_info, settings_for

COMMON, RARE = "prosa.conversation.v1.MessageReceived", "prosa.crm.v1.BoardCreated"
NOW = SystemClock().now()
WAIT_SECONDS = PATIENCE_SECONDS


class Feed:
    """A feed that nobody writes but the test."""

    reader: FeedReader

    async def start(self, process: Process) -> None:
        """What a host calls."""
        self.reader = FeedReader(process.nats)
        name = pb.DESCRIPTOR.services_by_name["EventService"].full_name
        process.serve(add_EventServiceServicer_to_server, FeedServicer(process.database(), self.reader), name)


FEED = Feed()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> AsyncIterator[World]:
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    host = Host(settings)
    await host.start({"ingest": FEED.start})
    host.revocations.update([], complete=True)
    running = World(database_url, settings, host, host.clock)
    yield running
    await running.close()
    await host.stop()


async def written(world: World, organization_id: UUID, *types: str) -> list[int]:
    """Facts of these types in the organization's feed; answers their positions."""
    positions = []
    async with await world.admin() as admin:
        for fact_type in types:
            row = await (
                await admin.execute(
                    "insert into ingest.feed (write_time, event_id, organization_id, type, payload, event_time,"
                    " correlation_id, trace_parent) values (%s, %s, %s, %s, '', %s, '', '') returning position",
                    [NOW, uuid4(), organization_id, fact_type, NOW],
                )
            ).fetchone()
            assert row is not None
            positions.append(cast("dict[str, int]", row)["position"])
    return positions


async def test_a_reader_of_a_rare_type_comes_past_the_others(world: World, organization_id: UUID) -> None:
    stub = world.as_service("cli", organization_id).stub(EventServiceStub)
    first, _, last = await written(world, organization_id, RARE, COMMON, COMMON)
    request = pb.ListFeedEventsRequest(types=["BoardCreated"], page_size=10)
    answer = await stub.ListFeedEvents(request)
    assert ([event.position for event in answer.events], answer.next_position) == ([first], last)

    # A full page goes on behind its last fact, and one that finds nothing stays where the feed ends.
    answer = await stub.ListFeedEvents(pb.ListFeedEventsRequest(types=[RARE], page_size=1))
    assert answer.next_position == first
    answer = await stub.ListFeedEvents(pb.ListFeedEventsRequest(types=[RARE], page_size=1, after_position=last))
    assert (len(answer.events), answer.next_position) == (0, last)


async def test_a_reader_who_leaves_at_the_first_word_leaves_nothing_behind(world: World, organization_id: UUID) -> None:
    token, _ = world.host.signer("identity").person_token(
        kind="user", principal="user:a", organization_id=organization_id
    )
    servicer = FeedServicer(world.database("ingest"), FEED.reader)
    auth.set_caller(world.host.verifier.verify(token))
    try:
        stream = cast("AsyncGenerator[Any, None]", servicer.Subscribe(pb.SubscribeRequest(), None))
        assert (await anext(stream)).heartbeat
        await stream.aclose()
    finally:
        auth.set_caller(None)
    assert FEED.reader._waiting == set()


async def test_who_is_revoked_reads_no_further(world: World, organization_id: UUID) -> None:
    principal = f"key:{uuid4()}"
    token, _ = world.host.signer("identity").person_token(
        kind="key", principal=principal, organization_id=organization_id, scopes=[auth.ALL_SCOPES]
    )
    stream = world.with_token(token).stub(EventServiceStub).Subscribe(pb.SubscribeRequest())
    first = await stream.read()
    assert isinstance(first, pb.FeedEvent)
    assert first.heartbeat
    world.host.revocations.update([(principal, world.clock.now().timestamp())], complete=True)
    await written(world, organization_id, COMMON)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        async with asyncio.timeout(WAIT_SECONDS):
            await stream.read()
    assert error_info(ended.value).reason == "TOKEN_REVOKED"


async def test_a_position_behind_the_end_of_the_feed_is_refused_and_the_end_itself_is_not(
    world: World, organization_id: UUID
) -> None:
    """Whoever followed a feed that was put back would miss all that comes before that position."""
    stub = world.as_service("cli", organization_id).stub(EventServiceStub)
    (last,) = await written(world, organization_id, COMMON)
    answer = await stub.ListFeedEvents(pb.ListFeedEventsRequest(after_position=last))
    assert (len(answer.events), answer.next_position) == (0, last)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ListFeedEvents(pb.ListFeedEventsRequest(after_position=last + 1))
    assert error_info(refused.value).reason == "POSITION_EXPIRED"
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        async with asyncio.timeout(WAIT_SECONDS):
            await stub.Subscribe(pb.SubscribeRequest(after_position=last + 1)).read()
    assert error_info(ended.value).reason == "POSITION_EXPIRED"

    # Whose own facts have all left the feed, which begins right behind them, has missed nothing.
    async with await world.admin() as admin:
        await admin.execute("delete from ingest.feed where position <= %s", [last])
    await written(world, uuid4(), COMMON)
    answer = await stub.ListFeedEvents(pb.ListFeedEventsRequest(after_position=last))
    assert (len(answer.events), answer.next_position) == (0, last)
