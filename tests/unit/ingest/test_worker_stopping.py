"""A worker that is told to stop ends, also where its parts overhear it as they may under Python 3.11 (gh-86296)."""

from __future__ import annotations

import asyncio
import contextlib
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from prometheus_client import CollectorRegistry

from chassis.clock import SystemClock
from services.ingest import lanes, worker
from services.ingest.worker import Worker, WorkerMetrics

STOP_SECONDS_MAX = 60.0


class _Database:
    """One whose answers come in the moment of a cancellation, which is lost."""

    def __init__(self) -> None:
        self.asked = 0

    async def take(self, *_: Any) -> dict[str, int]:
        """Answers only who is cancelled, and lets nobody know of it."""
        self.asked += 1
        if self.asked <= 1 + worker.STRANDS:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
        return {}


class _Leases(SimpleNamespace):
    """Gives nothing back and holds nothing."""

    async def release(self, *_: Any) -> None:
        """Nothing was taken."""


async def test_a_worker_ends_though_its_strands_and_its_lanes_overhear_their_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module, name in ((lanes, "BALANCE_SECONDS"), (worker, "POLL_SECONDS")):
        monkeypatch.setattr(module, name, 0.01)
    database = _Database()
    unused = cast("Any", None)

    async def hear(*_: Any, **__: Any) -> None:
        """Nobody wakes anybody."""

    async def run_batch(*_: Any) -> int:
        await database.take()
        return 0

    monkeypatch.setattr(Worker, "_run_batch", run_batch)
    monkeypatch.setattr(lanes.Lanes, "_renew", database.take)
    monkeypatch.setattr(lanes.Lanes, "_balance", database.take)
    stopping = Worker(
        db=unused,
        leases=cast("Any", _Leases(holder=uuid4())),
        directory=unused,
        path=unused,
        outbox=unused,
        clock=SystemClock(),
        nats=cast("Any", SimpleNamespace(hear=hear)),
        metrics=WorkerMetrics(CollectorRegistry()),
    )
    running = asyncio.create_task(stopping.run())
    while database.asked <= worker.STRANDS:  # noqa: ASYNC110 what is waited for has no event
        await asyncio.sleep(0)
    running.cancel()
    ended, _ = await asyncio.wait({running}, timeout=STOP_SECONDS_MAX)
    assert ended == {running}
    assert running.cancelled()
