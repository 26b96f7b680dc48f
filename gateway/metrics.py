"""What the gateway counts, in the process's registry."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from gateway.limits import NOT_STORED_CONNECTIONS_MAX

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

_OTHERS = "others"
"""All connections beyond the bound, in one."""


class WebhookMetrics:
    """What became of webhooks that ingest never saw: sent to no connection's address, or not stored."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self._addresses = Counter(
            "prosa_webhook_addresses_unknown_total",
            "Webhooks sent to an address that no connection has: its key is not known, or cannot be one.",
            ["reason"],
            registry=registry,
        )
        self._not_stored = Counter(
            "prosa_webhooks_not_stored_total",
            "Webhooks that were answered 503, by connection. Chatwoot does not send them again.",
            ["connection_id"],
            registry=registry,
        )
        self._since = Gauge(
            "prosa_webhooks_not_stored_since_seconds",
            "When the first of the webhooks came that were answered 503 since one was last stored; 0 where none was.",
            ["connection_id"],
            registry=registry,
        )
        self.failing: set[str] = set()
        """The connections whose last webhook was not stored; nearly always none."""
        self._counted: set[str] = set()

    def address_unknown(self, reason: str) -> None:
        """Counts a webhook to an address that leads nowhere."""
        self._addresses.labels(reason).inc()

    def not_stored(self, connection_id: str, time_seconds: float) -> None:
        """Counts a webhook that was answered 503, at a time by the clock."""
        if connection_id not in self._counted and len(self._counted) >= NOT_STORED_CONNECTIONS_MAX:
            connection_id = _OTHERS
        self._counted.add(connection_id)
        self._not_stored.labels(connection_id).inc()
        if connection_id not in self.failing:
            self.failing.add(connection_id)
            self._since.labels(connection_id).set(time_seconds)

    def stored(self, connection_id: str) -> None:
        """Says that the connection's webhooks are stored again."""
        if connection_id not in self._counted:
            # Of those beyond the bound nobody knows which; where others still fail, they say so again.
            connection_id = _OTHERS
        if connection_id in self.failing:
            self.failing.discard(connection_id)
            self._since.labels(connection_id).set(0)


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
