"""Counts what became of webhooks, in the transaction that says so, and has looked at whose failed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from chassis.db import Tx
from chassis.queues.items import Dead, Place
from chassis.queues.queue import Queue
from services.ingest.health import store
from services.ingest.health.store import Ended
from services.ingest.processing.outcome_store import Done, Outcome, state_of

HEALTH = Queue("health_queue", "ingest", timed=True)
"""One item for each organization of which something failed lately; its id is the organization's."""


class HealthCounts:
    """Adds to the counts."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def note(self, tx: Tx, outcomes: Sequence[Outcome], now: datetime) -> None:
        """Counts the events of a batch that have ended; those that are tried again have not."""
        ended = [outcome for outcome in outcomes if isinstance(outcome, Done | Dead)]
        if not ended:
            return
        counts = Counter((outcome.item.organization_id, state_of(outcome)) for outcome in ended)
        organization_ids = sorted({organization_id for organization_id, _ in counts})
        rows = [
            Ended(known, *(counts[known, state] for state in ("PROCESSED", "IGNORED", "DEAD_LETTER")))
            for known in organization_ids
        ]
        await store.add(tx, rows, now.replace(second=0, microsecond=0), ended[0].item.lane)
        failing = [row.organization_id for row in rows if row.failed_count]
        if failing:
            # Anew, so that one that is being looked at just now, and does not see this failure, is looked at again.
            await self._queue.remove(tx, failing)
            await self._queue.put(tx, [Place(known, known, str(known)) for known in failing], now)
