"""The feed as its readers see it: how far they have come, what they leave behind, and when they are sent away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import grpc.aio
import pytest
import pytest_asyncio

from chassis import auth, streams
from chassis.clock import SystemClock
from chassis.db import Tx
from chassis.process import Host, Process
from embedded.servers import EmbeddedServers
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import EventServiceStub, add_EventServiceServicer_to_server
from services.ingest.feed.positions import FeedReader, FeedWriter
from services.ingest.feed.servicer import FeedServicer
from services.ingest.feed.waits import WAITING_PER_ORGANIZATION_MAX
from tests.world import PATIENCE_SECONDS, World, error_info, settings_for

COMMON, RARE = "prosa.conversation.v1.MessageReceived", "prosa.crm.v1.BoardCreated"
NOW = SystemClock().now()
WAIT_SECONDS = PATIENCE_SECONDS


class Watched(FeedReader):
    """Says when somebody begins to wait."""

    def __init__(self, nats: streams.Client) -> None:
        super().__init__(nats)
        self.begun = asyncio.Semaphore(0)

    def waiter(self, organization_id: UUID) -> asyncio.Event:
        self.begun.release()
        return super().waiter(organization_id)


class Feed:
    """A feed that nobody writes but the test."""

    reader: Watched

    async def start(self, process: Process) -> None:
        """What a host calls."""
        self.reader = Watched(process.nats)
        servicer = FeedServicer(process.database(), self.reader)
        process.on_drain(servicer.end_waits)
        name = pb.DESCRIPTOR.services_by_name["EventService"].full_name
        process.serve(add_EventServiceServicer_to_server, servicer, name)

    async def waiting(self, stub: Any, count: int = 1) -> list[asyncio.Future[pb.ListFeedEventsResponse]]:
        """So many callers who wait for a fact, when all of them do."""
        self.reader.begun = asyncio.Semaphore(0)
        request = pb.ListFeedEventsRequest(wait_seconds=20)
        calls = [asyncio.ensure_future(stub.ListFeedEvents(request)) for _ in range(count)]
        async with asyncio.timeout(WAIT_SECONDS):
            for _ in range(count):
                await self.reader.begun.acquire()
        return calls


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
    assert FEED.reader._waiting == {}


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


async def test_one_organization_leaves_the_others_their_places_to_wait(world: World, organization_id: UUID) -> None:
    stub = world.as_service("cli", organization_id).stub(EventServiceStub)
    calls = await FEED.waiting(stub, WAITING_PER_ORGANIZATION_MAX)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ListFeedEvents(pb.ListFeedEventsRequest(wait_seconds=20))
    assert refused.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert error_info(refused.value).reason == "FEED_WAITS_LIMITED"
    # Who does not wait, and who waits for another organization's, are no part of that.
    assert not (await stub.ListFeedEvents(pb.ListFeedEventsRequest())).events
    other = uuid4()
    [theirs] = await FEED.waiting(world.as_service("cli", other).stub(EventServiceStub))
    [position] = await written(world, other, COMMON)
    FEED.reader.grown(other.bytes)
    assert [event.position for event in (await theirs).events] == [position]
    # All are answered by the one fact, and the places are free again.
    [position] = await written(world, organization_id, COMMON)
    FEED.reader.grown(organization_id.bytes)
    answers = await asyncio.gather(*calls)
    assert {event.position for answer in answers for event in answer.events} == {position}
    assert FEED.reader._waiting == {}


async def test_a_fact_wakes_nobody_of_another_organization(world: World) -> None:
    reader, organizations = FeedReader(FEED.reader._nats), [uuid4(), uuid4(), uuid4()]
    events = [reader.waiter(one) for one in organizations]
    reader.grown(organizations[0].bytes + organizations[2].bytes)
    assert [event.is_set() for event in events] == [True, False, True]
    reader.grown()
    assert [event.is_set() for event in events] == [True, True, True]


async def test_who_waits_is_woken_by_the_writer_of_the_fact(world: World) -> None:
    nats = FEED.reader._nats
    reader, one, other = FeedReader(nats), uuid4(), uuid4()
    await reader.watch()
    await nats.flush()
    woken, left = reader.waiter(one), reader.waiter(other)

    async def follow(_tx: Tx, _facts: Sequence[streams.StreamMessage]) -> None:
        return None

    writer = FeedWriter(world.clock, nats, follow)
    fact = streams.StreamMessage(1, 1, 1, uuid4(), one, COMMON, b"", NOW, "", "", None)
    async with world.database("ingest").transaction(one) as tx:
        await writer.append(tx, [fact])
    async with asyncio.timeout(WAIT_SECONDS):
        await woken.wait()
    assert not left.is_set()


async def test_who_is_revoked_while_waiting_reads_nothing(world: World, organization_id: UUID) -> None:
    principal = f"key:{uuid4()}"
    token, _ = world.host.signer("identity").person_token(
        kind="key", principal=principal, organization_id=organization_id, scopes=[auth.ALL_SCOPES]
    )
    [waiting] = await FEED.waiting(world.with_token(token).stub(EventServiceStub))
    world.host.revocations.update([(principal, world.clock.now().timestamp())], complete=True)
    await written(world, organization_id, COMMON)
    FEED.reader.grown(organization_id.bytes)
    with pytest.raises(grpc.aio.AioRpcError) as ended:
        await waiting
    assert error_info(ended.value).reason == "TOKEN_REVOKED"


async def test_who_waits_is_answered_when_the_process_stops(world: World, organization_id: UUID) -> None:
    host, feed = Host(world.settings), Feed()
    await host.start({"ingest": feed.start})
    host.revocations.update([], complete=True)
    stopping = World(world.database_url, world.settings, host, host.clock)
    try:
        [waiting] = await feed.waiting(stopping.as_service("cli", organization_id).stub(EventServiceStub))
        stop = asyncio.ensure_future(host.stop())
        async with asyncio.timeout(10):
            assert not (await waiting).events
        await stop
    finally:
        await stopping.close()
        await host.stop()
