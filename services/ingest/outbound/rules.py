"""The rules of posting facts: how one is signed, when it is tried again, and what an answer means. No I/O."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from uuid import UUID

SECRET_PREFIX = "whsec_"  # noqa: S105 what the standard lets a secret begin with
SECRET_BYTES = 32
RETRY_WAITS = tuple(
    timedelta(seconds=seconds) for seconds in (5, 60, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
)
RETRY_SPREAD = 0.1
"""By how much of itself a wait is longer or shorter, so that what failed together does not come back together."""
RETRY_AFTER_MAX = timedelta(hours=24)
ORDER_HOLD = timedelta(seconds=60)
"""For so long a fact of a conversation waits for one before it that was not taken; then it goes first."""
FAILURES_BEFORE_PROBE = 5
"""After so many failures in a row an endpoint gets one post at a time, `PROBE_EVERY`."""
PROBE_EVERY = timedelta(seconds=30)
FAILING_MAX = timedelta(days=5)
"""An endpoint that has taken nothing for so long is disabled."""

GONE, FAILING = "GONE", "FAILING"
PENDING, SUCCEEDED, FAILED, CANCELLED = "PENDING", "SUCCEEDED", "FAILED", "CANCELLED"
EARLIER_OF_CONVERSATION = "EARLIER_OF_CONVERSATION"

EXPIRED = "The feed keeps a fact for 7 days, and this one has left it; read the resource it told of."
VAGUE = "It was not taken; look at the receiver, or ask the operator, who let its host be called without naming a port."
_BY_FAILURE: Mapping[str, str] = {
    "invalid": "The address cannot be called. Create the endpoint anew with an http or https URL.",
    "refused": "Its host has no public address. Name another, or let the operator list the host.",
    "unreachable": "No connection came about. See whether the receiver runs and may be reached.",
    "untrusted": "It speaks no TLS, or its certificate is not to be trusted. Renew the certificate.",
    "timeout": "It did not answer in time. Let it answer at once and work afterwards.",
    "broken": "The connection broke off, or what came is no HTTP. See what stands before the receiver.",
}
_BY_STATUS: Mapping[int, str] = {
    401: "It refused the signature. See that the receiver checks with this endpoint's secret.",
    403: "It refused the post. See which header or address it asks for.",
    404: "Nothing listens at the path. Activate the workflow; what was not taken is posted again.",
    410: "It said that it is gone for good, so the endpoint is disabled.",
    429: "It takes no more for now; it is posted again when it said so.",
}


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of one attempt."""

    status: int = 0
    """0 where nothing was answered."""
    failure: str = ""
    """Why nothing was answered, as the chassis calls it."""
    retry_after: timedelta | None = None
    vague: bool = False
    """True where nothing may be told of what was seen."""

    @property
    def taken(self) -> bool:
        """Whether the post was taken."""
        return 200 <= self.status < 300

    @property
    def told_status(self) -> int:
        """The status as people are shown it."""
        return 0 if self.vague and not self.taken else self.status

    @property
    def explanation(self) -> str:
        """What was seen and what to do; empty for what was taken."""
        if self.taken:
            return ""
        if self.vague:
            return VAGUE
        if not self.status:
            return _BY_FAILURE[self.failure]
        if 300 <= self.status < 400:
            said = "It answered with a redirect, which is never followed. Create the endpoint with the address itself."
        else:
            said = _BY_STATUS.get(self.status, "The receiver failed. Look into the workflow's executions.")
        return f"{said} (HTTP {self.status})"


@dataclass(frozen=True, slots=True)
class Post:
    """One fact on its way to one endpoint."""

    event_id: UUID
    type: str
    position: int
    ordering_key: str
    """The conversation's id; empty for what is in no order."""
    body: bytes | None
    """None where it has left the feed."""
    trace_parent: str
    attempt_count: int
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Result:
    """Where a post stands after a run."""

    post: Post
    state: str
    attempt_count: int
    retry_time: datetime | None = None
    status: int = 0
    explanation: str = ""
    hold_reason: str = ""


@dataclass(frozen=True, slots=True)
class Blocker:
    """What was not taken, and holds back what comes after it in its conversation."""

    position: int
    until: datetime
    retry_time: datetime


def draw_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A new secret in the standard's form; its key is a text, for receivers that take no other key, such as n8n."""
    key = base64.urlsafe_b64encode(random_bytes(SECRET_BYTES)).rstrip(b"=")
    return SECRET_PREFIX + base64.b64encode(key).decode()


def signature(secrets: Sequence[str], event_id: str, timestamp: int, body: bytes) -> str:
    """The header webhook-signature: one value for each secret (Standard Webhooks, "Signature scheme")."""
    signed = f"{event_id}.{timestamp}.".encode() + body
    return " ".join(
        "v1," + base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode() for secret in secrets
    )


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX))


def retry_after(header: str | None, now: datetime) -> timedelta | None:
    """How long a receiver asks to be left alone, at most a day; None where it says nothing readable."""
    if not header:
        return None
    text = header.strip()
    # More digits than a day has seconds mean a day, however many they are.
    if text.isascii() and text.isdigit():
        wait = timedelta(seconds=int(text)) if len(text) <= len("86400") else RETRY_AFTER_MAX
    else:
        try:
            moment = parsedate_to_datetime(text)
            wait = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now
        except (ValueError, OverflowError):
            return None
    return max(timedelta(0), min(wait, RETRY_AFTER_MAX))


def after(post: Post, seen: Seen, now: datetime, draw: Callable[[], float]) -> Result:
    """What becomes of a post that was tried; ``draw`` answers from 0 to 1."""
    attempts = post.attempt_count + 1
    if seen.taken:
        return Result(post, SUCCEEDED, attempts, None, seen.told_status)
    if attempts > len(RETRY_WAITS):
        return Result(post, FAILED, attempts, None, seen.told_status, seen.explanation)
    wait = RETRY_WAITS[attempts - 1] * (1 + RETRY_SPREAD * (2 * draw() - 1))
    wait = max(wait, seen.retry_after or wait)
    return Result(post, PENDING, attempts, now + wait, seen.told_status, seen.explanation)


def held(post: Post, retry_time: datetime) -> Result:
    """A post that waits for another one, untried."""
    return Result(post, PENDING, post.attempt_count, retry_time, hold_reason=EARLIER_OF_CONVERSATION)


def conversation_of(data: Mapping[str, Any] | None) -> str:
    """The id of the conversation that a fact's JSON tells of; empty where it tells of none."""
    if not data:
        return ""
    for place in (data, data.get("conversation"), data.get("message")):
        if isinstance(place, dict) and (found := place.get("conversation_id")):
            return str(found)
    return ""


def full_names(wanted: Sequence[str], known: Sequence[str]) -> list[str] | None:
    """The wanted facts by their full names, each once; None where one is none, or the end of several."""
    found: list[str] = []
    for text in wanted:
        name = text.strip()
        matching = [fact for fact in known if fact == name or fact.rpartition(".")[2] == name]
        if len(matching) != 1:
            return None
        found += [matching[0]] if matching[0] not in found else []
    return found
