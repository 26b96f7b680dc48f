"""Lanes: a queue is dealt out over 64 of them, and each is held by one worker at a time.

A key always waits in the same lane, so its items are worked on in order however many workers there are. Workers share
the lanes out evenly; those of a worker that died or hangs are free after a lease's life.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import structlog

from chassis.db import Database
from chassis.errors import ProsaError
from chassis.leases import LEASE_SECONDS, RENEW_SECONDS, STEP_DOWN_SECONDS, Leases
from chassis.queues.queue import LANE_COUNT, Queue

BALANCE_SECONDS = 1.0
FORGOTTEN_WORKER = "1 hour"

logger = structlog.get_logger(__name__)


class Lanes:
    """The lanes of a queue that this worker holds, kept renewed and fairly shared."""

    def __init__(
        self,
        queue: Queue,
        db: Database,
        leases: Leases,
        taken: Callable[[], None],
        *,
        balance_seconds: float = BALANCE_SECONDS,
    ) -> None:
        """``taken`` is called when there are more of them than before."""
        self._queue = queue
        self._taken = taken
        self._db = db
        self._leases = leases
        self._balance_seconds = balance_seconds
        prefix = "" if queue.bare_leases else f"{queue.name}."
        self._lane_prefix, self._worker_prefix = f"{prefix}lane.", f"{prefix}worker."
        self._names = {self._name(lane): lane for lane in range(LANE_COUNT)}
        self._heartbeat = f"{self._worker_prefix}{leases.holder}"
        self._fences: dict[str, int] = {}
        self._renewed = time.monotonic()
        self._busy: Counter[int] = Counter()
        self._stopping = False

    def held(self) -> set[int]:
        """The lanes that may be worked on now; none when they could not be renewed in time."""
        if time.monotonic() - self._renewed > STEP_DOWN_SECONDS:
            return set()
        return {self._names[name] for name in self._fences if name in self._names}

    def fences(self, lanes: Collection[int]) -> Mapping[str, int]:
        """The fencing numbers of lanes, to be checked where the effect is written."""
        return {name: self._fences.get(name, -1) for name in map(self._name, lanes)}

    def begin(self, lanes: Collection[int]) -> None:
        """Keeps lanes from being given away while a batch of theirs is under way; several may be."""
        self._busy.update(set(lanes))

    def end(self, lanes: Collection[int]) -> None:
        """One batch is done."""
        self._busy.subtract(set(lanes))

    def stop(self) -> None:
        """Ends ``keep`` at its next look, also where it was cancelled and that was swallowed on the way."""
        self._stopping = True

    async def keep(self) -> None:
        """Runs until cancelled: renews, takes what is free, gives away what is too much."""
        self._stopping = False
        renewed = 0.0
        try:
            while not self._stopping:
                try:
                    async with asyncio.timeout(RENEW_SECONDS):
                        if time.monotonic() - renewed >= RENEW_SECONDS:
                            await self._renew()
                            renewed = time.monotonic()
                        if await self._balance():
                            self._taken()
                except (ProsaError, TimeoutError) as error:
                    logger.warning("lanes_not_renewed", queue=self._queue.label, error=repr(error))
                await asyncio.sleep(self._balance_seconds)
        finally:
            await self._give_back()

    async def _renew(self) -> None:
        started = time.monotonic()
        if self._heartbeat not in self._fences:
            await self._sweep()
            self._fences |= await self._leases.take([self._heartbeat])
        kept = await self._leases.renew(self._fences)
        lost = set(self._fences) - kept
        for name in lost:
            del self._fences[name]
        if lost:
            logger.warning("lanes_lost", queue=self._queue.label, count=len(lost))
        self._renewed = started

    async def _balance(self) -> bool:
        """Whether lanes were taken."""
        workers = max(1, await self._leases.holders(self._worker_prefix))
        share = math.ceil(LANE_COUNT / workers)
        mine = [name for name in self._fences if name in self._names]
        if len(mine) > share:
            idle = [name for name in mine if not self._busy[self._names[name]]]
            surplus = {name: self._fences.pop(name) for name in sorted(idle)[: len(mine) - share]}
            await self._leases.release(surplus)
        elif len(mine) < share:
            taken = await self._leases.take(list(self._names), share - len(mine))
            self._fences |= taken
            return bool(taken)
        return False

    async def _sweep(self) -> None:
        """Forgets workers that died long ago; each worker's heartbeat has a row of its own."""
        async with self._db.transaction() as tx:
            await tx.execute(
                f"delete from {self._queue.schema}.leases where starts_with(name, %(prefix)s)"
                f" and expire_time < clock_timestamp() - interval '{FORGOTTEN_WORKER}'",
                {"prefix": self._worker_prefix},
            )

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                await self._leases.release(self._fences)
        except (ProsaError, TimeoutError) as error:
            logger.info(
                "lanes_not_given_back", queue=self._queue.label, error=repr(error), free_in_seconds=LEASE_SECONDS
            )
        self._fences = {}

    def _name(self, lane: int) -> str:
        return f"{self._lane_prefix}{lane:02d}"
