"""Every RPC that the contracts bind to a path: one handler for all of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import grpc
from aiohttp import web
from google.protobuf.message import Message

from chassis.errors import Unauthenticated
from chassis.interceptors import WAIT_FIELD
from chassis.transcoding.contracts import service_of
from chassis.transcoding.plans import Plans
from gateway.bodies import Bodies
from gateway.credentials import Authorizer, Credentials, by_header
from gateway.limits import (
    API_BODY_BYTES_MAX,
    API_BODY_TIMEOUT_SECONDS,
    API_CALL_TIMEOUT_SECONDS,
    API_WAIT_SECONDS_MAX,
    STRANGER_BODY_BYTES_MAX,
    STRANGER_BODY_TIMEOUT_SECONDS,
)
from gateway.transcoding.bindings import Binding, bindings, route_path
from prosa.v1 import options_pb2

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Channels = Mapping[str, grpc.aio.Channel]
"""A channel to each service, by the service's name."""


def add_api_routes(
    app: web.Application,
    channels: Channels,
    credentials: Credentials,
    allowances: Allowances,
    plans: Plans,
    bodies: Bodies,
    wrappers: Mapping[str, Callable[[Handler], Handler]],
) -> None:
    """Registers every binding whose service has a channel; `wrappers`, by an RPC's path, says what more it
    understands."""
    for binding in bindings(plans):
        channel = channels.get(service_of(binding.rpc.full_name))
        if channel is None:
            continue
        handler = _handler(binding, channel, credentials, allowances, bodies)
        if binding.rpc_path in wrappers:
            handler = wrappers[binding.rpc_path](handler)
        path = route_path(binding.template)
        if binding.http_method == "GET":
            app.router.add_get(path, handler, allow_head=True)
        else:
            app.router.add_route(binding.http_method, path, handler)


def _handler(
    binding: Binding, channel: grpc.aio.Channel, credentials: Credentials, allowances: Allowances, bodies: Bodies
) -> Handler:
    anonymous = binding.rpc.GetOptions().Extensions[options_pb2.permission].anonymous
    call: grpc.aio.UnaryUnaryMultiCallable[Message, Message] = channel.unary_unary(
        binding.rpc_path,
        request_serializer=binding.request_plan.message_class.SerializeToString,
        response_deserializer=binding.response_plan.message_class.FromString,
    )

    waits = WAIT_FIELD in binding.request_plan.message_class.DESCRIPTOR.fields_by_name
    cookie_in, cookie_out, sessions = binding.cookie_in, binding.cookie_out, credentials.sessions

    async def handle(request: web.Request) -> web.StreamResponse:
        # Who calls is known before a byte of the body is read, and that it is no page of another site.
        token = await credentials.token(request, by_cookie=not anonymous)
        if cookie_out and not by_header(request):
            sessions.refuse_open_line(request)
        if anonymous and cookie_in:
            await sessions.check_end(request)
        elif anonymous and cookie_out:
            sessions.refuse_foreign_write(request)
        try:
            allowance = allowances.of(request, token, binding.rpc_path, anonymous=anonymous)
        except Unauthenticated:
            credentials.refused(request)
            raise
        body = await read_body(bodies, request, allowance)
        try:
            message = binding.read(
                request.match_info, request.rel_url.query, body, request.headers.get("Idempotency-Key")
            )
            if cookie_in:
                setattr(message, cookie_in, sessions.secret(request))
            metadata = () if token is None else (("authorization", f"Bearer {token}"),)
            # Who asks to be kept waiting for news waits on top of what a call may take.
            wait = min(max(getattr(message, WAIT_FIELD), 0), API_WAIT_SECONDS_MAX) if waits else 0
            seconds = API_CALL_TIMEOUT_SECONDS + wait
            answer = await call(message, metadata=metadata, timeout=seconds)
        except grpc.aio.AioRpcError as error:
            if error.code() == grpc.StatusCode.UNAUTHENTICATED:
                credentials.refused(request)
            raise
        finally:
            bodies.let_go(body, allowance.owner)
        response = web.Response(body=binding.response_plan.to_json(answer), content_type="application/json")
        if cookie_out:
            secret: str = reduce(getattr, cookie_out, cast("Any", answer))
            sessions.write(request, response, secret)
        return response

    return handle


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much of a body is read, for how long, and on whose account; an owner of "" has none."""

    owner: str
    bytes_max: int
    seconds: float


STRANGERS = Allowance("", STRANGER_BODY_BYTES_MAX, STRANGER_BODY_TIMEOUT_SECONDS)


class Allowances:
    """Says by a request's credentials how much of its body is read."""

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def of(self, request: web.Request, token: str | None, rpc_path: str, *, anonymous: bool) -> Allowance:
        """Answers the allowance.

        Raises Unauthenticated or PermissionDenied, before the body, where nothing of it should be read.
        """
        if not request.body_exists:
            return STRANGERS
        if token is not None:
            return Allowance(self._authorizer.account(token, rpc_path), API_BODY_BYTES_MAX, API_BODY_TIMEOUT_SECONDS)
        size = request.content_length
        if not anonymous and (size is None or size > STRANGER_BODY_BYTES_MAX):
            raise Unauthenticated(
                "TOKEN_MISSING",
                "Send Authorization: Bearer with a token, or X-Api-Key with a key, before a body.",
            )
        return STRANGERS


async def read_body(bodies: Bodies, request: web.Request, allowance: Allowance) -> bytes:
    """Answers the body of a request to the API, which counts as in flight until it is let go.

    Raises Unavailable OVERLOADED, or what the server raises for a body that is too large, too slow or compressed.
    """
    if not request.body_exists:
        return b""
    if request.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
        # Webhooks need their bytes as they came, so the server inflates nothing.
        raise web.HTTPUnsupportedMediaType
    try:
        async with asyncio.timeout(allowance.seconds):
            return await bodies.read(request, allowance.bytes_max, allowance.owner)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None
