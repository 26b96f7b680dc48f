"""Reports as the contract's messages, and as they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from chassis import wire
from chassis.enums import enum_number
from chassis.outbox import Fact
from prosa.ingest.v1 import events_pb2
from prosa.ingest.v1 import rollout_service_pb2 as pb
from prosa.v1.options_pb2 import Actor
from services.ingest.rollout.rules import Item
from services.ingest.rollout.state import Rollout

PASSED, FAILED, SKIPPED = "PASSED", "FAILED", "SKIPPED"


def kept_items(items: Sequence[Item]) -> bytes:
    """Items as JSON."""
    return orjson.dumps(
        [
            {
                "name": item.name,
                "state": SKIPPED if item.skipped else PASSED if item.passed else FAILED,
                "detail": item.detail,
                "advice": item.advice,
                "evidence_json": orjson.dumps(item.evidence).decode(),
                "duration_ms": item.duration_ms,
            }
            for item in items
        ]
    )


def rollout_message(rollout: Rollout) -> pb.Rollout:
    """How far an organization is."""
    return pb.Rollout(
        organization_id=str(rollout.organization_id),
        state=enum_number(pb.RolloutState, rollout.state.value),
        activate_time=wire.to_timestamp(rollout.activate_time),
        roll_back_time=wire.to_timestamp(rollout.roll_back_time),
        reason=rollout.reason,
        actor=Actor(principal=rollout.principal, name=rollout.principal_name) if rollout.principal else None,
        update_time=wire.to_timestamp(rollout.update_time) if rollout.version else None,
        etag=str(rollout.version),
    )


def rollout_changed(before: Rollout, after: Rollout) -> Fact:
    """The fact that an organization went live, or back."""
    fact = events_pb2.RolloutChanged(
        organization_id=str(after.organization_id),
        rollout=rollout_message(after),
        previous_rollout=rollout_message(before),
        version=after.version,
    )
    return Fact(after.organization_id, fact)


def report_message(row: Any) -> pb.RolloutReport:
    """A report as it is answered."""
    return pb.RolloutReport(
        rollout_report_id=str(row.id),
        organization_id=str(row.organization_id),
        phase=enum_number(pb.RolloutPhase, row.phase),
        passed=row.passed,
        items=[_item(kept) for kept in orjson.loads(row.items)],
        actor=Actor(principal=row.principal, name=row.principal_name),
        create_time=wire.to_timestamp(row.create_time),
        duration_ms=row.duration_ms,
        before=None if row.rollout_before is None else pb.Rollout.FromString(bytes(row.rollout_before)),
        after=None if row.rollout_after is None else pb.Rollout.FromString(bytes(row.rollout_after)),
        reason=row.reason,
    )


def _item(kept: dict[str, Any]) -> pb.RolloutItem:
    return pb.RolloutItem(**{**kept, "state": enum_number(pb.ItemState, kept["state"])})
