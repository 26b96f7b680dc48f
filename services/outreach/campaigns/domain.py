"""What a campaign and a touch are, and how they go on. No I/O, no protobuf."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid5

from chassis.errors import InvalidArgument
from services.outreach.campaigns.limits import AHEAD_SECONDS
from services.outreach.sending.kill_switch import Actor
from services.outreach.sending.policy import SendPolicy

_PLACE = re.compile(r"\{([^{}]*)\}")
BY_HAND = "BY_HAND"


class CampaignState(StrEnum):
    """How far a campaign is."""

    DRAFT = "DRAFT"
    PLANNING = "PLANNING"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    DONE = "DONE"
    CANCELLED = "CANCELLED"


ENDED = (CampaignState.DONE, CampaignState.CANCELLED)


class TouchState(StrEnum):
    """How far a touch is."""

    PLANNED = "PLANNED"
    HANDED_OVER = "HANDED_OVER"
    SENT = "SENT"
    DELIVERED = "DELIVERED"
    READ = "READ"
    FAILED = "FAILED"
    SUPPRESSED = "SUPPRESSED"
    CANCELLED = "CANCELLED"
    UNCERTAIN = "UNCERTAIN"


WAITING = (TouchState.PLANNED, TouchState.HANDED_OVER)
NOT_SENT = (TouchState.FAILED, TouchState.SUPPRESSED, TouchState.CANCELLED)

# What conversation says of a delivery; all else waits there.
_BY_DELIVERY = {state.value: state for state in TouchState if state is not TouchState.PLANNED}


@dataclass(slots=True)
class Campaign:
    """One text to the contacts of one list."""

    organization_id: UUID
    id: UUID
    name: str
    contact_list_id: UUID
    channel_id: UUID
    text: str
    actor: Actor
    create_time: datetime
    state: CampaignState = CampaignState.DRAFT
    reason: str = ""
    start_time: datetime | None = None
    end_time: datetime | None = None
    stop_on_reply: bool = True
    planned_after: UUID | None = None
    """The member of the list that was planned last; the next one is older."""
    tell_time: datetime | None = None
    version: int = 1


@dataclass(slots=True)
class Touch:
    """One campaign's message to one contact."""

    organization_id: UUID
    campaign_id: UUID
    contact_id: UUID
    id: UUID
    source: str
    external_id: str
    text: str
    state: TouchState = TouchState.PLANNED
    reason: str = ""
    explanation: str = ""
    retry_time: datetime | None = None
    hand_count: int = 0
    """How often it was handed over: more than once where it was taken back by a pause."""
    withdraw_reason: str = ""
    """Why it is to be taken back; empty unless it is."""
    delivery_version: int = 0
    send_time: datetime | None = None
    reply_time: datetime | None = None
    opted_out: bool = False

    @property
    def delivery_id(self) -> UUID:
        """Conversation's delivery of it: the touch's own id, but for what was taken back before."""
        return self.id if self.hand_count <= 1 else uuid5(self.id, str(self.hand_count))


@dataclass(frozen=True, slots=True)
class Told:
    """What conversation tells of a touch's delivery."""

    delivery_id: UUID
    state: str
    reason: str
    explanation: str
    version: int
    retry_time: datetime | None = None
    send_time: datetime | None = None


@dataclass(slots=True)
class Tally:
    """A campaign's touches by state and reason, and who answered."""

    by_state: dict[tuple[str, str], int] = field(default_factory=dict)

    def of(self, *states: str) -> int:
        """How many are in one of the states."""
        return sum(count for (state, _), count in self.by_state.items() if state in states)


def follow(touch: Touch, told: Told) -> bool:
    """Brings a touch to where its delivery is; answers whether that changes anything. Late news changes nothing."""
    if told.delivery_id != touch.delivery_id or told.version <= touch.delivery_version or touch.hand_count == 0:
        return False
    touch.delivery_version = told.version
    touch.state = _BY_DELIVERY.get(told.state, TouchState.HANDED_OVER)
    touch.reason, touch.explanation, touch.retry_time = told.reason, told.explanation, told.retry_time
    touch.send_time = told.send_time or touch.send_time
    if touch.state is TouchState.CANCELLED and touch.withdraw_reason == "CAMPAIGN_PAUSED":
        # It is planned as before: nothing of it was sent.
        touch.state, touch.reason, touch.explanation = TouchState.PLANNED, "", ""
        touch.withdraw_reason, touch.delivery_version = "", 0
    elif touch.state is TouchState.CANCELLED and touch.withdraw_reason == "SUPPRESSED":
        touch.state, touch.reason = TouchState.SUPPRESSED, "SUPPRESSED"
    elif touch.state is TouchState.CANCELLED and touch.withdraw_reason:
        touch.reason = touch.withdraw_reason
    return True


def checked_text(text: str) -> str:
    """The text. Raises InvalidArgument TEXT_INVALID for blanks and for places to fill in that nobody knows."""
    unknown = [name for name in _PLACE.findall(text) if name != "name"]
    if not text.strip() or unknown or "\x00" in text:
        what = f"{{{unknown[0]}}} is no place that can be filled in" if unknown else "It has no words"
        raise InvalidArgument("TEXT_INVALID", f"{what}. Write a text; {{name}} stands for the contact's name.")
    return text


def filled(text: str, name: str) -> str:
    """The text for one contact: by the first name, or without it where none is known."""
    first = name.split()[0] if name.split() else ""
    if first:
        return text.replace("{name}", first)
    return re.sub(r"[ ,]*\{name\}", "", text).lstrip(" ,")


def ahead(policy: SendPolicy) -> int:
    """How many messages the number may send within the time for which touches are handed over; one at least."""
    by_hour = policy.number_hour_limit * AHEAD_SECONDS // 3600
    by_gap = AHEAD_SECONDS // policy.number_gap_seconds if policy.number_gap_seconds else by_hour
    return max(1, min(by_hour, by_gap))
