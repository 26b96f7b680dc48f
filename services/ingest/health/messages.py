"""Alerts on the wire."""

from __future__ import annotations

from chassis import wire
from chassis.enums import enum_number
from chassis.outbox import Fact
from prosa.ingest.v1 import alert_service_pb2 as pb
from prosa.ingest.v1 import events_pb2
from services.ingest.health.rules import RUNBOOKS, Alert, AlertState


def alert_message(alert: Alert) -> pb.Alert:
    """An alert as it stands."""
    return pb.Alert(
        alert_id=str(alert.id),
        organization_id=str(alert.organization_id),
        kind=enum_number(pb.AlertKind, alert.kind.value),
        state=enum_number(pb.AlertState, alert.state.value),
        open_time=wire.to_timestamp(alert.open_time),
        resolve_time=wire.to_timestamp(alert.resolve_time),
        runbook=RUNBOOKS[alert.kind],
        failure_share=pb.FailureShare(
            event_count=alert.event_count,
            failure_count=alert.failure_count,
            threshold=alert.threshold,
            window_seconds=alert.window_seconds,
        ),
    )


def alert_fact(alert: Alert) -> Fact:
    """The fact that it opened, or was resolved."""
    kind = events_pb2.AlertOpened if alert.state is AlertState.OPEN else events_pb2.AlertResolved
    fact = kind(organization_id=str(alert.organization_id), alert=alert_message(alert), version=alert.version)
    return Fact(alert.organization_id, fact)
