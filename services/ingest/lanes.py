"""Lanes: the queue is dealt out over 64 of them, and each is held by one worker at a time.

A conversation always waits in the same lane, so its events are processed in order however many workers there are.
Workers share the lanes out evenly; those of a worker that died or hangs are free after a lease's life.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping

import structlog

from chassis.db import Database
from chassis.errors import ProsaError
from chassis.leases import LEASE_SECONDS, RENEW_SECONDS, STEP_DOWN_SECONDS, Leases
from services.ingest.lanes_hash import LANE_COUNT

BALANCE_SECONDS = 1.0
WORKER_PREFIX = "worker."
FORGOTTEN_WORKER = "1 hour"

logger = structlog.get_logger(__name__)


class Lanes:
    """The lanes that this worker holds, kept renewed and fairly shared."""

    def __init__(self, db: Database, leases: Leases) -> None:
        self._db = db
        self._leases = leases
        self._fences: dict[str, int] = {}
        self._renewed = time.monotonic()
        self._busy: set[int] = set()
        self._heartbeat = f"{WORKER_PREFIX}{leases.holder}"
        self.changed = asyncio.Event()
        self._stopping = False

    def held(self) -> list[int]:
        """The lanes that may be worked on now; none when they could not be renewed in time."""
        if time.monotonic() - self._renewed > STEP_DOWN_SECONDS:
            return []
        return sorted(int(name.removeprefix("lane.")) for name in self._fences if name.startswith("lane."))

    def free(self) -> set[int]:
        """Those of the lanes held that no batch is under way from."""
        return set(self.held()) - self._busy

    def fences(self, lanes: set[int]) -> Mapping[str, int]:
        """The fencing numbers of lanes, to be checked where the effect is written."""
        return {_name(lane): self._fences.get(_name(lane), -1) for lane in lanes}

    def begin(self, lanes: set[int]) -> None:
        """Keeps lanes from being given away while a batch of theirs is under way."""
        self._busy |= lanes

    def end(self, lanes: set[int]) -> None:
        """The batch is done."""
        self._busy -= lanes

    def stop(self) -> None:
        """Ends ``keep`` at its next look, also where it overheard that it was cancelled."""
        self._stopping = True

    async def keep(self) -> None:
        """Runs until cancelled: renews, takes what is free, gives away what is too much."""
        renewed = 0.0
        try:
            while not self._stopping:
                try:
                    async with asyncio.timeout(RENEW_SECONDS):
                        if time.monotonic() - renewed >= RENEW_SECONDS:
                            await self._renew()
                            renewed = time.monotonic()
                        await self._balance()
                except (ProsaError, TimeoutError) as error:
                    logger.warning("lanes_not_renewed", error=repr(error))
                await asyncio.sleep(BALANCE_SECONDS)
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
            logger.warning("lanes_lost", count=len(lost))
        self._renewed = started

    async def _balance(self) -> None:
        workers = max(1, await self._leases.holders(WORKER_PREFIX))
        share = math.ceil(LANE_COUNT / workers)
        mine = [name for name in self._fences if name.startswith("lane.")]
        if len(mine) > share:
            idle = [name for name in mine if int(name.removeprefix("lane.")) not in self._busy]
            surplus = {name: self._fences.pop(name) for name in sorted(idle)[: len(mine) - share]}
            await self._leases.release(surplus)
        elif len(mine) < share:
            taken = await self._leases.take([_name(lane) for lane in range(LANE_COUNT)], share - len(mine))
            if taken:
                self._fences |= taken
                self.changed.set()

    async def _sweep(self) -> None:
        """Forgets workers that died long ago; each worker's heartbeat has a row of its own."""
        async with self._db.transaction() as tx:
            await tx.exec_driver_sql(
                "delete from ingest.leases where starts_with(name, %(prefix)s)"
                f" and expire_time < clock_timestamp() - interval '{FORGOTTEN_WORKER}'",
                {"prefix": WORKER_PREFIX},
            )

    async def _give_back(self) -> None:
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                await self._leases.release(self._fences)
        except (ProsaError, TimeoutError) as error:
            logger.info("lanes_not_given_back", error=repr(error), free_in_seconds=LEASE_SECONDS)
        self._fences = {}


def _name(lane: int) -> str:
    return f"lane.{lane:02d}"
