"""What a kill switch is. No I/O, no protobuf."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Actor:
    """Who did something, and what people call them."""

    principal: str
    name: str


@dataclass(frozen=True, slots=True)
class KillSwitch:
    """Whether an organization, or with no organization everybody, may send at all."""

    organization_id: UUID | None
    engaged: bool = False
    reason: str = ""
    actor: Actor = Actor("", "")
    change_time: datetime | None = None
    """None where nobody has ever touched it."""
