"""SendService: translate, call, translate."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import grpc

from chassis import auth
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import InvalidArgument
from chassis.idempotency import IdempotencyStore
from chassis.outbox import Outbox
from prosa.outreach.v1 import send_service_pb2 as pb
from prosa.outreach.v1 import send_service_pb2_grpc as pb_grpc
from services.outreach.sending import messages, policy_store
from services.outreach.sending.policy import SendPolicy, etag_fresh, quiet_hours_valid
from services.outreach.sending.policy_store import NUMBERS
from services.outreach.sending.switching import KillSwitches


class SendServicer(pb_grpc.SendServiceServicer):
    """Kill switches and send policies."""

    def __init__(self, db: Database, outbox: Outbox, idempotency: IdempotencyStore, clock: Clock) -> None:
        self._db, self._outbox, self._idempotency, self._clock = db, outbox, idempotency, clock
        self._switches = KillSwitches(db, outbox, clock)

    async def EngageKillSwitch(
        self,
        request: pb.EngageKillSwitchRequest,
        context: grpc.aio.ServicerContext[pb.EngageKillSwitchRequest, pb.KillSwitch],
    ) -> pb.KillSwitch:
        return await self._switches.engage(request.reason, everywhere=getattr(request, "global"))

    async def LiftKillSwitch(
        self,
        request: pb.LiftKillSwitchRequest,
        context: grpc.aio.ServicerContext[pb.LiftKillSwitchRequest, pb.KillSwitch],
    ) -> pb.KillSwitch:
        return await self._switches.lift(request.reason, everywhere=getattr(request, "global"))

    async def GetKillSwitch(
        self,
        request: pb.GetKillSwitchRequest,
        context: grpc.aio.ServicerContext[pb.GetKillSwitchRequest, pb.KillSwitch],
    ) -> pb.KillSwitch:
        return await self._switches.get()

    async def GetSendPolicy(
        self,
        request: pb.GetSendPolicyRequest,
        context: grpc.aio.ServicerContext[pb.GetSendPolicyRequest, pb.SendPolicy],
    ) -> pb.SendPolicy:
        organization_id = auth.organization_id()
        async with self._db.transaction(organization_id) as tx:
            return messages.policy_message(await policy_store.find_policy(tx, organization_id))

    async def UpdateSendPolicy(
        self,
        request: pb.UpdateSendPolicyRequest,
        context: grpc.aio.ServicerContext[pb.UpdateSendPolicyRequest, pb.SendPolicy],
    ) -> pb.SendPolicy:
        organization_id, now = auth.organization_id(), self._clock.now()
        changes = _changes(request)

        async def update(tx: Tx) -> pb.SendPolicy:
            before = await policy_store.lock_policy(tx, SendPolicy(organization_id, update_time=now))
            etag_fresh(before, request.etag)
            after = replace(before, **changes)
            if after != before:
                after = replace(after, update_time=now, version=before.version + 1)
                await policy_store.update_policy(tx, after)
                await self._outbox.add(tx, [messages.policy_changed(after)], now)
            return messages.policy_message(after)

        return await self._idempotency.once(self._db, organization_id, request, pb.SendPolicy, now, update)


def _changes(request: pb.UpdateSendPolicyRequest) -> dict[str, Any]:
    """What an update names. Raises InvalidArgument NOTHING_TO_CHANGE, QUIET_HOURS_INVALID."""
    changes: dict[str, Any] = {field.name: value for field, value in request.ListFields() if field.name in NUMBERS}
    if request.HasField("quiet_hours"):
        changes["quiet_hours"] = messages.quiet_hours_of(request.quiet_hours)
        quiet_hours_valid(messages.quiet_hours_of(request.quiet_hours))
    if not changes:
        raise InvalidArgument("NOTHING_TO_CHANGE", f"Name what is to change: quiet_hours, {', '.join(NUMBERS)}.")
    return changes
