"""The addresses that providers were given, as people copied them: doubled slashes, blanks and quotes do no harm.

Nothing in a connection's key can be mistaken for them, and who is answered 404 does not send again.
"""

from __future__ import annotations

import re
import string
from typing import NamedTuple
from urllib.parse import unquote

from gateway.limits import CONNECTION_KEY_LENGTH_MAX, WEBHOOK_SEGMENT_LENGTH_MAX
from gateway.senders import SENDERS

_KEY = re.compile(rf"[A-Za-z0-9_-]{{1,{CONNECTION_KEY_LENGTH_MAX}}}", re.ASCII)
_KEY_CHARACTERS = frozenset(string.ascii_letters + string.digits + "_-")
_ADDRESS_BEHIND = re.compile(r"https?:.*", re.DOTALL)
_UNQUOTINGS = 2
"""A copied %20 becomes %2520 when it is pasted into a form that quotes it once more."""
LEGACY_ROUTE = "/api/chatwoot/webhook"
_PREFIX = "webhooks"


class Address(NamedTuple):
    """Which of the webhook routes a path means, and whose; no key on the legacy one, or where there is none."""

    route: str
    key: str | None
    sender: str = ""
    """Of which provider the route is, by its name in SENDERS; empty for the legacy one."""


def read_key(text: str) -> str | None:
    """The connection's key in a segment of a path, None where it holds nothing that could be one."""
    if _KEY.fullmatch(text):
        return text
    key = _cleaned(text)
    return key if _KEY.fullmatch(key) else None


def read_address(path: str) -> Address | None:
    """What a path that is no route means, None where it is no webhook's."""
    segments = [segment for segment in map(_cleaned, path.split("/")) if segment]
    named = tuple(segment.lower() for segment in segments[:3])
    if len(named) > 1 and named[0] == _PREFIX and named[1] in SENDERS:
        key = segments[2] if len(segments) > 2 and _KEY.fullmatch(segments[2]) else None
        return Address(f"/{_PREFIX}/{named[1]}/{{connection_key}}", key, named[1])
    return Address(LEGACY_ROUTE, None) if "/" + "/".join(named) == LEGACY_ROUTE else None


def _cleaned(segment: str) -> str:
    if len(segment) > WEBHOOK_SEGMENT_LENGTH_MAX:
        return ""
    for _ in range(_UNQUOTINGS):
        if "%" in segment:
            segment = unquote(segment)
    # An address that was pasted twice goes on behind the key with its beginning.
    return _trimmed(_ADDRESS_BEHIND.sub("", segment))


def _trimmed(segment: str) -> str:
    """Without what stands around the first and the last character of a key. By hand: a pattern that looks for the end
    of a run begins anew at each of its characters, and anybody may send a long run."""
    start, end = 0, len(segment)
    while start < end and segment[start] not in _KEY_CHARACTERS:
        start += 1
    while end > start and segment[end - 1] not in _KEY_CHARACTERS:
        end -= 1
    return segment[start:end]
