"""Settling reservations that nobody settled: after a crash, or where outreach did not answer."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from chassis.db import Database
from chassis.errors import ProsaError
from prosa.outreach.v1 import send_service_pb2
from services.conversation.deliveries.reserving import Reserver
from services.conversation.limits import OPEN_RESERVATIONS_SECONDS
from services.conversation.messages import delivery_store
from services.conversation.messages.domain.message import MessageState

NOTHING_LEFT = frozenset({MessageState.QUEUED, MessageState.SUPPRESSED, MessageState.CANCELLED})

logger = structlog.get_logger(__name__)


class OpenReservations:
    """Looks for them from time to time; each process may, for a settled one stays as it is."""

    def __init__(self, db: Database, reserver: Reserver) -> None:
        self._db, self._reserver = db, reserver

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(OPEN_RESERVATIONS_SECONDS)
            try:
                await self.settle()
            except ProsaError as error:
                logger.info("open_reservations_not_settled", reason=error.reason)

    async def settle(self) -> int:
        """Settles what is older than a minute; answers how many. Raises Unavailable where outreach is away."""
        opened = await self._reserver.open_reservations()
        settled = [await self._settled(reservation) for reservation in opened]
        await self._reserver.settle_all(settled)
        return len(settled)

    async def _settled(self, reservation: send_service_pb2.OpenReservation) -> tuple[str, str, int, bool]:
        organization_id = UUID(reservation.organization_id)
        async with self._db.transaction(organization_id) as tx:
            sent = await delivery_store.find(tx, organization_id, UUID(reservation.delivery_id))
        # Of an attempt before the last one nothing left, and one after it was never begun.
        used = (
            sent is not None
            and sent.delivery.attempt_count == reservation.attempt
            and sent.delivery.state not in NOTHING_LEFT
        )
        return reservation.organization_id, reservation.delivery_id, reservation.attempt, used
