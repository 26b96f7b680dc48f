"""A round: one talk of a script, message by message. No I/O, no clock, no protobuf."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import StrEnum
from random import Random
from uuid import UUID

from chassis.errors import FailedPrecondition, NotFound
from services.conversation.scripts.script import CatchUp, Script
from services.conversation.scripts.week import Slot

ON_TIME = timedelta(seconds=60)
"""A round that begins no later than this after its time was not missed."""


class RoundState(StrEnum):
    """How far a round is."""

    PLANNED = "PLANNED"
    RUNNING = "RUNNING"
    DONE = "DONE"
    SKIPPED = "SKIPPED"
    BROKEN_OFF = "BROKEN_OFF"
    CANCELLED = "CANCELLED"


UNENDED = frozenset({RoundState.PLANNED, RoundState.RUNNING})


@dataclass(slots=True)
class RoundMessage:
    """One message of a round, fixed before it is queued."""

    position: int
    channel_id: UUID
    text: str
    due_time: datetime
    message_id: UUID


@dataclass(slots=True)
class Round:
    """One talk; the fields but the last are the table's columns."""

    organization_id: UUID
    round_id: UUID
    script_id: UUID
    window_date: date
    due_time: datetime
    window_end_time: datetime
    topic: str
    exchange_count: int
    state: RoundState = RoundState.PLANNED
    reason: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    sent_count: int = 0
    conversation_id: UUID | None = None
    version: int = 1
    messages: list[RoundMessage] = field(default_factory=list)

    @property
    def message_count(self) -> int:
        """How many messages it has when it is whole."""
        return 2 * self.exchange_count

    def ends(self, state: RoundState, now: datetime, reason: str = "") -> None:
        """It goes on no further."""
        self.state, self.reason, self.end_time = state, reason, now


def planned(script: Script, slot: Slot, topic_before: str) -> Round:
    """A round as it is planned; its topic is none that the round before it had, where there is another."""
    draw = drawing(slot.round_id, "plan")
    others = [topic for topic in script.topics if topic != topic_before]
    return Round(
        organization_id=script.organization_id,
        round_id=slot.round_id,
        script_id=script.script_id,
        window_date=slot.window_date,
        due_time=slot.due_time,
        window_end_time=slot.window_end_time,
        topic=draw.choice(others or list(script.topics)),
        exchange_count=draw.randint(script.exchanges_min, script.exchanges_max),
    )


def pause(script: Script, round_id: UUID, position: int) -> timedelta:
    """How long after the message before it one is said."""
    draw = drawing(round_id, f"pause/{position}")
    return timedelta(seconds=round(draw.uniform(script.delay_min_seconds, script.delay_max_seconds)))


def missed(script: Script, late: Round, now: datetime, *, later_due: bool) -> str:
    """Why a round that was not begun at its time is skipped; empty where it begins after all.

    ``later_due``: another one of the script has come due since.
    """
    if now >= late.window_end_time:
        return "WINDOW_OVER"
    if now - late.due_time <= ON_TIME:
        return ""
    grace = timedelta(seconds=script.grace_seconds)
    match script.catch_up:
        case CatchUp.LATEST if not later_due:
            return ""
        case CatchUp.GRACE if now - late.due_time <= grace:
            return ""
    return f"CATCH_UP_{script.catch_up.value}"


def drawing(round_id: UUID, name: str) -> Random:
    """What is drawn for one thing of a round: the same whoever draws it, and how often."""
    return Random(f"{round_id}/{name}")  # noqa: S311 - nothing is kept secret by it


def no_round() -> NotFound:
    """The refusal of a round that is not the organization's."""
    return NotFound("ROUND_NOT_FOUND", "The organization has no such round.")


def ended(state: RoundState) -> FailedPrecondition:
    """The refusal to end what has ended."""
    return FailedPrecondition("ROUND_ENDED", f"The round has ended already: it is {state.value}.")
