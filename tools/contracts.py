"""Writes docs/contracts/reference from protos/, each part in its own words. `--check` only compares.

What types and comments cannot say stands beside it, by hand (docs/contracts/identity.md).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from google.api import annotations_pb2
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, MethodDescriptor, ServiceDescriptor

from chassis.system import SERVICES
from chassis.transcoding.contracts import files
from gateway.openapi.comments import comments, split_errors
from gateway.openapi.operations import describe_permission
from prosa.v1 import options_pb2

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "contracts" / "reference"
EVENTS = "events.proto"
REASONS = "ErrorReason"
HEAD = "Made by `make generate` from `protos/prosa/{service}/v1`; do not edit."


def main(arguments: Sequence[str]) -> int:
    """Answers 1 where `--check` finds a page that the contracts would not make."""
    pages = {FOLDER / f"{service}.md": page(service) for service in SERVICES}
    if "--check" in arguments:
        stale = [str(path.relative_to(ROOT)) for path, text in pages.items() if _read(path) != text]
        if stale:
            sys.stderr.write(f"Not what protos/ make of them: {', '.join(stale)}. Run: make generate\n")
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    return 0


def page(service: str) -> str:
    """The reference of one service's package."""
    own = sorted((file for file in files() if file.package == f"prosa.{service}.v1"), key=lambda file: file.name)
    lines = [f"# {service}: contracts", "", HEAD.format(service=service), ""]
    for file in own:
        for found in sorted(file.services_by_name.values(), key=lambda item: item.name):
            lines += _service(found)
    events = [message for file in own if file.name.endswith(EVENTS) for message in file.message_types_by_name.values()]
    lines += ["## Events", ""]
    for message in sorted(events, key=lambda item: item.name):
        lines += _message(message)
    lines += ["## Messages", ""]
    others = [
        message for file in own if not file.name.endswith(EVENTS) for message in file.message_types_by_name.values()
    ]
    for message in sorted(others, key=lambda item: item.name):
        lines += _message(message)
    lines += ["## Values", ""]
    enums = {enum.name: enum for file in own for enum in file.enum_types_by_name.values()}
    for name in sorted(enums, key=lambda name: (name == REASONS, name)):
        lines += _enum(enums[name])
    return "\n".join(lines).rstrip() + "\n"


def _service(service: ServiceDescriptor) -> Iterator[str]:
    yield from (f"## {service.name}", "")
    yield from _words(service.full_name)
    for rpc in service.methods:
        yield from _rpc(rpc)


def _rpc(rpc: MethodDescriptor) -> Iterator[str]:
    text, errors = split_errors(comments().get(rpc.full_name, ""))
    permission = rpc.GetOptions().Extensions[options_pb2.permission]
    yield from (f"### {rpc.name}", "")
    if text:
        yield from (text, "")
    asked, answered = _link(rpc.input_type), _link(rpc.output_type)
    yield f"- {asked} → {'stream of ' if rpc.server_streaming else ''}{answered}"
    for method, path in _paths(rpc):
        yield f"- `{method} {path}`"
    yield f"- {describe_permission(permission)}"
    if permission.services:
        yield f"- Services that may call: {', '.join(permission.services)}."
    if errors:
        yield f"- Errors: {', '.join(f'`{error.reason}`' for error in errors)}."
    yield ""


def _paths(rpc: MethodDescriptor) -> Iterator[tuple[str, str]]:
    rule = rpc.GetOptions().Extensions[annotations_pb2.http]
    for bound in (rule, *rule.additional_bindings):
        method = bound.WhichOneof("pattern")
        if method is not None:
            yield method.upper(), getattr(bound, method)


def _message(message: Descriptor) -> Iterator[str]:
    yield from (f"### {message.name}", "")
    yield from _words(message.full_name)
    if message.fields:
        yield from ("| field | number | type | what it says |", "| --- | --- | --- | --- |")
        for field in message.fields:
            said = comments().get(field.full_name, "").replace("|", "\\|")
            yield f"| `{field.name}` | {field.number} | {_type(field)} | {said} |"
        yield ""
    for nested in message.nested_types:
        if not nested.GetOptions().map_entry:
            yield from _message(nested)


def _enum(enum: EnumDescriptor) -> Iterator[str]:
    yield from (f"### {enum.name}", "")
    yield from _words(enum.full_name)
    yield from ("| value | number | what it says |", "| --- | --- | --- |")
    for value in enum.values:
        said = comments().get(f"{enum.full_name}.{value.name}", "").replace("|", "\\|")
        yield f"| `{value.name}` | {value.number} | {said} |"
    yield ""


def _words(full_name: str) -> Iterable[str]:
    text = comments().get(full_name, "")
    return (text, "") if text else ()


def _type(field: FieldDescriptor) -> str:
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        key, value = field.message_type.fields
        return f"map of {_single(key)} to {_single(value)}"
    return f"{'list of ' if field.is_repeated else ''}{_single(field)}"


def _single(field: FieldDescriptor) -> str:
    named = field.message_type or field.enum_type
    if named is not None:
        return _link(named)
    return _SCALARS[field.type]


_SCALARS = {
    FieldDescriptor.TYPE_STRING: "string",
    FieldDescriptor.TYPE_BYTES: "bytes",
    FieldDescriptor.TYPE_BOOL: "bool",
    FieldDescriptor.TYPE_INT32: "int32",
    FieldDescriptor.TYPE_INT64: "int64",
    FieldDescriptor.TYPE_UINT32: "uint32",
    FieldDescriptor.TYPE_UINT64: "uint64",
    FieldDescriptor.TYPE_FLOAT: "float",
    FieldDescriptor.TYPE_DOUBLE: "double",
}


def _link(named: Descriptor | EnumDescriptor) -> str:
    parts = named.full_name.split(".")
    service = parts[1] if parts[0] == "prosa" and len(parts) > 3 else ""
    if service not in SERVICES:
        return f"`{named.full_name}`"
    return f"[{named.name}]({service}.md#{named.name.lower()})"


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
