"""Reading JSON that somebody else wrote: the one way, for bodies, answers and files alike.

What senders damage without meaning to is mended, since neither a refusal nor a replay would bring back more: half an
emoji (JavaScript cuts texts between the halves), bytes that are no UTF-8, a byte-order mark, line breaks within a text.
Whatever could have been meant in two ways is refused.
"""

from __future__ import annotations

import codecs
import json
import re
from typing import Any

import orjson

REPLACEMENT = "\ufffd"
NESTING_MAX = 1_024
"""As deep as orjson reads."""

# An escape begins behind an even number of backslashes. A pair is taken whole, so that none of its halves is left over.
_SURROGATES = re.compile(
    r"(?<!\\)(?:\\\\)*+\\u[dD](?:[89abAB][0-9a-fA-F]{2}(\\u[dD][c-fC-F][0-9a-fA-F]{2})?+|[c-fC-F][0-9a-fA-F]{2})"
)
_ESCAPE_LENGTH = len(r"\ud83d")
# UTF-16 put into UTF-8 half by half, as Java and old databases write it; a pair of halves is one character.
_ENCODED_SURROGATES = re.compile(
    rb"(\xed[\xa0-\xaf][\x80-\xbf])(\xed[\xb0-\xbf][\x80-\xbf])|\xed[\xa0-\xbf][\x80-\xbf]"
)
_INTEGER_DIGITS_MAX = 19
"""Of a number of 64 bits; longer ones are read as floating point, whichever of the two readers reads them."""


class JsonMalformed(ValueError):
    """The text is no JSON, even when mended."""

    def __init__(self, message: str, line: int = 1, column: int = 1, *, too_deep: bool = False) -> None:
        super().__init__(f"{message} at line {line}, column {column}")
        self.message = message
        self.line = line
        self.column = column
        self.too_deep = too_deep
        """It nests further than any reader goes."""


def read_json(raw: bytes, mended_bytes_max: int | None = None) -> Any:
    """The value in a JSON text. Raises JsonMalformed.

    Every text in it is valid Unicode, though it may hold NUL. Numbers that JSON does not know (NaN, infinities) and
    those too large for 64 bits are floats, which no reader of a count, an id or an amount takes. Mending takes some ten
    times as long as reading does: who reads what anybody may have sent names a `mended_bytes_max`.
    """
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        if mended_bytes_max is not None and len(raw) > mended_bytes_max:
            raise JsonMalformed(error.msg, error.lineno, error.colno, too_deep=_too_deep(error)) from None
        return _read_mended(raw, error)


def as_utf8(raw: bytes) -> bytes:
    """The same text in UTF-8 where its byte-order mark says that it is UTF-16; to look for bytes in."""
    return _decoded(raw).encode() if _is_utf16(raw) else raw


def is_json(raw: bytes) -> bool:
    """Whether the text can be read."""
    try:
        read_json(raw)
    except JsonMalformed:
        return False
    return True


def _read_mended(raw: bytes, first: orjson.JSONDecodeError) -> Any:
    if _too_deep(first):
        raise JsonMalformed("it nests too deeply", first.lineno, first.colno, too_deep=True) from None
    text = _SURROGATES.sub(_whole, _decoded(raw))
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        if _too_deep(error):
            raise JsonMalformed("it nests too deeply", error.lineno, error.colno, too_deep=True) from None
    try:
        value = json.loads(text, strict=False, parse_int=_integer)
    except json.JSONDecodeError as error:
        raise JsonMalformed(error.msg, error.lineno, error.colno) from None
    except RecursionError:
        raise JsonMalformed("it nests too deeply", too_deep=True) from None
    if _nests_deeper_than(NESTING_MAX, value):
        # How deep Python's own reader goes differs from one release of it to the next.
        raise JsonMalformed("it nests too deeply", too_deep=True)
    return value


def _nests_deeper_than(depth_max: int, value: Any) -> bool:
    level = [value]
    for _ in range(depth_max + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return False
    return True


def _too_deep(error: orjson.JSONDecodeError) -> bool:
    return error.msg.startswith(("depth limit", "Recursion limit"))


def _is_utf16(raw: bytes) -> bool:
    # JSON begins with ASCII, of which UTF-16 makes a letter and a zero; the mark alone may stand before anything.
    return (raw[:2] == codecs.BOM_UTF16_LE and raw[3:4] == b"\0") or (
        raw[:2] == codecs.BOM_UTF16_BE and raw[2:3] == b"\0"
    )


def _decoded(raw: bytes) -> str:
    if _is_utf16(raw):
        return raw.decode("utf-16", "replace")
    return _ENCODED_SURROGATES.sub(_joined, raw.removeprefix(codecs.BOM_UTF8)).decode("utf-8", "replace")


def _joined(found: re.Match[bytes]) -> bytes:
    if found[1] is None:
        return REPLACEMENT.encode()
    pair = found[0].decode("utf-8", "surrogatepass").encode("utf-16-le", "surrogatepass")
    return pair.decode("utf-16-le").encode()


def _whole(found: re.Match[str]) -> str:
    return found[0] if found[1] else f"{found[0][:-_ESCAPE_LENGTH]}{REPLACEMENT}"


def _integer(digits: str) -> int | float:
    if len(digits) <= _INTEGER_DIGITS_MAX:
        return int(digits)
    value = float(digits)
    # Between the two lies what 64 bits hold with 20 signs, and what they just do not.
    exact = int(digits) if abs(value) < 2.0**65 else None
    return exact if exact is not None and -(2**63) <= exact < 2**64 else value
