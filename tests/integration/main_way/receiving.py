"""A fake n8n on loopback, and an endpoint that posts to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

from aiohttp import web

from prosa.ingest.v1 import outbound_service_pb2 as pb
from prosa.ingest.v1.outbound_service_pb2_grpc import OutboundServiceStub
from sandbox.n8n.app import Received, Receiver, make_app
from tests.world import PATIENCE_SECONDS, World

MESSAGE_RECEIVED = "prosa.conversation.v1.MessageReceived"


@asynccontextmanager
async def receiving(world: World) -> AsyncIterator[tuple[Receiver, str]]:
    """A receiver and the address of its webhook, for the length of the block."""
    receiver = Receiver()
    runner = web.AppRunner(make_app(receiver, lambda: world.clock.now().timestamp()), access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield receiver, f"http://127.0.0.1:{runner.addresses[0][1]}/webhook/prosa"
    finally:
        await runner.cleanup()


async def create_endpoint(world: World, organization_id: UUID, url: str, *types: str) -> pb.OutboundEndpointSecret:
    """An endpoint of the organization's, made by its owner."""
    stub = world.as_user(organization_id).stub(OutboundServiceStub)
    return await stub.CreateOutboundEndpoint(
        pb.CreateOutboundEndpointRequest(name="n8n", url=url, types=types, request_id=str(uuid4()))
    )


async def until(found: Callable[[], Any]) -> Any:
    """Waits until something is true; answers it."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if value := found():
                return value
            await asyncio.sleep(0.02)


async def until_taken(receiver: Receiver, count: int, kind: str = MESSAGE_RECEIVED) -> list[Received]:
    """Waits until so many posts of a type were taken."""
    taken: list[Received] = await until(lambda: posts if len(posts := receiver.taken(kind)) >= count else None)
    return taken
