"""What a suppression is: standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID


class Origin(StrEnum):
    """Where a suppression comes from."""

    STAFF = "STAFF"
    CONTACT = "CONTACT"
    PLATFORM = "PLATFORM"
    IMPORT = "IMPORT"


@dataclass(frozen=True, slots=True)
class Lifting:
    """How a suppression ended."""

    time: datetime
    reason: str
    principal: str = ""
    """Empty where the contact asked to come back."""
    principal_name: str = ""
    key: str = ""
    """The conversation key from which the contact asked; empty where somebody else ended it."""


@dataclass(frozen=True, slots=True)
class Suppression:
    """An address that must never be written to again."""

    organization_id: UUID
    id: UUID
    source: str
    external_id: str
    """In its canonical form, the part of the key after the colon."""
    contact_id: UUID | None
    """None while the address is nobody's."""
    reason: str
    create_time: datetime
    origin: Origin = Origin.STAFF
    message_id: str = ""
    """The message in which the contact asked for it."""
    evidence: str = ""
    """The words that were found in it."""
    ask_time: datetime | None = None
    """When the contact last wrote so; None where somebody else asked, or it was not kept yet."""
    confirm_time: datetime | None = None
    """When its one confirmation was given leave to be sent."""
    lifting: Lifting | None = None
    """None while it holds."""


@dataclass(frozen=True, slots=True)
class Speaker:
    """Whose words a message has."""

    contact_id: UUID | None
    """Who has the address now; None while it is nobody's."""
    since: datetime | None = None
    """When a merge gave the address to the contact; None where it was theirs all along."""


def readable(reason: str) -> str:
    """The words without control characters (PostgreSQL refuses NUL), in one line."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in reason).split())
