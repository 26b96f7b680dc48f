"""A webhook receiver on loopback that checks signatures over the raw bytes it got."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.world import PATIENCE_SECONDS


@dataclass(slots=True)
class Received:
    """One request: the raw body, its headers and whether the signature fits."""

    raw: bytes
    headers: dict[str, str]
    authentic: bool

    @property
    def body(self) -> Any:
        """The parsed body."""
        return json.loads(self.raw)

    @property
    def delivery_id(self) -> str:
        """What Chatwoot calls this delivery."""
        return self.headers["X-Chatwoot-Delivery"]


@dataclass(slots=True)
class Receiver:
    """Answers with the next of `answers`, then 200; `released` holds every answer back until it is set."""

    secret: str
    url: str = ""
    received: list[Received] = field(default_factory=list)
    answers: list[int] = field(default_factory=list)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    def __post_init__(self) -> None:
        self.released.set()

    async def handle(self, request: web.Request) -> web.Response:
        """Takes one webhook."""
        raw = await request.read()
        stamp = request.headers.get("X-Chatwoot-Timestamp", "")
        expected = "sha256=" + hmac.new(self.secret.encode(), stamp.encode() + b"." + raw, hashlib.sha256).hexdigest()
        authentic = hmac.compare_digest(expected, request.headers.get("X-Chatwoot-Signature", ""))
        self.received.append(Received(raw, dict(request.headers), authentic))
        async with self.arrived:
            self.arrived.notify_all()
        await self.released.wait()
        return web.Response(status=self.answers.pop(0) if self.answers else 200)

    async def until(self, enough: Callable[[list[Received]], bool]) -> None:
        """Returns as soon as what has arrived is enough."""
        async with asyncio.timeout(PATIENCE_SECONDS), self.arrived:
            await self.arrived.wait_for(lambda: enough(self.received))

    def names(self) -> list[str]:
        """The events in the order in which they came."""
        return [item.body["event"] for item in self.received]


@asynccontextmanager
async def receiving(secret: str) -> AsyncIterator[Receiver]:
    """A receiver that listens on a free port."""
    receiver = Receiver(secret)
    app = web.Application()
    app.router.add_post("/hook", receiver.handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    try:
        yield receiver
    finally:
        receiver.released.set()
        await runner.cleanup()
