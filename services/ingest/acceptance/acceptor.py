"""The acceptor: whose a webhook is, whether it is genuine, and that it is stored before anybody is told so.

Everything about one webhook is decided on its raw bytes. What is stored has the values of secret fields blanked.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Mapping, Sequence
from datetime import datetime

import structlog
from prometheus_client import CollectorRegistry, Counter

from chassis import context
from chassis.clock import Clock
from chassis.db import Database
from chassis.enums import enum_text
from chassis.ids import Ids
from chassis.queues.queue import Queue, lane_of
from prosa.ingest.v1 import ingest_service_pb2 as pb
from services.ingest.acceptance import store as accept_store
from services.ingest.connections.cache import Connection, ConnectionCache
from services.ingest.connections.unsigned import UnsignedLog
from services.ingest.providers import PROVIDERS, by_number, number_of
from services.ingest.providers.authenticity import Check
from services.ingest.providers.blanking import blank_secrets
from services.ingest.providers.bodies import aside, parsed
from services.ingest.providers.proof import UNCHECKED, Proof, Refusal
from services.ingest.providers.provider import Provider

EVENT_NAME_LENGTH_MAX = 100
BODY_TOO_LARGE = "BODY_TOO_LARGE"

_LABELS = {
    Check.AUTHENTIC: "",
    Check.AUTHENTIC_STATIC: "authentic_static",
    Check.UNSIGNED_ACCEPTED: "unsigned_accepted",
}
"""What the metric calls the checks that let a webhook in."""
_PROVED = (Check.AUTHENTIC, Check.AUTHENTIC_STATIC)

logger = structlog.get_logger(__name__)


class AcceptorMetrics:
    """What the acceptor counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.webhooks = Counter(
            "prosa_webhooks_total",
            "Webhooks at the acceptor, by provider, outcome and the check that decided.",
            ["provider", "outcome", "check"],
            registry=registry,
        )
        # Finding a series by its labels anew costs more than counting in it.
        self._series: dict[tuple[pb.Provider.ValueType, pb.AcceptOutcome.ValueType, str], Counter] = {}

    def count(self, webhooks: Sequence[pb.Webhook], results: Sequence[pb.AcceptResult], checks: Sequence[str]) -> None:
        """Counts a batch."""
        alike = Counts(
            (hook.provider, result.outcome, check)
            for hook, result, check in zip(webhooks, results, checks, strict=True)
        )
        for kind, count in alike.items():
            series = self._series.get(kind)
            if series is None:
                number, outcome, check = kind
                provider = by_number(number)
                series = self._series[kind] = self.webhooks.labels(
                    "unspecified" if provider is None else provider.name.lower(),
                    enum_text(pb.AcceptOutcome, outcome).lower(),
                    check,
                )
            series.inc(count)


class Acceptor:
    """Checks and stores batches of webhooks."""

    def __init__(
        self,
        db: Database,
        cache: ConnectionCache,
        clock: Clock,
        ids: Ids,
        metrics: AcceptorMetrics,
        queue: Queue,
    ) -> None:
        self._db = db
        self._cache = cache
        self._clock = clock
        self._ids = ids
        self._metrics = metrics
        self._wake_workers = queue.wake
        self._unsigned = UnsignedLog(db, clock)

    async def resolve(self, keys: Sequence[pb.ConnectionKey]) -> list[str]:
        """The id of each key's connection, empty where there is none."""
        known = await self._cache.by_keys({item.key for item in keys})
        found = [(known.get(item.key), item.provider) for item in keys]
        return [
            str(connection.id) if connection is not None and number_of(connection.provider) == number else ""
            for connection, number in found
        ]

    async def accept(self, webhooks: Sequence[pb.Webhook]) -> list[pb.AcceptResult]:
        """One result per webhook, in their order; those answered ACCEPTED or DUPLICATE are committed."""
        known = await self._cache.by_keys({hook.connection_key for hook in webhooks if hook.connection_key})
        now = self._clock.now()
        # Reading the field copies it.
        bodies = [hook.body for hook in webhooks]
        legacy = {place: hook for place, hook in enumerate(webhooks) if not hook.connection_key}
        proved = await self._prove(legacy, bodies, now) if legacy else {}
        results: list[pb.AcceptResult | None] = [None] * len(webhooks)
        checks = [""] * len(webhooks)
        passed: dict[int, accept_store.NewEvent] = {}
        for place, (hook, body) in enumerate(zip(webhooks, bodies, strict=True)):
            if (decided := proved.get(place)) is not None:
                if isinstance(decided, Refusal):
                    results[place], checks[place] = decided.result, decided.check
                    if decided.result.outcome == pb.ACCEPT_OUTCOME_UNAUTHENTICATED:
                        logger.warning("webhook_refused", check=decided.check, **_told_by(hook))
                    continue
                connection, check = decided.connection, decided.check
                provider = PROVIDERS[connection.provider]
            else:
                found = known.get(hook.connection_key)
                named = None if found is None else PROVIDERS.get(found.provider)
                if found is None or named is None or named.number != hook.provider:
                    results[place] = _refused(pb.ACCEPT_OUTCOME_NOT_FOUND, "CONNECTION_NOT_FOUND")
                    checks[place] = "CONNECTION_NOT_FOUND"
                    continue
                connection, provider = found, named
                verdict = await aside(len(body), provider.verify, body, hook.headers, connection, now)
                check = verdict.check
                if connection.unreadable and check not in _PROVED:
                    results[place], checks[place] = UNCHECKED.result, UNCHECKED.check
                    continue
                if not verdict.accepted:
                    results[place] = _refused(pb.ACCEPT_OUTCOME_UNAUTHENTICATED, check.value)
                    checks[place] = check.value
                    logger.warning(
                        "webhook_refused", connection_id=str(connection.id), check=check.value, **_told_by(hook)
                    )
                    continue
            if len(body) > provider.body_bytes_max:
                results[place], checks[place] = _refused(pb.ACCEPT_OUTCOME_INVALID, BODY_TOO_LARGE), BODY_TOO_LARGE
                continue
            checks[place] = _LABELS[check]
            passed[place] = await aside(len(body), self._event, hook, body, connection, provider, check, now)
        await self._store(passed, results)
        self._unsigned.note(
            {event.connection_id: event.organization_id for event in passed.values() if not event.signed}
        )
        answered = [result for result in results if result is not None]
        assert len(answered) == len(webhooks)
        self._metrics.count(webhooks, answered, checks)
        return answered

    async def _prove(
        self, hooks: Mapping[int, pb.Webhook], bodies: Sequence[bytes], now: datetime
    ) -> dict[int, Proof | Refusal]:
        """Whose each webhook is that names no connection."""
        decided: dict[int, Proof | Refusal] = {}
        for number in {hook.provider for hook in hooks.values()}:
            provider = by_number(number)
            own = {place: hook for place, hook in hooks.items() if hook.provider == number}
            if provider is None or provider.prove is None:
                decided |= dict.fromkeys(own, _NOBODYS)
            else:
                decided |= await provider.prove(self._cache, own, bodies, now)
        return decided

    async def _store(self, passed: Mapping[int, accept_store.NewEvent], results: list[pb.AcceptResult | None]) -> None:
        if not passed:
            return
        firsts = await accept_store.store(self._db, list(passed.values()), self._wake_workers)
        ids = list(map(str, firsts))
        for (place, event), first, first_id in zip(passed.items(), firsts, ids, strict=True):
            new = first == event.id
            outcome = pb.ACCEPT_OUTCOME_ACCEPTED if new else pb.ACCEPT_OUTCOME_DUPLICATE
            results[place] = pb.AcceptResult(outcome=outcome, webhook_event_id=first_id)
        logger.info("webhooks_stored", correlation_ids=ids)

    def _event(
        self,
        hook: pb.Webhook,
        body: bytes,
        connection: Connection,
        provider: Provider,
        check: Check,
        now: datetime,
    ) -> accept_store.NewEvent:
        root = parsed(body)
        key = f"{connection.context.connection_id}/{provider.ordering_key(root)}"
        return accept_store.NewEvent(
            id=self._ids.new(),
            receive_time=now,
            organization_id=connection.organization_id,
            connection_id=connection.id,
            provider=connection.provider,
            event=_printable(provider.event_name(root)),
            ordering_key=key,
            lane=lane_of(key),
            signed=check is not Check.UNSIGNED_ACCEPTED,
            delivery_key=provider.delivery_key(hook.headers, body),
            trace_parent=context.accepted_trace_parent(hook.trace_parent),
            body=blank_secrets(body, provider.secret_fields, readable=root is not None),
        )


def _printable(name: object) -> str:
    if not isinstance(name, str):
        return ""
    return name.replace("\x00", "")[:EVENT_NAME_LENGTH_MAX]


def _told_by(hook: pb.Webhook) -> dict[str, str]:
    """The correlation id that its sender was answered: a batch is one call, and has another one."""
    return {"correlation_id": hook.correlation_id} if hook.correlation_id else {}


def _refused(outcome: pb.AcceptOutcome.ValueType, reason: str) -> pb.AcceptResult:
    return pb.AcceptResult(outcome=outcome, reason=reason)


_NOBODYS = Refusal(_refused(pb.ACCEPT_OUTCOME_NOT_FOUND, "CONNECTION_NOT_FOUND"), "CONNECTION_NOT_FOUND")
