"""What an operator's alert looks at: how many items of a queue are due, and for how long the oldest has been."""

from __future__ import annotations

import asyncio

import structlog

from chassis.clock import Clock
from chassis.db import Database
from chassis.errors import ProsaError
from chassis.queues.queue import Queue
from chassis.telemetry import Metrics

LOOK_SECONDS = 5.0

logger = structlog.get_logger(__name__)


class QueueWatch:
    """Keeps two gauges true, in every process that works a queue off."""

    def __init__(self, queue: Queue, db: Database, clock: Clock, metrics: Metrics) -> None:
        self._queue = queue
        self._db = db
        self._clock = clock
        self._waiting = metrics.queue_waiting.labels(queue.label)
        self._oldest_seconds = metrics.queue_oldest_seconds.labels(queue.label)

    async def run(self) -> None:
        """Looks every few seconds until cancelled."""
        while True:
            try:
                await self.look()
            except ProsaError as error:
                logger.info("queue_not_seen", queue=self._queue.label, reason=error.reason)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Looks once. Raises Unavailable when the store is away."""
        now = self._clock.now()
        async with self._db.transaction() as tx:
            found = await tx.execute(f"select * from {self._queue.label}_waiting(%(now)s)", {"now": now})
        row = found.one()
        age = 0.0 if row.oldest_due_time is None else (now - row.oldest_due_time).total_seconds()
        self._waiting.set(row.waiting_count)
        self._oldest_seconds.set(max(0.0, age))
