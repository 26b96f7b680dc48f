"""What the gate is asked and answers, between the wire and its own words."""

from __future__ import annotations

from chassis import wire
from chassis.canonical import split_key
from chassis.enums import enum_number, enum_text
from chassis.errors import ProsaError, to_status
from prosa.outreach.v1 import send_service_pb2 as pb
from prosa.v1 import options_pb2
from services.outreach.limits import RESERVATION_START_MS
from services.outreach.sending.gate import Asked, Result
from services.outreach.sending.gate_store import Question
from services.outreach.sending.ledger_store import Key, Open
from services.outreach.sending.rules import Message, SendClass


def asked_of(send: pb.SendRequest) -> Asked:
    """A message as it is asked about. Raises InvalidArgument for ids and keys that are none."""
    delivery_id = wire.to_uuid("delivery_id", send.delivery_id)
    contact_id = wire.to_optional_uuid("contact_id", send.contact_id)
    return Asked(
        question=Question(
            organization_id=wire.to_uuid("organization_id", send.organization_id),
            delivery_id=delivery_id,
            attempt=send.attempt,
            contact_id=contact_id,
            addresses=[(source.value, external_id) for source, external_id in map(split_key, send.conversation_keys)],
        ),
        message=Message(
            send_class=SendClass(enum_text(options_pb2.SendClass, send.send_class)),
            delivery_id=delivery_id,
            last_inbound_time=(
                wire.from_timestamp(send.last_inbound_time) if send.HasField("last_inbound_time") else None
            ),
            reply_window_end_time=(
                wire.from_timestamp(send.reply_window_end_time) if send.HasField("reply_window_end_time") else None
            ),
            suppression_id=wire.to_optional_uuid("suppression_id", send.suppression_id),
            internal=send.internal,
        ),
        channel_id=wire.to_uuid("channel_id", send.channel_id),
        recipient=str(contact_id) if contact_id is not None else send.conversation_keys[0],
        dry_run=send.dry_run,
    )


def key_of(settlement: pb.Settlement) -> Key:
    """What a settlement is about."""
    return (
        wire.to_uuid("organization_id", settlement.organization_id),
        wire.to_uuid("delivery_id", settlement.delivery_id),
        settlement.attempt,
    )


def result_message(result: Result) -> pb.ReserveSendResult:
    """One message's answer in a batch."""
    if isinstance(result, ProsaError):
        return pb.ReserveSendResult(error=to_status(result))
    decision = pb.SendDecision(
        outcome=enum_number(pb.SendOutcome, result.outcome),
        reservation_id=wire.text(result.reservation_id),
        explanation=result.explanation,
        retry_time=wire.to_timestamp(result.retry_time),
        start_within_ms=RESERVATION_START_MS if result.reservation_id is not None else 0,
    )
    if result.reason is not None:
        decision.reason = enum_number(pb.SendReason, result.reason)
    return pb.ReserveSendResult(decision=decision)


def open_message(line: Open) -> pb.OpenReservation:
    """A reservation that nobody has settled."""
    return pb.OpenReservation(
        organization_id=str(line.organization_id),
        reservation_id=str(line.reservation_id),
        delivery_id=str(line.delivery_id),
        attempt=line.attempt,
        create_time=wire.to_timestamp(line.create_time),
    )
