"""How the check of a webhook may end, whoever its provider is, and what a check may know of a connection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol


class Check(StrEnum):
    """How the check of a request ended. Only the first three let it in."""

    AUTHENTIC = "AUTHENTIC"
    AUTHENTIC_STATIC = "AUTHENTIC_STATIC"  # by the legacy fixed secret
    UNSIGNED_ACCEPTED = "UNSIGNED_ACCEPTED"  # no secret is configured; counted
    UNSIGNED_ENDED = "UNSIGNED_ENDED"  # nor is one, and the time for that is over
    SIGNATURE_MISSING = "SIGNATURE_MISSING"
    SIGNATURE_MALFORMED = "SIGNATURE_MALFORMED"
    SIGNATURE_MISMATCH = "SIGNATURE_MISMATCH"
    STATIC_SECRET_EXPIRED = "STATIC_SECRET_EXPIRED"  # noqa: S105 - a name, not a secret
    TIMESTAMP_MISSING = "TIMESTAMP_MISSING"
    TIMESTAMP_MALFORMED = "TIMESTAMP_MALFORMED"
    TIMESTAMP_STALE = "TIMESTAMP_STALE"


_ACCEPTED = frozenset({Check.AUTHENTIC, Check.AUTHENTIC_STATIC, Check.UNSIGNED_ACCEPTED})


@dataclass(frozen=True, slots=True)
class Verdict:
    check: Check

    @property
    def accepted(self) -> bool:
        return self.check in _ACCEPTED


class Credentials(Protocol):
    """What a check may know of the connection that a webhook came through."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Its live secrets, the newest first."""

    @property
    def legacy_static_secret_end_time(self) -> datetime | None:
        """Until when one of them may be repeated instead of signed with."""

    @property
    def unsigned_end_time(self) -> datetime:
        """Until when unsigned webhooks are accepted, as long as there is no secret."""
