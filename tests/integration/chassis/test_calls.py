"""A call through a real server: one that has no time is not begun, and a fault of our own is not an outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import grpc
import grpc.aio
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from chassis import context, rpc
from chassis.context import WORK_SECONDS_MIN
from chassis.db import Database
from chassis.errors import DeadlineExceeded
from chassis.process import Host, Process
from embedded.servers import EmbeddedServers
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import (
    EventServiceServicer,
    EventServiceStub,
    add_EventServiceServicer_to_server,
)
from tests.world import PATIENCE_SECONDS, World, error_info, settings_for

SHORT_SECONDS = WORK_SECONDS_MIN - 0.001
GREETED_AFTER_SECONDS = 0.5


class Servicer(EventServiceServicer):
    """Runs two statements at once on one transaction; notes what was left of each call's time."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self.left: list[float] = []

    async def ListFeedEvents(
        self, _request: pb.ListFeedEventsRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> pb.ListFeedEventsResponse:
        self.left.append(context.seconds_left(PATIENCE_SECONDS))
        async with self._db.transaction() as tx:
            await asyncio.gather(*(tx.execute("select 1") for _ in range(2)))
        return pb.ListFeedEventsResponse()

    async def Subscribe(
        self, _request: pb.SubscribeRequest, _context: grpc.aio.ServicerContext[Any, Any]
    ) -> AsyncIterator[pb.FeedEvent]:
        self.left.append(context.seconds_left(PATIENCE_SECONDS))
        yield pb.FeedEvent(heartbeat=True)


@pytest_asyncio.fixture(loop_scope="session")
async def served(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> AsyncIterator[tuple[World, Servicer]]:
    """A process with the servicer."""
    servicers: list[Servicer] = []

    async def start(process: Process) -> None:
        servicers.append(Servicer(process.database()))
        name = pb.DESCRIPTOR.services_by_name["EventService"].full_name
        process.serve(add_EventServiceServicer_to_server, servicers[0], name)

    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    host = Host(settings)
    await host.start({"ingest": start})
    host.revocations.update([], complete=True)
    world = World(database_url, settings, host, host.clock)
    yield world, servicers[0]
    await world.close()
    await host.stop()


async def test_two_statements_at_once_on_one_transaction_are_our_fault_and_no_outage(
    served: tuple[World, Servicer], organization_id: UUID
) -> None:
    world, _ = served
    stub = world.as_user(organization_id).stub(EventServiceStub)
    with capture_logs() as logs, pytest.raises(grpc.aio.AioRpcError) as failed:
        await stub.ListFeedEvents(pb.ListFeedEventsRequest())
    assert (failed.value.code(), error_info(failed.value).reason) == (grpc.StatusCode.INTERNAL, "INTERNAL")
    (line,) = [line for line in logs if line["event"] == "rpc_failed"]
    assert "Two statements were to run at once" in str(line["exc_info"])


async def test_a_call_that_comes_with_too_little_time_is_not_begun(
    served: tuple[World, Servicer], organization_id: UUID
) -> None:
    world, servicer = served
    channel = grpc.aio.insecure_channel(world.host.grpc_address)
    await channel.channel_ready()
    # Nobody is told before: it is refused ahead of asking who calls.
    stub = cast("Any", EventServiceStub)(channel)
    for call in (
        lambda: stub.ListFeedEvents(pb.ListFeedEventsRequest(), timeout=SHORT_SECONDS),
        lambda: stub.Subscribe(pb.SubscribeRequest(), timeout=SHORT_SECONDS).read(),
    ):
        refused = await _answer_in_time(call)
        assert error_info(refused).reason == "DEADLINE_TOO_SHORT"
        assert refused.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert servicer.left == []
    await channel.close()


async def _answer_in_time(call: Callable[[], Awaitable[Any]]) -> grpc.aio.AioRpcError:
    """The server's own answer: on a loaded machine the call's time is over before some of them."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call()
            if any(key == "grpc-status-details-bin" for key, _ in refused.value.trailing_metadata() or ()):
                return refused.value


async def test_a_server_that_greets_late_is_not_away(served: tuple[World, Servicer], organization_id: UUID) -> None:
    world, servicer = served
    host, port = world.host.grpc_address.split(":")
    greeted, writers = asyncio.Event(), list[asyncio.StreamWriter]()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            writer.write(data)

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection(host, int(port))
        writers.extend((writer, to_server))

        async def answer() -> None:
            await greeted.wait()
            await copy(from_server, writer)

        await asyncio.gather(copy(reader, to_server), answer())

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as between:
        channel = rpc.open_channel(f"127.0.0.1:{between.sockets[0].getsockname()[1]}", world.host.signer("gateway"))
        stream = cast("Any", EventServiceStub)(channel).Subscribe(
            pb.SubscribeRequest(), metadata=rpc.for_organization(organization_id)
        )
        reading = asyncio.ensure_future(stream.read())
        # As long as a busy machine may take; on an idle one everything is here at once.
        await asyncio.wait({reading}, timeout=GREETED_AFTER_SECONDS)
        assert not reading.done(), reading
        greeted.set()
        assert (await reading).heartbeat
        await channel.close()
        for writer in writers:
            writer.close()
    assert len(servicer.left) == 1


@pytest.mark.parametrize("left", [SHORT_SECONDS + rpc.HOP_SECONDS, rpc.HOP_SECONDS / 2, -1.0])
async def test_a_call_to_another_service_for_which_no_time_is_left_is_not_made(
    served: tuple[World, Servicer], left: float
) -> None:
    _, servicer = served
    # Nobody listens there: to have called would be told as an outage.
    channel = rpc.open_channel("127.0.0.1:1", None)
    before = context.deadline.set(time.monotonic() + left)
    try:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await cast("Any", EventServiceStub)(channel).ListFeedEvents(pb.ListFeedEventsRequest())
    finally:
        context.deadline.reset(before)
        await channel.close()
    error = rpc.error_of(refused.value)
    assert isinstance(error, DeadlineExceeded)
    assert error.reason == "DEADLINE_TOO_SHORT"
    assert servicer.left == []
