"""Whether this process lives, and whether it may be sent work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from gateway.limits import RETRY_AFTER_SECONDS

Look = Callable[[], Awaitable[tuple[bool, Mapping[str, str]]]]
"""Answers whether all is ready, and what was seen of each dependency."""


class Health:
    """Answers for the process and for what it depends on."""

    def __init__(self, look: Look) -> None:
        self._look = look

    def add_routes(self, app: web.Application) -> None:
        """Registers the health paths."""
        app.router.add_get("/healthz", self.alive)
        app.router.add_get("/health", self.alive)
        app.router.add_get("/readyz", self.ready)

    async def alive(self, request: web.Request) -> web.StreamResponse:
        """The process answers: whatever else is away, a restart would not help."""
        return web.json_response({"status": "ok"})

    async def ready(self, request: web.Request) -> web.StreamResponse:
        """Says of each dependency whether it can be used; 503 where one cannot."""
        is_ready, dependencies = await self._look()
        if is_ready:
            return web.json_response({"status": "ok", "dependencies": dict(dependencies)})
        return web.json_response(
            {"status": "unavailable", "dependencies": dict(dependencies)},
            status=503,
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
        )
