"""Between protobuf's types and Python's."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import FieldViolation, InvalidArgument

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CANONICAL_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


def to_uuid(field: str, value: str) -> UUID:
    """The id in a field. Raises InvalidArgument ID_INVALID naming the field."""
    try:
        return UUID(value)
    except ValueError:
        violation = FieldViolation(field, "must be a UUID such as 01890a5d-ac96-774b-bcce-b302099a8057")
        raise InvalidArgument("ID_INVALID", f"{field} must be a UUID.", violations=[violation]) from None


def to_optional_uuid(field: str, value: str) -> UUID | None:
    """The id in a field, or None where it is empty."""
    return to_uuid(field, value) if value else None


def to_id(field: str, value: str) -> str:
    """The id in a field as a text in its canonical form. Raises InvalidArgument ID_INVALID naming the field."""
    return value if _CANONICAL_ID.fullmatch(value) else str(to_uuid(field, value))


def to_optional_id(field: str, value: str) -> str | None:
    """The id in a field as a text in its canonical form, or None where it is empty."""
    return to_id(field, value) if value else None


def to_timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment for the wire; None stays None, and the field unset."""
    if moment is None:
        return None
    stamp = Timestamp()
    write_timestamp(stamp, moment)
    return stamp


def write_timestamp(field: Timestamp, moment: datetime) -> None:
    """Writes a moment into a message's own field: half the work of making a Timestamp that the message then copies."""
    since = moment - EPOCH
    field.seconds = since.days * 86_400 + since.seconds
    field.nanos = since.microseconds * 1_000


def from_timestamp(stamp: Timestamp) -> datetime:
    """A moment from the wire, in UTC, to the microsecond. Raises InvalidArgument TIME_INVALID beyond the calendar."""
    try:
        return EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1_000)
    except OverflowError:
        raise InvalidArgument("TIME_INVALID", "A time must lie between the years 1 and 9999.") from None


def text(value: object | None) -> str:
    """A value for a string field: None is the empty string."""
    return "" if value is None else str(value)
