"""Between protobuf's types and Python's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from google.protobuf.timestamp_pb2 import Timestamp

from chassis.errors import FieldViolation, InvalidArgument

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


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


def to_timestamp(moment: datetime | None) -> Timestamp | None:
    """A moment for the wire; None stays None, and the field unset."""
    if moment is None:
        return None
    since = moment - EPOCH
    return Timestamp(seconds=since.days * 86_400 + since.seconds, nanos=since.microseconds * 1_000)


def from_timestamp(stamp: Timestamp) -> datetime:
    """A moment from the wire, in UTC, to the microsecond. Raises InvalidArgument TIME_INVALID beyond the calendar."""
    try:
        return EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1_000)
    except OverflowError:
        raise InvalidArgument("TIME_INVALID", "A time must lie between the years 1 and 9999.") from None


def text(value: object | None) -> str:
    """A value for a string field: None is the empty string."""
    return "" if value is None else str(value)
