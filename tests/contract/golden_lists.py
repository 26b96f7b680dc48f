"""What others rely on by name: facts, reasons, operations and metrics, kept as golden lists.

``python -m tests.contract.golden_lists`` writes the lists anew. A name that is gone from a list breaks somebody's flow:
add names freely, take one away only with a new version of the contract.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from chassis.transcoding.contracts import files, services
from chassis.transcoding.plans import Plans
from gateway.openapi.comments import reasons
from gateway.transcoding.bindings import bindings
from prosa.v1 import options_pb2
from services.ingest.normal_form import IgnoredReason, InvalidReason

GOLDEN = Path(__file__).parent / "golden"


def facts() -> list[str]:
    """Every fact with its fields, since consumers read those."""
    return [
        f"{message.full_name}: {', '.join(f'{field.name}={field.number}' for field in message.fields)}"
        for file in files()
        if file.name.endswith("/events.proto")
        for message in file.message_types_by_name.values()
    ]


def error_reasons() -> list[str]:
    """Every reason of an error, with the list that holds it."""
    return [
        f"{file.package} {value.name.removeprefix('ERROR_REASON_')}"
        for file in files()
        for enum in file.enum_types_by_name.values()
        if enum.name == "ErrorReason"
        for value in enum.values
        if value.number
    ]


def webhook_reasons() -> list[str]:
    """Every reason for which a webhook event is ignored or a dead letter."""
    parsed = [f"IGNORED {item.value}" for item in IgnoredReason]
    # Found out on the way, behind the parser.
    later = ["IGNORED CONTACT_UNKNOWN"]
    return parsed + later + [f"DEAD_LETTER {item.value}" for item in InvalidReason]


def paths() -> list[str]:
    """Every path of the REST interface, with the scope an API key needs."""
    return [
        f"{item.http_method} {item.template} "
        f"{item.rpc.GetOptions().Extensions[options_pb2.permission].scope or 'no key'}"
        for item in bindings(Plans())
    ]


def rpcs() -> list[str]:
    """Every RPC with its messages."""
    return [
        f"{service.full_name}/{method.name}({method.input_type.name}) {method.output_type.name}"
        for service in services()
        for method in service.methods
    ]


LISTS: dict[str, Callable[[], list[str]]] = {
    "facts": facts,
    "error_reasons": error_reasons,
    "webhook_reasons": webhook_reasons,
    "paths": paths,
    "rpcs": rpcs,
}


def text_of(name: str) -> str:
    """A list as its file holds it: sorted, one name a line."""
    return "".join(f"{line}\n" for line in sorted(LISTS[name]()))


def main() -> None:
    """Writes every list."""
    assert reasons(), "make generate has not been run"
    GOLDEN.mkdir(exist_ok=True)
    for name in LISTS:
        (GOLDEN / f"{name}.txt").write_text(text_of(name), encoding="utf-8")


if __name__ == "__main__":
    main()
