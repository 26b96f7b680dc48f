"""What a suppression is: standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


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


def readable(reason: str) -> str:
    """The words without control characters (PostgreSQL refuses NUL), in one line."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in reason).split())
