"""Workers: take batches from the lanes they hold along the main way, in order within each conversation."""

from __future__ import annotations

import asyncio
from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from chassis import context, streams
from chassis.clock import Clock
from chassis.db import Database
from chassis.errors import (
    Aborted,
    DeadlineExceeded,
    FailedPrecondition,
    InvalidArgument,
    PermissionDenied,
    ProsaError,
    Unauthenticated,
    Unavailable,
)
from chassis.leases import LeaseLost, Leases
from chassis.outbox import Outbox
from prosa.identity.v1 import contact_service_pb2 as identity_pb
from services.ingest import outcomes
from services.ingest.directory import Connection, Directory
from services.ingest.lanes import Lanes
from services.ingest.normal_form import Ignored, Invalid
from services.ingest.outcomes import ATTEMPTS_MAX, RETRY_SECONDS, Done, Pending, Retry
from services.ingest.path import Journey, Path
from services.ingest.providers import PROVIDERS
from services.ingest.reasons import CONTACT_UNKNOWN, explain

BATCH_MAX = 100
STRANDS = 2
"""How many batches a crowded worker has under way at once, each from lanes of its own."""
CALM_BATCH = BATCH_MAX // 4
"""A worker that finds no more than this goes back to one strand: two small batches cost nearly twice what one does."""
POLL_SECONDS = 1.0
AWAY_SECONDS = 1.0
"""How long a strand waits when a service it needs is away."""
WAKE_SUBJECT = "prosa.wake.ingest.lanes"
LATENCY_BUCKETS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0)

_OUTCOMES: Mapping[int, str] = {
    number: name.removeprefix("RESOLUTION_OUTCOME_").lower() for name, number in identity_pb.ResolutionOutcome.items()
}
"""How a contact was found, as an event's detail tells it."""

Claim = Callable[[Sequence[int]], Awaitable[list[Pending]]]
"""Answers what may be processed of some lanes, oldest first."""
Process = Callable[[Sequence[Pending]], Awaitable[None]]
"""Takes a batch to its end."""

SAYS_NOTHING = (Unavailable, DeadlineExceeded, Aborted, Unauthenticated, PermissionDenied)
"""What says nothing of the events: a service is away, or it does not take this process's own tokens, as while processes
of two releases or with different keys run side by side. The events stay where they are, uncounted."""

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


def waker(nats: streams.Client) -> Callable[[], None]:
    """What tells all workers that something waits in the queue: best effort, the poll is the truth."""

    def wake() -> None:
        if nats.is_connected:
            asyncio.ensure_future(nats.publish(WAKE_SUBJECT, b""))  # noqa: RUF006

    return wake


class Worker:
    """Processes webhook events over the lanes that it can hold."""

    def __init__(
        self,
        *,
        db: Database,
        leases: Leases,
        directory: Directory,
        path: Path,
        outbox: Outbox,
        clock: Clock,
        nats: streams.Client,
        metrics: WorkerMetrics,
        lanes: Lanes | None = None,
        claim: Claim | None = None,
        process: Process | None = None,
    ) -> None:
        """``lanes``, ``claim`` and ``process`` are its own unless somebody else holds, queues or does the work."""
        self._db = db
        self._lanes = lanes or Lanes(db, leases)
        self._claim = claim or self._claim_events
        self._process = process or self._process_events
        self._leases = leases
        self._directory = directory
        self._path = path
        self._outbox = outbox
        self._clock = clock
        self._nats = nats
        self._metrics = metrics
        self._woken = [asyncio.Event() for _ in range(STRANDS)]
        self._crowded = False
        self._stopping = False

    async def run(self) -> None:
        """Runs until cancelled."""

        async def on_wake(_message: Any) -> None:
            self._wake_strands()

        await self._nats.hear(WAKE_SUBJECT, on_wake)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lanes.keep())
            for strand in range(STRANDS):
                group.create_task(self._work(strand))
            try:
                await asyncio.Event().wait()
            finally:
                # The group cancels each of them once, and under Python 3.11 wait_for may swallow that (gh-86296).
                self._stopping = True
                self._lanes.stop()

    async def _work(self, strand: int) -> None:
        woken = self._woken[strand]
        while not self._stopping:
            woken.clear()
            try:
                done = await self._run_batch(strand)
            except LeaseLost as error:
                logger.warning("batch_given_up", reason=error.reason)
                done = 0
            except SAYS_NOTHING as error:
                logger.warning("worker_waits", reason=error.reason)
                await asyncio.sleep(AWAY_SECONDS)
                continue
            if done == 0:
                try:
                    async with asyncio.timeout(POLL_SECONDS):
                        await woken.wait()
                except TimeoutError:
                    continue

    async def _run_batch(self, strand: int) -> int:
        lanes = self._free_lanes(strand)
        if not lanes:
            return 0
        self._lanes.begin(lanes)
        try:
            claimed = await self._claim(sorted(lanes))
            if not claimed:
                return 0
            self._lanes.end(lanes - {item.lane for item in claimed})
            lanes = {item.lane for item in claimed}
            if len(claimed) == BATCH_MAX and not self._crowded:
                self._crowded = True
                self._wake_strands()
            elif len(claimed) <= CALM_BATCH:
                self._crowded = False
            await self._process(claimed)
            # What came for these lanes meanwhile may be another strand's to take; who found nothing wakes nobody.
            self._lanes.end(lanes)
            self._wake_strands()
            return len(claimed)
        finally:
            self._lanes.end(lanes)

    def _free_lanes(self, strand: int) -> set[int]:
        """The lanes the strand may claim from: all that no batch is under way from, or its share of them in a crowd."""
        if strand and not self._crowded:
            return set()
        return {lane for lane in self._lanes.free() if not self._crowded or lane % STRANDS == strand}

    def _wake_strands(self) -> None:
        for event in self._woken:
            event.set()

    async def _claim_events(self, lanes: Sequence[int]) -> list[Pending]:
        async with self._db.transaction() as tx:
            found = await outcomes.claim(tx, lanes, self._clock.now(), BATCH_MAX)
            return await outcomes.load(tx, found) if found else []

    async def _process_events(self, batch: Sequence[Pending]) -> None:
        connections = await self._directory.by_ids({item.connection_id: item.organization_id for item in batch})
        ended, journeys = self._read(batch, connections)
        first = batch[0]
        # A batch runs under the trace of its first event; the correlation id is each event's own.
        with context.carried(first.correlation_id, first.trace_parent):
            await travel_in_halves(self._path, [journey for _, journey in journeys])
        ended.extend(outcome for item, journey in journeys if (outcome := self._end(item, journey)) is not None)
        await self._write(
            batch,
            [outcome for outcome in ended if isinstance(outcome, Done)],
            [outcome for outcome in ended if isinstance(outcome, Retry)],
        )

    def _read(
        self, batch: Sequence[Pending], connections: Mapping[UUID, Connection]
    ) -> tuple[list[Done | Retry], list[tuple[Pending, Journey]]]:
        """What has ended already, being no event of ours or none at all, and the journeys that lie ahead."""
        ended: list[Done | Retry] = []
        journeys: list[tuple[Pending, Journey]] = []
        places = {
            key: (connection.context, str(connection.organization_id), PROVIDERS.get(connection.provider))
            for key, connection in connections.items()
        }
        for item in batch:
            place = places.get(item.connection_id)
            if place is None:
                gone = FailedPrecondition("CONNECTION_UNREADABLE", "The event's connection cannot be read.")
                ended.append(self._failed(item, gone))
                continue
            connection, organization_id, provider = place
            if provider is None:
                unknown = f"This release knows no provider {item.provider}; replay the event once one runs that does."
                ended.append(self._failed(item, InvalidArgument("PROVIDER_UNKNOWN", unknown)))
                continue
            parsed = provider.parse(item.body, connection)
            if isinstance(parsed, Ignored):
                ended.append(Done(item, "IGNORED", parsed.reason.value, parsed.detail))
            elif isinstance(parsed, Invalid):
                reason = parsed.reason.value
                ended.append(Done(item, "DEAD_LETTER", reason, parsed.detail or explain(reason)))
            else:
                journey = Journey(
                    event_id=str(item.event_id),
                    organization_id=organization_id,
                    connection_id=connection.connection_id,
                    receive_time=item.receive_time,
                    event=parsed,
                    ordering_key=item.ordering_key,
                )
                journeys.append((item, journey))
        return ended, journeys

    def _end(self, item: Pending, journey: Journey) -> Done | Retry | None:
        """How an event's journey ended; None where it waits for an earlier one of its conversation."""
        if journey.held_back:
            return None
        if journey.error is not None:
            return self._failed(item, journey.error)
        contact, recorded = journey.contact, journey.recorded
        if recorded is None and contact is not None and not contact.contact_id:
            return Done(item, "IGNORED", CONTACT_UNKNOWN, "The event names a contact that never wrote.")
        return Done(
            item,
            "PROCESSED",
            contact_id=(contact.contact_id if contact else recorded.contact_id if recorded else "") or None,
            conversation_id=(recorded.conversation_id if recorded else "") or None,
            deal_id=(recorded.deal_id if recorded else journey.deal.deal_id if journey.deal else "") or None,
            message_id=(recorded.message_id if recorded else "") or None,
            detail=_OUTCOMES[contact.outcome] if contact is not None else "",
        )

    def _failed(self, item: Pending, error: ProsaError) -> Done | Retry:
        self._metrics.retries.labels(error.reason).inc()
        attempts = item.attempt_count + 1
        # What is wrong with the event itself will be wrong the next time too.
        if isinstance(error, InvalidArgument) or attempts >= ATTEMPTS_MAX:
            return Done(item, "DEAD_LETTER", error.reason, error.message)
        wait = RETRY_SECONDS[min(attempts, len(RETRY_SECONDS)) - 1]
        return Retry(item, self._clock.now() + timedelta(seconds=wait), str(error))

    async def _write(self, batch: Sequence[Pending], done: Sequence[Done], retries: Sequence[Retry]) -> None:
        organizations = {item.organization_id for item in batch}
        fences = self._lanes.fences({item.lane for item in batch})
        now = self._clock.now()
        async with self._db.transaction(*organizations) as tx:
            await outcomes.finish(tx, self._outbox, sorted(done, key=lambda item: item.pending.sequence), now)
            await outcomes.postpone(tx, retries)
            await self._leases.check(tx, fences)
        if dead := [item for item in done if item.state == "DEAD_LETTER"]:
            _tell_dead_letters(dead)
        logger.info("events_done", correlation_ids=[item.pending.correlation_id for item in done])
        for (state, reason), count in Counts((item.state, item.reason) for item in done).items():
            self._metrics.events.labels(state, reason).inc(count)
        for item in done:
            self._metrics.latency.observe(max(0.0, (now - item.pending.receive_time).total_seconds()))


def _tell_dead_letters(dead: Sequence[Done]) -> None:
    """Once a batch, so that a flood of them is no flood of lines."""
    reasons = Counts(item.reason for item in dead)
    logger.warning(
        "webhook_events_dead",
        count=len(dead),
        reasons=dict(reasons),
        explanations={reason: explain(reason) for reason in reasons},
        correlation_ids=[item.pending.correlation_id for item in dead],
        webhook_event_ids=[str(item.pending.event_id) for item in dead],
    )


async def travel_in_halves(path: Path, journeys: Sequence[Journey]) -> None:
    """All as one; where a step fails as a whole and for good, in halves, until the bad one stands alone."""
    if not journeys:
        return
    try:
        await path.travel(journeys)
    except SAYS_NOTHING:
        raise
    except Exception as error:
        if len(journeys) == 1:
            journeys[0].error = _own_error(error)
            return
        for journey in journeys:
            journey.error, journey.unnamed, journey.held_back = None, None, False
        middle = len(journeys) // 2
        first, second = journeys[:middle], journeys[middle:]
        await travel_in_halves(path, first)
        failed = {journey.ordering_key for journey in first if journey.error or journey.held_back}
        for journey in second:
            journey.held_back = journey.ordering_key in failed
        await travel_in_halves(path, [journey for journey in second if not journey.held_back])


def _own_error(error: Exception) -> ProsaError:
    """What an event failed with; a fault of ours must not stop the others, nor come back with every start."""
    if isinstance(error, ProsaError):
        return error
    logger.error("event_failed", exc_info=error)
    return FailedPrecondition("ITEM_REFUSED", f"The event cannot be processed: {type(error).__name__}.")
