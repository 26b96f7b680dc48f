"""One metrics page of many."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from cli.metrics import children, merge, render
from embedded.supervisor import ChildState


def page(calls: int) -> str:
    registry = CollectorRegistry()
    Counter("prosa_calls", "Calls.", ["method"], registry=registry).labels("Get").inc(calls)
    Histogram("prosa_seconds", "Time.", buckets=(1.0, 2.0), registry=registry).observe(1.5)
    return generate_latest(registry).decode()


def samples(text: bytes) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def test_each_sample_names_its_process() -> None:
    found = samples(render(merge({"receiver": page(3), "rest": page(4)})))
    assert found["prosa_calls_total", frozenset({("method", "Get"), ("process", "receiver")})] == 3
    assert found["prosa_calls_total", frozenset({("method", "Get"), ("process", "rest")})] == 4
    assert found["prosa_seconds_bucket", frozenset({("le", "2.0"), ("process", "rest")})] == 1


def test_a_family_is_declared_once() -> None:
    text = render(merge({"receiver": page(1), "rest": page(1)})).decode()
    assert text.count("# TYPE prosa_calls_total counter") == 1


def test_a_process_that_does_not_answer_is_counted_and_hides_nobody() -> None:
    found = samples(render(merge({"receiver": None, "rest": page(4)})))
    assert found["prosa_process_answered", frozenset({("process", "receiver")})] == 0
    assert found["prosa_process_answered", frozenset({("process", "rest")})] == 1
    assert ("prosa_calls_total", frozenset({("method", "Get"), ("process", "rest")})) in found


def test_the_supervisor_tells_of_its_children() -> None:
    states = [ChildState("nats", "ready", 7, 0, 3.0), ChildState("receiver", "restarting", None, 2, 0.0)]
    found = samples(render(children(states)))
    assert found["prosa_child_ready", frozenset({("child", "nats")})] == 1
    assert found["prosa_child_ready", frozenset({("child", "receiver")})] == 0
    assert found["prosa_child_restarts_total", frozenset({("child", "receiver")})] == 2
