"""Counts again what was sent, from the ledger, after Redis lost it: until that is done nothing is sent."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from chassis.clock import Clock
from chassis.db import Database
from chassis.errors import ProsaError
from chassis.ids import Ids
from services.outreach.sending import ledger_store
from services.outreach.sending.quota_store import CONTACT_KEPT, Quotas

logger = structlog.get_logger(__name__)


class Rebuilder:
    """Loads the counts of organizations, one after the other, as often as somebody finds them lost."""

    def __init__(self, db: Database, quotas: Quotas, clock: Clock, ids: Ids) -> None:
        self._db, self._quotas, self._clock, self._ids = db, quotas, clock, ids
        self._lost: dict[UUID, int] = {}
        self._told = asyncio.Event()

    def lost(self, organization_id: UUID, epoch: int) -> None:
        """Says that nothing is counted under the epoch which PostgreSQL knows."""
        self._lost[organization_id] = epoch
        self._told.set()

    async def run(self) -> None:
        """Rebuilds for as long as the process lives. What fails is tried again when somebody next asks."""
        while True:
            await self._told.wait()
            self._told.clear()
            while self._lost:
                organization_id, epoch = self._lost.popitem()
                try:
                    await self.rebuild(organization_id, epoch)
                except ProsaError as error:
                    logger.warning("quotas_not_rebuilt", organization_id=str(organization_id), reason=error.reason)

    async def rebuild(self, organization_id: UUID, seen: int) -> bool:
        """Counts anew under the next epoch, unless somebody else has since the one that was seen.

        The row of the epoch is held meanwhile: whoever was allowed under the old one has written it down before, or
        finds the new one and writes nothing.
        """
        async with self._db.transaction(organization_id) as tx:
            epoch = await ledger_store.raise_epoch(tx, organization_id, seen)
            if epoch is None:
                return False
            now = self._clock.now()
            units = await ledger_store.units_since(tx, organization_id, now - CONTACT_KEPT)
            if not await self._quotas.load(organization_id, epoch, str(self._ids.new()), units, now):
                logger.warning("quotas_lost_again", organization_id=str(organization_id))
                return False
        logger.info("quotas_rebuilt", organization_id=str(organization_id), epoch=epoch, units=len(units))
        return True
