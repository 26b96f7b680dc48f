"""Fake services for the gateway's tests: every RPC of the contracts, answered by what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import aiohttp
import grpc
import grpc.aio
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from grpc_status import rpc_status

from chassis import rpc, sockets
from chassis.auth import token_expired
from chassis.clock import SettableClock
from chassis.errors import ProsaError, Unauthenticated, Unavailable, to_status
from chassis.system import SERVICES
from chassis.transcoding.contracts import services
from gateway.app import Dependencies, make_app, make_runner
from gateway.credentials import Subscriber
from gateway.listening.connections import Connections
from gateway.listening.listener import Listener
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.ingest.v1 import ingest_service_pb2 as ingest_pb
from prosa.ingest.v1 import webhook_event_service_pb2 as events_pb
from tests.world import PATIENCE_SECONDS

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ORGANIZATION = UUID("0198c0de-7a11-7cc3-98c4-dc0c0c073900")
ACCEPT = "/prosa.ingest.v1.IngestService/AcceptWebhooks"
RESOLVE = "/prosa.ingest.v1.IngestService/ResolveConnectionKeys"
EXCHANGE = "/prosa.identity.v1.AccessService/ExchangeApiKey"
SUBSCRIBE = "/prosa.ingest.v1.EventService/Subscribe"

Answer = Callable[[Any], Awaitable[Message]]


@dataclass
class Call:
    """One call that reached a service."""

    method: str
    request: Any
    metadata: dict[str, str]


class Changed:
    """Lets tests wait until something has changed as they want it."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def tell(self) -> None:
        """Says that something has changed."""
        event, self._event = self._event, asyncio.Event()
        event.set()

    async def until(self, wanted: Callable[[], bool]) -> None:
        """Answers once the wanted is true."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not wanted():
                await self._event.wait()


class FakeServices(grpc.GenericRpcHandler):
    """Serves every RPC of the contracts: with the test's own answer, else with an empty one."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.answers: dict[str, Answer] = {}
        self.feed = FakeFeed()
        self._changed = Changed()
        self._methods = {
            f"/{service.full_name}/{method.name}": method for service in services() for method in service.methods
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[Any, Any] | None:
        method = self._methods.get(handler_call_details.method)
        if method is None:
            return None
        request_class = GetMessageClass(method.input_type)
        serve = self.feed.subscribe if method.server_streaming else self._unary(handler_call_details.method)
        make = grpc.unary_stream_rpc_method_handler if method.server_streaming else grpc.unary_unary_rpc_method_handler
        return make(serve, request_class.FromString, lambda answer: answer.SerializeToString())

    def _unary(self, name: str) -> Callable[..., Awaitable[Message]]:
        empty = GetMessageClass(self._methods[name].output_type)

        async def serve(request: Any, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            metadata = {key: str(value) for key, value in context.invocation_metadata() or ()}
            self.calls.append(Call(name, request, metadata))
            self._changed.tell()
            try:
                return await self.answers[name](request) if name in self.answers else empty()
            except ProsaError as error:
                return await context.abort_with_status(rpc_status.to_status(to_status(error)))

        return serve

    async def wait_for_calls(self, count: int) -> None:
        """Answers once so many calls have come."""
        await self._changed.until(lambda: len(self.calls) >= count)

    def called(self, name: str) -> list[Call]:
        """The calls of one RPC."""
        return [call for call in self.calls if call.method == name]


class FakeFeed:
    """The event feed: facts by position, then what is added."""

    def __init__(self) -> None:
        self.facts: list[events_pb.FeedEvent] = []
        self.oldest = 0
        # Whether it shows signs of life whenever it has sent all.
        self.idle = False
        self.opened: list[int] = []
        self.open_count = 0
        self.ended_by: ProsaError
        # A position behind which it keeps facts back until its streams are ended; 0 keeps none.
        self.held_at = 0
        self._streams_changed = Changed()
        self._changed = asyncio.Event()
        self._broken = asyncio.Event()

    @property
    def position(self) -> int:
        """The position of the newest fact."""
        return self.facts[-1].position if self.facts else 0

    def add(self, fact: Message, organization_id: UUID = ORGANIZATION, position: int = 0) -> int:
        """Puts a fact into the feed and answers its position."""
        position = position or self.position + 10
        event = events_pb.FeedEvent(
            position=position,
            event_id=f"event-{position}",
            type=fact.DESCRIPTOR.full_name,
            organization_id=str(organization_id),
            payload=fact.SerializeToString(),
        )
        event.event_time.FromDatetime(NOW)
        self.facts.append(event)
        self._wake()
        return event.position

    def break_streams(self) -> None:
        """Ends every open stream as a restarting service would."""
        self._end(Unavailable("SHUTTING_DOWN", "This process is stopping."))

    def end_tokens(self) -> None:
        """Ends every open stream as a service does when the token it was opened with has ended."""
        self._end(token_expired())

    def _end(self, error: ProsaError) -> None:
        self.ended_by = error
        broken, self._broken = self._broken, asyncio.Event()
        broken.set()
        self._wake()

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def subscribe(
        self, request: events_pb.SubscribeRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[events_pb.FeedEvent]:
        self.opened.append(request.after_position)
        self.open_count += 1
        self._streams_changed.tell()
        broken = self._broken
        try:
            if 0 <= request.after_position < self.oldest:
                error = grpc.StatusCode.OUT_OF_RANGE
                await context.abort(error, "expired")
            sent = self.position if request.after_position < 0 else request.after_position
            yield events_pb.FeedEvent(heartbeat=True, position=sent)
            while True:
                changed = self._changed
                held = self.held_at if sent < self.position and request.after_position >= 0 else 0
                for event in [fact for fact in self.facts if fact.position > sent and fact.position <= (held or 2**63)]:
                    sent = event.position
                    yield event
                if self.idle:
                    yield events_pb.FeedEvent(heartbeat=True, position=sent)
                await changed.wait()
                if broken.is_set():
                    await context.abort_with_status(rpc_status.to_status(to_status(self.ended_by)))
        finally:
            self.open_count -= 1
            self._streams_changed.tell()

    async def wait_for_opened(self, position: int) -> None:
        """Answers once a stream was opened behind a position."""
        await self._streams_changed.until(lambda: position in self.opened)

    async def wait_for_streams(self, count: int) -> None:
        """Answers once so many streams are open."""
        await self._streams_changed.until(lambda: self.open_count == count)


class FakeTokens:
    """Signs nothing: says whose token it would be."""

    def service_token(self, audience: str, organization_id: UUID | None = None) -> str:
        return f"gateway.{organization_id}" if organization_id else "gateway"


@dataclass
class FakeAuthorizer:
    """Admits "subscriber-<organization>" until told otherwise."""

    expire_time: datetime = NOW + timedelta(minutes=10)
    revoked: bool = False

    def admit(self, token: str, rpc_path: str) -> Subscriber:
        assert rpc_path == SUBSCRIBE
        if self.revoked or not token.startswith("subscriber-"):
            raise Unauthenticated("TOKEN_INVALID", "The token cannot be believed.")
        return Subscriber(UUID(token.removeprefix("subscriber-")), self.expire_time)

    def listen(self, heard: Callable[[], None]) -> None:
        self.heard = heard

    def account(self, token: str, rpc_path: str) -> str:
        if token == "forged":
            raise Unauthenticated("TOKEN_INVALID", "The token cannot be believed.")
        return token


@dataclass
class World:
    """A gateway over real HTTP, in front of fake services over real gRPC."""

    url: str
    http: aiohttp.ClientSession
    fakes: FakeServices
    authorizer: FakeAuthorizer
    clock: SettableClock
    grpc_server: grpc.aio.Server
    grpc_address: str
    connections: Connections
    seen: dict[str, str] = field(default_factory=dict)

    def token(self, organization_id: UUID = ORGANIZATION) -> dict[str, str]:
        """The headers of somebody who may watch."""
        return {"Authorization": f"Bearer subscriber-{organization_id}"}


@asynccontextmanager
async def serve_gateway(connections: Connections | None = None, **changes: Any) -> AsyncIterator[World]:
    """Serves a gateway; `changes` are fields of Dependencies."""
    fakes, authorizer, clock = FakeServices(), FakeAuthorizer(), SettableClock(NOW)
    fakes.answers[ACCEPT] = accept_all
    fakes.answers[EXCHANGE] = exchange_any
    fakes.answers[RESOLVE] = resolve_any
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 64 * 1024 * 1024)])
    server.add_generic_rpc_handlers((fakes,))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    seen = {"identity": "ok", "ingest": "ok"}

    async def look() -> tuple[bool, dict[str, str]]:
        return all(state == "ok" for state in seen.values()), seen

    async with rpc.open_channel(f"127.0.0.1:{port}", None) as channel:
        values: dict[str, Any] = {
            "channels": dict.fromkeys(SERVICES, channel),
            "tokens": FakeTokens(),
            "authorizer": authorizer,
            "clock": clock,
            "look": look,
        }
        runner = make_runner(make_app(Dependencies(**(values | changes))))
        # What a failed test left hanging must not hold up the next.
        runner._shutdown_timeout = 1.0
        try:
            await runner.setup()
            listening = sockets.listen("127.0.0.1", 0)
            url = f"http://127.0.0.1:{listening[0].getsockname()[1]}"
            connections = Connections() if connections is None else connections
            await Listener(runner, listening, connections).start()
            async with aiohttp.ClientSession(url) as http:
                yield World(url, http, fakes, authorizer, clock, server, f"127.0.0.1:{port}", connections, seen)
        finally:
            # Calls that a test made hang end first, then the gateway waits for nothing.
            await server.stop(None)
            await runner.cleanup()


async def accept_all(request: ingest_pb.AcceptWebhooksRequest) -> ingest_pb.AcceptWebhooksResponse:
    """Accepts every webhook, under its connection key as id."""
    return ingest_pb.AcceptWebhooksResponse(
        results=[
            ingest_pb.AcceptResult(
                outcome=ingest_pb.ACCEPT_OUTCOME_ACCEPTED, webhook_event_id=f"event-{webhook.connection_key}"
            )
            for webhook in request.webhooks
        ]
    )


async def resolve_any(
    request: ingest_pb.ResolveConnectionKeysRequest,
) -> ingest_pb.ResolveConnectionKeysResponse:
    """Knows every key but those that begin with "guess"."""
    return ingest_pb.ResolveConnectionKeysResponse(
        connection_ids=["" if item.key.startswith("guess") else f"of-{item.key}" for item in request.connection_keys]
    )


async def exchange_any(request: access_pb.ExchangeApiKeyRequest) -> access_pb.Token:
    """Exchanges every key but "ncrm_wrong"."""
    if request.client_secret == "ncrm_wrong":
        raise Unauthenticated("API_KEY_INVALID", "The API key is not known, or was revoked.")
    return access_pb.Token(access_token=f"subscriber-{ORGANIZATION}", token_type="Bearer", expires_in=600)
