"""The door: whose a webhook is, whether it is genuine, and that it is stored before anybody is told so.

Everything about one webhook is decided on its raw bytes. What is stored has the values of secret fields blanked.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter

from chassis import context
from chassis.clock import Clock
from chassis.db import Database
from chassis.ids import Ids
from chassis.json_reading import JsonMalformed, read_json
from prosa.ingest.v1 import ingest_service_pb2 as pb
from services.ingest import accept_store
from services.ingest.directory import Connection, Directory
from services.ingest.lanes_hash import lane_of
from services.ingest.legacy_path import LegacyTarget, read_target
from services.ingest.limits import UNPROVEN_MENDED_BYTES_MAX
from services.ingest.providers.blanking import CHATWOOT_SECRETS, EVOLUTION_SECRETS, blank_secrets
from services.ingest.providers.chatwoot import verify as chatwoot
from services.ingest.providers.chatwoot.shape import ordering_key

EVENT_NAME_LENGTH_MAX = 100

_PROVIDERS = {number: name.removeprefix("PROVIDER_") for name, number in pb.Provider.items()}

logger = structlog.get_logger(__name__)


class DoorMetrics:
    """What the door counts."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.webhooks = Counter(
            "prosa_webhooks_total",
            "Webhooks at the door, by provider, outcome and the check that decided.",
            ["provider", "outcome", "check"],
            registry=registry,
        )
        # Finding a series by its labels anew costs more than counting in it.
        self._series: dict[tuple[pb.Provider.ValueType, pb.AcceptOutcome.ValueType, str], Counter] = {}

    def count(self, webhooks: Sequence[pb.Webhook], results: Sequence[pb.AcceptResult]) -> None:
        """Counts a batch."""
        alike = Counts(
            (hook.provider, result.outcome, result.reason) for hook, result in zip(webhooks, results, strict=True)
        )
        for kind, count in alike.items():
            series = self._series.get(kind)
            if series is None:
                provider, outcome, reason = kind
                series = self._series[kind] = self.webhooks.labels(
                    pb.Provider.Name(provider).removeprefix("PROVIDER_").lower(),
                    pb.AcceptOutcome.Name(outcome).removeprefix("ACCEPT_OUTCOME_").lower(),
                    reason,
                )
            series.inc(count)


class Door:
    """Checks and stores batches of webhooks."""

    def __init__(
        self,
        db: Database,
        directory: Directory,
        clock: Clock,
        ids: Ids,
        metrics: DoorMetrics,
        wake_lanes: Callable[[], None],
    ) -> None:
        self._db = db
        self._directory = directory
        self._clock = clock
        self._ids = ids
        self._metrics = metrics
        self._wake_lanes = wake_lanes

    async def accept(self, webhooks: Sequence[pb.Webhook]) -> list[pb.AcceptResult]:
        """One result per webhook, in their order; those answered ACCEPTED or DUPLICATE are committed."""
        known = await self._directory.by_keys({hook.connection_key for hook in webhooks if hook.connection_key})
        now = self._clock.now()
        results: list[pb.AcceptResult | None] = [None] * len(webhooks)
        passed: dict[int, accept_store.NewEvent] = {}
        for place, hook in enumerate(webhooks):
            connection = known.get(hook.connection_key) if hook.connection_key else None
            # Reading the field copies it.
            body = hook.body
            root = None
            if not hook.connection_key:
                # Whose it is stands in the body, so this is read before anybody has proved anything.
                root = _parsed(body, UNPROVEN_MENDED_BYTES_MAX)
                found = await self._legacy_connection(hook, root)
                if isinstance(found, pb.AcceptResult):
                    results[place] = found
                    continue
                connection = found
            if connection is None or connection.provider != _PROVIDERS.get(hook.provider):
                results[place] = _refused(pb.ACCEPT_OUTCOME_NOT_FOUND, "CONNECTION_NOT_FOUND")
                continue
            verdict = _check(hook, body, connection, now)
            if not verdict.accepted:
                results[place] = _refused(pb.ACCEPT_OUTCOME_UNAUTHENTICATED, verdict.check.value)
                logger.warning("webhook_refused", connection_id=str(connection.id), check=verdict.check.value)
                continue
            if hook.connection_key:
                root = _parsed(body)
            passed[place] = self._event(hook, body, connection, root, verdict, now)
        await self._store(passed, results)
        answered = [result for result in results if result is not None]
        assert len(answered) == len(webhooks)
        self._metrics.count(webhooks, answered)
        return answered

    async def _store(self, passed: Mapping[int, accept_store.NewEvent], results: list[pb.AcceptResult | None]) -> None:
        if not passed:
            return
        firsts = await accept_store.store(self._db, list(passed.values()))
        ids = list(map(str, firsts))
        fresh = False
        for (place, event), first, first_id in zip(passed.items(), firsts, ids, strict=True):
            new = first == event.id
            fresh = fresh or new
            outcome = pb.ACCEPT_OUTCOME_ACCEPTED if new else pb.ACCEPT_OUTCOME_DUPLICATE
            results[place] = pb.AcceptResult(outcome=outcome, webhook_event_id=first_id)
        if fresh:
            self._wake_lanes()
        logger.info("webhooks_stored", correlation_ids=ids)

    def _event(
        self,
        hook: pb.Webhook,
        body: bytes,
        connection: Connection,
        root: Any,
        verdict: chatwoot.Verdict,
        now: datetime,
    ) -> accept_store.NewEvent:
        key = f"{connection.context.connection_id}/{ordering_key(root)}"
        name = root.get("event") if isinstance(root, dict) else None
        fields = EVOLUTION_SECRETS if hook.provider == pb.PROVIDER_EVOLUTION else CHATWOOT_SECRETS
        return accept_store.NewEvent(
            id=self._ids.new(),
            receive_time=now,
            organization_id=connection.organization_id,
            connection_id=connection.id,
            provider=connection.provider,
            event=_printable(name),
            ordering_key=key,
            lane=lane_of(key),
            signed=verdict.check is not chatwoot.Check.UNSIGNED_ACCEPTED,
            delivery_key=chatwoot.delivery_key(hook.headers, body),
            trace_parent=context.accepted_trace_parent(hook.trace_parent),
            body=blank_secrets(body, fields, readable=root is not None),
        )

    async def _legacy_connection(self, hook: pb.Webhook, root: Any) -> Connection | pb.AcceptResult:
        target = read_target(root, hook.headers)
        if not isinstance(target, LegacyTarget):
            return target
        matches = await self._directory.by_account(target.account_id, target.inbox_id)
        chosen = target.choose(matches)
        if isinstance(chosen, pb.AcceptResult):
            return chosen
        found = await self._directory.by_ids({chosen.connection_id: chosen.organization_id})
        return found[chosen.connection_id]


def _check(hook: pb.Webhook, body: bytes, connection: Connection, now: datetime) -> chatwoot.Verdict:
    legacy = None
    if connection.legacy_static_secret_end_time is not None and connection.secrets:
        legacy = chatwoot.LegacyStaticSecret(connection.secrets[0], connection.legacy_static_secret_end_time)
    return chatwoot.verify(body, hook.headers, connection.secrets, now, legacy)


def _parsed(body: bytes, mended_bytes_max: int | None = None) -> Any:
    """The body's JSON, or None where it is none: who is authentic may send what nobody can read."""
    try:
        return read_json(body, mended_bytes_max)
    except JsonMalformed:
        return None


def _printable(name: object) -> str:
    if not isinstance(name, str):
        return ""
    return name.replace("\x00", "")[:EVENT_NAME_LENGTH_MAX]


def _refused(outcome: pb.AcceptOutcome.ValueType, reason: str) -> pb.AcceptResult:
    return pb.AcceptResult(outcome=outcome, reason=reason)
