"""The receiver: answers as n8n's production webhooks do, and checks signatures as a workflow's Crypto node would.

Written from the standard (Standard Webhooks) alone, so that it agrees with whoever signs by the standard only.
"""

import asyncio
import base64
import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field
from typing import Any

from aiohttp import web

TOLERANCE_SECONDS = 300
RECEIVED_MAX = 10_000
BODY_BYTES_MAX = 1024 * 1024


@dataclass(slots=True)
class Fault:
    """What goes wrong with the next posts: a status, a redirect, silence or a broken connection."""

    count: int = 1
    status: int = 503
    retry_after: str = ""
    location: str = ""
    seconds: float = 0.0
    reset: bool = False
    only: str = ""
    """Hits only posts whose body contains this text."""


@dataclass(slots=True)
class Received:
    """One post, and what was answered to it."""

    webhook_id: str
    type: str
    verified: bool
    status: int
    path: str
    headers: dict[str, str]
    body: str


@dataclass(slots=True)
class Receiver:
    """One n8n with its published workflows."""

    secret: str = ""
    """What posts are signed with; without one every signature is wrong."""
    paths: set[str] = field(default_factory=lambda: {"prosa"})
    """The paths of the webhooks whose workflows are published."""
    faults: list[Fault] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)

    def taken(self, webhook_type: str = "") -> list[Received]:
        """What was answered with 200, of one type where it is named."""
        return [
            post for post in self.received if post.status == web.HTTPOk.status_code and webhook_type in ("", post.type)
        ]

    def next_fault(self, body: str) -> Fault | None:
        """The fault that hits this post; it counts down."""
        for fault in self.faults:
            if fault.count > 0 and fault.only in body:
                fault.count -= 1
                return fault
        return None

    def verifies(self, headers: dict[str, str], body: bytes, now: float) -> bool:
        """Whether one of the post's signatures is the secret's, and its time is now."""
        try:
            key = base64.b64decode(self.secret.removeprefix("whsec_"), validate=True)
            timestamp = int(headers.get("webhook-timestamp", ""))
        except ValueError:
            return False
        signed = f"{headers.get('webhook-id', '')}.{timestamp}.".encode() + body
        right = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        signatures = headers.get("webhook-signature", "").split(" ")
        return (
            bool(key)
            and abs(now - timestamp) <= TOLERANCE_SECONDS
            and any(hmac.compare_digest(right, given) for given in signatures)
        )


def make_app(receiver: Receiver, now: Any) -> web.Application:
    """The receiver over HTTP, with a switchboard below /_sandbox; ``now`` answers the time in seconds."""

    async def take(request: web.Request) -> web.StreamResponse:
        raw = await request.read()
        body = raw.decode("utf-8", "replace")
        headers = {name.lower(): value for name, value in request.headers.items()}
        fault = receiver.next_fault(body)
        verified = receiver.verifies(headers, raw, now())
        response = _answer(receiver, request.match_info["path"], verified=verified, fault=fault)
        if fault is None and request.method != "POST":
            response = web.json_response({"code": 404, "message": "This webhook takes POST alone."}, status=404)
        post = Received(
            headers.get("webhook-id", ""),
            _type_of(body),
            verified,
            0 if fault is not None and fault.reset else response.status,
            request.match_info["path"],
            headers,
            body,
        )
        if len(receiver.received) < RECEIVED_MAX:
            receiver.received.append(post)
        if fault is not None and fault.seconds:
            await asyncio.sleep(fault.seconds)
        if fault is not None and fault.reset and request.transport is not None:
            request.transport.abort()
        return response

    async def add_fault(request: web.Request) -> web.Response:
        try:
            receiver.faults.append(Fault(**await request.json()))
        except (TypeError, json.JSONDecodeError) as error:
            raise web.HTTPBadRequest(text=f"A fault is {Fault.__slots__}: {error}") from None
        return web.json_response({"faults": len(receiver.faults)})

    async def show(_request: web.Request) -> web.Response:
        return web.json_response([asdict(post) for post in receiver.received])

    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app.router.add_route("*", "/webhook/{path:.*}", take)
    app.router.add_post("/_sandbox/faults", add_fault)
    app.router.add_get("/_sandbox/received", show)
    return app


def _answer(receiver: Receiver, path: str, *, verified: bool, fault: Fault | None) -> web.Response:
    if fault is not None:
        headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
        if fault.location:
            headers["Location"] = fault.location
        return web.json_response({"message": "Error in workflow"}, status=fault.status, headers=headers)
    if path not in receiver.paths:
        return web.json_response(
            {"code": 404, "message": f'The requested webhook "POST {path}" is not registered.'}, status=404
        )
    if not verified:
        return web.json_response({"message": "wrong signature"}, status=401)
    return web.json_response({"message": "Workflow was started"})


def _type_of(body: str) -> str:
    try:
        told = json.loads(body)
    except json.JSONDecodeError:
        return ""
    return str(told.get("type", "")) if isinstance(told, dict) else ""
