"""How one field's value looks in JSON, and how JSON becomes such a value again.

A reader takes what JSON held and answers the protobuf value, or None where the value counts as absent: automation
tools send blank texts for what they do not have, and numbers as texts.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.enums import short_names

VIOLATIONS_MAX = 20
"""How many wrong fields of one request are told."""

Write = Callable[[Any], Any]
Read = Callable[[object], Any]

EXAMPLE_TIME = "2026-11-22T14:30:00Z"
EXAMPLE_ID = "0198c0de-7a11-7cc3-98c4-dc0c0c07398f"
_EXAMPLE_IDS = {"external_id": "17841400000000000", "provider_conversation_id": "42"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOT_AN_ID = frozenset({"undefined", "null", "[object Object]"})
_EXACT_FLOAT_MAX = 2**53
_INTEGER = re.compile(r"-?[0-9]{1,20}")

_F = FieldDescriptor
_RANGES = {
    _F.TYPE_INT32: (-(2**31), 2**31 - 1),
    _F.TYPE_SINT32: (-(2**31), 2**31 - 1),
    _F.TYPE_SFIXED32: (-(2**31), 2**31 - 1),
    _F.TYPE_UINT32: (0, 2**32 - 1),
    _F.TYPE_FIXED32: (0, 2**32 - 1),
    _F.TYPE_INT64: (-(2**63), 2**63 - 1),
    _F.TYPE_SINT64: (-(2**63), 2**63 - 1),
    _F.TYPE_SFIXED64: (-(2**63), 2**63 - 1),
    _F.TYPE_UINT64: (0, 2**64 - 1),
    _F.TYPE_FIXED64: (0, 2**64 - 1),
}


class FieldError(NamedTuple):
    """One field that could not be read: its path from here on, and what is wrong in a sentence."""

    path: str
    description: str
    unknown: bool = False


class FieldErrors(Exception):
    """The fields of one message that could not be read."""

    def __init__(self, errors: list[FieldError]) -> None:
        super().__init__(f"{len(errors)} fields could not be read")
        self.errors = errors


def invalid(description: str) -> FieldErrors:
    """Says that the value at hand is wrong; whoever knows its place adds the path."""
    return FieldErrors([FieldError("", description)])


def prefixed(name: str, error: FieldErrors) -> list[FieldError]:
    """The same wrongs, seen from one level higher."""
    return [item._replace(path=_join(name, item.path)) for item in error.errors]


def _join(name: str, path: str) -> str:
    if not path:
        return name
    return f"{name}{path}" if path.startswith("[") else f"{name}.{path}"


def write_timestamp(value: Timestamp) -> datetime:
    """A moment as orjson writes it: RFC 3339, in UTC with a Z, to the microsecond."""
    moment = datetime.fromtimestamp(value.seconds, UTC)
    return moment.replace(microsecond=value.nanos // 1000) if value.nanos else moment


def _write_bytes(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _write_float(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


class _EnumNames(dict[int, str]):
    """Names by number; what a newer service knows and this gateway does not is told by its number."""

    def __missing__(self, number: int) -> int:
        return number


def _enum_writer(enum: EnumDescriptor) -> Write:
    # The look-up itself is the writer: no call of our own stands before it.
    return _EnumNames(short_names(enum)).__getitem__


def value_writer(field: FieldDescriptor) -> Write | None:
    """Answers how a value that is no message is written; None where it goes into JSON as it is."""
    if field.enum_type is not None:
        return _enum_writer(field.enum_type)
    if field.type == _F.TYPE_BYTES:
        return _write_bytes
    if field.type in (_F.TYPE_DOUBLE, _F.TYPE_FLOAT):
        return _write_float
    return None


def value_reader(field: FieldDescriptor) -> Read:
    """Answers how a value that is no message is read."""
    if field.type == _F.TYPE_STRING:
        return _id_reader(_EXAMPLE_IDS.get(field.name, EXAMPLE_ID)) if names_an_id(field.name) else _read_text
    if field.enum_type is not None:
        return _enum_reader(field.enum_type)
    if field.type == _F.TYPE_BOOL:
        return _read_bool
    if field.type == _F.TYPE_BYTES:
        return _read_bytes
    if field.type in (_F.TYPE_DOUBLE, _F.TYPE_FLOAT):
        return _read_float
    return _integer_reader(*_RANGES[field.type])


def names_an_id(name: str) -> bool:
    """Whether a field holds an id or several, by its name."""
    return name == "id" or name.endswith(("_id", "_ids"))


def kind(value: object) -> str:
    """Answers what a JSON value is, in a person's words."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, int | float):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object"


def is_blank(value: object) -> bool:
    return isinstance(value, str) and not value.strip()


def _read_text(value: object) -> str:
    if type(value) is str:
        return value
    raise invalid(f'must be a text, such as "Ana"; got {kind(value)}')


def _id_reader(example: str) -> Read:
    # A number is not taken: whoever sends a long id as one has lost its last digits already.
    advice = f'must be a text in quotes, such as "{example}"'

    def read(value: object) -> str:
        if type(value) is not str:
            raise invalid(f"{advice}; got {kind(value)}")
        if value.strip() in _NOT_AN_ID:
            raise invalid(f'must be an id, not the text "{value}": the expression that should give it has no value')
        return value

    return read


def _enum_reader(enum: EnumDescriptor) -> Read:
    short = short_names(enum)
    numbers = {value.name: value.number for value in enum.values} | {name: number for number, name in short.items()}
    proper = [name for number, name in sorted(short.items()) if number != 0] or list(short.values())
    advice = f"must be one of {', '.join(proper)}"

    def read(value: object) -> int | None:
        if isinstance(value, str):
            number = numbers.get(value)
            if number is not None:
                return number
            if is_blank(value):
                return None
        raise invalid(f'{advice}, such as "{proper[0]}"')

    return read


def _read_bool(value: object) -> bool | None:
    if value is True or value is False:
        return value
    if isinstance(value, str):
        if value in ("true", "false"):
            return value == "true"
        if is_blank(value):
            return None
    raise invalid(f"must be true or false; got {kind(value)}")


def _integer_reader(low: int, high: int) -> Read:
    advice = f"must be a whole number from {low} to {high}, such as 42"

    def read(value: object) -> int | None:
        number: int | None = None
        if type(value) is int:
            number = value
        elif isinstance(value, str):
            text = value.strip()
            if not text:
                return None
            number = int(text) if _INTEGER.fullmatch(text) else None
        elif isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_FLOAT_MAX:
            number = int(value)
        if number is None:
            raise invalid(f"{advice}; got {kind(value)}")
        if not low <= number <= high:
            raise invalid(advice)
        return number

    return read


def _read_float(value: object) -> float | None:
    if type(value) in (int, float):
        return float(value)  # type: ignore[arg-type]
    if isinstance(value, str):
        if is_blank(value):
            return None
        try:
            return float(value)
        except ValueError:
            raise invalid("must be a number, such as 1.5; got a text") from None
    raise invalid(f"must be a number, such as 1.5; got {kind(value)}")


def _read_bytes(value: object) -> bytes:
    if isinstance(value, str):
        text = value.strip().rstrip("=").replace("-", "+").replace("_", "/")
        try:
            return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError):
            pass  # told below, with an example
    raise invalid('must be bytes in base64, such as "b2zDoQ=="')


def read_timestamp(value: object) -> Timestamp | None:
    """Reads RFC 3339 with any offset, to the microsecond."""
    if isinstance(value, str):
        text = value.strip()
        if not text:
            return None
        # A date alone or without its offset would be read as some moment, hardly the one that was meant.
        if len(text) > len("2026-11-22") and text[10] in "Tt ":
            try:
                since = datetime.fromisoformat(text) - EPOCH
            except (ValueError, TypeError, OverflowError):
                raise invalid(_TIME_ADVICE) from None
            # An offset may carry a time at either end of the calendar beyond it.
            if _FIRST_TIME <= since <= _LAST_TIME:
                return _to_timestamp(since)
    raise invalid(_TIME_ADVICE)


_FIRST_TIME = datetime.min.replace(tzinfo=UTC) - EPOCH
_LAST_TIME = datetime.max.replace(tzinfo=UTC) - EPOCH
_TIME_ADVICE = f'must be a time with its offset (RFC 3339), such as "{EXAMPLE_TIME}"'


def _to_timestamp(since: timedelta) -> Timestamp:
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1000)


def list_reader(read_item: Read) -> Read:
    """Reads a list; a blank text counts as absent."""

    def read(value: object) -> list[Any] | None:
        if type(value) is not list:
            if is_blank(value):
                return None
            raise invalid(f"must be a list, such as []; got {kind(value)}")
        items, errors = [], []
        for index, item in enumerate(value):
            try:
                found = None if item is None else read_item(item)
            except FieldErrors as error:
                errors += prefixed(f"[{index}]", error)
            else:
                if found is None:
                    errors.append(FieldError(f"[{index}]", "must not be empty"))
                items.append(found)
            if len(errors) >= VIOLATIONS_MAX:
                break
        if errors:
            raise FieldErrors(errors)
        return items

    return read


def map_reader(read_key: Read, read_value: Read) -> Read:
    """Reads an object with free keys."""

    def read(value: object) -> dict[Any, Any] | None:
        if type(value) is not dict:
            if is_blank(value):
                return None
            raise invalid(f"must be an object, such as {{}}; got {kind(value)}")
        found, errors = {}, []
        for key, item in value.items():
            try:
                found[read_key(key)] = read_value(item)
            except FieldErrors as error:
                errors += prefixed(f'["{key[:100]}"]', error)
            if len(errors) >= VIOLATIONS_MAX:
                break
        if errors:
            raise FieldErrors(errors)
        return found

    return read


def map_writer(write_key: Write | None, write_value: Write | None) -> Write:
    """Writes a map as an object; JSON wants its keys as texts."""

    def write(value: Mapping[Any, Any]) -> dict[str, Any]:
        return {
            (key if write_key is None else write_key(key)): (item if write_value is None else write_value(item))
            for key, item in value.items()
        }

    return write


def write_map_key(value: object) -> str:
    """A map's key as text: true and false as JSON writes them."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def list_writer(write_item: Write | None) -> Write:
    """Writes a repeated field as a list."""
    if write_item is None:
        return list
    item_writer = write_item

    def write(value: Any) -> list[Any]:
        return [item_writer(item) for item in value]

    return write
