"""SendService: translate, call, translate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import grpc
from google.rpc import status_pb2

from chassis import auth
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import FailedPrecondition, InvalidArgument, ProsaError, from_status
from chassis.idempotency import IdempotencyStore
from chassis.outbox import Outbox
from chassis.paging import read_page
from chassis.profiles import Profiles
from prosa.outreach.v1 import send_service_pb2 as pb
from prosa.outreach.v1 import send_service_pb2_grpc as pb_grpc
from services.outreach.limits import OPEN_LISTED_MAX
from services.outreach.sending import messages, policy_store, terms_store
from services.outreach.sending.gate import Asked, Reservations, Result
from services.outreach.sending.kill_switch import Actor
from services.outreach.sending.ledger_store import Key
from services.outreach.sending.policy import SendPolicy, etag_fresh, quiet_hours_valid
from services.outreach.sending.policy_store import NUMBERS
from services.outreach.sending.questions import asked_of, key_of, open_message, result_message
from services.outreach.sending.switching import KillSwitches
from services.outreach.sending.terms import TERMS_VERSION
from services.outreach.sending.terms_store import Acceptance


class SendServicer(pb_grpc.SendServiceServicer):
    """The gate, kill switches, send policies and terms."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
        gate: Reservations,
        profiles: Profiles,
    ) -> None:
        self._db, self._outbox, self._idempotency, self._clock = db, outbox, idempotency, clock
        self._switches = KillSwitches(db, outbox, clock)
        self._gate, self._profiles = gate, profiles

    async def BatchReserveSends(
        self,
        request: pb.BatchReserveSendsRequest,
        context: grpc.aio.ServicerContext[pb.BatchReserveSendsRequest, pb.BatchReserveSendsResponse],
    ) -> pb.BatchReserveSendsResponse:
        return pb.BatchReserveSendsResponse(results=await self._reserve(request.sends))

    async def ReserveSend(
        self,
        request: pb.ReserveSendRequest,
        context: grpc.aio.ServicerContext[pb.ReserveSendRequest, pb.SendDecision],
    ) -> pb.SendDecision:
        bound_to = auth.caller().organization_id
        if bound_to is not None and str(bound_to) != request.send.organization_id.lower():
            raise InvalidArgument("ID_INVALID", "organization_id must be the organization that the call is made for.")
        (result,) = await self._reserve([request.send])
        if result.HasField("error"):
            raise from_status(result.error)
        return result.decision

    async def BatchSettleReservations(
        self,
        request: pb.BatchSettleReservationsRequest,
        context: grpc.aio.ServicerContext[pb.BatchSettleReservationsRequest, pb.BatchSettleReservationsResponse],
    ) -> pb.BatchSettleReservationsResponse:
        used: dict[Key, bool] = {}
        for settlement in request.settlements:
            # Named twice, and once as used: something may have left.
            key = key_of(settlement)
            used[key] = used.get(key, False) or settlement.used
        await self._gate.settle(used)
        return pb.BatchSettleReservationsResponse(results=[status_pb2.Status() for _ in request.settlements])

    async def ListOpenReservations(
        self,
        request: pb.ListOpenReservationsRequest,
        context: grpc.aio.ServicerContext[pb.ListOpenReservationsRequest, pb.ListOpenReservationsResponse],
    ) -> pb.ListOpenReservationsResponse:
        page = read_page(request)
        page = replace(page, size=min(page.size, OPEN_LISTED_MAX))
        found = await self._gate.open_since_long(page.after_id() or UUID(int=0), page.size + 1)
        shown, token = page.cut(found, lambda line: (line.reservation_id,))
        return pb.ListOpenReservationsResponse(reservations=map(open_message, shown), next_page_token=token)

    async def GetTerms(
        self,
        request: pb.GetTermsRequest,
        context: grpc.aio.ServicerContext[pb.GetTermsRequest, pb.Terms],
    ) -> pb.Terms:
        organization_id = auth.organization_id()
        profile = await self._profiles.of(organization_id)
        async with self._db.transaction(organization_id) as tx:
            accepted = await terms_store.last_acceptance(tx, organization_id)
        return messages.terms_message(profile.locale, accepted)

    async def AcceptTerms(
        self,
        request: pb.AcceptTermsRequest,
        context: grpc.aio.ServicerContext[pb.AcceptTermsRequest, pb.Terms],
    ) -> pb.Terms:
        caller, organization_id = auth.caller(), auth.organization_id()
        if request.terms_version != TERMS_VERSION:
            raise FailedPrecondition("TERMS_CHANGED", "The terms are others now. Read them again, then accept those.")
        profile = await self._profiles.of(organization_id)
        acceptance = Acceptance(TERMS_VERSION, Actor(caller.principal, caller.name), self._clock.now())
        async with self._db.transaction(organization_id) as tx:
            await terms_store.accept(tx, organization_id, acceptance)
            accepted = await terms_store.last_acceptance(tx, organization_id)
        return messages.terms_message(profile.locale, accepted)

    async def _reserve(self, sends: Sequence[pb.SendRequest]) -> list[pb.ReserveSendResult]:
        """What is decided about each; one that cannot be read is refused alone."""
        read: dict[int, Asked] = {}
        results: dict[int, Result] = {}
        for place, send in enumerate(sends):
            try:
                read[place] = asked_of(send)
            except ProsaError as error:
                results[place] = error
        results |= dict(zip(read, await self._gate.reserve(list(read.values())), strict=True))
        return [result_message(results[place]) for place in range(len(sends))]

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
