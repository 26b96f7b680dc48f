"""Answers rounds, and ends them by hand."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chassis import auth, wire
from chassis.clock import Clock
from chassis.db import Database
from chassis.enums import wanted_text
from chassis.outbox import Outbox
from chassis.paging import read_page, token_invalid
from chassis.queues.queue import Queue
from prosa.conversation.v1 import script_service_pb2 as pb
from services.conversation.deliveries.queueing import Deliveries
from services.conversation.scripts import messages, round_store
from services.conversation.scripts.round import UNENDED, RoundState, ended, no_round


def cause_of(round_id: UUID) -> str:
    """What deliveries of a round are for."""
    return f"round:{round_id}"


class Rounds:
    """The rounds of organizations; each call is for the caller's own."""

    def __init__(self, db: Database, outbox: Outbox, clock: Clock, queue: Queue, deliveries: Deliveries) -> None:
        self._db, self._outbox, self._clock, self._queue, self._deliveries = db, outbox, clock, queue, deliveries

    async def list_rounds(self, request: pb.ListRoundsRequest) -> pb.ListRoundsResponse:
        """A page, the latest due first."""
        organization_id, page = auth.organization_id(), read_page(request, 2)
        wanted: dict[str, object] = {}
        if request.script_id:
            wanted["script_id"] = wire.to_uuid("script_id", request.script_id)
        if state := wanted_text(pb.RoundState, request.state):
            wanted["state"] = state
        times = (
            wire.from_timestamp(request.start_time) if request.HasField("start_time") else None,
            wire.from_timestamp(request.end_time) if request.HasField("end_time") else None,
        )
        async with self._db.transaction(organization_id) as tx:
            found = await round_store.list_rounds(
                tx, organization_id, wanted, times, _before(page.after), page.size + 1
            )
        shown, token = page.cut(found, lambda last: (last.due_time.isoformat(), last.round_id))
        return pb.ListRoundsResponse(rounds=map(messages.round_message, shown), next_page_token=token)

    async def get(self, request: pb.GetRoundRequest) -> pb.Round:
        """Raises as GetRound says."""
        organization_id = auth.organization_id()
        round_id = wire.to_uuid("round_id", request.round_id)
        async with self._db.transaction(organization_id) as tx:
            found = await round_store.find(tx, organization_id, round_id)
        if found is None:
            raise no_round()
        return messages.round_message(found)

    async def cancel(self, request: pb.CancelRoundRequest) -> pb.Round:
        """Raises as CancelRound says."""
        organization_id, now = auth.organization_id(), self._clock.now()
        round_id = wire.to_uuid("round_id", request.round_id)
        async with self._db.transaction(organization_id) as tx:
            found = await round_store.find(tx, organization_id, round_id, lock=True)
            if found is None:
                raise no_round()
            if found.state not in UNENDED:
                raise ended(found.state)
            found.ends(RoundState.CANCELLED, now)
            found.version += 1
            await round_store.update(tx, found)
            await round_store.leave_numbers(tx, found)
            await self._queue.remove(tx, [round_id])
            await self._deliveries.cancel(
                tx, organization_id, {"cause": cause_of(round_id)}, "ROUND_ENDED", "Its round was cancelled.", now
            )
            await self._outbox.add(tx, [messages.round_changed(found)], now)
        return messages.round_message(found)


def _before(key: tuple[str, ...] | None) -> tuple[datetime, UUID] | None:
    if key is None:
        return None
    try:
        moment = datetime.fromisoformat(key[0])
        if moment.tzinfo is None:
            raise token_invalid()
        return moment, UUID(key[1])
    except ValueError:
        raise token_invalid() from None
