"""`prosa alerts`: what is not well with an organization, and what was not."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from chassis.enums import enum_text
from cli.calls import all_pages, open_calls
from cli.choosing import Org
from cli.failures import RED, operation
from cli.organizations import find_organization
from cli.output import Json, print_json, print_rows
from prosa.ingest.v1 import alert_service_pb2 as pb
from prosa.ingest.v1.alert_service_pb2_grpc import AlertServiceStub

LIMIT = 50


@operation
async def alerts(
    org: Org,
    every: Annotated[bool, typer.Option("--all", help="Also those that are resolved.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = LIMIT,
    as_json: Json = False,
) -> None:
    """List what is not well: 0 when no alert is open, 1 when one is. docs/slo.md says what opens them."""
    async with open_calls() as calls:
        organization = await find_organization(calls, org)
        found = await all_pages(
            calls.stub(AlertServiceStub, "ingest").ListAlerts,
            pb.ListAlertsRequest(state=pb.ALERT_STATE_UNSPECIFIED if every else pb.ALERT_STATE_OPEN),
            "alerts",
            limit,
            metadata=calls.organization(organization.organization_id),
        )
    rows = [alert_row(alert) for alert in found]
    if as_json:
        print_json({"organization_id": organization.organization_id, "alerts": rows})
    else:
        columns = ["kind", "state", "open_time", "resolve_time", "failure_count", "event_count", "runbook"]
        print_rows(rows, columns, empty="No alert is open." if not every else "There was no alert.")
    if any(alert.state == pb.ALERT_STATE_OPEN for alert in found):
        raise typer.Exit(RED)


def alert_row(alert: pb.Alert) -> dict[str, Any]:
    """An alert as it is printed."""
    return {
        "alert_id": alert.alert_id,
        "kind": enum_text(pb.AlertKind, alert.kind),
        "state": enum_text(pb.AlertState, alert.state),
        "open_time": alert.open_time.ToJsonString(),
        "resolve_time": alert.resolve_time.ToJsonString() if alert.HasField("resolve_time") else None,
        "event_count": alert.failure_share.event_count,
        "failure_count": alert.failure_share.failure_count,
        "threshold": alert.failure_share.threshold,
        "window_seconds": alert.failure_share.window_seconds,
        "runbook": alert.runbook,
    }
