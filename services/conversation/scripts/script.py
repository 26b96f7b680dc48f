"""A script: what two of an organization's own numbers talk about, and when. No I/O, no clock, no protobuf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from chassis.errors import FieldViolation, InvalidArgument, NotFound
from services.conversation.scripts.week import Window, week_fits

PARTICIPANTS = 2


class ScriptState(StrEnum):
    """Whether a script's rounds are planned."""

    ACTIVE = "ACTIVE"
    PAUSED = "PAUSED"


class CatchUp(StrEnum):
    """What becomes of a round whose time passed while nothing ran."""

    SKIP = "SKIP"
    LATEST = "LATEST"
    GRACE = "GRACE"


@dataclass(frozen=True, slots=True)
class Participant:
    """One number, and how it speaks."""

    channel_id: UUID
    persona_id: UUID
    phone: str
    """In international form."""


@dataclass(frozen=True, slots=True)
class Script:
    """Two numbers, their topics and their week."""

    organization_id: UUID
    script_id: UUID
    name: str
    participants: tuple[Participant, ...]
    topics: tuple[str, ...]
    windows: tuple[Window, ...]
    time_zone: str
    create_time: datetime
    state: ScriptState = ScriptState.ACTIVE
    exchanges_min: int = 2
    exchanges_max: int = 4
    delay_min_seconds: int = 20
    delay_max_seconds: int = 90
    round_gap_seconds: int = 1800
    catch_up: CatchUp = CatchUp.SKIP
    grace_seconds: int = 0
    version: int = 1

    @property
    def zone(self) -> ZoneInfo:
        """Whose clocks its week goes by."""
        return ZoneInfo(self.time_zone)

    @property
    def round_length(self) -> timedelta:
        """The longest round, every message of which leaves at once, with the gap after it."""
        pauses = 2 * self.exchanges_max - 1
        return timedelta(seconds=pauses * self.delay_max_seconds + self.round_gap_seconds)


def fitting(script: Script) -> None:
    """Raises InvalidArgument SCRIPT_INVALID, TIME_ZONE_INVALID or WINDOW_INVALID where its parts do not fit."""
    violations: list[FieldViolation] = []
    if len(script.participants) != PARTICIPANTS:
        violations.append(FieldViolation("participants", "must be two"))
    violations += [
        FieldViolation(f"participants[1].{field}", "must be another one than the first's")
        for field in ("channel_id", "phone")
        if len({getattr(participant, field) for participant in script.participants}) < len(script.participants)
    ]
    if script.exchanges_max < script.exchanges_min:
        violations.append(FieldViolation("exchanges_max", "must not be less than exchanges_min"))
    if script.delay_max_seconds < script.delay_min_seconds:
        violations.append(FieldViolation("delay_max_seconds", "must not be less than delay_min_seconds"))
    if violations:
        raise invalid(violations)
    try:
        assert script.zone
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidArgument("TIME_ZONE_INVALID", "Name a time zone like America/Sao_Paulo.") from None
    week_fits(script.windows, script.round_length)


def invalid(violations: Sequence[FieldViolation]) -> InvalidArgument:
    """SCRIPT_INVALID, with what does not fit."""
    told = "; ".join(f"{violation.field} {violation.description}" for violation in violations)
    return InvalidArgument("SCRIPT_INVALID", f"The script's parts do not fit: {told}.", violations=list(violations))


def no_script() -> NotFound:
    """The refusal of a script that is not the organization's."""
    return NotFound("SCRIPT_NOT_FOUND", "The organization has no such script.")
