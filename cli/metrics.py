"""One page with the metrics of every process of `prosa up`, each sample labelled with its process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import aiohttp
from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector

from embedded.ports import LOOPBACK
from embedded.supervisor import ChildState

SCRAPE_SECONDS = 3.0


class MetricsPage:
    """Fetches the metrics of the processes, by name and port, whenever it is asked."""

    def __init__(self, ports: Mapping[str, int], states: Callable[[], Sequence[ChildState]]) -> None:
        self._ports = dict(ports)
        self._states = states
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self, port: int) -> None:
        """Serves `/metrics`, `/status` and `/healthz` on loopback."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=SCRAPE_SECONDS))
        app = web.Application()
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/status", self._status)
        app.router.add_get("/healthz", self._health)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, LOOPBACK, port).start()

    async def stop(self) -> None:
        """Lets go of the port."""
        if self._runner is not None:
            await self._runner.cleanup()
        if self._session is not None:
            await self._session.close()

    async def _metrics(self, _request: web.Request) -> web.Response:
        pages = await asyncio.gather(*(self._fetch(port) for port in self._ports.values()))
        families = merge(dict(zip(self._ports, pages, strict=True)))
        families += children(self._states())
        return web.Response(body=render(families), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def _status(self, _request: web.Request) -> web.Response:
        """What runs, since when, and what each process says of its readiness; `ready` is null for a server."""
        reports = dict(
            zip(
                self._ports,
                await asyncio.gather(*(self._readiness(port) for port in self._ports.values())),
                strict=True,
            )
        )
        processes = [
            {
                "name": child.name,
                "state": child.state,
                "pid": child.pid,
                "uptime_seconds": round(child.uptime_seconds, 1),
                "restart_count": child.restart_count,
                "ready": reports.get(child.name, {}).get("ready"),
                "dependencies": reports.get(child.name, {}).get("dependencies", {}),
            }
            for child in self._states()
        ]
        return web.json_response({"processes": processes})

    async def _readiness(self, port: int) -> dict[str, Any]:
        assert self._session is not None
        try:
            async with self._session.get(f"http://{LOOPBACK}:{port}/readyz") as answer:
                report: dict[str, Any] = await answer.json(content_type=None)
                return report
        except (aiohttp.ClientError, TimeoutError, ValueError):
            return {"ready": False, "dependencies": {"process": f"no answer within {SCRAPE_SECONDS:g} s"}}

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _fetch(self, port: int) -> str | None:
        assert self._session is not None
        try:
            async with self._session.get(f"http://{LOOPBACK}:{port}/metrics") as answer:
                return await answer.text() if answer.status == web.HTTPOk.status_code else None
        except (aiohttp.ClientError, TimeoutError):
            return None


def merge(pages: Mapping[str, str | None]) -> list[Metric]:
    """The families of all pages, each once, its samples labelled `process`; None is a process that did not answer."""
    families: dict[str, Metric] = {}
    answered = GaugeMetricFamily("prosa_process_answered", "1 where the process gave its metrics.", labels=["process"])
    for process, page in pages.items():
        answered.add_metric([process], float(page is not None))
        for family in text_string_to_metric_families(page or ""):
            kept = families.setdefault(family.name, Metric(family.name, family.documentation, family.type))
            for sample in family.samples:
                kept.add_sample(sample.name, {**sample.labels, "process": process}, sample.value)
    return [answered, *families.values()]


def children(states: Iterable[ChildState]) -> list[Metric]:
    """How the supervisor's children are."""
    ready = GaugeMetricFamily("prosa_child_ready", "1 while the child is ready.", labels=["child"])
    restarts = CounterMetricFamily("prosa_child_restarts", "Restarts after the child died.", labels=["child"])
    for state in states:
        ready.add_metric([state.name], float(state.state == "ready"))
        restarts.add_metric([state.name], state.restart_count)
    return [ready, restarts]


def render(families: Sequence[Metric]) -> bytes:
    """The page in the text format."""
    return generate_latest(_Families(families))


class _Families(Collector):
    """What was collected already, in the form that the renderer asks for."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families
