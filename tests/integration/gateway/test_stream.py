"""Live updates: facts once each and in order, resumed by position, shared by all who watch."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple, cast
from uuid import UUID

import aiohttp
import grpc.aio
import orjson
import pytest
from aiohttp import web

from chassis.clock import SettableClock
from chassis.errors import Unauthenticated, Unavailable
from chassis.transcoding.plans import Plans
from gateway.credentials import Credentials
from gateway.feed import Client, Fact, FactWriter, Feed, Stream, StreamLimits
from gateway.limits import STREAM_TYPES_MAX
from gateway.routes.stream import LiveUpdates, Sender
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1 import events_pb2 as conversation_events
from prosa.identity.v1 import events_pb2 as identity_events
from prosa.ingest.v1 import webhook_event_service_pb2 as events_pb
from tests.integration.gateway.fake_services import NOW, ORGANIZATION, FakeAuthorizer, World, serve_gateway
from tests.world import PATIENCE_SECONDS

OTHER = UUID("0198c0de-7a11-7cc3-98c4-dc0c0c073911")
STREAM = "/api/v1/stream"


class Event(NamedTuple):
    """One server-sent event as a browser would see it."""

    id: str | None
    name: str
    data: Any


async def read_event(response: aiohttp.ClientResponse) -> Event:
    """Reads up to the next event that has data."""
    fields: dict[str, str] = {}
    async with asyncio.timeout(PATIENCE_SECONDS):
        async for raw in response.content:
            line = raw.decode().rstrip("\n")
            if not line and "data" in fields:
                return Event(fields.get("id"), fields.get("event", "message"), orjson.loads(fields["data"]))
            if not line:
                fields = {}
            elif not line.startswith(":"):
                name, _, value = line.partition(":")
                fields[name] = value.removeprefix(" ")
    raise AssertionError("The stream ended without another event.")


def received(text: str) -> conversation_events.MessageReceived:
    """A fact about a message."""
    return conversation_events.MessageReceived(
        organization_id=str(ORGANIZATION), message=conversation_pb.Message(text=text)
    )


def watch(
    gateway: World, last: int | None = None, organization_id: UUID = ORGANIZATION, **query: str
) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
    """Connects to the stream."""
    headers = gateway.token(organization_id)
    if last is not None:
        headers["Last-Event-ID"] = str(last)
    return gateway.http.get(STREAM, headers=headers, params=query)


async def test_a_fact_arrives_with_its_position_its_type_and_itself_as_json(gateway: World) -> None:
    async with watch(gateway) as response:
        assert response.status == 200
        assert response.content_type == "text/event-stream"
        await gateway.fakes.feed.wait_for_streams(1)
        position = gateway.fakes.feed.add(received("Olá"))
        event = await read_event(response)
    assert (event.id, event.name) == (str(position), "prosa.conversation.v1.MessageReceived")
    assert event.data["position"] == position
    assert event.data["event_id"] == f"event-{position}"
    assert event.data["event_time"] == "2026-11-22T12:00:00Z"
    assert event.data["organization_id"] == str(ORGANIZATION)
    assert event.data["data"]["message"]["text"] == "Olá"
    assert event.data["data"]["source"] == "UNSPECIFIED"


async def test_a_client_resumes_where_it_was_and_sees_every_fact_once(gateway: World) -> None:
    feed = gateway.fakes.feed
    positions = [feed.add(received(str(index))) for index in range(5)]
    async with watch(gateway, last=positions[1]) as response:
        seen = [await read_event(response) for _ in range(3)]
        feed.add(received("new"))
        seen.append(await read_event(response))
    assert [event.data["data"]["message"]["text"] for event in seen] == ["2", "3", "4", "new"]


async def test_the_query_resumes_too_and_zero_means_from_the_oldest(gateway: World) -> None:
    gateway.fakes.feed.add(received("first"))
    async with watch(gateway, last_event_id="0") as response:
        assert (await read_event(response)).data["data"]["message"]["text"] == "first"


async def test_without_a_position_only_what_comes_is_sent(gateway: World) -> None:
    gateway.fakes.feed.add(received("old"))
    async with watch(gateway) as response:
        await gateway.fakes.feed.wait_for_streams(1)
        gateway.fakes.feed.add(received("new"))
        assert (await read_event(response)).data["data"]["message"]["text"] == "new"


async def test_all_browsers_of_an_organization_share_one_stream_which_ends_with_the_last() -> None:
    async with serve_gateway(stream_limits=StreamLimits(heartbeat_seconds=0.05)) as gateway:
        async with watch(gateway) as first, watch(gateway) as second, watch(gateway, organization_id=OTHER) as other:
            await gateway.fakes.feed.wait_for_streams(2)
            assert gateway.fakes.feed.opened == [-1, -1]
            gateway.fakes.feed.add(received("both"))
            for response in (first, second, other):
                assert (await read_event(response)).data["data"]["message"]["text"] == "both"
        await gateway.fakes.feed.wait_for_streams(0)


async def test_only_the_types_asked_for_are_sent(gateway: World) -> None:
    async with watch(gateway, types="ContactCreated,prosa.conversation.v1.HandoffChanged") as response:
        await gateway.fakes.feed.wait_for_streams(1)
        gateway.fakes.feed.add(received("not this"))
        gateway.fakes.feed.add(identity_events.ContactCreated(organization_id=str(ORGANIZATION), version=1))
        event = await read_event(response)
    assert event.name == "prosa.identity.v1.ContactCreated"
    assert event.data["data"]["version"] == 1


async def test_the_stream_of_ingest_may_break_and_nobody_notices(gateway: World) -> None:
    feed = gateway.fakes.feed
    async with watch(gateway) as response:
        await gateway.fakes.feed.wait_for_streams(1)
        first = feed.add(received("before"))
        assert (await read_event(response)).id == str(first)
        feed.break_streams()
        second = feed.add(received("meanwhile"))
        assert (await read_event(response)).id == str(second)
    assert feed.opened == [-1, first]


@pytest.mark.case("S11")
async def test_the_gateways_own_token_may_end_and_nobody_notices(gateway: World) -> None:
    feed = gateway.fakes.feed
    async with watch(gateway) as response:
        await feed.wait_for_streams(1)
        for text in ("one", "two", "three"):
            position = feed.add(received(text))
            assert (await read_event(response)).data["data"]["message"]["text"] == text
            feed.end_tokens()
            await feed.wait_for_opened(position)
    # At once, and from where it was: nothing was missed and nobody sent away.
    assert feed.opened == [-1, 10, 20, 30]


@pytest.mark.case("S11")
async def test_who_catches_up_goes_on_when_the_gateways_token_ends(gateway: World) -> None:
    feed = gateway.fakes.feed
    positions = [feed.add(received(str(index))) for index in range(4)]
    feed.held_at = positions[1]
    async with watch(gateway, last=0) as response:
        seen = [await read_event(response), await read_event(response)]
        feed.held_at = 0
        feed.end_tokens()
        seen += [await read_event(response), await read_event(response)]
    assert [event.data["data"]["message"]["text"] for event in seen] == ["0", "1", "2", "3"]
    assert positions[1] in feed.opened


async def test_a_feed_that_is_away_for_hours_is_taken_up_again() -> None:
    tries = iter(range(1_100))

    async def subscribe(_: int) -> AsyncIterator[events_pb.FeedEvent]:
        if next(tries, None) is not None:
            raise grpc.aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata())
        yield events_pb.FeedEvent(heartbeat=True, position=7)

    stream = Stream(subscribe, FactWriter(Plans()), reconnect_seconds_max=0.0)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await stream.positioned() == 7
    finally:
        await stream.close(Unavailable("SHUTTING_DOWN", "The test is over."))


async def test_a_position_that_is_forgotten_before_it_is_read_is_waited_for_again() -> None:
    positions = iter((7, 9))

    async def subscribe(_: int) -> AsyncIterator[events_pb.FeedEvent]:
        position = next(positions)
        yield events_pb.FeedEvent(heartbeat=True, position=position)
        if position == 7:
            raise grpc.aio.AioRpcError(grpc.StatusCode.OUT_OF_RANGE, grpc.aio.Metadata(), grpc.aio.Metadata())
        await asyncio.Event().wait()

    stream = Stream(subscribe, FactWriter(Plans()), reconnect_seconds_max=0.0)
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert await stream.positioned() == 9
    finally:
        await stream.close(Unavailable("SHUTTING_DOWN", "The test is over."))


async def test_a_position_older_than_the_feed_is_told_and_forgotten(gateway: World) -> None:
    feed = gateway.fakes.feed
    feed.add(received("x"))
    feed.add(received("y"))
    feed.oldest = 10
    async with watch(gateway, last=5) as response:
        event = await read_event(response)
        assert await response.content.read() == b""
    assert event.name == "problem"
    assert event.id == ""
    assert (event.data["status"], event.data["reason"]) == (410, "POSITION_EXPIRED")


async def test_catching_up_ends_though_the_last_fact_has_left_the_feed(gateway: World) -> None:
    feed = gateway.fakes.feed
    first, second = feed.add(received("kept")), feed.add(received("gone"))
    feed.idle = True
    async with watch(gateway) as early:
        await feed.wait_for_streams(1)
        assert await early.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
        assert await early.content.readuntil(b"\n\n") == b"id: %d\n\n" % second
        del feed.facts[1]
        async with watch(gateway, last=0) as response:
            assert (await read_event(response)).id == str(first)
            await feed.wait_for_streams(1)
            feed.add(received("new"), position=second + 1)
            assert (await read_event(response)).data["data"]["message"]["text"] == "new"


async def test_a_client_that_has_seen_nothing_yet_knows_where_to_come_back_to(gateway: World) -> None:
    position = gateway.fakes.feed.add(received("old"))
    for _ in range(2):
        async with watch(gateway, types="ContactCreated") as response:
            assert await response.content.readuntil(b"\n\n") == b"retry: 2000\n\n"
            assert await response.content.readuntil(b"\n\n") == b"id: %d\n\n" % position


async def test_a_position_from_another_life_of_the_feed_follows_from_now(gateway: World) -> None:
    gateway.fakes.feed.add(received("old"))
    async with watch(gateway, last=10_000) as response:
        await gateway.fakes.feed.wait_for_streams(1)
        gateway.fakes.feed.add(received("new"))
        assert (await read_event(response)).data["data"]["message"]["text"] == "new"


@pytest.mark.parametrize("position", ["abc", "-1", "1.5", "99999999999999999999"])
async def test_a_position_that_is_none_is_refused(gateway: World, position: str) -> None:
    headers = {**gateway.token(), "Last-Event-ID": position}
    async with gateway.http.get(STREAM, headers=headers) as response:
        assert (response.status, (await response.json())["reason"]) == (400, "FIELD_INVALID")


async def test_an_unknown_type_is_refused_with_the_known_ones(gateway: World) -> None:
    async with watch(gateway, types="MessageRecieved") as response:
        problem = await response.json()
        assert (response.status, problem["violations"][0]["field"]) == (400, "types")
    # The sentence does not repeat the whole list, which the documentation has.
    assert problem["detail"] == "types has MessageRecieved, which is no type of event. Did you mean MessageReceived?"


async def test_an_unknown_type_like_no_other_is_refused_with_what_to_do(gateway: World) -> None:
    async with watch(gateway, types="Nonsense") as response:
        problem = await response.json()
    advice = "Name one such as MessageReceived, or none for all."
    assert problem["detail"] == f"types has Nonsense, which is no type of event. {advice}"


async def test_too_many_types_are_refused(gateway: World) -> None:
    async with watch(gateway, types=",".join(["ContactCreated"] * (STREAM_TYPES_MAX + 1))) as response:
        problem = await response.json()
    assert problem["detail"] == f"types takes at most {STREAM_TYPES_MAX} names."


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer forged"}, {"X-Api-Key": "ncrm_wrong"}])
async def test_a_stranger_sees_nothing(gateway: World, headers: dict[str, str]) -> None:
    async with gateway.http.get(STREAM, headers=headers) as response:
        assert response.status == 401
    assert gateway.fakes.feed.opened == []


async def test_an_api_key_may_watch(gateway: World) -> None:
    async with gateway.http.get(STREAM, headers={"X-Api-Key": "ncrm_good"}) as response:
        assert response.status == 200
        await gateway.fakes.feed.wait_for_streams(1)
        gateway.fakes.feed.add(received("hi"))
        assert (await read_event(response)).data["data"]["message"]["text"] == "hi"


async def test_a_quiet_stream_shows_signs_of_life_until_its_token_is_revoked() -> None:
    async with serve_gateway(stream_limits=StreamLimits(heartbeat_seconds=0.05)) as gateway, watch(gateway) as response:
        async with asyncio.timeout(PATIENCE_SECONDS):
            async for line in response.content:
                if line.startswith(b": heartbeat"):
                    break
        gateway.authorizer.revoked = True
        event = await read_event(response)
    assert (event.name, event.data["reason"]) == ("problem", "TOKEN_INVALID")


async def test_a_stream_that_is_never_quiet_ends_with_its_revoked_token_too() -> None:
    """A client that filters shows that signs of life come between facts, whether or not these are sent."""
    authorizer, written = FakeAuthorizer(), list[bytes]()

    class Response:
        async def write(self, frame: bytes) -> None:
            written.append(frame)

    class Crowded(Client):
        async def next(self) -> Fact:
            self.position = getattr(self, "position", 0) + 1
            assert self.position < 100, "a revoked token watches on"
            authorizer.revoked = self.position >= 3
            return Fact(self.position, "y", b"fact")

    limits = StreamLimits(heartbeat_seconds=0.0)
    updates = LiveUpdates(cast("Feed", None), cast("Credentials", None), authorizer, SettableClock(NOW), limits)
    sender = Sender(cast("web.StreamResponse", Response()), frozenset({"x"}), position=None)
    subscriber = authorizer.admit(f"subscriber-{ORGANIZATION}", "/prosa.ingest.v1.EventService/Subscribe")
    with pytest.raises(Unauthenticated):
        await updates._follow(sender, cast("Stream", None), Crowded(10), subscriber, f"subscriber-{ORGANIZATION}")
    assert written == [b": heartbeat\n\n"] * 2


@asynccontextmanager
async def unread(gateway: World) -> AsyncIterator[asyncio.StreamReader]:
    """Connects to the stream as one who reads little, and what the kernel keeps for it."""
    with socket.socket() as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        plain.connect(("127.0.0.1", int(gateway.url.rpartition(":")[2])))
        reader, writer = await asyncio.open_connection(sock=plain, limit=1024)
        try:
            headers = f"Host: prosa\r\nAuthorization: {gateway.token()['Authorization']}\r\n\r\n"
            writer.write(f"GET {STREAM} HTTP/1.1\r\n{headers}".encode())
            yield reader
        finally:
            writer.close()


async def test_a_client_that_does_not_even_read_why_it_is_ended_gets_no_second_answer(
    gateway: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = Sender.send

    async def stuck(self: Sender, frame: bytes) -> None:
        if frame.startswith(b"event: problem"):
            raise TimeoutError
        await send(self, frame)

    monkeypatch.setattr(Sender, "send", stuck)
    gateway.authorizer.expire_time = gateway.clock.now()
    async with unread(gateway) as reader, asyncio.timeout(PATIENCE_SECONDS):
        answered = await reader.read()
    assert answered.startswith(b"HTTP/1.1 200 OK")
    assert answered.count(b"HTTP/1.1") == 1


async def test_a_client_that_stops_reading_is_let_go_without_waiting_for_it() -> None:
    impatient = serve_gateway(stream_limits=StreamLimits(write_seconds=0.1))
    async with impatient as gateway, unread(gateway) as reader, asyncio.timeout(PATIENCE_SECONDS):
        await gateway.fakes.feed.wait_for_streams(1)
        for _ in range(20):
            gateway.fakes.feed.add(received("x" * 1_000_000))
        await gateway.fakes.feed.wait_for_streams(0)
        # What the kernel had taken still comes, and then nothing: no last chunk, which would have to be waited for.
        answered = await reader.read()
    assert not answered.endswith(b"0\r\n\r\n")


async def test_a_stream_ends_with_its_token(gateway: World) -> None:
    gateway.authorizer.expire_time = gateway.clock.now()
    async with watch(gateway) as response:
        event = await read_event(response)
    assert event.data["reason"] == "TOKEN_EXPIRED"


async def test_a_fact_that_comes_by_both_ways_is_sent_once() -> None:
    written: list[bytes] = []

    class Response:
        async def write(self, frame: bytes) -> None:
            written.append(frame)

    sender = Sender(cast("web.StreamResponse", Response()), frozenset({"x"}), position=5)
    for position, kind in ((5, "x"), (6, "x"), (6, "x"), (7, "y"), (8, ""), (9, "x")):
        await sender.send_fact(Fact(position, kind, b"%d" % position))
    assert written == [b"6", b"8", b"9"]


def test_a_client_that_does_not_keep_up_is_ended_and_told_to_come_back() -> None:
    client = Client(queue_events_max=2)
    for position in (1, 2):
        client.offer(Fact(position, "x", b""))
    assert _end_of(client) is None
    for position in (3, 4):
        client.offer(Fact(position, "x", b""))
    assert _end_of(client) == "CLIENT_SLOW"


def _end_of(client: Client) -> str | None:
    return None if client.ended_by is None else client.ended_by.reason


async def test_too_many_subscribers_are_refused() -> None:
    limited = serve_gateway(stream_limits=StreamLimits(clients_per_organization_max=1))
    async with limited as gateway, watch(gateway), watch(gateway) as second:
        assert (second.status, (await second.json())["reason"]) == (429, "STREAM_LIMIT_REACHED")
