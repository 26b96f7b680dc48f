"""Reading untrusted JSON: each function takes what stands in a field and answers the type wanted, or nothing.

Providers, their forks and hand-made calls put numbers where texts belong, lists where objects belong, and so on.
None of these functions raises. The JSON reader makes no subclasses, so a number's very type tells it from a flag.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import orjson

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

EPOCH_SECONDS_MIN = 1_000_000_000  # 2001: a smaller number is a counter or a mistake
EPOCH_SECONDS_MAX = 10_000_000_000  # 2286: a larger one is in milliseconds
_INTEGER_MAX = 2**63 - 1
_NUMBERS = (int, float)
_NOTHING: Mapping[str, Any] = {}

Json = Mapping[str, Any]


def read_object(body: bytes) -> Json | Invalid:
    """Reads a body that must be one JSON object of bounded size and depth."""
    if len(body) > BODY_SIZE_MAX_BYTES:
        return Invalid(InvalidReason.TOO_LARGE, f"{len(body)} bytes")
    try:
        root = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        too_deep = "depth limit" in str(error)
        return Invalid(
            InvalidReason.TOO_DEEP if too_deep else InvalidReason.MALFORMED_JSON, str(error)[:NAME_LENGTH_MAX]
        )
    if not isinstance(root, dict):
        return Invalid(InvalidReason.UNKNOWN_SHAPE, "the body is no object")
    # A body with few brackets cannot be deep, which spares the walk for nearly all of them.
    if body.count(b"{") + body.count(b"[") > JSON_DEPTH_MAX and _too_deep(root):
        return Invalid(InvalidReason.TOO_DEEP, f"more than {JSON_DEPTH_MAX} levels")
    return root


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
    """Epoch seconds; None for 0 (which is how Chatwoot writes "never") and for what cannot be a time of ours."""
    return float(value) if type(value) in _NUMBERS and EPOCH_SECONDS_MIN <= value < EPOCH_SECONDS_MAX else None


def instant(value: Any) -> datetime | None:
    """A time in UTC from an ISO 8601 text or epoch seconds; a text without a zone counts as UTC."""
    if isinstance(value, str):
        try:
            found = datetime.fromisoformat(value)
            moment = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        except (ValueError, OverflowError):
            return None
        return moment if EPOCH_SECONDS_MIN <= moment.timestamp() < EPOCH_SECONDS_MAX else None
    seconds = epoch(value)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
