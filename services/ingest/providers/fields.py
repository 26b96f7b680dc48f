"""Reading untrusted JSON: each function takes what stands in a field and answers the type wanted, or nothing.

Providers, their forks and hand-made calls put numbers where texts belong, lists where objects belong, and so on.
None of these functions raises. The JSON reader makes no subclasses, so a number's very type tells it from a flag.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from chassis.json_reading import JsonMalformed, read_json
from services.ingest.limits import JSON_CONTAINERS_MAX
from services.ingest.normal_form import Invalid, InvalidReason

BODY_SIZE_MAX_BYTES = 32 * 1024 * 1024
# Genuine payloads nest about 8 levels. The JSON reader itself gives up somewhere before 1024.
JSON_DEPTH_MAX = 64
# Instagram's message ids have some 180 characters.
ID_LENGTH_MAX = 512
NAME_LENGTH_MAX = 255
EMAIL_LENGTH_MAX = 254
URL_LENGTH_MAX = 2048
# Chatwoot allows 150,000 characters and appends survey links.
TEXT_LENGTH_MAX = 160_000

EPOCH_SECONDS_MIN = 1_230_768_000  # 2009, the year of WhatsApp: what is older is a counter, a default or a mistake
EPOCH_SECONDS_MAX = 10_000_000_000  # 2286: a larger number counts something smaller than seconds
TIME_LENGTH_MAX = 100
_BLANK_BEFORE_OFFSET = re.compile(r"(?<=[0-9]) +(?=[+-][0-9])")
_UNITS_PER_SECOND = (1, 1_000, 1_000_000, 1_000_000_000)
_DECIMAL = re.compile(r"[0-9]{9,20}(?:\.[0-9]{1,9})?", re.ASCII)
# JavaScript writes: Sat Nov 28 2026 10:00:00 GMT-0300 (Brasilia Standard Time)
_BROWSER_TIME = re.compile(
    r"[A-Z][a-z]{2} ([A-Z][a-z]{2}) ([0-9]{1,2}) ([0-9]{4}) ([0-9]{2}:[0-9]{2}:[0-9]{2})(?: (?:GMT|UTC)([+-][0-9]{4}))?"
)
_INTEGER_MAX = 2**63 - 1
_NUMBERS = (int, float)
_NOTHING: Mapping[str, Any] = {}

Json = Mapping[str, Any]


def read_object(body: bytes) -> Json | Invalid:
    """Reads a body that must be one JSON object of bounded size and depth."""
    if len(body) > BODY_SIZE_MAX_BYTES:
        return Invalid(InvalidReason.TOO_LARGE, f"{len(body)} bytes")
    if crowded(body):
        return Invalid(InvalidReason.TOO_LARGE, f"more than {JSON_CONTAINERS_MAX} objects and lists")
    try:
        root = read_json(body)
    except JsonMalformed as error:
        reason = InvalidReason.TOO_DEEP if error.too_deep else InvalidReason.MALFORMED_JSON
        return Invalid(reason, str(error)[:NAME_LENGTH_MAX])
    if not isinstance(root, dict):
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "the body is no object")
    # A body with few brackets cannot be deep, which spares the walk for nearly all of them.
    if body.count(b"{") + body.count(b"[") > JSON_DEPTH_MAX and _too_deep(root):
        return Invalid(InvalidReason.TOO_DEEP, f"more than {JSON_DEPTH_MAX} levels")
    return root


def crowded(body: bytes, containers_max: int = JSON_CONTAINERS_MAX) -> bool:
    """Whether a body may hold more objects and lists than are read of it."""
    return len(body) > containers_max and body.count(b"{") + body.count(b"[") > containers_max


def _too_deep(root: Any) -> bool:
    level = [root]
    for _ in range(JSON_DEPTH_MAX):
        level = [
            child
            for parent in level
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return False
    return True


def obj(value: Any) -> Json:
    """The object in a field, or an empty one."""
    return value if isinstance(value, dict) else _NOTHING


def items(value: Any) -> list[Any]:
    """The list in a field, or an empty one."""
    return value if isinstance(value, list) else []


def text(value: Any, length_max: int = NAME_LENGTH_MAX) -> str | None:
    """A text without NUL characters and surrounding blanks, cut to its limit; None when nothing is left."""
    if not isinstance(value, str):
        return None
    if "\x00" in value:
        value = value.replace("\x00", "")
    return value.strip()[:length_max] or None


def identifier(value: Any) -> str | None:
    """An id as text: a positive integer or a short text. Provider ids are opaque, so a text is not looked into."""
    if type(value) is int:
        return str(value) if 0 < value <= _INTEGER_MAX else None
    if isinstance(value, str) and 0 < len(value) <= ID_LENGTH_MAX and "\x00" not in value:
        return value.strip() or None
    return None


def number(value: Any) -> str | None:
    """A provider's numeric id as text, written as number or as text; None for anything else."""
    if type(value) is int:
        return str(value) if 0 < value <= _INTEGER_MAX else None
    if isinstance(value, str):
        digits = len(value) <= 19 and value.isascii() and value.isdigit() and value.strip("0")
        return value if digits and int(value) <= _INTEGER_MAX else None
    return None


def count(value: Any) -> int:
    """A non-negative integer, 0 where there is none."""
    return value if type(value) is int and 0 <= value <= _INTEGER_MAX else 0


def coordinate(value: Any) -> float | None:
    return float(value) if type(value) in _NUMBERS and abs(value) <= 180 else None


def flag(value: Any) -> bool:
    """Whether a flag is set. When in doubt it is: the flags asked for here all mean "be careful"."""
    return bool(value) and value not in ("false", "0")


def url(value: Any) -> str | None:
    """An http or https address, or None."""
    found = text(value, URL_LENGTH_MAX + 1)
    if found is None or len(found) > URL_LENGTH_MAX or not found.startswith(("https://", "http://")):
        return None
    return found


def email(value: Any) -> str | None:
    """Something that can be an e-mail address, in lower case."""
    found = text(value, EMAIL_LENGTH_MAX + 1)
    if found is None or len(found) > EMAIL_LENGTH_MAX or " " in found:
        return None
    local, at, domain = found.rpartition("@")
    return found.lower() if at and local and "." in domain and "@" not in local else None


def epoch(value: Any) -> float | None:
    """A time in epoch seconds, however it was written; None for 0 (which is how Chatwoot writes "never") and for what
    cannot be a time of ours."""
    if type(value) in _NUMBERS:
        return _seconds(value)
    found = instant(value)
    return None if found is None else found.timestamp()


def instant(value: Any) -> datetime | None:
    """A time in UTC, written in one of the ways that providers, their forks and flows in between write one.

    ISO 8601, also with a blank before its zone or with the zone's name; the dates of e-mail and of JavaScript; epoch
    seconds, milliseconds and smaller, as number or text. A text without a zone counts as UTC. None for what is older
    than WhatsApp: a counter, a default or a broken clock.
    """
    if type(value) in _NUMBERS:
        seconds = _seconds(value)
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
    if not isinstance(value, str):
        return None
    written = value[: TIME_LENGTH_MAX + 1].strip()
    if len(written) > TIME_LENGTH_MAX:
        return None
    if _DECIMAL.fullmatch(written):
        return instant(float(written))
    moment = _written_out(written)
    if moment is None:
        return None
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    try:
        in_utc = moment.astimezone(UTC)
    except OverflowError:  # an offset carries it out of the calendar
        return None
    return in_utc if EPOCH_SECONDS_MIN <= in_utc.timestamp() < EPOCH_SECONDS_MAX else None


def _seconds(value: float) -> float | None:
    """Epoch seconds of a number that counts seconds or a smaller unit: no two of them share a plausible range."""
    for per_second in _UNITS_PER_SECOND:
        if EPOCH_SECONDS_MIN * per_second <= value < EPOCH_SECONDS_MAX * per_second:
            # Without the fraction of a fraction: a double has no digits left for it.
            return value / per_second
    return None


def _written_out(written: str) -> datetime | None:
    zone_named = written.upper().removesuffix(" UTC").removesuffix(" GMT")
    if len(zone_named) < len(written):
        written = f"{written[: len(zone_named)].rstrip()}+00:00"
    try:
        return datetime.fromisoformat(_BLANK_BEFORE_OFFSET.sub("", written))
    except ValueError:
        pass  # in no form of ISO 8601
    as_in_browsers = _BROWSER_TIME.match(written)
    if as_in_browsers is not None:
        month, day, year, clock, offset = as_in_browsers.groups()
        written = f"{day} {month} {year} {clock} {offset or '+0000'}"
    try:
        return parsedate_to_datetime(written)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
