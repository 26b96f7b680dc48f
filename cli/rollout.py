"""What was seen and done when an organization was to go live, or back: printed, kept as a file, told by the code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from google.protobuf.json_format import MessageToDict

from chassis.enums import enum_text
from cli.calls import Calls
from cli.failures import RED, REFUSED, Refused
from cli.output import answer
from prosa.ingest.v1 import rollout_service_pb2 as pb
from prosa.ingest.v1.rollout_service_pb2_grpc import RolloutServiceStub

ROLLOUT_SECONDS = 30.0
"""The service itself gives up sooner."""
_MARKS = {pb.ITEM_STATE_PASSED: "ok  ", pb.ITEM_STATE_SKIPPED: "skip"}
"""How items of a report begin, by their state; all others have failed."""
_ENDINGS = {
    pb.ROLLOUT_PHASE_DOCTOR: ("All passed.", "Not ready to go live."),
    pb.ROLLOUT_PHASE_ACTIVATE: ("Live.", "Nothing was changed. Mend what failed, then run it again."),
    pb.ROLLOUT_PHASE_ROLL_BACK: ("Back: automation is off.", "Something is left to do. Run it again."),
}
"""What the last line says of each step, passed and failed."""

Evidence = Annotated[str, typer.Option(help="A folder to write what was seen into, as a file of JSON.")]
Reason = Annotated[str, typer.Option(help="Why; kept with the evidence and in the audit.")]


def rollout_stub(calls: Calls) -> Any:
    """The service that takes organizations live and back."""
    return calls.stub(RolloutServiceStub, "ingest")


def show_report(report: pb.RolloutReport, organization_name: str, evidence: str, *, as_json: bool) -> None:
    """Prints a report, writes it where that is wanted, and ends the command with 1 where something failed.

    Raises Refused where the folder cannot be written.
    """
    document = MessageToDict(report, preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    document["organization_name"] = organization_name
    lines = [f"{organization_name}  {report.organization_id}"]
    for item in report.items:
        lines.append(f"  {_MARKS.get(item.state, 'FAIL')}  {item.name}: {item.detail}")
        if item.advice:
            lines.append(f"        {item.advice}")
    passed, failed = _ENDINGS[report.phase]
    lines.append(passed if report.passed else failed)
    if report.HasField("after"):
        lines.append(f"State: {_state(report.before)} before, {_state(report.after)} now.")
    if evidence:
        lines.append(f"Evidence: {_write(evidence, report, document)}")
    answer(document, lines, as_json=as_json)
    if not report.passed:
        raise typer.Exit(RED)


def _state(rollout: pb.Rollout) -> str:
    return enum_text(pb.RolloutState, rollout.state)


def _write(folder: str, report: pb.RolloutReport, document: dict[str, Any]) -> Path:
    phase = enum_text(pb.RolloutPhase, report.phase).lower().replace("_", "")
    file = Path(folder) / f"{phase}-{report.rollout_report_id}.json"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(document, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise Refused(f"--evidence {folder}: {error.strerror}.", exit_code=REFUSED) from error
    return file
