"""The comments of the contracts, which the generated Python does not carry: read from a descriptor set with sources."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from importlib import resources
from typing import NamedTuple

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto, FileDescriptorSet

DESCRIPTOR_SET = "descriptors.binpb"

_MESSAGE, _ENUM, _SERVICE = 4, 5, 6  # field numbers within FileDescriptorProto
_FIELD, _NESTED, _NESTED_ENUM = 2, 3, 4  # within DescriptorProto
_MEMBER = 2  # EnumDescriptorProto.value, ServiceDescriptorProto.method
_ERRORS = re.compile(r"\s*\bErrors:\s*(?P<errors>.*)$", re.DOTALL)
_HTTP_STATUS = re.compile(r"HTTP ([45][0-9]{2})")
_CODE = re.compile(r"[A-Z][A-Z_]+")

CODES = frozenset(
    [
        "INVALID_ARGUMENT",
        "OUT_OF_RANGE",
        "FAILED_PRECONDITION",
        "UNAUTHENTICATED",
        "PERMISSION_DENIED",
        "NOT_FOUND",
        "ALREADY_EXISTS",
        "ABORTED",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
        "DEADLINE_EXCEEDED",
    ]
)


class Reason(NamedTuple):
    """What the contracts say of a reason."""

    # The HTTP status it comes with where that is no canonical code's, else 0.
    status: int
    # "" where it comes with several.
    code: str
    sentence: str


class DeclaredError(NamedTuple):
    """An error that an RPC's comment declares."""

    code: str
    reason: str


@cache
def comments() -> dict[str, str]:
    """Answers the comment of each message, field, enum, value, service and RPC, by its full name.

    Empty where the descriptor set was not generated: everything works without, with fewer words.
    """
    source = resources.files("prosa").joinpath(DESCRIPTOR_SET)
    if not source.is_file():
        return {}
    found: dict[str, str] = {}
    for file in FileDescriptorSet.FromString(source.read_bytes()).file:
        places = dict(_places(file))
        for location in file.source_code_info.location:
            name = places.get(tuple(location.path))
            text = " ".join(location.leading_comments.split())
            if name is not None and text:
                found[name] = text
    return found


@cache
def reasons() -> dict[str, Reason]:
    """Answers what is said of each reason of an error, by the reason: from the enums ErrorReason of all services."""
    found: dict[str, Reason] = {}
    for name, comment in comments().items():
        parent, _, value = name.rpartition(".")
        if parent.endswith(".ErrorReason"):
            code, _, sentence = comment.partition(": ")
            match = _HTTP_STATUS.fullmatch(code)
            known = code in CODES
            text = sentence if known or match else comment
            reason = Reason(int(match[1]) if match else 0, code if known else "", text[:1].upper() + text[1:])
            # Several services give the same general reasons; the first one's words do for all.
            found.setdefault(value.removeprefix("ERROR_REASON_"), reason)
    return found


def split_errors(comment: str) -> tuple[str, list[DeclaredError]]:
    """Takes "Errors: NOT_FOUND CONTACT_NOT_FOUND; ABORTED …" off a comment; answers the rest and the errors."""
    match = _ERRORS.search(comment)
    if match is None:
        return comment, []
    errors: list[DeclaredError] = []
    code = ""
    for word in _CODE.findall(match["errors"]):
        if word in CODES:
            code = word
        elif code:
            errors.append(DeclaredError(code, word))
    return comment[: match.start()].strip(), errors


def _places(file: FileDescriptorProto) -> Iterator[tuple[tuple[int, ...], str]]:
    """Answers what is declared at which path of the source information."""
    for index, message in enumerate(file.message_type):
        yield from _message_places((_MESSAGE, index), f"{file.package}.{message.name}", message)
    for index, enum in enumerate(file.enum_type):
        name = f"{file.package}.{enum.name}"
        yield (_ENUM, index), name
        for number, value in enumerate(enum.value):
            yield (_ENUM, index, _MEMBER, number), f"{name}.{value.name}"
    for index, service in enumerate(file.service):
        name = f"{file.package}.{service.name}"
        yield (_SERVICE, index), name
        for number, method in enumerate(service.method):
            yield (_SERVICE, index, _MEMBER, number), f"{name}.{method.name}"


def _message_places(
    path: tuple[int, ...], name: str, message: DescriptorProto
) -> Iterator[tuple[tuple[int, ...], str]]:
    yield path, name
    for index, field in enumerate(message.field):
        yield (*path, _FIELD, index), f"{name}.{field.name}"
    for index, nested in enumerate(message.nested_type):
        yield from _message_places((*path, _NESTED, index), f"{name}.{nested.name}", nested)
    for index, enum in enumerate(message.enum_type):
        yield (*path, _NESTED_ENUM, index), f"{name}.{enum.name}"
        for number, value in enumerate(enum.value):
            yield (*path, _NESTED_ENUM, index, _MEMBER, number), f"{name}.{enum.name}.{value.name}"
