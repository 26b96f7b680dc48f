"""The fake's HTTP: `POST /v1/chat/completions`, with faults that a test or a person sets."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

KEY = "sk-sandbox"
FAULTS = ("too_many", "error", "slow", "junk")


@dataclass
class FakeModel:
    """What was asked, and how the next requests go wrong."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    faults: deque[str] = field(default_factory=deque)
    """Of the next requests, in their order."""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once anything was asked."""
    released: asyncio.Event = field(default_factory=asyncio.Event)
    """Ends the wait of slow answers."""

    def app(self) -> web.Application:
        """Its routes."""
        app = web.Application()
        app.router.add_post("/v1/chat/completions", self._complete)
        return app

    async def _complete(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.json_response({"error": {"message": "Incorrect API key provided."}}, status=401)
        body = await request.json()
        self.asked.append(body)
        self.arrived.set()
        match self.faults.popleft() if self.faults else "":
            case "too_many":
                return web.json_response({"error": {"message": "Rate limit reached."}}, status=429)
            case "error":
                return web.json_response({"error": {"message": "The server had an error."}}, status=500)
            case "slow":
                await self.released.wait()
            case "junk":
                return web.Response(text="<html>Bad gateway</html>", content_type="text/html")
        return web.json_response(_completion(body))


def _completion(body: dict[str, Any]) -> dict[str, Any]:
    """An answer that follows from the request alone."""
    messages = body["messages"]
    last = next((message["content"] for message in reversed(messages) if message["role"] == "user"), "")
    text = f"Sobre “{last.splitlines()[-1] if last else ''}”: pode vir, estamos abertos."
    taken = sum(len(message["content"].split()) for message in messages)
    return {
        "id": "chatcmpl-sandbox",
        "object": "chat.completion",
        "model": body.get("model", ""),
        "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
        "usage": {
            "prompt_tokens": taken,
            "completion_tokens": len(text.split()),
            "total_tokens": taken + len(text.split()),
        },
    }
