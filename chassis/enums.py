"""Enums of the contracts as plain text: ``ACTIVE`` in rows and JSON where a contract says ``SCRIPT_STATE_ACTIVE``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from chassis.errors import InvalidArgument

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

Number = TypeVar("Number", bound=int)


def enum_text(enum: _EnumTypeWrapper[Number], number: Number) -> str:
    """The short name of a value. Raises ValueError for a number that the contract does not know."""
    try:
        return short_names(enum.DESCRIPTOR)[number]
    except KeyError:
        raise ValueError(f"{enum.DESCRIPTOR.full_name} has no value {number}.") from None


def enum_number(enum: _EnumTypeWrapper[Number], text: str) -> Number:
    """The value of a short name. Raises ValueError for a name that the contract does not know."""
    return enum.Value(f"{_prefix(enum.DESCRIPTOR)}{text}")


@cache
def short_names(enum: EnumDescriptor) -> Mapping[int, str]:
    """The names by number, without the enum's own name, which leads each of them. Of aliases the first counts."""
    # Not the prefix that the names happen to share: one more value could change what the others are called.
    prefix = _prefix(enum)
    return {value.number: value.name.removeprefix(prefix) for value in reversed(enum.values)}


@cache
def _prefix(enum: EnumDescriptor) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"


def wanted_text(enum: _EnumTypeWrapper[Number], number: Number) -> str | None:
    """What a list is filtered by: None where the request names nothing.

    Enums are open on the wire, so a newer caller may name what this release does not know: raises InvalidArgument
    STATE_UNKNOWN.
    """
    if not number:
        return None
    names = short_names(enum.DESCRIPTOR)
    if number not in names:
        *others, last = (text for known, text in sorted(names.items()) if known)
        raise InvalidArgument("STATE_UNKNOWN", f"It must be one of {', '.join(others)} or {last}.")
    return names[number]
