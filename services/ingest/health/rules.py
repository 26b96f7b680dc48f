"""When an alert opens and when it is resolved. No I/O, no clock, no protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple
from uuid import UUID

from services.ingest.health import thresholds


class AlertKind(StrEnum):
    """What it is about."""

    WEBHOOK_FAILURES = "WEBHOOK_FAILURES"


class AlertState(StrEnum):
    """How it stands."""

    OPEN = "OPEN"
    RESOLVED = "RESOLVED"


RUNBOOKS = {AlertKind.WEBHOOK_FAILURES: "a-customer-wrote-and-nothing-appears"}
"""The section of docs/runbooks/README.md to open."""


class Counts(NamedTuple):
    """What became of the webhooks of one organization in a window."""

    event_count: int = 0
    failure_count: int = 0

    @property
    def above(self) -> bool:
        """Whether more failed than may."""
        return self.failure_count > thresholds.WEBHOOK_FAILURES_SHARE * self.event_count

    @property
    def opens(self) -> bool:
        """Whether that is enough to tell somebody: few events say nothing."""
        return (
            self.above
            and self.event_count >= thresholds.WEBHOOK_FAILURES_EVENTS_MIN
            and self.failure_count >= thresholds.WEBHOOK_FAILURES_FAILURES_MIN
        )


@dataclass(slots=True)
class Alert:
    """A row of ``alerts``; the fields are its columns."""

    organization_id: UUID
    id: UUID
    kind: AlertKind
    state: AlertState
    open_time: datetime
    resolve_time: datetime | None
    event_count: int
    failure_count: int
    threshold: float
    window_seconds: int
    version: int


def opened(organization_id: UUID, alert_id: UUID, counts: Counts, now: datetime) -> Alert:
    """An alert about webhooks that fail."""
    return Alert(
        organization_id=organization_id,
        id=alert_id,
        kind=AlertKind.WEBHOOK_FAILURES,
        state=AlertState.OPEN,
        open_time=now,
        resolve_time=None,
        event_count=counts.event_count,
        failure_count=counts.failure_count,
        threshold=thresholds.WEBHOOK_FAILURES_SHARE,
        window_seconds=int(thresholds.WEBHOOK_FAILURES_WINDOW.total_seconds()),
        version=1,
    )


def resolve(alert: Alert, now: datetime) -> None:
    """It is well again."""
    alert.state, alert.resolve_time, alert.version = AlertState.RESOLVED, now, alert.version + 1
