"""Every RPC that the contracts bind to a path: one handler for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import grpc
from aiohttp import web
from google.protobuf.message import Message

from gateway.bodies import Bodies
from gateway.credentials import Credentials
from gateway.limits import (
    API_BODY_BYTES_MAX,
    API_BODY_TIMEOUT_SECONDS,
    API_CALL_TIMEOUT_SECONDS,
)
from gateway.transcoding.bindings import Binding, bindings, route_path
from gateway.transcoding.contracts import room_of
from gateway.transcoding.plans import Plans

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Channels = Mapping[str, grpc.aio.Channel]
"""A channel to each room, by the room's name."""


def add_api_routes(
    app: web.Application,
    channels: Channels,
    credentials: Credentials,
    plans: Plans,
    bodies: Bodies,
    around: Mapping[str, Callable[[Handler], Handler]],
) -> None:
    """Registers every binding whose room has a channel; `around`, by an RPC's path, says what more it understands."""
    for binding in bindings(plans):
        channel = channels.get(room_of(binding.rpc.full_name))
        if channel is None:
            continue
        handler = _handler(binding, channel, credentials, bodies)
        if binding.rpc_path in around:
            handler = around[binding.rpc_path](handler)
        path = route_path(binding.template)
        if binding.http_method == "GET":
            app.router.add_get(path, handler, allow_head=True)
        else:
            app.router.add_route(binding.http_method, path, handler)


def _handler(binding: Binding, channel: grpc.aio.Channel, credentials: Credentials, bodies: Bodies) -> Handler:
    call: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
        binding.rpc_path,
        request_serializer=binding.request_plan.message_class.SerializeToString,
        response_deserializer=binding.response_plan.message_class.FromString,
    )

    async def handle(request: web.Request) -> web.StreamResponse:
        body = await read_body(bodies, request)
        try:
            message = binding.read(
                request.match_info, request.rel_url.query, body, request.headers.get("Idempotency-Key")
            )
            metadata = await credentials.metadata(request)
            answer = await call(message, metadata=metadata, timeout=API_CALL_TIMEOUT_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                credentials.refused(request)
            raise
        finally:
            bodies.let_go(body)
        return web.Response(body=binding.response_plan.to_json(answer), content_type="application/json")

    return handle


async def read_body(bodies: Bodies, request: web.Request) -> bytes:
    """Answers the body of a request to the API, which counts as in flight until it is let go.

    Raises Unavailable OVERLOADED, or what the server raises for a body that is too large, too slow or compressed.
    """
    if not request.body_exists:
        return b""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        # Webhooks need their bytes as they came, so the server inflates nothing.
        raise web.HTTPUnsupportedMediaType
    try:
        async with asyncio.timeout(API_BODY_TIMEOUT_SECONDS):
            return await bodies.read(request, API_BODY_BYTES_MAX)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
