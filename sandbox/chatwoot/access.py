"""Who may call, how refusals look, and how faults strike: everything around a REST handler."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Never

from aiohttp import web

from sandbox.chatwoot.account_setup import RefusedError
from sandbox.chatwoot.faults import HOLD_SECONDS, Faults
from sandbox.chatwoot.records import Agent, Bot
from sandbox.chatwoot.world import World

WORLD: web.AppKey[World] = web.AppKey("world", World)
FAULTS: web.AppKey[Faults] = web.AppKey("faults", Faults)
STOPPING: web.AppKey[asyncio.Event] = web.AppKey("stopping", asyncio.Event)
CONTROL_PREFIX = "/_sandbox"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose token came with the request."""

    principal: Agent | Bot


CALLER: web.RequestKey[Caller] = web.RequestKey("caller", Caller)


class AnswerError(Exception):
    """Ends the request with this status and JSON body; None for an empty one."""

    def __init__(self, status: int, body: dict[str, Any] | None) -> None:
        super().__init__(status)
        self.status, self.body = status, body


def not_found() -> Never:
    """The answer for any row that is not there."""
    raise AnswerError(404, {"error": "Resource could not be found"})


def unprocessable(message: str) -> Never:
    """The 422 of everything but a model's own validation."""
    raise AnswerError(422, {"error": message})


def unauthorized(message: str) -> Never:
    """The 401 that Chatwoot gives for bad tokens and for missing permission alike."""
    raise AnswerError(401, {"error": message})


def for_users(handler: Handler, *, administrator: bool = False) -> Handler:
    """Lets users of the account in; with `administrator`, only those."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        principal = _sign_in(request)
        if isinstance(principal, Bot):
            unauthorized("Access to this endpoint is not authorized for bots")
        if administrator and principal.role != "administrator":
            unauthorized("You are not authorized to do this action")
        return await handler(request)

    return guarded


def for_users_and_bots(handler: Handler) -> Handler:
    """Lets agent bots in too: only a short list of calls does."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        _sign_in(request)
        return await handler(request)

    return guarded


def _sign_in(request: web.Request) -> Agent | Bot:
    token = request.headers.get("Api-Access-Token") or request.headers.get("api_access_token")
    if not token:
        raise AnswerError(401, {"errors": ["You need to sign in or sign up before continuing."]})
    world = request.app[WORLD]
    principal = world.setup.principal(token)
    if principal is None:
        unauthorized("Invalid Access Token")
    if request.match_info.get("account_id", str(world.account.id)) != str(world.account.id):
        unauthorized("You are not authorized to access this account")
    request[CALLER] = Caller(principal)
    return principal


@web.middleware
async def answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns refusals into Chatwoot's bodies."""
    try:
        return await handler(request)
    except AnswerError as refused:
        if refused.body is None:
            return web.Response(status=refused.status)
        return web.json_response(refused.body, status=refused.status)
    except RefusedError as invalid:
        if invalid.attribute is None:
            return web.json_response({"error": invalid.message}, status=422)
        body = {"message": invalid.message, "attributes": [invalid.attribute]}
        return web.json_response(body, status=422)
    except web.HTTPNotFound:
        return web.json_response({"error": "Resource could not be found"}, status=404)


@web.middleware
async def rest_faults(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Strikes REST calls with the faults that are on; the control calls are spared."""
    path, faults = request.path, request.app[FAULTS]
    if path.startswith(CONTROL_PREFIX):
        return await handler(request)
    if fault := faults.draw("rest.slow", path):
        await _hold(request, fault.seconds)
    if fault := faults.draw("rest.timeout", path):
        await _hold(request, fault.seconds or HOLD_SECONDS)
        return web.Response(status=504)
    if fault := faults.draw("rest.error", path):
        body = {"status": fault.status, "error": "Internal Server Error"}
        return web.json_response(body, status=fault.status)
    if faults.draw("rest.rate_limit", path):
        return web.Response(status=429, body=b"Retry later\n", headers={"Content-Type": "text/plain"})
    if faults.draw("rest.reset", path):
        return _reset(request)
    answer = await handler(request)
    if faults.draw("rest.lost_answer", path):
        return _reset(request)
    if fault := faults.draw("rest.late_answer", path):
        await _hold(request, fault.seconds)
    return answer


async def _hold(request: web.Request, seconds: float) -> None:
    """Waits so long, but never keeps the server from stopping."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await request.app[STOPPING].wait()


def _reset(request: web.Request) -> web.StreamResponse:
    transport = request.transport
    if transport is not None:
        # Lingering for zero seconds makes the close a reset, which is what a crashed server looks like.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()
    return web.Response(status=499)
