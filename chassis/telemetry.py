"""Logs as JSON lines, metrics for Prometheus, traces by OpenTelemetry: one correlation id through all of them.

Logs carry no secrets and, unless an operator says otherwise, no message texts.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from functools import partial
from typing import Any, TextIO

import orjson
import structlog
from opentelemetry import propagate, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from chassis import context

REDACTED = "[redacted]"
_SECRET_KEY = re.compile(r"secret|password|token|api_?key|authorization|cookie|private", re.IGNORECASE)
_TEXT_KEYS = frozenset({"text", "body", "content", "preview"})
# Bounded: a log line may quote what anybody sent, and a long run would be looked through from each of its letters.
_CREDENTIALS_IN_URL = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]{0,31}://)[^\s/@:]{0,512}:[^\s/@]{0,512}@")
LATENCY_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)

tracer = trace.get_tracer("prosa")
_NO_SPAN: AbstractContextManager[None] = nullcontext()
_collected = False
"""Whether anybody collects spans: without, not even an empty one is made."""


def configure_logging(level: str, *, show_text: bool = False, stream: TextIO | None = None) -> None:
    """Writes one JSON object a line to standard output, ours and the libraries' alike."""

    def redact(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
        for key, value in event.items():
            if _SECRET_KEY.search(key) or (not show_text and key in _TEXT_KEYS):
                event[key] = REDACTED
            elif isinstance(value, str) and "://" in value:
                event[key] = _CREDENTIALS_IN_URL.sub(rf"\g<scheme>{REDACTED}@", value)
        return event

    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        _add_context,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        redact,
    ]
    target = stream or sys.stdout
    # Our own lines are written as they are made; the way through the library of logging costs several times as much.
    structlog.configure(
        processors=[*shared, structlog.processors.JSONRenderer(serializer=_json)],
        logger_factory=partial(_Lines, target),
        wrapper_class=structlog.make_filtering_bound_logger(level.upper()),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=_json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for noisy in ("aiohttp.access", "nats", "alembic.runtime.migration", "grpc._cython.cygrpc"):
        logging.getLogger(noisy).setLevel(logging.WARNING)


class _Lines:
    """Where a logger's finished lines go."""

    def __init__(self, stream: TextIO, name: str = "") -> None:
        self._stream = stream
        self.name = name

    def msg(self, line: str) -> None:
        """Writes a line in one go, so that those of several threads do not mix."""
        # A full disk or a reader who has gone must not fail the work that a line tells of, which may be committed.
        with suppress(OSError, ValueError):
            self._stream.write(line + "\n")
            self._stream.flush()

    debug = info = warning = error = critical = exception = log = msg


def _json(event: Any, **options: Any) -> str:
    try:
        return orjson.dumps(event, default=options.get("default")).decode()
    except TypeError:
        # Numbers beyond 64 bits and torn characters: better written oddly than not at all.
        return json.dumps(event, default=options.get("default"))


def configure_tracing(service: str, otlp_endpoint: str) -> TracerProvider | None:
    """Sends spans to an OTLP endpoint; without one, spans cost nothing and go nowhere."""
    if not otlp_endpoint:
        return None
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter

    global _collected
    provider = TracerProvider(resource=Resource.create({"service.name": f"prosa-{service}"}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=otlp_endpoint, insecure=True)))
    trace.set_tracer_provider(provider)
    _collected = True
    return provider


def span(name: str, **attributes: str | int) -> AbstractContextManager[None]:
    """Runs the block as a span below the traceparent at hand, which it replaces for what the block calls."""
    # Without anybody to collect it, the traceparent at hand travels on as it is.
    return _span(name, attributes) if _collected else _NO_SPAN


@contextmanager
def _span(name: str, attributes: Mapping[str, str | int]) -> Iterator[None]:
    parent = context.trace_parent.get()
    scope = propagate.extract({"traceparent": parent}) if parent else None
    with tracer.start_as_current_span(name, context=scope, attributes=attributes) as current:
        inner = current.get_span_context()
        if not inner.is_valid or not current.is_recording():
            yield
            return
        token = context.trace_parent.set(f"00-{inner.trace_id:032x}-{inner.span_id:016x}-{inner.trace_flags:02x}")
        try:
            yield
        finally:
            context.trace_parent.reset(token)


class Metrics:
    """Every metric of the chassis, in a registry of the process's own; services add theirs to the same registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self.rpc_seconds = Histogram(
            "prosa_rpc_seconds",
            "Time an RPC took, by method and canonical code.",
            ["method", "code"],
            buckets=LATENCY_BUCKETS,
            registry=self.registry,
        )
        self.outbox_published = Counter(
            "prosa_outbox_published_total", "Facts published.", ["service"], registry=self.registry
        )
        self.outbox_lag = Gauge(
            "prosa_outbox_pending", "Facts that waited at the last look.", ["service"], registry=self.registry
        )
        self.stream_losses = Counter(
            "prosa_stream_losses_total",
            "How often a stream was found to have lost facts, which were then published again.",
            ["service"],
            registry=self.registry,
        )
        self.consumed = Counter(
            "prosa_consumed_total", "Facts consumed, by outcome.", ["consumer", "outcome"], registry=self.registry
        )
        self.queue_waiting = Gauge(
            "prosa_queue_waiting", "Items of a queue that are due.", ["queue"], registry=self.registry
        )
        self.queue_oldest_seconds = Gauge(
            "prosa_queue_oldest_seconds",
            "For how long the oldest item that is due has been; 0 when none is.",
            ["queue"],
            registry=self.registry,
        )
        self.queue_attempts = Counter(
            "prosa_queue_attempts_total",
            "Items of a queue that were worked on, by outcome: done, retry, postponed (uncounted) or dead.",
            ["queue", "outcome"],
            registry=self.registry,
        )
        self.queue_dead = Counter(
            "prosa_queue_dead_total", "Dead letters of a queue, by reason.", ["queue", "reason"], registry=self.registry
        )
        self.lease_held = Gauge("prosa_lease_held", "1 while this process holds it.", ["name"], registry=self.registry)
        self.job_failures = Counter(
            "prosa_job_failures_total", "Background jobs that failed.", ["name"], registry=self.registry
        )


def _add_context(_logger: Any, _method: str, event: dict[str, Any]) -> dict[str, Any]:
    if correlation := context.correlation_id.get():
        event.setdefault("correlation_id", correlation)
    if parent := context.trace_parent.get():
        event.setdefault("trace_id", parent[3:35])
    return event
