"""The alerts speak of metrics that are served and of runbooks that are written."""

from __future__ import annotations

import configparser
import copy
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import yaml  # type: ignore[import-untyped]  # no stubs are published with it
from prometheus_client import CollectorRegistry

from chassis.telemetry import Metrics
from cli.metrics import children, merge
from gateway.listening.connections import Connections
from gateway.metrics import HttpMetrics, WebhookMetrics
from services.ingest.acceptance.acceptor import AcceptorMetrics
from services.ingest.processing.worker import WorkerMetrics
from tools import slo

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "deploy/alerts"
RULES = [
    rule for group in yaml.safe_load((ALERTS / "prosa.rules.yaml").read_text())["groups"] for rule in group["rules"]
]
DOCUMENT = yaml.safe_load(slo.SOURCE.read_text(encoding="utf-8"))
SAMPLE_SUFFIXES = re.compile(r"_(total|count|sum|bucket)$")
OF_PROMETHEUS = {"job", "instance", "process"}
"""What the scrape and the page of `prosa up` add to every sample."""


@pytest.fixture(scope="module")
def labels() -> dict[str, set[str]]:
    """The labels of every metric that is served, by its name without the suffix of a sample."""
    metrics = Metrics(CollectorRegistry())
    HttpMetrics(metrics.registry)
    WebhookMetrics(metrics.registry)
    Connections(registry=metrics.registry, monotonic=float)
    AcceptorMetrics(metrics.registry)
    WorkerMetrics(metrics.registry)
    served = {
        SAMPLE_SUFFIXES.sub("", cast("Any", metric)._name): set(cast("Any", metric)._labelnames)
        for metric in list(metrics.registry._collector_to_names)
    }
    ours = {family.name: set(cast("Any", family)._labelnames) for family in [*merge({}), *children([])]}
    return served | ours


def _selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    for name, inside in re.findall(r"\b(prosa_\w+)\{([^}]*)\}", expression):
        yield SAMPLE_SUFFIXES.sub("", name), set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", inside))


@pytest.mark.req("OP-19")
@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_metrics_and_labels_that_are_served(rule: Any, labels: dict[str, set[str]]) -> None:
    selectors = list(_selectors(rule["expr"]))
    assert len(selectors) == len(re.findall(r"\bprosa_\w+", rule["expr"])), "every metric names its job"
    assert selectors
    grouped = {name for group in re.findall(r"\bby \(([^)]*)\)", rule["expr"]) for name in re.split(r",\s*", group)}
    for metric, asked in selectors:
        assert metric in labels
        assert asked | grouped <= labels[metric] | OF_PROMETHEUS
        assert "job" in asked


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_names_what_to_do_and_how_soon(rule: Any) -> None:
    headings = re.findall(r"^## (.+)$", (ROOT / "docs/runbooks/README.md").read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert rule["annotations"]["runbook"] in anchors
    assert rule["annotations"]["summary"].endswith((".", "?"))
    assert rule["labels"]["severity"] in {"page", "ticket"}


def test_the_rules_are_what_the_one_place_for_numbers_makes() -> None:
    stale = [path for path, text in slo.made(DOCUMENT).items() if path.read_text(encoding="utf-8") != text]
    assert stale == []
    webhooks = next(rule for rule in RULES if rule["alert"] == "ProsaWebhooksFail")
    assert "[15m]" in webhooks["expr"]
    assert webhooks["expr"].rstrip().endswith("> 0.02")


def test_another_number_there_is_another_one_in_every_rule_that_uses_it() -> None:
    document = copy.deepcopy(DOCUMENT)
    document["thresholds"]["webhook_failures"] |= {"share": 0.07, "window": "1h"}
    rules = yaml.safe_load(slo.made(document)[slo.RULES])["groups"][0]["rules"]
    webhooks = next(rule for rule in rules if rule["alert"] == "ProsaWebhooksFail")
    assert webhooks["expr"].count("[1h]") == 2
    assert webhooks["expr"].rstrip().endswith("> 0.07")
    assert "webhooks of the last hour were" in webhooks["annotations"]["summary"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"window": "15 minutes"}, "is no window"),
        ({"severity": "loud"}, "severity is one of"),
        ({"of": "webhook_delays"}, "there is no threshold"),
        ({"expr": "up > 0"}, "threshold and <threshold> go together"),
    ],
)
def test_an_alert_that_cannot_be_is_named(change: dict[str, str], said: str) -> None:
    document = copy.deepcopy(DOCUMENT)
    alert = next(alert for alert in document["prometheus"] if alert["alert"] == "ProsaWebhooksRefused")
    alert |= change
    with pytest.raises(ValueError, match=said):
        slo.made(document)


def test_every_alert_is_tried_firing_and_silent() -> None:
    (healthy, ill) = yaml.safe_load((ALERTS / "prosa.rules.test.yaml").read_text())["tests"]
    names = sorted(rule["alert"] for rule in RULES)
    assert sorted(case["alertname"] for case in healthy["alert_rule_test"]) == names
    assert not any("exp_alerts" in case for case in healthy["alert_rule_test"])
    assert sorted(case["alertname"] for case in ill["alert_rule_test"] if case["exp_alerts"]) == names


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool comes with Prometheus, which is not here; the CI installs it"
)
def test_promtool_sees_every_alert_fire_and_rest() -> None:
    run = subprocess.run(
        ["promtool", "test", "rules", "prosa.rules.test.yaml"], cwd=ALERTS, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


def test_the_unit_starts_the_suite_as_a_user_without_rights_and_stops_it_in_order() -> None:
    unit = configparser.RawConfigParser(strict=False)
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read(ROOT / "deploy/systemd/prosa.service")
    service = unit["Service"]
    assert service["ExecStart"].endswith("/.venv/bin/prosa up")
    assert service["User"] not in {"", "root"}
    # The supervisor stops its children itself; whoever is left after that is killed.
    assert (service["KillSignal"], service["KillMode"]) == ("SIGTERM", "mixed")
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert service["Environment"] == f"PROSA_HOME=/var/lib/{service['StateDirectory']}"
