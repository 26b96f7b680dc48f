"""When a worker looks into the queue, and when it rests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
from prometheus_client import CollectorRegistry

from chassis.clock import SystemClock
from chassis.errors import PermissionDenied, ProsaError, Unauthenticated
from services.ingest.lanes import Lanes
from services.ingest.normal_form import NormalEvent
from services.ingest.outcomes import Pending
from services.ingest.path import Journey
from services.ingest.worker import BATCH_MAX, CALM_BATCH, Worker, WorkerMetrics, travel_in_halves
from tests.unit.ingest.samples import INCOMING, read_sample

TURNS = 50
LANES = range(4)


class _Lanes:
    """Lanes that are all held and never contested."""

    def __init__(self) -> None:
        self.busy: set[int] = set()

    def free(self) -> set[int]:
        return set(LANES) - self.busy

    def begin(self, lanes: set[int]) -> None:
        self.busy |= lanes

    def end(self, lanes: set[int]) -> None:
        self.busy -= lanes

    async def keep(self) -> None:
        await asyncio.Event().wait()

    def stop(self) -> None:
        """Nothing to end."""


class _Nats:
    """Keeps the callback, so that a test can wake the worker."""

    async def hear(self, _subject: str, callback: Any) -> None:
        self.wake = callback


class _Bench:
    """A worker whose queue is a list of batches, and notes of how often it looked and what it took."""

    def __init__(self, batches: list[list[Pending]]) -> None:
        self.nats = _Nats()
        unused = cast("Any", SimpleNamespace(holder="a"))
        self.lanes = _Lanes()
        self.worker = Worker(
            db=unused,
            leases=unused,
            directory=unused,
            path=unused,
            outbox=unused,
            clock=SystemClock(),
            nats=cast("Any", self.nats),
            metrics=WorkerMetrics(CollectorRegistry()),
            lanes=cast("Lanes", self.lanes),
            claim=self.claim,
            process=self.process,
        )
        self.batches = batches
        self.claims = 0
        self.done: list[int] = []
        self.together: list[int] = []
        self.hold: asyncio.Event | None = None

    async def claim(self, lanes: Sequence[int]) -> list[Pending]:
        self.claims += 1
        await asyncio.sleep(0)
        for batch in self.batches:
            if all(item.lane in lanes for item in batch):
                self.batches.remove(batch)
                return batch
        return []

    async def process(self, batch: Sequence[Pending]) -> None:
        self.together.append(len(self.lanes.busy))
        if self.hold is not None:
            await self.hold.wait()
        self.done.append(len(batch))


async def _turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


async def test_a_worker_that_finds_nothing_rests_until_it_is_woken() -> None:
    worker = _Bench([])
    running = asyncio.create_task(worker.worker.run())
    await _turns()
    assert worker.claims == 1

    await worker.nats.wake(None)
    await _turns()
    assert worker.claims == 2
    await _stop(running)


async def test_a_worker_looks_again_after_a_batch_as_more_may_have_come_meanwhile() -> None:
    worker = _Bench([_batch(3), _batch(2)])
    running = asyncio.create_task(worker.worker.run())
    await _turns()
    assert worker.done == [3, 2]
    assert worker.claims == 3
    await _stop(running)


async def test_a_crowded_worker_takes_two_batches_at_once_and_a_calm_one_takes_one() -> None:
    even, odd = _batch(BATCH_MAX, lane=0), _batch(BATCH_MAX, lane=1)
    worker = _Bench([_batch(BATCH_MAX, lane=0), even, odd])
    worker.hold = asyncio.Event()
    running = asyncio.create_task(worker.worker.run())
    await _turns()
    # The first batch was full: its lane is busy, and the other strand has begun beside it.
    assert worker.together == [1, 2]

    worker.hold.set()
    await _turns()
    assert sorted(worker.done) == [BATCH_MAX] * 3

    worker.hold = asyncio.Event()
    worker.batches += [_batch(CALM_BATCH, lane=0)]
    await worker.nats.wake(None)
    await _turns()
    worker.batches += [_batch(1, lane=1)]
    await worker.nats.wake(None)
    await _turns()
    assert [len(batch) for batch in worker.batches] == [1], "a calm worker begins a second batch beside the first"
    worker.hold.set()
    await _turns()
    assert worker.batches == []
    await _stop(running)


class _Path:
    """A way on which one event meets a fault of ours."""

    def __init__(self, bad: Journey) -> None:
        self.bad = bad

    async def travel(self, journeys: Sequence[Journey]) -> None:
        if self.bad in journeys:
            raise ValueError("no number of 32 bits")


async def test_an_event_that_meets_a_fault_of_ours_fails_alone_and_the_worker_goes_on() -> None:
    event = read_sample(INCOMING)
    assert isinstance(event, NormalEvent)
    journeys = [
        Journey(str(uuid4()), str(UUID(int=1)), str(UUID(int=2)), datetime(2026, 11, 3, 12, tzinfo=UTC), event, key)
        for key in ("a", "b", "b", "c", "d")
    ]
    await travel_in_halves(cast("Any", _Path(journeys[1])), journeys)
    assert [journey.error and journey.error.reason for journey in journeys] == [None, "ITEM_REFUSED", None, None, None]
    assert [journey.held_back for journey in journeys] == [False, False, True, False, False]


@pytest.mark.parametrize("refused", [Unauthenticated, PermissionDenied])
async def test_a_service_that_refuses_our_own_token_is_away_and_no_event_is_at_fault(refused: type[ProsaError]) -> None:
    event = read_sample(INCOMING)
    assert isinstance(event, NormalEvent)
    journey = Journey(str(uuid4()), str(UUID(int=1)), str(UUID(int=2)), datetime(2026, 11, 3, tzinfo=UTC), event, "a")

    class Refusing:
        async def travel(self, _journeys: Sequence[Journey]) -> None:
            raise refused("TOKEN_REFUSED", "The token is another service's.")

    with pytest.raises(refused):
        await travel_in_halves(cast("Any", Refusing()), [journey])
    assert journey.error is None


async def _stop(running: asyncio.Task[None]) -> None:
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


def _batch(count: int, lane: int = 0) -> list[Pending]:
    now = datetime(2026, 11, 3, 12, tzinfo=UTC)
    given: Mapping[str, Any] = {
        "lane": lane,
        "ordering_key": "k",
        "attempt_count": 0,
        "receive_time": now,
        "organization_id": UUID(int=1),
        "connection_id": UUID(int=2),
        "provider": "CHATWOOT",
        "body": b"{}",
        "correlation_id": "c",
        "trace_parent": "",
    }
    return [Pending(sequence=place, event_id=uuid4(), **given) for place in range(count)]
