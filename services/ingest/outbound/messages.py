"""Endpoints and what they were sent as the contract's messages, and the facts about them."""

from __future__ import annotations

from typing import Any

from chassis import wire
from chassis.enums import enum_number
from chassis.outbox import Fact
from prosa.ingest.v1 import events_pb2
from prosa.ingest.v1 import outbound_service_pb2 as pb
from services.ingest.outbound.store import Endpoint


def endpoint_message(endpoint: Endpoint) -> pb.OutboundEndpoint:
    """An endpoint without its secrets."""
    return pb.OutboundEndpoint(
        outbound_endpoint_id=str(endpoint.id),
        organization_id=str(endpoint.organization_id),
        name=endpoint.name,
        url=endpoint.url,
        types=endpoint.types,
        enabled=endpoint.enabled,
        disabled_reason=endpoint.disabled_reason,
        secret_count=endpoint.secret_count,
        create_time=wire.to_timestamp(endpoint.create_time),
        etag=str(endpoint.version),
        last_success_time=wire.to_timestamp(endpoint.last_success_time),
        last_failure_time=wire.to_timestamp(endpoint.last_failure_time),
        last_failure_explanation=endpoint.last_failure_explanation,
        pending_count=endpoint.pending_count,
    )


def delivery_message(row: Any) -> pb.OutboundDelivery:
    """What became of one post."""
    return pb.OutboundDelivery(
        outbound_delivery_id=str(row.id),
        organization_id=str(row.organization_id),
        outbound_endpoint_id=str(row.outbound_endpoint_id),
        event_id=str(row.event_id),
        type=row.type,
        position=row.position,
        state=enum_number(pb.OutboundDeliveryState, row.state),
        attempt_count=row.attempt_count,
        retry_time=wire.to_timestamp(row.retry_time),
        create_time=wire.to_timestamp(row.create_time),
        settle_time=wire.to_timestamp(row.settle_time),
        status_code=row.status_code,
        explanation=row.explanation,
        hold_reason=row.hold_reason,
    )


def endpoint_changed(endpoint: Endpoint, *, deleted: bool = False) -> Fact:
    """The fact that an endpoint was made, disabled or deleted."""
    return Fact(
        endpoint.organization_id,
        events_pb2.OutboundEndpointChanged(
            organization_id=str(endpoint.organization_id),
            outbound_endpoint=endpoint_message(endpoint),
            deleted=deleted,
            version=endpoint.version + 1 if deleted else endpoint.version,
        ),
    )
