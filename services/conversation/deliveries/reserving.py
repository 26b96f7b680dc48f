"""Asking outreach whether a message may be sent, immediately before it is, and telling it what became of that."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

import grpc
import structlog

from chassis import wire
from chassis.enums import enum_number, enum_text
from chassis.errors import ProsaError, from_status
from chassis.rpc import error_of
from prosa.outreach.v1 import send_service_pb2 as pb

if TYPE_CHECKING:
    from prosa.outreach.v1.send_service_pb2_grpc import SendServiceAsyncStub
from prosa.v1 import options_pb2
from services.conversation.messages.domain.conversation import Conversation
from services.conversation.messages.domain.delivery import Delivery

ASK_SECONDS = 5.0

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Allowed:
    """It may be sent now."""

    reservation_id: str
    start_before: float
    """By the monotonic clock, when the request to the provider must have begun."""


@dataclass(frozen=True, slots=True)
class Denied:
    """It may not be sent at all."""

    reason: str
    explanation: str


@dataclass(frozen=True, slots=True)
class Later:
    """It may not be sent now."""

    reason: str
    explanation: str
    retry_time: datetime | None
    """None where nobody knows."""


@dataclass(frozen=True, slots=True)
class UsedBefore:
    """The attempt has a reservation that was used: something may have left."""


Decision = Allowed | Denied | Later | UsedBefore


class Reserver:
    """Outreach, as whoever sends sees it."""

    def __init__(self, stub: SendServiceAsyncStub) -> None:
        self._stub = stub

    async def ask(
        self, conversation: Conversation, delivery: Delivery, last_inbound_time: datetime | None, *, dry: bool = False
    ) -> Decision:
        """What is decided about the delivery's next attempt. Raises what outreach answers."""
        asked = time.monotonic()
        send = pb.SendRequest(
            organization_id=delivery.organization_id,
            delivery_id=delivery.delivery_id,
            attempt=delivery.attempt_count + 1,
            send_class=enum_number(options_pb2.SendClass, delivery.send_class),
            channel_id=delivery.channel_id,
            source=enum_number(options_pb2.Source, conversation.source),
            conversation_keys=[conversation.conversation_key],
            contact_id=conversation.contact_id or "",
            last_inbound_time=wire.to_timestamp(last_inbound_time),
            suppression_id=delivery.suppression_id or "",
            dry_run=dry,
            internal=delivery.internal,
        )
        try:
            answer = await self._stub.BatchReserveSends(pb.BatchReserveSendsRequest(sends=[send]), timeout=ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        (result,) = answer.results
        if result.HasField("error"):
            refused = from_status(result.error)
            if refused.reason == "RESERVATION_USED":
                return UsedBefore()
            raise refused
        return _decision(result.decision, asked)

    async def settle(self, delivery: Delivery, *, used: bool) -> None:
        """Says what became of the attempt; where outreach is away, it is said later by `settle_open`."""
        try:
            await self._settle([(delivery.organization_id, delivery.delivery_id, delivery.attempt_count, used)])
        except ProsaError as error:
            logger.info("reservation_not_settled", reason=error.reason, delivery_id=delivery.delivery_id)

    async def open_reservations(self) -> list[pb.OpenReservation]:
        """Those that should have been settled a minute ago, the oldest. Raises Unavailable."""
        try:
            answer = await self._stub.ListOpenReservations(pb.ListOpenReservationsRequest(), timeout=ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        return list(answer.reservations)

    async def settle_all(self, settled: list[tuple[str, str, int, bool]]) -> None:
        """Says of attempts (organization, delivery, attempt) whether they were used. Raises Unavailable."""
        if settled:
            await self._settle(settled)

    async def _settle(self, settled: list[tuple[str, str, int, bool]]) -> None:
        request = pb.BatchSettleReservationsRequest(
            settlements=[
                pb.Settlement(organization_id=organization_id, delivery_id=delivery_id, attempt=attempt, used=used)
                for organization_id, delivery_id, attempt, used in settled
            ]
        )
        try:
            await self._stub.BatchSettleReservations(request, timeout=ASK_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error


def _decision(decision: pb.SendDecision, asked: float) -> Decision:
    reason = enum_text(pb.SendReason, decision.reason)
    if decision.outcome == pb.SEND_OUTCOME_ALLOWED:
        return Allowed(decision.reservation_id, asked + decision.start_within_ms / 1000)
    if decision.outcome == pb.SEND_OUTCOME_DENIED:
        return Denied(reason, decision.explanation)
    retry_time = wire.from_timestamp(decision.retry_time) if decision.HasField("retry_time") else None
    return Later(reason, decision.explanation, retry_time)
