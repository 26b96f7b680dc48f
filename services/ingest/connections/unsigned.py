"""Which connections still take webhooks without a signature: kept where people see it, without a cost per webhook."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from uuid import UUID

import structlog

from chassis.clock import Clock
from chassis.db import Database
from chassis.errors import ProsaError
from services.ingest.connections import store as connection_store
from services.ingest.limits import UNSIGNED_NOTE_SECONDS

logger = structlog.get_logger(__name__)


class UnsignedLog:
    """Says in the log, and beside the connection, that it took an unsigned webhook: once a minute and connection."""

    def __init__(self, db: Database, clock: Clock) -> None:
        self._db = db
        self._clock = clock
        self._due: dict[UUID, float] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def note(self, connections: Mapping[UUID, UUID]) -> None:
        """Notes that these connections, given with their organizations, took one; nobody waits for that."""
        if not connections:
            return
        now = time.monotonic()
        due = {key: value for key, value in connections.items() if self._due.get(key, now) <= now}
        if not due:
            return
        self._due = {key: moment for key, moment in self._due.items() if moment > now}
        self._due |= dict.fromkeys(due, now + UNSIGNED_NOTE_SECONDS)
        logger.warning("webhooks_unsigned", connection_ids=[str(key) for key in due])
        task = asyncio.create_task(self._keep(due))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _keep(self, due: Mapping[UUID, UUID]) -> None:
        try:
            async with self._db.transaction(*due.values()) as tx:
                await connection_store.note_unsigned(tx, sorted(due), self._clock.now())
        except ProsaError as error:
            # The webhooks are stored all the same, and the next one says it again.
            logger.warning("unsigned_not_noted", reason=error.reason)
            for connection_id in due:
                self._due.pop(connection_id, None)
