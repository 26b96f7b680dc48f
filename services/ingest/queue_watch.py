"""What an operator's alert looks at: how many webhook events wait, and for how long the oldest has."""

from __future__ import annotations

import asyncio

import structlog
from prometheus_client import CollectorRegistry, Gauge

from chassis.clock import Clock
from chassis.db import Database
from chassis.errors import ProsaError

LOOK_SECONDS = 5.0

logger = structlog.get_logger(__name__)


class QueueWatch:
    """Keeps two gauges true, in every process that runs ingest."""

    def __init__(self, db: Database, clock: Clock, registry: CollectorRegistry) -> None:
        self._db = db
        self._clock = clock
        self.waiting = Gauge(
            "prosa_webhook_events_waiting", "Webhook events that wait to be processed.", registry=registry
        )
        self.oldest_seconds = Gauge(
            "prosa_webhook_events_oldest_seconds",
            "For how long the oldest waiting webhook event has waited; 0 when none does.",
            registry=registry,
        )

    async def run(self) -> None:
        """Looks every few seconds until cancelled."""
        while True:
            try:
                await self.look()
            except ProsaError as error:
                logger.info("queue_not_seen", reason=error.reason)
            await asyncio.sleep(LOOK_SECONDS)

    async def look(self) -> None:
        """Looks once. Raises Unavailable when the store is away."""
        async with self._db.transaction() as tx:
            row = (await tx.exec_driver_sql("select * from ingest.webhooks_waiting()")).one()
        self.waiting.set(row.waiting_count)
        age = 0.0
        if row.oldest_receive_time is not None:
            age = max(0.0, (self._clock.now() - row.oldest_receive_time).total_seconds())
        self.oldest_seconds.set(age)
