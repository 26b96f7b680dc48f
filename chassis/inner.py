"""The inner listener of every process: metrics, health and readiness; never on the public port."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import structlog
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

CHECK_SECONDS = 2.0

Check = Callable[[], Awaitable[None]]
"""Raises where what it looks at is away."""

logger = structlog.get_logger(__name__)


class NotReady(Exception):
    """Raised by a check that can say in a sentence what is wrong and what to do."""


class Readiness:
    """Whether the process should be given work: not while it starts, stops, or something it needs is away."""

    def __init__(self) -> None:
        self.serving = False
        self.checks: dict[str, Check] = {}
        self._not_needed: set[str] = set()
        self._told_only: set[str] = set()

    def add(self, name: str, check: Check, *, needed: bool = True, decides: bool = True) -> None:
        """Looks at one more dependency; one that is not needed may be away when the process is started, and one that
        does not decide may be away at any time: it is told of, and the process stays ready."""
        self.checks[name] = check
        if not needed:
            self._not_needed.add(name)
        if not decides:
            self._told_only.add(name)

    def started(self, report: Mapping[str, str]) -> bool:
        """Whether, by what was seen, the process has started and does what it can without what is not needed."""
        return self.serving and all(state == "ok" for name, state in report.items() if name not in self._not_needed)

    async def look(self) -> tuple[bool, Mapping[str, str]]:
        """Ready or not, and what was seen of each dependency: "ok" or why not."""
        names = list(self.checks)
        seen = await asyncio.gather(*(self._look_at(name) for name in names))
        report = dict(zip(names, seen, strict=True))
        decisive = (state for name, state in report.items() if name not in self._told_only)
        return self.serving and all(state == "ok" for state in decisive), report

    async def _look_at(self, name: str) -> str:
        try:
            async with asyncio.timeout(CHECK_SECONDS):
                await self.checks[name]()
        except TimeoutError:
            return f"no answer within {CHECK_SECONDS:g} s"
        except NotReady as error:
            return str(error)
        except Exception as error:
            logger.info("dependency_away", dependency=name, error=repr(error))
            return f"away: {type(error).__name__}"
        return "ok"


async def start_inner_listener(
    host: str, port: int, registry: CollectorRegistry, readiness: Readiness
) -> tuple[web.AppRunner, int]:
    """Serves ``/metrics``, ``/readyz`` and ``/healthz``; answers the runner to clean up and the port."""

    async def metrics(_request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def ready(_request: web.Request) -> web.Response:
        is_ready, report = await readiness.look()
        answer = {"ready": is_ready, "started": readiness.started(report), "dependencies": dict(report)}
        return web.json_response(answer, status=200 if is_ready else 503)

    async def health(_request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    app = web.Application()
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/healthz", health)
    runner = web.AppRunner(app, access_log=None)
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port).start()
    except BaseException:
        # Nobody has it yet who could clean it up.
        await runner.cleanup()
        raise
    return runner, runner.addresses[0][1]
