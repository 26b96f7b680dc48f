"""Reports as the contract's messages, and as they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from chassis import wire
from chassis.enums import enum_number
from prosa.ingest.v1 import rollout_service_pb2 as pb
from prosa.v1.options_pb2 import Actor
from services.ingest.rollout.rules import Item

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
    )


def _item(kept: dict[str, Any]) -> pb.RolloutItem:
    return pb.RolloutItem(**{**kept, "state": enum_number(pb.ItemState, kept["state"])})
