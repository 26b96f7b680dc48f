"""What the gateway counts, in the process's registry."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Gauge, Histogram

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class HttpMetrics:
    """Requests by route and status, and what waits or watches."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self._registry = registry or CollectorRegistry()
        self._seconds = Histogram(
            "prosa_http_seconds",
            "Time an HTTP request took, by method, route and status.",
            ["method", "route", "status"],
            buckets=BUCKETS,
            registry=self._registry,
        )

        # Finding a series by its labels anew costs more than counting in it.
        self._series: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Counts one request. The route is a pattern: paths would make as many series as there are contacts."""
        key = (method, route, status)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = self._seconds.labels(method, route, str(status))
        series.observe(seconds)

    def watch(self, name: str, description: str, read: Callable[[], float]) -> None:
        """Shows a number that is read whenever somebody looks."""
        Gauge(name, description, registry=self._registry).set_function(read)
