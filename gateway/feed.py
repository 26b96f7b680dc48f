"""Watching facts: one Subscribe stream per organization, shared by all who look at it.

A client joins the live stream first and only then catches up from where it was, so nothing falls between the two;
what comes twice is known by its position. Ingest begins a stream with a heartbeat that says where it goes on from, so
a client that has seen nothing yet can come back too.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import grpc
import structlog

from chassis.errors import OutOfRange, ProsaError, ResourceExhausted, Unauthenticated, Unavailable
from chassis.transcoding.fields import write_timestamp
from chassis.transcoding.plans import Plans
from gateway.credentials import ServiceTokens
from gateway.limits import (
    STREAM_CALL_TIMEOUT_SECONDS,
    STREAM_CLIENTS_MAX,
    STREAM_CLIENTS_PER_ORGANIZATION_MAX,
    STREAM_HEARTBEAT_SECONDS,
    STREAM_QUEUE_EVENTS_MAX,
    STREAM_RECONNECT_SECONDS_MAX,
    STREAM_RECONNECT_SECONDS_MIN,
    STREAM_START_TIMEOUT_SECONDS,
    STREAM_WRITE_TIMEOUT_SECONDS,
)
from gateway.problems import to_prosa_error
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import EventServiceStub

log = structlog.get_logger("gateway.feed")

FROM_NOW = -1
_HOPELESS = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNIMPLEMENTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """How many may watch, and how long what waits."""

    queue_events_max: int = STREAM_QUEUE_EVENTS_MAX
    clients_max: int = STREAM_CLIENTS_MAX
    clients_per_organization_max: int = STREAM_CLIENTS_PER_ORGANIZATION_MAX
    heartbeat_seconds: float = STREAM_HEARTBEAT_SECONDS
    write_seconds: float = STREAM_WRITE_TIMEOUT_SECONDS
    reconnect_seconds_max: float = STREAM_RECONNECT_SECONDS_MAX


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact as every client of its organization gets it; without a type it only says how far the stream is."""

    position: int
    type: str
    # A whole server-sent event, written once for all.
    frame: bytes


class Client:
    """One who watches: a bounded queue that the stream fills and the client's connection empties."""

    def __init__(self, queue_events_max: int) -> None:
        self._queue: asyncio.Queue[Fact | None] = asyncio.Queue(queue_events_max + 1)
        self._queue_events_max = queue_events_max
        self.ended_by: ProsaError | None = None
        self._ended = False

    def offer(self, fact: Fact) -> None:
        """Queues a fact; a client that does not keep up is ended, and resumes by coming back."""
        if self._ended:
            return
        if self._queue.qsize() >= self._queue_events_max:
            self.end(Unavailable("CLIENT_SLOW", "Events came faster than they were read; connect again to resume."))
        else:
            self._queue.put_nowait(fact)

    def end(self, error: ProsaError) -> None:
        """Ends the client's stream for a reason, which it is told."""
        if self._ended:
            return
        self._ended, self.ended_by = True, error
        # What still waits is dropped: the client comes back with the position of what it has seen.
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def next(self) -> Fact | None:
        """Answers the next fact, or None when the stream has ended."""
        return await self._queue.get()


class FactWriter:
    """Writes facts as server-sent events."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    def write(self, event: pb.FeedEvent) -> Fact:
        """Answers a fact ready to send. A type that this gateway does not know yet has null as its data."""
        data = self._plans.told(
            event.position,
            event.event_id,
            event.type,
            event.organization_id,
            write_timestamp(event.event_time),
            event.payload,
        )
        frame = b"id: %d\nevent: %s\ndata: %s\n\n" % (event.position, event.type.encode(), data)
        return Fact(event.position, event.type, frame)


class Stream:
    """The live stream of one organization."""

    def __init__(
        self,
        subscribe: Callable[[int], Any],
        writer: FactWriter,
        reconnect_seconds_max: float = STREAM_RECONNECT_SECONDS_MAX,
    ) -> None:
        self._subscribe = subscribe
        self._writer = writer
        self._reconnect_seconds_max = reconnect_seconds_max
        self.clients: set[Client] = set()
        # How far the stream is; None until ingest has said so.
        self.position: int | None = None
        self._positioned = asyncio.Event()
        # In a context of its own: it outlives the request that happens to open it.
        self._task = asyncio.create_task(self._run(), context=Context())

    async def positioned(self) -> int:
        """Answers how far the stream is, once that is known. Raises Unavailable where it stays unknown."""
        try:
            async with asyncio.timeout(STREAM_START_TIMEOUT_SECONDS):
                # It may be forgotten again before whoever waits has its turn.
                while self.position is None:
                    await self._positioned.wait()
        except TimeoutError:
            raise Unavailable("FEED_UNAVAILABLE", "The event feed does not answer; try again soon.") from None
        return self.position

    async def close(self, error: ProsaError) -> None:
        """Ends the stream and all who watch it."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._end_all(error)

    def _end_all(self, error: ProsaError) -> None:
        for client in self.clients:
            client.end(error)

    async def _run(self) -> None:
        """Follows the feed, and takes it up again where it stopped whenever the call ends."""
        failures = 0
        while True:
            begun = False
            try:
                async for event in self._subscribe(FROM_NOW if self.position is None else self.position):
                    failures, begun = 0, True
                    self._on(event)
            except grpc.aio.AioRpcError as error:
                if begun and _token_ended(error):
                    continue
                failures += 1
                log.warning("the feed's stream ended", code=error.code().name, details=error.details())
                told = to_prosa_error(error)
                if error.code() in _HOPELESS:
                    self._end_all(told or Unavailable("FEED_UNAVAILABLE", "The event feed refuses this gateway."))
                    self._forget_position()
                elif error.code() == grpc.StatusCode.OUT_OF_RANGE:
                    # This gateway was cut off for longer than the feed keeps: each client must start afresh too.
                    self._end_all(told or position_expired())
                    self._forget_position()
            # Bounded before it is a number: after a thousand failures it would be none that a float can hold.
            delay = min(STREAM_RECONNECT_SECONDS_MIN * 2 ** min(failures, 10), self._reconnect_seconds_max)
            await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311 - spreads gateways, guards nothing

    def _forget_position(self) -> None:
        self.position = None
        self._positioned.clear()

    def join(self, client: Client) -> None:
        """Lets a client have what comes from now on."""
        self.clients.add(client)
        if self.position is not None:
            client.offer(mark(self.position))

    def _on(self, event: pb.FeedEvent) -> None:
        if self.clients:
            fact = mark(event.position) if event.heartbeat else self._writer.write(event)
            for client in self.clients:
                client.offer(fact)
        self.position = event.position
        self._positioned.set()


class Feed:
    """The streams of all organizations that somebody watches from here."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        tokens: ServiceTokens,
        plans: Plans,
        limits: StreamLimits,
    ) -> None:
        self._stub = EventServiceStub(channel)
        self._tokens = tokens
        self._writer = FactWriter(plans)
        self._limits = limits
        self._streams: dict[UUID, Stream] = {}

    @property
    def watched(self) -> int:
        """How many organizations have a stream open from here."""
        return len(self._streams)

    @property
    def clients(self) -> int:
        """How many clients watch from here."""
        return sum(len(stream.clients) for stream in self._streams.values())

    def join(self, organization_id: UUID) -> tuple[Stream, Client]:
        """Lets a client watch from now on. Raises ResourceExhausted where too many do."""
        stream = self._streams.get(organization_id)
        here = 0 if stream is None else len(stream.clients)
        if here >= self._limits.clients_per_organization_max or self.clients >= self._limits.clients_max:
            raise ResourceExhausted("STREAM_LIMIT_REACHED", "Too many live streams are open; close some.")
        if stream is None:
            stream = Stream(
                lambda position: self._subscribe(organization_id, position),
                self._writer,
                self._limits.reconnect_seconds_max,
            )
            self._streams[organization_id] = stream
        client = Client(self._limits.queue_events_max)
        stream.join(client)
        return stream, client

    async def leave(self, organization_id: UUID, client: Client) -> None:
        """Ends a client's watch; with the last one the organization's stream ends."""
        stream = self._streams.get(organization_id)
        if stream is None:
            return
        stream.clients.discard(client)
        if not stream.clients:
            del self._streams[organization_id]
            await stream.close(_closing())

    async def catch_up(self, organization_id: UUID, after_position: int, until_position: int) -> AsyncGenerator[Fact]:
        """Walks through the facts after one position up to another. Raises what ingest raises: POSITION_EXPIRED."""
        position = after_position
        while True:
            call = self._subscribe(organization_id, position)
            begun = False
            try:
                async for event in call:
                    if not event.heartbeat and event.position <= until_position:
                        yield self._writer.write(event)
                    # The first heartbeat says that the stream has begun, a later one that there is nothing more: the
                    # fact at the position may have left the feed by now.
                    if event.position >= until_position or (event.heartbeat and begun):
                        return
                    begun, position = begun or event.heartbeat, event.position
                return
            except grpc.aio.AioRpcError as error:
                if begun and _token_ended(error):
                    continue
                told = to_prosa_error(error)
                if told is None and error.code() == grpc.StatusCode.OUT_OF_RANGE:
                    told = position_expired()
                raise told or Unavailable("FEED_UNAVAILABLE", "The event feed is away; connect again.") from None
            finally:
                call.cancel()

    async def close(self) -> None:
        """Ends every stream, so that no connection outlives the process's wish to stop."""
        streams, self._streams = list(self._streams.values()), {}
        for stream in streams:
            await stream.close(_closing())

    def _subscribe(self, organization_id: UUID, after_position: int) -> Any:
        token = self._tokens.service_token("ingest", organization_id)
        return self._stub.Subscribe(
            pb.SubscribeRequest(after_position=after_position),
            metadata=(("authorization", f"Bearer {token}"),),
            timeout=STREAM_CALL_TIMEOUT_SECONDS,
        )


def _token_ended(error: grpc.aio.AioRpcError) -> bool:
    """True where the gateway's own token ended under a stream, as it does every two minutes: a new one goes on."""
    told = to_prosa_error(error)
    return isinstance(told, Unauthenticated) and told.reason == "TOKEN_EXPIRED"


def mark(position: int) -> Fact:
    """Answers what only tells a client its position: of an event without data browsers keep the id and show nothing."""
    return Fact(position, "", b"id: %d\n\n" % position)


def position_expired() -> ProsaError:
    """The error that tells a client to start over."""
    return OutOfRange(
        "POSITION_EXPIRED", "Facts that old are gone: load what you show anew, then connect without Last-Event-ID."
    )


def _closing() -> ProsaError:
    return Unavailable("SHUTTING_DOWN", "This process is stopping; connect again to resume.")
