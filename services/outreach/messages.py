"""What suppressions are over the wire."""

from __future__ import annotations

from chassis import wire
from chassis.enums import enum_number
from chassis.outbox import Fact
from prosa.outreach.v1 import events_pb2
from prosa.outreach.v1 import outreach_service_pb2 as pb
from prosa.v1 import options_pb2
from services.outreach.domain import Suppression


def suppression_message(kept: Suppression) -> pb.Suppression:
    """A suppression, whether or not it holds."""
    message = pb.Suppression(
        suppression_id=str(kept.id),
        organization_id=str(kept.organization_id),
        source=enum_number(options_pb2.Source, kept.source),
        external_id=kept.external_id,
        contact_id=wire.text(kept.contact_id),
        reason=kept.reason,
        create_time=wire.to_timestamp(kept.create_time),
        origin=enum_number(pb.SuppressionOrigin, kept.origin),
        message_id=kept.message_id,
        evidence=kept.evidence,
        confirm_time=wire.to_timestamp(kept.confirm_time),
    )
    if kept.lifting is not None:
        wire.write_timestamp(message.lift_time, kept.lifting.time)
        message.lift_reason = kept.lifting.reason
        if kept.lifting.principal:
            message.lifted_by.principal, message.lifted_by.name = kept.lifting.principal, kept.lifting.principal_name
    return message


def suppression_created(kept: Suppression, correlation_id: str = "") -> Fact:
    """The fact that an address must never be written to again."""
    fact = events_pb2.SuppressionCreated(
        organization_id=str(kept.organization_id), suppression=suppression_message(kept)
    )
    return Fact(kept.organization_id, fact, correlation_id)


def suppression_lifted(kept: Suppression, correlation_id: str = "") -> Fact:
    """The fact that a suppression has ended."""
    fact = events_pb2.SuppressionLifted(
        organization_id=str(kept.organization_id), suppression=suppression_message(kept)
    )
    return Fact(kept.organization_id, fact, correlation_id)
