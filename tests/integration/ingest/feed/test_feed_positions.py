"""The feed by position: who wants few types is led past all the others, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import pytest

from chassis.db import Tx
from chassis.streams import StreamMessage
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import EventServiceStub
from services.ingest.feed import positions as feed
from services.ingest.feed import servicer as feed_servicer
from services.ingest.feed import store as feed_store
from tests.world import PATIENCE_SECONDS, World

TARGETS = ("ingest",)
RARE, OTHER = "prosa.crm.v1.DealWon", "prosa.conversation.v1.MessageReceived"
WAIT_SECONDS = PATIENCE_SECONDS


class Looks:
    """Every look at the feed: from which position, and where it led."""

    def __init__(self) -> None:
        self.made: list[tuple[int, feed_store.Page]] = []
        self._changed = asyncio.Event()

    def add(self, position: int, page: feed_store.Page) -> None:
        self.made.append((position, page))
        self._changed.set()

    async def until(self, count: int) -> None:
        """Waits until so many were made."""
        async with asyncio.timeout(WAIT_SECONDS):
            while len(self.made) < count:
                self._changed.clear()
                await self._changed.wait()

    def assert_each_begins_where_the_last_ended(self) -> None:
        ends = [page.position for _, page in self.made]
        assert [position for position, _ in self.made[1:]] == ends[:-1]


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> Looks:
    """Notes every look."""
    noted, read_after = Looks(), feed_store.read_after

    async def noting(tx: Tx, organization_id: UUID, position: int, types: Sequence[str], limit: int) -> feed_store.Page:
        page = await read_after(tx, organization_id, position, types, limit)
        noted.add(position, page)
        return page

    monkeypatch.setattr(feed_store, "read_after", noting)
    return noted


async def nobody_follows(_tx: Tx, _events: Sequence[StreamMessage]) -> None:
    """Has nothing to do when the feed grows."""


async def append(world: World, organization_id: UUID, *types: str, seconds_apart: int = 0) -> list[int]:
    """Writes facts of these types as the feed's writer does, each so much later; answers their positions."""
    events = [
        StreamMessage(
            sequence=0,
            epoch=1,
            position=0,
            event_id=uuid4(),
            organization_id=organization_id,
            type=name,
            payload=b"",
            event_time=world.clock.now() + timedelta(seconds=place * seconds_apart),
            correlation_id="",
            trace_parent="",
            installation_id=None,
        )
        for place, name in enumerate(types)
    ]
    writer = feed.FeedWriter(world.clock, world.host.nats, nobody_follows)
    async with world.database("ingest").transaction(organization_id) as tx:
        await writer.append(tx, events)
    rows = await world.rows(
        "select position from ingest.feed where organization_id = %s order by position", organization_id
    )
    return [row["position"] for row in rows][-len(types) :]


@asynccontextmanager
async def subscribed(world: World, organization_id: UUID, *types: str) -> AsyncIterator[Any]:
    """A stream of these types from the oldest kept, past its first sign of life."""
    stub = world.as_service("cli", organization_id).stub(EventServiceStub)
    stream = stub.Subscribe(pb.SubscribeRequest(types=types))
    first = await stream.read()
    assert isinstance(first, pb.FeedEvent)
    assert first.heartbeat
    try:
        yield stream
    finally:
        stream.cancel()


async def next_fact(stream: Any) -> pb.FeedEvent:
    """The next event that is a fact."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            event = await stream.read()
            assert event is not grpc.aio.EOF
            if not event.heartbeat:
                assert isinstance(event, pb.FeedEvent)
                return event


async def test_what_a_subscriber_does_not_want_is_looked_at_once(
    world: World, looks: Looks, organization_id: UUID
) -> None:
    passed = await append(world, organization_id, *[OTHER] * 5)
    async with subscribed(world, organization_id, "DealWon") as stream:
        await looks.until(1)
        assert looks.made[0][1].position == passed[-1]
        (rare,) = await append(world, organization_id, RARE)
        assert (await next_fact(stream)).position == rare
        await append(world, organization_id, *[OTHER] * 3)
        (rarer,) = await append(world, organization_id, RARE)
        assert (await next_fact(stream)).position == rarer
    looks.assert_each_begins_where_the_last_ended()


async def test_one_look_goes_through_a_bounded_number_of_facts(
    world: World, looks: Looks, organization_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_store, "SCAN_MAX", 3)
    monkeypatch.setattr(feed_servicer, "READ_MAX", 2)
    positions = await append(world, organization_id, *[OTHER] * 10, RARE, RARE, RARE, OTHER)
    async with subscribed(world, organization_id, RARE) as stream:
        assert [(await next_fact(stream)).position for _ in range(3)] == positions[10:13]
        await looks.until(6)
    looks.assert_each_begins_where_the_last_ended()
    ends = [page.position for _, page in looks.made]
    # Three at a time, but two rare ones fill a page; the last look finds the end.
    assert ends[:6] == [positions[2], positions[5], positions[8], positions[11], positions[13], positions[13]]
    assert [page.more for _, page in looks.made][:5] == [True, True, True, True, False]


async def test_every_type_is_read_without_a_gap(world: World, organization_id: UUID) -> None:
    positions = await append(world, organization_id, OTHER, RARE, OTHER)
    async with subscribed(world, organization_id) as stream:
        assert [(await next_fact(stream)).position for _ in positions] == positions


async def test_a_page_that_is_full_before_the_look_is_over_leaves_the_rest_to_the_next(
    world: World, looks: Looks, organization_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_store, "SCAN_MAX", 5)
    monkeypatch.setattr(feed_servicer, "READ_MAX", 2)
    positions = await append(world, organization_id, RARE, RARE, RARE, OTHER, RARE)
    async with subscribed(world, organization_id, RARE) as stream:
        read = [(await next_fact(stream)).position for _ in range(4)]
    assert read == [*positions[:3], positions[4]]
    looks.assert_each_begins_where_the_last_ended()


async def test_facts_keep_the_order_in_which_they_were_left_whatever_their_times_say(
    world: World, organization_id: UUID
) -> None:
    """A clock that was set back must not turn around what happened."""
    order = [OTHER, RARE, "prosa.crm.v1.BoardCreated"]
    await append(world, organization_id, *order, seconds_apart=-60)
    async with subscribed(world, organization_id) as stream:
        assert [(await next_fact(stream)).type for _ in order] == order


async def test_a_listed_page_without_facts_means_the_end(
    world: World, looks: Looks, organization_id: UUID, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed_store, "SCAN_MAX", 2)
    positions = await append(world, organization_id, *[OTHER] * 5, RARE, *[OTHER] * 5, RARE, OTHER)
    stub = world.as_service("cli", organization_id).stub(EventServiceStub)
    found, after = [], 0
    while True:
        request = pb.ListFeedEventsRequest(after_position=after, page_size=1, types=["DealWon"])
        page = await stub.ListFeedEvents(request)
        after = page.next_position
        if not page.events:
            break
        found += [event.position for event in page.events]
    assert found == [positions[5], positions[11]]
    assert after == positions[-1]
    looks.assert_each_begins_where_the_last_ended()
