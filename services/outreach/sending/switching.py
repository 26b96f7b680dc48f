"""Turns kill switches, for one organization or for all."""

from __future__ import annotations

import asyncio
from uuid import UUID

import structlog

from chassis import auth
from chassis.clock import Clock
from chassis.db import Database
from chassis.errors import FailedPrecondition, PermissionDenied
from chassis.outbox import Outbox
from prosa.outreach.v1 import send_service_pb2 as pb
from services.outreach.domain import readable
from services.outreach.limits import RESERVATION_START_MS, RESERVATION_START_SLACK_MS
from services.outreach.sending import kill_switch_store as store
from services.outreach.sending import messages
from services.outreach.sending.kill_switch import Actor, KillSwitch

INSTALLATION = UUID(int=0)
"""What the command line names in place of an organization where it means all of them; the global switch's facts and
audit entries stand under it."""

logger = structlog.get_logger(__name__)


class KillSwitches:
    """Engages, lifts and answers kill switches."""

    def __init__(self, db: Database, outbox: Outbox, clock: Clock) -> None:
        self._db, self._outbox, self._clock = db, outbox, clock

    async def engage(self, reason: str, *, everywhere: bool) -> pb.KillSwitch:
        """Stops sending; answers when no request to a provider begins any more. Raises as EngageKillSwitch says."""
        organization_id = _whose(everywhere=everywhere)
        answer = await self._turn(organization_id, engaged=True, reason=reason)
        # Who was told "allowed" before the commit has begun by then, or has to ask again and is told otherwise. Whoever
        # finds it engaged waits as well: the one who engaged it may just be waiting.
        await asyncio.sleep((RESERVATION_START_MS + RESERVATION_START_SLACK_MS) / 1000)
        return answer

    async def lift(self, reason: str, *, everywhere: bool) -> pb.KillSwitch:
        """Lets messages leave again. Raises as LiftKillSwitch says."""
        return await self._turn(_whose(everywhere=everywhere), engaged=False, reason=reason)

    async def get(self) -> pb.KillSwitch:
        """The caller's organization's, or of the command line without one the global one."""
        organization_id = auth.organization_id()
        async with self._db.transaction(organization_id) as tx:
            everywhere = await store.find(tx, None)
            own = everywhere if organization_id == INSTALLATION else await store.find(tx, organization_id)
        return messages.kill_switch_message(own, engaged_globally=everywhere.engaged)

    async def _turn(self, organization_id: UUID | None, *, engaged: bool, reason: str) -> pb.KillSwitch:
        caller, now = auth.caller(), self._clock.now()
        wanted = KillSwitch(organization_id, engaged, readable(reason), Actor(caller.principal, caller.name), now)
        # Whom the fact is of, and with it the audit's entry: of the global switch the installation itself.
        announced_to = organization_id or INSTALLATION
        async with self._db.transaction(announced_to) as tx:
            everywhere = await store.find(tx, None)
            if not engaged and organization_id is not None and everywhere.engaged:
                raise FailedPrecondition(
                    "KILLED_GLOBALLY",
                    f"The operator has stopped sending for everybody ({everywhere.reason}), and alone lifts that.",
                )
            turned = await store.turn(tx, wanted)
            found = await store.find(tx, organization_id)
            globally = found.engaged if organization_id is None else everywhere.engaged
            answer = messages.kill_switch_message(found, engaged_globally=globally)
            if turned:
                await self._outbox.add(tx, [messages.kill_switch_changed(answer, announced_to)], now)
        if turned:
            logger.warning(
                "kill_switch_turned",
                organization_id=str(organization_id or "all"),
                engaged=engaged,
                principal=caller.principal,
                reason=wanted.reason,
            )
        return answer


def _whose(*, everywhere: bool) -> UUID | None:
    """None for the global switch. Raises PermissionDenied GLOBAL_KILL_OPERATOR_ONLY."""
    if not everywhere:
        return auth.organization_id()
    if auth.caller().service != "cli":
        raise PermissionDenied(
            "GLOBAL_KILL_OPERATOR_ONLY", "Only the operator's command line stops or frees every organization."
        )
    return None
