"""When a worker looks into its queue, when it rests, and that it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from chassis.clock import SystemClock
from chassis.queues.items import Done, Item, Outcome
from chassis.queues.lanes import Lanes
from chassis.queues.queue import Queue
from chassis.queues.worker import BATCH_MAX, CALM_PART, Fence, Handler, Worker
from chassis.telemetry import Metrics

TURNS = 50
CALM_BATCH = BATCH_MAX // CALM_PART
STOP_SECONDS_MAX = 60.0
ASKING = 2
"""The first slot, which claims, and the lanes."""


class _Lanes:
    """Lanes that are all held and never contested."""

    def __init__(self) -> None:
        self.busy: Counter[int] = Counter()

    def held(self) -> set[int]:
        return {0, 1}

    def fences(self, lanes: Collection[int]) -> dict[str, int]:
        return {f"lane.{lane}": 1 for lane in lanes}

    def begin(self, lanes: Collection[int]) -> None:
        self.busy.update(set(lanes))

    def end(self, lanes: Collection[int]) -> None:
        self.busy.subtract(set(lanes))

    async def keep(self) -> None:
        await asyncio.Event().wait()

    def stop(self) -> None:
        """Nothing to end."""


class _Nats:
    """Keeps the callback, so that a test can wake the worker."""

    async def listen(self, _subject: str, callback: Any) -> None:
        self.wake = callback


class _Queue:
    """A queue that is a list of batches, each of one key."""

    label, wake_subject = "test.queue", "wake"
    timed = own_dead_letters = shared = False

    def __init__(self, batches: list[list[Item]]) -> None:
        self.batches = batches
        self.claims = 0

    async def claim(self, _tx: Any, _lanes: Any, busy_keys: Collection[str], *_: Any) -> list[Item]:
        self.claims += 1
        await asyncio.sleep(0)
        for batch in self.batches:
            if batch[0].key not in busy_keys:
                self.batches.remove(batch)
                return batch
        return []

    async def settle(self, *_: Any) -> None:
        """All was done."""


class _Bench(Handler[Item]):
    """A worker with notes of how often it looked and what it took."""

    def __init__(self, batches: list[list[Item]]) -> None:
        self.nats = _Nats()
        self.lanes = _Lanes()
        self.queue = _Queue(batches)
        self.worker: Worker[Item] = Worker(
            cast("Queue", self.queue),
            self,
            db=cast("Any", SimpleNamespace(transaction=_transaction)),
            leases=cast("Any", None),
            clock=SystemClock(),
            nats=cast("Any", self.nats),
            metrics=Metrics(),
            lanes=cast("Lanes", self.lanes),
        )
        self.batches = batches
        self.done: list[int] = []
        self.at_work = 0
        self.together: list[int] = []
        self.hold: asyncio.Event | None = None

    async def work(self, items: Sequence[Item], fence: Fence) -> list[Outcome[Item]]:
        self.at_work += 1
        self.together.append(self.at_work)
        if self.hold is not None:
            await self.hold.wait()
        self.at_work -= 1
        self.done.append(len(items))
        return [Done(item) for item in items]


@asynccontextmanager
async def _transaction(*_: Any) -> AsyncIterator[None]:
    yield


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_a_worker_that_finds_nothing_rests_until_it_is_woken() -> None:
    bench = _Bench([])
    running = asyncio.create_task(bench.worker.run())
    await _turns()
    assert bench.queue.claims == 1

    await bench.nats.wake(None)
    await _turns()
    assert bench.queue.claims == 2
    await _stop(running)


async def test_a_worker_looks_again_after_a_batch_as_more_may_have_come_meanwhile() -> None:
    bench = _Bench([_batch(3), _batch(2)])
    running = asyncio.create_task(bench.worker.run())
    await _turns()
    assert bench.done == [3, 2]
    assert bench.queue.claims == 3
    assert set(bench.lanes.busy.values()) == {0}
    await _stop(running)


async def test_a_crowded_worker_takes_two_batches_at_once_and_a_calm_one_takes_one() -> None:
    bench = _Bench([_batch(BATCH_MAX, "a"), _batch(BATCH_MAX, "a"), _batch(BATCH_MAX, "b")])
    bench.hold = asyncio.Event()
    running = asyncio.create_task(bench.worker.run())
    await _turns()
    # The first batch was full: its key is busy, and the other slot has begun beside it.
    assert bench.together == [1, 2]
    assert [batch[0].key for batch in bench.batches] == ["a"]

    bench.hold.set()
    await _turns()
    assert sorted(bench.done) == [BATCH_MAX] * 3

    bench.hold = asyncio.Event()
    bench.batches += [_batch(CALM_BATCH, "a")]
    await bench.nats.wake(None)
    await _turns()
    bench.batches += [_batch(1, "b")]
    await bench.nats.wake(None)
    await _turns()
    assert [len(batch) for batch in bench.batches] == [1], "a calm worker begins a second batch beside the first"
    bench.hold.set()
    await _turns()
    assert bench.batches == []
    await _stop(running)


class _Database:
    """One whose answers come in the moment of a cancellation, which is lost, as under Python 3.11 (gh-86296)."""

    def __init__(self) -> None:
        self.asked = 0

    async def take(self, *_: Any, **__: Any) -> dict[str, int]:
        """Answers only who is cancelled, and lets nobody know of it."""
        self.asked += 1
        if self.asked <= ASKING:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return {}


async def test_a_worker_ends_though_its_slots_and_its_lanes_never_learn_of_their_cancellation() -> None:
    database = _Database()

    @asynccontextmanager
    async def transaction(*_: Any) -> AsyncIterator[Any]:
        yield SimpleNamespace(execute=database.take)

    async def release(*_: Any) -> None:
        """Nothing was taken."""

    queue = Queue("parcels", "outreach")
    db = cast("Any", SimpleNamespace(transaction=transaction))

    async def renew(*_: Any) -> set[str]:
        return {*await database.take()}

    async def holders(*_: Any) -> int:
        return 1

    leases = cast(
        "Any",
        SimpleNamespace(holder=uuid4(), release=release, take=database.take, renew=renew, holders=holders),
    )

    class Held(Lanes):
        def held(self) -> set[int]:
            return {0}

    stopping: Worker[Item] = Worker(
        queue,
        _Bench([]),
        db=db,
        leases=leases,
        clock=SystemClock(),
        nats=cast("Any", _Nats()),
        metrics=Metrics(),
        lanes=Held(queue, db, leases, lambda: None, balance_seconds=0.01),
        poll_seconds=0.01,
    )
    running = asyncio.create_task(stopping.run())
    while database.asked < ASKING:  # noqa: ASYNC110 what is waited for has no event
        await asyncio.sleep(0)
    running.cancel()
    ended, _ = await asyncio.wait({running}, timeout=STOP_SECONDS_MAX)
    assert ended == {running}
    assert running.cancelled()


async def _stop(running: asyncio.Task[None]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def _batch(count: int, key: str = "k") -> list[Item]:
    now = datetime(2026, 11, 3, 12, tzinfo=UTC)
    return [Item(place, 0, key, uuid4(), now, UUID(int=1), 0) for place in range(count)]
