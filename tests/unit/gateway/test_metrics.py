"""What is counted of webhooks that could not be stored."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from gateway import metrics
from gateway.metrics import WebhookMetrics


@pytest.mark.case("S13")
def test_the_connections_that_are_counted_together_are_seen_to_recover(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "NOT_STORED_CONNECTIONS_MAX", 2)
    registry = CollectorRegistry()
    counted = WebhookMetrics(registry)

    def since(connection_id: str) -> float | None:
        name = "prosa_webhooks_not_stored_since_seconds"
        return registry.get_sample_value(name, {"connection_id": connection_id})

    for connection_id in "abcd":
        counted.not_stored(connection_id, 7.0)
    assert [since(name) for name in ("a", "b", "c", "others")] == [7.0, 7.0, None, 7.0]
    counted.stored("a")
    assert [since(name) for name in ("a", "b", "others")] == [0.0, 7.0, 7.0]
    counted.stored("d")
    assert [since(name) for name in ("a", "b", "others")] == [0.0, 7.0, 0.0]
    counted.not_stored("c", 9.0)
    assert since("others") == 9.0
