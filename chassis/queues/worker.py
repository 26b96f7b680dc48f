"""Workers: take batches from the lanes they hold and hand them to the queue's handler, in order within each key."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections import Counter as Counts
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, cast
from uuid import UUID

import structlog

from chassis import streams
from chassis.bisect import EARLIER_ITEM_FAILED, bisect
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import (
    Aborted,
    DeadlineExceeded,
    FailedPrecondition,
    PermissionDenied,
    ProsaError,
    Unauthenticated,
    Unavailable,
)
from chassis.leases import LeaseLost, Leases
from chassis.queues.items import Attempts, Dead, Done, Item, ItemT, Outcome, Retry
from chassis.queues.lanes import Lanes
from chassis.queues.queue import Queue
from chassis.telemetry import Metrics

BATCH_MAX = 100
SLOTS = 2
"""How many batches a crowded worker has under way at once, each of keys of its own."""
SHARE_PART = 2
"""Of a shared queue's slots that no other organization holds, an organization holds no more than this part, and one."""
CALM_PART = 4
"""A worker that finds no more than this part of a batch goes back to one slot: two small batches cost nearly twice
what one does."""
POLL_SECONDS = 1.0
SLEEP_MAX = timedelta(hours=1)
"""How long a timed queue in which nothing comes due is not asked again, unless something is put."""
AWAY_SECONDS = 1.0
"""How long a slot waits when a service it needs is away."""

SAYS_NOTHING = (Unavailable, DeadlineExceeded, Aborted, Unauthenticated, PermissionDenied)
"""What says nothing of the items: a service is away, or it does not take this process's own tokens, as while processes
of two releases or with different keys run side by side. The items stay where they are, uncounted."""

Fence = Callable[[Tx], Awaitable[None]]
"""Raises LeaseLost where another worker holds the lanes by now: for a transaction of the handler's own, before what
cannot be taken back."""

logger = structlog.get_logger(__name__)


class Handler(ABC, Generic[ItemT]):
    """What is done with the items of a queue. One method must be there; the others are for who needs them."""

    async def load(self, tx: Tx, items: Sequence[Item]) -> Sequence[ItemT]:
        """The items with what they name, read in the transaction that claims them; those left out stay as they are."""
        return cast("Sequence[ItemT]", items)

    @abstractmethod
    async def work(self, items: Sequence[ItemT], fence: Fence) -> Sequence[Outcome[ItemT]]:
        """What became of the items, which are in order within each key. Those left out stay as they are, uncounted.

        It holds no transaction while it waits. What it raises meets the items as one: it is then called with halves
        of them until the bad one stands alone, which fails with that error. ``SAYS_NOTHING`` postpones all.
        """

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[ItemT]]) -> Sequence[Outcome[ItemT]] | None:
        """Writes what follows from the outcomes, in the transaction that takes them out of the queue.

        What is answered, of the same items, stands in their place: who must not give an item up tries it again.
        """
        return None


class Worker(Generic[ItemT]):
    """Works off a queue over the lanes that it can hold."""

    def __init__(
        self,
        queue: Queue,
        handler: Handler[ItemT],
        *,
        db: Database,
        leases: Leases,
        clock: Clock,
        nats: streams.Client,
        metrics: Metrics,
        attempts: Attempts | None = None,
        slots: int = SLOTS,
        batch_max: int = BATCH_MAX,
        lanes: Lanes | None = None,
        poll_seconds: float = POLL_SECONDS,
        away_seconds: float = AWAY_SECONDS,
    ) -> None:
        """A handler that waits on the network takes a small ``batch_max`` and as many ``slots`` as it may call at once.

        ``lanes`` are its own unless somebody else holds them.
        """
        self._queue = queue
        self._handler = handler
        self._db = db
        self._leases = leases
        self._clock = clock
        self._nats = nats
        self._metrics = metrics
        self._attempts = attempts or Attempts()
        self._slots, self._batch_max = slots, batch_max
        self._poll_seconds, self._away_seconds = poll_seconds, away_seconds
        self._lanes = lanes or Lanes(queue, db, leases, self._wake_slots)
        self._claiming = asyncio.Lock()
        self._busy_keys: set[str] = set()
        self._slots_of: Counts[UUID] = Counts()
        """By organization, how many slots work for it."""
        self._woken = [asyncio.Event() for _ in range(slots)]
        self._calm = asyncio.Event()
        """Set while nothing is under way and nothing was found to do."""
        self._put = asyncio.Event()
        self._listens = False
        self._crowded = False
        self._stopping = False

    async def run(self) -> None:
        """Runs until cancelled."""
        self._stopping = False
        if not self._listens:
            await self._nats.listen(self._queue.wake_subject, self._on_wake)
            self._listens = True
        async with asyncio.TaskGroup() as group:
            group.create_task(self._lanes.keep())
            if self._queue.timed:
                group.create_task(self._keep_time())
            for slot in range(self._slots):
                group.create_task(self._run_slot(slot))
            try:
                await asyncio.Event().wait()
            finally:
                # The group cancels each of them once, and under Python 3.11 wait_for may swallow that (gh-86296).
                self._stopping = True
                self._lanes.stop()

    async def _on_wake(self, _message: Any) -> None:
        self._put.set()
        self._wake_slots()

    def _wake_slots(self) -> None:
        self._calm.clear()
        for event in self._woken:
            event.set()

    async def _keep_time(self) -> None:
        """Sleeps by the clock until something comes due, and wakes the slots then.

        Before it sleeps on, all that was due is worked off: a simulated month stops at each time in it.
        """
        while (moment := await self._next_time()) is not None and not self._stopping:
            await self._clock.sleep_until(moment, self._put)
            self._wake_slots()

    async def _next_time(self) -> datetime | None:
        """When to wake the slots again, once all is calm; None where the worker stops."""
        while not self._stopping:
            self._put.clear()
            await self._calm.wait()
            now = self._clock.now()
            latest = now + SLEEP_MAX
            try:
                async with self._db.transaction() as tx:
                    return min(await self._queue.next_time(tx, now) or latest, latest)
            except ProsaError as error:
                logger.warning("due_times_not_seen", queue=self._queue.label, reason=error.reason)
                await asyncio.sleep(self._away_seconds)
        return None

    async def _run_slot(self, slot: int) -> None:
        woken = self._woken[slot]
        while not self._stopping:
            woken.clear()
            try:
                settled = await self._run_batch(slot)
            except LeaseLost as error:
                logger.warning("batch_given_up", queue=self._queue.label, reason=error.reason)
                settled = 0
            except SAYS_NOTHING as error:
                logger.warning("worker_waits", queue=self._queue.label, reason=error.reason)
                await asyncio.sleep(self._away_seconds)
                continue
            except Exception:
                # Whatever fails in one look: the others' work goes on, and so does this slot.
                logger.exception("slot_failed", queue=self._queue.label)
                await asyncio.sleep(AWAY_SECONDS)
                continue
            if settled == 0:
                if not slot and not self._busy_keys and not woken.is_set() and self._lanes.held():
                    self._calm.set()
                try:
                    async with asyncio.timeout(self._poll_seconds):
                        await woken.wait()
                except TimeoutError:
                    continue

    async def _run_batch(self, slot: int) -> int:
        """How many items left the queue or were postponed."""
        if slot and not self._crowded:
            return 0
        items, fences = await self._claim()
        if not items:
            return 0
        lanes, keys = {item.lane for item in items}, {item.key for item in items}
        try:
            self._tell_slots(len(items))
            settled = await self._settle(items, fences)
        finally:
            self._lanes.end(lanes)
            self._busy_keys -= keys
            self._slots_of.subtract({item.organization_id for item in items})
        # What came for these keys meanwhile may be another slot's to take; who found nothing wakes nobody.
        self._wake_slots()
        return settled

    def _tell_slots(self, claimed: int) -> None:
        if claimed >= self._batch_max and not self._crowded:
            self._crowded = True
            self._wake_slots()
        elif claimed <= self._batch_max // CALM_PART:
            self._crowded = False

    async def _claim(self) -> tuple[Sequence[ItemT], Mapping[str, int]]:
        """The next batch, whose lanes and keys are busy from then on, with the numbers under which it was claimed."""
        # One at a time: what one slot claims is busy before the next one looks.
        async with self._claiming:
            lanes = self._lanes.held()
            if not lanes:
                return [], {}
            self._lanes.begin(lanes)
            try:
                fences = self._lanes.fences(lanes)
                async with self._db.transaction() as tx:
                    claimed = await self._queue.claim(
                        tx, lanes, self._busy_keys, self._clock.now(), self._batch_max, self._at_their_share()
                    )
                    items = await self._handler.load(tx, claimed) if claimed else []
                busy = {item.lane for item in items}
                self._lanes.begin(busy)
                self._busy_keys |= {item.key for item in items}
                self._slots_of.update({item.organization_id for item in items})
            finally:
                self._lanes.end(lanes)
            names = self._lanes.fences(busy)
            return items, {name: fences[name] for name in names}

    def _at_their_share(self) -> list[UUID]:
        """The organizations that take no further slot of a shared queue: others must find one."""
        if not self._queue.shared:
            return []
        self._slots_of = +self._slots_of
        held = self._slots_of.total()
        return [
            organization_id
            for organization_id, own in self._slots_of.items()
            if own >= max(1, (self._slots - (held - own)) // SHARE_PART)
        ]

    async def _settle(self, items: Sequence[ItemT], fences: Mapping[str, int]) -> int:
        outcomes: Sequence[Outcome[ItemT]] = await self._work(items, fences)
        if not outcomes:
            return 0
        try:
            return await self._record(outcomes, fences)
        except (LeaseLost, *SAYS_NOTHING):
            raise
        except Exception as error:
            if len(outcomes) == 1:
                return await self._record_failed(outcomes[0], fences, error)
            logger.exception("outcomes_not_recorded", queue=self._queue.label)
        # One after the other, so that the one that cannot be written spoils no other.
        settled, held = 0, set[str]()
        for outcome in outcomes:
            if outcome.item.key in held:
                continue
            try:
                settled += await self._record([outcome], fences)
            except (LeaseLost, *SAYS_NOTHING):
                raise
            except Exception as error:
                settled += await self._record_failed(outcome, fences, error)
                held.add(outcome.item.key)
        return settled

    async def _record(self, outcomes: Sequence[Outcome[ItemT]], fences: Mapping[str, int], *, told: bool = True) -> int:
        """Writes outcomes with what follows from them; with the handler not ``told``, without."""
        async with self._db.transaction(*{outcome.item.organization_id for outcome in outcomes}) as tx:
            if told:
                outcomes = await self._handler.record(tx, outcomes) or outcomes
            await self._queue.settle(tx, outcomes, self._leases, fences, self._clock.now())
        self._count(outcomes)
        return len(outcomes)

    async def _record_failed(self, outcome: Outcome[ItemT], fences: Mapping[str, int], error: Exception) -> int:
        """What could not be written is tried again as what failed is, and given up as the handler says of that.

        Where the handler cannot write that either, the item stays and is tried for ever: the row that it names waits
        for it, and whoever mends the handler finds it.
        """
        logger.error("outcome_not_recorded", queue=self._queue.label, exc_info=error)
        item, now = outcome.item, self._clock.now()
        refused = FailedPrecondition("ITEM_REFUSED", f"What became of it cannot be kept: {type(error).__name__}.")
        failed = self._attempts.failed(item, now, refused)
        if isinstance(failed, Dead):
            try:
                return await self._record([failed], fences)
            except (LeaseLost, *SAYS_NOTHING):
                raise
            except Exception:
                logger.exception("dead_letter_not_recorded", queue=self._queue.label)
            failed = Retry(item, now + self._attempts.longest, str(refused), counted=False, reason=refused.reason)
        return await self._record([failed], fences, told=False)

    async def _work(self, items: Sequence[ItemT], fences: Mapping[str, int]) -> list[Outcome[ItemT]]:
        async def fence(tx: Tx) -> None:
            await self._leases.check(tx, fences)

        async def run(part: Sequence[ItemT]) -> list[Outcome[ItemT] | None]:
            try:
                outcomes = await self._handler.work(part, fence)
            except ProsaError:
                raise
            except Exception as error:
                # A fault of ours must not stop the others, nor come back with every start.
                if len(part) == 1:
                    logger.exception("queue_item_failed", queue=self._queue.label)
                raise FailedPrecondition(
                    "ITEM_REFUSED", f"The item cannot be processed: {type(error).__name__}."
                ) from error
            found = {outcome.item.sequence: outcome for outcome in outcomes}
            return [found.get(item.sequence) for item in part]

        results = await bisect(items, run, lambda item: item.key, holds_back=_holds_back, says_nothing=SAYS_NOTHING)
        now = self._clock.now()
        outcomes: list[Outcome[ItemT]] = []
        for item, result in zip(items, results, strict=True):
            if not isinstance(result, ProsaError):
                outcomes += [] if result is None else [result]
            elif result.reason != EARLIER_ITEM_FAILED:
                outcomes.append(self._attempts.failed(item, now, result))
        return outcomes

    def _count(self, outcomes: Sequence[Outcome[ItemT]]) -> None:
        label = self._queue.label
        for kind, count in Counts(map(_kind, outcomes)).items():
            self._metrics.queue_attempts.labels(label, kind).inc(count)
        dead = Counts(outcome.reason for outcome in outcomes if isinstance(outcome, Dead))
        for reason, count in dead.items():
            self._metrics.queue_dead.labels(label, reason).inc(count)
        if dead and not self._queue.own_dead_letters:
            # Once a batch, so that a flood of them is no flood of lines.
            logger.warning("queue_items_dead", queue=label, reasons=dict(dead))


def _holds_back(result: Any) -> bool:
    """Whether what comes after an item of its own key must wait for it."""
    return result is None or isinstance(result, ProsaError) or (isinstance(result, Retry) and not result.gives_way)


def _kind(outcome: Outcome[ItemT]) -> str:
    if isinstance(outcome, Done):
        return "done"
    if isinstance(outcome, Dead):
        return "dead"
    return "retry" if outcome.counted else "postponed"
