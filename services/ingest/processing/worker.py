"""What is done with webhook events: each batch goes along the main way, in order within each conversation."""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TypeAlias
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from chassis import context
from chassis.clock import Clock
from chassis.db import Tx
from chassis.enums import short_names
from chassis.errors import FailedPrecondition, InvalidArgument
from chassis.outbox import Outbox
from chassis.queues.items import Attempts, Dead, Item, Retry
from chassis.queues.worker import Fence, Handler
from prosa.identity.v1 import contact_service_pb2 as identity_pb
from services.ingest.connections.cache import Connection, ConnectionCache
from services.ingest.normal_form import Ignored, InstanceNews, Invalid
from services.ingest.processing.instance_reporting import InstanceReporter
from services.ingest.processing.item import PipelineItem
from services.ingest.processing.outcome_store import Done, Outcome, Pending, load, mark, state_of
from services.ingest.processing.pipeline import CONVERSATION_NOT_FOUND, Pipeline
from services.ingest.providers import PROVIDERS
from services.ingest.reasons import CONTACT_UNKNOWN, MESSAGE_UNKNOWN, explain

ATTEMPTS = Attempts()
"""How often an event is tried, and how long it, and what comes after it in its conversation, waits in between."""
LATENCY_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)

_OUTCOMES: Mapping[int, str] = {
    number: text.lower() for number, text in short_names(identity_pb.ResolutionOutcome.DESCRIPTOR).items()
}
"""How a contact was found, as an event's detail tells it."""
HealthNote: TypeAlias = Callable[[Tx, Sequence[Outcome], datetime], Awaitable[None]]
"""Counts what became of events, in the transaction that says so."""

logger = structlog.get_logger(__name__)


class WorkerMetrics:
    """What workers count."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.events = Counter(
            "prosa_webhook_events_total",
            "Webhook events done, by state and reason.",
            ["state", "reason"],
            registry=registry,
        )
        self.retries = Counter("prosa_webhook_retries_total", "Attempts that failed.", ["reason"], registry=registry)
        self.latency = Histogram(
            "prosa_webhook_seconds",
            "From the arrival of a webhook to its visible rows.",
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )


class WebhookHandler(Handler[Pending]):
    """Processes webhook events."""

    def __init__(
        self,
        *,
        cache: ConnectionCache,
        pipeline: Pipeline,
        instances: InstanceReporter,
        outbox: Outbox,
        health: HealthNote,
        clock: Clock,
        metrics: WorkerMetrics,
    ) -> None:
        self._cache = cache
        self._pipeline = pipeline
        self._instances = instances
        self._outbox = outbox
        self._note = health
        self._clock = clock
        self._metrics = metrics

    async def load(self, tx: Tx, items: Sequence[Item]) -> Sequence[Pending]:
        """The items with their events."""
        return await load(tx, items)

    async def work(self, items: Sequence[Pending], fence: Fence) -> Sequence[Outcome]:
        """Takes a batch along the main way. It may run twice: each step knows by natural keys what it did."""
        connections = await self._cache.by_ids({item.connection_id: item.organization_id for item in items})
        ended, pipeline_items, news = self._read(items, connections)
        first = items[0]
        # A batch runs under the trace of its first event; the correlation id is each event's own.
        with context.scoped(first.correlation_id, first.trace_parent):
            if pipeline_items:
                await self._pipeline.run([pipeline_item for _, pipeline_item in pipeline_items])
            if news:
                ended.extend(await self._tell_of_instances(news))
        ended.extend(
            outcome for item, pipeline_item in pipeline_items if (outcome := self._end(item, pipeline_item)) is not None
        )
        return ended

    async def record(self, tx: Tx, outcomes: Sequence[Outcome]) -> None:
        """Marks the events, and tells of them once that is committed."""
        now = self._clock.now()
        await mark(tx, self._outbox, outcomes, now)
        await self._note(tx, outcomes, now)
        tx.after_commit(partial(self._tell, outcomes, now))

    def _read(
        self, batch: Sequence[Pending], connections: Mapping[UUID, Connection]
    ) -> tuple[list[Outcome], list[tuple[Pending, PipelineItem]], list[tuple[Pending, InstanceNews]]]:
        """What has ended already, being no event of ours or none at all, and what lies ahead: of people, of numbers."""
        ended: list[Outcome] = []
        news: list[tuple[Pending, InstanceNews]] = []
        pipeline_items: list[tuple[Pending, PipelineItem]] = []
        places = {
            key: (connection.context, str(connection.organization_id), PROVIDERS.get(connection.provider))
            for key, connection in connections.items()
        }
        for item in batch:
            place = places.get(item.connection_id)
            if place is None:
                gone = FailedPrecondition("CONNECTION_UNREADABLE", "The event's connection cannot be read.")
                ended.append(ATTEMPTS.failed(item, self._clock.now(), gone))
                continue
            connection, organization_id, provider = place
            if provider is None:
                unknown = f"This release knows no provider {item.provider}; replay the event once one runs that does."
                ended.append(ATTEMPTS.failed(item, self._clock.now(), InvalidArgument("PROVIDER_UNKNOWN", unknown)))
                continue
            parsed = provider.parse(item.body, connection)
            if isinstance(parsed, Ignored):
                ended.append(Done(item, "IGNORED", parsed.reason.value, parsed.detail))
            elif isinstance(parsed, Invalid):
                reason = parsed.reason.value
                ended.append(Dead(item, reason, parsed.detail or explain(reason, item.provider)))
            elif isinstance(parsed, InstanceNews):
                news.append((item, parsed))
            else:
                pipeline_item = PipelineItem(
                    event_id=str(item.item_id),
                    organization_id=organization_id,
                    connection_id=connection.connection_id,
                    receive_time=item.put_time,
                    event=parsed,
                    ordering_key=item.key,
                )
                pipeline_items.append((item, pipeline_item))
        return ended, pipeline_items, news

    async def _tell_of_instances(self, news: Sequence[tuple[Pending, InstanceNews]]) -> list[Outcome]:
        """Hands on what webhooks said of numbers themselves."""
        errors = await self._instances.tell(news)
        now = self._clock.now()
        return [
            Done(item, "PROCESSED") if error is None else ATTEMPTS.failed(item, now, error)
            for (item, _), error in zip(news, errors, strict=True)
        ]

    def _end(self, item: Pending, pipeline_item: PipelineItem) -> Outcome | None:
        """How an event ended; None where it waits for an earlier one of its conversation."""
        if pipeline_item.held_back:
            return None
        if pipeline_item.error is not None:
            failed = ATTEMPTS.failed(item, self._clock.now(), pipeline_item.error)
            if isinstance(failed, Dead) and failed.reason == CONVERSATION_NOT_FOUND:
                return Done(
                    item, "IGNORED", MESSAGE_UNKNOWN, "The event tells how far a message came that is not known."
                )
            return failed
        contact, recorded = pipeline_item.contact, pipeline_item.recorded
        if recorded is None and contact is not None and not contact.contact_id:
            return Done(item, "IGNORED", CONTACT_UNKNOWN, "The event names a contact that never wrote.")
        return Done(
            item,
            "PROCESSED",
            contact_id=(contact.contact_id if contact else recorded.contact_id if recorded else "") or None,
            conversation_id=(recorded.conversation_id if recorded else "") or None,
            deal_id=(recorded.deal_id if recorded else pipeline_item.deal.deal_id if pipeline_item.deal else "")
            or None,
            message_id=(recorded.message_id if recorded else "") or None,
            detail=_OUTCOMES[contact.outcome] if contact is not None else "",
        )

    def _tell(self, ended: Sequence[Outcome], now: datetime) -> None:
        done = [outcome for outcome in ended if isinstance(outcome, Done | Dead)]
        failed = [outcome for outcome in ended if isinstance(outcome, Retry | Dead)]
        for reason, count in Counts(outcome.reason for outcome in failed).items():
            self._metrics.retries.labels(reason).inc(count)
        dead = [outcome for outcome in done if isinstance(outcome, Dead)]
        if dead:
            _tell_dead_letters(dead)
        logger.info("events_done", correlation_ids=[outcome.item.correlation_id for outcome in done])
        kinds = Counts((state_of(outcome), outcome.reason) for outcome in done)
        for (state, reason), count in kinds.items():
            self._metrics.events.labels(state, reason).inc(count)
        for outcome in done:
            self._metrics.latency.observe(max(0.0, (now - outcome.item.put_time).total_seconds()))


def _tell_dead_letters(dead: Sequence[Dead[Pending]]) -> None:
    """Once a batch and provider, so that a flood of them is no flood of lines."""
    for provider in sorted({letter.item.provider for letter in dead}):
        letters = [letter for letter in dead if letter.item.provider == provider]
        reasons = Counts(letter.reason for letter in letters)
        logger.warning(
            "webhook_events_dead",
            provider=provider,
            count=len(letters),
            reasons=dict(reasons),
            explanations={reason: explain(reason, provider) for reason in reasons},
            correlation_ids=[letter.item.correlation_id for letter in letters],
            webhook_event_ids=[str(letter.item.item_id) for letter in letters],
        )
