"""Going live and going back: what was seen and done is kept with how far the organization was before and after.

What is wanted is written down before automation is switched: ACTIVATING, then on, then LIVE; ROLLED_BACK, then off.
Each of these is a version, which conversation is told with the switch and refuses where it has seen a later one. So of
several that cross the last to be written down wins, whatever of the others comes late, and what a crash cuts off is
ACTIVATING until it is finished or taken back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta
from typing import TypeAlias
from uuid import UUID

import structlog

from chassis import auth, context
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import Aborted, ProsaError
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from prosa.ingest.v1 import rollout_service_pb2 as pb
from services.ingest.connections import store as connections
from services.ingest.connections.cache import ConnectionCache
from services.ingest.rollout import messages, rules, store
from services.ingest.rollout.automation import Automation
from services.ingest.rollout.doctor import Doctor
from services.ingest.rollout.rules import Item
from services.ingest.rollout.state import By, Rollout, RolloutState
from services.ingest.rollout.store import Report

ACTIVATE, ROLL_BACK = "ACTIVATE", "ROLL_BACK"
PAGE = 100
"""Of an organization's connections, all of which are looked at."""
UNDO_SECONDS = 5.0
"""For switching automation off again, however little time the call had left."""
SWITCHED_OFF = (
    "The organization is live, and somebody switched its automation off: `prosa org automation on` switches it on."
)
Record: TypeAlias = Callable[[Tx], Awaitable[pb.RolloutReport]]

logger = structlog.get_logger(__name__)


class Changing:
    """Takes organizations live and back; each call for the caller's own."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
        ids: Ids,
        doctor: Doctor,
        automation: Automation,
        cache: ConnectionCache,
    ) -> None:
        self._db, self._outbox, self._idempotency, self._clock, self._ids = db, outbox, idempotency, clock, ids
        self._doctor, self._automation, self._cache = doctor, automation, cache
        self._undoing: set[asyncio.Task[bool]] = set()

    async def activate(self, request: pb.ActivateRequest) -> pb.RolloutReport:
        """Raises as Activate says."""
        organization_id, begun = auth.organization_id(), self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            kept = await self._idempotency.recall(tx, organization_id, "Activate", request, pb.RolloutReport)
            began_as = await store.find_rollout(tx, organization_id)
        if kept is not None:
            return kept
        items = [*await self._doctor.run(organization_id), *await self._first_events(organization_id, begun)]
        if began_as.state is not RolloutState.LIVE and all(item.passed for item in items):
            return await self._go_live(request, began_as, items, begun)
        if began_as.state is RolloutState.LIVE:
            items.append(await self._automation.look(organization_id, advice=SWITCHED_OFF))
        return await self._checked(request, began_as, items, begun)

    async def _checked(
        self, request: pb.ActivateRequest, began_as: Rollout, items: Sequence[Item], begun: datetime
    ) -> pb.RolloutReport:
        """Keeps what was seen, and changes nothing: the organization is live, or not all passed."""

        async def record(tx: Tx) -> pb.RolloutReport:
            found = await store.lock_rollout(tx, began_as.organization_id, self._clock.now())
            if found.overtaken(began_as) and all(item.passed for item in items):
                raise _changed()
            return await self._keep(tx, ACTIVATE, items, (found, found), request.reason, begun)

        return await self._once(request, record)

    async def _go_live(
        self, request: pb.ActivateRequest, began_as: Rollout, items: Sequence[Item], begun: datetime
    ) -> pb.RolloutReport:
        """Automation is on when this returns a report that passed; given up where it could not be switched on."""
        organization_id, by = began_as.organization_id, self._by(request.reason)
        seen = await self._automation.look(organization_id, advice="")
        if "automation_enabled" not in seen.evidence:
            # Nobody knows how it is, so nothing is begun.
            return await self._checked(request, began_as, [*items, seen], begun)
        async with self._db.transaction(organization_id) as tx:
            before = await store.lock_rollout(tx, organization_id, begun)
            if before.overtaken(began_as) or before.state is RolloutState.LIVE:
                raise _changed()
            activating = before.activating(by)
            await store.update_rollout(tx, activating)
        # What was on before is not ours to switch off, unless somebody began before us and was cut off.
        was_on = bool(seen.evidence["automation_enabled"]) and before.state is not RolloutState.ACTIVATING
        try:
            switched = await self._automation.switch(
                organization_id, on=True, reason=request.reason, version=activating.version
            )
            if switched.passed:
                return await self._activated(request, (before, activating), [*items, switched], begun)
        except BaseException:
            await self._give_up(before, activating, request.reason, was_on=was_on)
            raise
        if not await self._give_up(before, activating, request.reason, was_on=was_on):
            raise _changed()
        return await self._checked(request, activating, [*items, switched], begun)

    async def _activated(
        self, request: pb.ActivateRequest, rollouts: tuple[Rollout, Rollout], items: Sequence[Item], begun: datetime
    ) -> pb.RolloutReport:
        """Writes down that the organization is live, unless somebody has changed it since it was ``activating``."""
        before, activating = rollouts

        async def record(tx: Tx) -> pb.RolloutReport:
            found = await store.lock_rollout(tx, activating.organization_id, self._clock.now())
            if not found.still(activating):
                raise _changed()
            after = found.activated(self._by(request.reason))
            await self._write(tx, before, after)
            return await self._keep(tx, ACTIVATE, items, (before, after), request.reason, begun)

        return await self._once(request, record)

    async def _give_up(self, before: Rollout, activating: Rollout, reason: str, *, was_on: bool) -> bool:
        """Switches automation off again, also where the caller is gone or has no time left; False as `_undo` says."""
        undoing = asyncio.ensure_future(self._undo(before, activating, reason, was_on=was_on))
        self._undoing.add(undoing)
        undoing.add_done_callback(self._undoing.discard)
        return await asyncio.shield(undoing)

    async def _undo(self, before: Rollout, activating: Rollout, reason: str, *, was_on: bool) -> bool:
        """False where somebody has changed it meanwhile; where it fails, it is ACTIVATING until somebody does."""
        context.deadline.set(time.monotonic() + UNDO_SECONDS)
        organization_id = activating.organization_id
        try:
            undoing = await self._advance(activating, activating.activating(self._by(reason)))
            if undoing is None:
                return False
            if not was_on:
                item = await self._automation.switch(organization_id, on=False, reason=reason, version=undoing.version)
                if not item.passed:
                    logger.error("activation_not_undone", organization_id=str(organization_id), detail=item.detail)
                    return True
            if await self._advance(undoing, undoing.given_up(before)) is not None:
                logger.info("activation_undone", organization_id=str(organization_id))
        except ProsaError:
            logger.exception("activation_not_undone", organization_id=str(organization_id))
        return True

    async def _advance(self, known: Rollout, wanted: Rollout) -> Rollout | None:
        """Writes ``wanted`` where it is still as it was ``known``; None where it is not."""
        async with self._db.transaction(known.organization_id) as tx:
            found = await store.lock_rollout(tx, known.organization_id, self._clock.now())
            if not found.still(known):
                return None
            await store.update_rollout(tx, wanted)
        return wanted

    async def roll_back(self, request: pb.RollBackRequest) -> pb.RolloutReport:
        """Raises nothing of its own: what could not be done is an item of the report."""
        organization_id, begun = auth.organization_id(), self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            kept = await self._idempotency.recall(tx, organization_id, "RollBack", request, pb.RolloutReport)
            if kept is None:
                before = await store.lock_rollout(tx, organization_id, begun)
                after = before.rolled_back(self._by(request.reason))
                await self._write(tx, before, after)
        if kept is not None:
            return kept
        items = [await self._automation.switch(organization_id, on=False, reason=request.reason, version=after.version)]
        items.append(await self._automation.take_back(organization_id))
        items.append(await self._accepted(organization_id))

        async def record(tx: Tx) -> pb.RolloutReport:
            return await self._keep(tx, ROLL_BACK, items, (before, after), request.reason, begun)

        return await self._once(request, record)

    async def _once(self, request: pb.ActivateRequest | pb.RollBackRequest, record: Record) -> pb.RolloutReport:
        organization_id = auth.organization_id()
        return await self._idempotency.once(
            self._db, organization_id, request, pb.RolloutReport, self._clock.now(), record
        )

    def _by(self, reason: str) -> By:
        caller = auth.caller()
        return By(caller.principal, caller.name, reason, self._clock.now())

    async def _write(self, tx: Tx, before: Rollout, after: Rollout) -> None:
        await store.update_rollout(tx, after)
        await self._outbox.add(tx, [messages.rollout_changed(before, after)], self._clock.now())
        logger.info(
            "rollout_changed",
            organization_id=str(after.organization_id),
            state=after.state.value,
            principal=after.principal,
            reason=after.reason,
        )

    async def _keep(
        self, tx: Tx, phase: str, items: Sequence[Item], rollouts: tuple[Rollout, Rollout], reason: str, begun: datetime
    ) -> pb.RolloutReport:
        caller = auth.caller()
        before, after = (messages.rollout_message(rollout).SerializeToString() for rollout in rollouts)
        report = Report(
            id=self._ids.new(),
            organization_id=auth.organization_id(),
            phase=phase,
            passed=all(item.passed for item in items),
            items=messages.kept_items(items),
            principal=caller.principal,
            principal_name=caller.name,
            create_time=begun,
            duration_ms=(self._clock.now() - begun) // timedelta(milliseconds=1),
            reason=reason,
            rollout_before=before,
            rollout_after=after,
        )
        await store.insert(tx, report)
        return messages.report_message(report)

    async def _first_events(self, organization_id: UUID, now: datetime) -> list[Item]:
        """Whether a customer's message has come the whole way, for each connection that is not at rest."""
        async with self._db.transaction(organization_id) as tx:
            found = await _at_work(tx, organization_id)
            came_in = await store.last_came_in(
                tx, organization_id, [connection.id for connection in found], now - rules.FIRST_EVENT_AGE
            )
        items = []
        for connection in found:
            event = came_in.get(connection.id)
            if event is None:
                items.append(rules.first_event(connection.name, None, None))
                continue
            seen = {name: str(value) for name, value in event._asdict().items() if name.endswith("_id")}
            items.append(rules.first_event(connection.name, seen, event.receive_time))
        return items

    async def _accepted(self, organization_id: UUID) -> Item:
        """Whether the acceptor takes what comes in, by what it knows itself, and whether that is worked off."""
        async with self._db.transaction(organization_id) as tx:
            found = await _at_work(tx, organization_id)
            waiting_since = await store.waiting_since(tx, organization_id)
        known = await self._cache.by_keys({connection.connection_key for connection in found})
        now = self._clock.now()
        refusing = []
        for connection in found:
            accepting = known.get(connection.connection_key)
            if (
                accepting is None
                or accepting.unreadable
                or not (accepting.secrets or now < accepting.unsigned_end_time)
            ):
                refusing.append(connection.name)
        return rules.events_accepted([connection.name for connection in found], refusing, waiting_since, now)


def _changed() -> Aborted:
    return Aborted(
        "ROLLOUT_CHANGED",
        "Somebody took the organization back, or live, meanwhile. Look how it is now and why, then run it again.",
    )


async def _at_work(tx: Tx, organization_id: UUID) -> list[connections.Connection]:
    """All connections with an active channel, the oldest first."""
    at_work: list[connections.Connection] = []
    before = None
    while True:
        found = await connections.list_connections(tx, organization_id, before, PAGE)
        channels = await connections.channels_of(tx, organization_id, [connection.id for connection in found])
        at_work += (
            connection for connection in found if any(channel.active for channel in channels.get(connection.id, ()))
        )
        if len(found) < PAGE:
            return at_work[::-1]
        before = found[-1].id
