"""Rules of the contracts that a request breaks, in words that tell its caller what to send instead."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import protovalidate
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from chassis.errors import FieldViolation

TOLD_MAX = 3
"""A sentence names so many fields; the list of violations has them all."""


def broken_rules(request: Message) -> list[FieldViolation]:
    """What is wrong with the request, field by field; nothing when every rule holds."""
    return [
        FieldViolation(_path(violation), _description(request, violation))
        for violation in protovalidate.collect_violations(request)
    ]


def sentence(violations: Sequence[FieldViolation]) -> str:
    """The violations as one sentence: "name must not be empty; email must be an e-mail address."."""
    told = [f"{violation.field or 'The request'} {violation.description}" for violation in violations[:TOLD_MAX]]
    if (more := len(violations) - len(told)) > 0:
        told.append(f"and {counted(more, 'more field')}")
    return "; ".join(told) + "."


def counted(count: int, noun: str) -> str:
    """A number with its noun: "1 item", "2 items"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _at_least(unit: str) -> Callable[[Any], str]:
    return lambda least: "must not be empty" if least == 1 else f"must have at least {counted(least, unit)}"


def _at_most(unit: str) -> Callable[[Any], str]:
    return lambda most: f"must have at most {counted(most, unit)}"


def _uuid(_: Any) -> str:
    return "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057"


def _email(_: Any) -> str:
    return "must be an e-mail address such as ana@example.com"


_WORDS: dict[str, Callable[[Any], str]] = {
    "required": lambda _: "must not be empty",
    "string.min_len": _at_least("character"),
    "string.max_len": _at_most("character"),
    "string.uuid": _uuid,
    "string.uuid_empty": _uuid,
    "string.email": _email,
    "string.email_empty": _email,
    "repeated.min_items": _at_least("item"),
    "repeated.max_items": _at_most("item"),
    "enum.in": lambda _: "must be one of the values that this call takes",
    "int64.gt": lambda bound: f"must be greater than {bound}",
    "int64.gte": lambda bound: f"must not be less than {bound}",
}
"""By rule, what must be; of the rule's own value."""


def _description(request: Message, violation: Any) -> str:
    rule: str = violation.proto.rule_id
    if rule in _WORDS:
        return _WORDS[rule](violation.rule_value)
    if rule.startswith("enum.") and (enum := _enum(request, violation)) is not None:
        refused = violation.rule_value if rule == "enum.not_in" else ()
        return f"must be {_one_of(_names(enum, refused))}"
    # A kind of rule that no contract had when this was written.
    return str(violation.proto.message) or f"breaks the rule {rule}"


def _enum(request: Message, violation: Any) -> EnumDescriptor | None:
    descriptor: Any = request.DESCRIPTOR
    field: FieldDescriptor | None = None
    for element in violation.proto.field.elements:
        if descriptor is None or element.field_name not in descriptor.fields_by_name:
            return None
        field = descriptor.fields_by_name[element.field_name]
        descriptor = field.message_type
    return field.enum_type if field is not None else None


def _names(enum: EnumDescriptor, refused: Iterable[int]) -> list[str]:
    # JSON says WHATSAPP for SOURCE_WHATSAPP; the value 0 is always the unspecified one.
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    unwanted = {0, *refused}
    return [value.name.removeprefix(prefix) for value in enum.values if value.number not in unwanted]


def _one_of(names: Sequence[str]) -> str:
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _path(violation: Any) -> str:
    parts = []
    for element in violation.proto.field.elements:
        subscript = f"[{element.subscript.value}]" if element.subscript is not None else ""
        parts.append(f"{element.field_name}{subscript}")
    return ".".join(parts)
