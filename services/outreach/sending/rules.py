"""Who may be written to now: the rules of the gate before any limit is counted, in their order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID
from zoneinfo import ZoneInfo

from services.outreach.sending.policy import SendPolicy, free_from

GLOBAL_KILL_RETRY = timedelta(seconds=30)
"""Nobody is told when the global kill switch is lifted, so whoever waits for it asks again."""


class SendClass(StrEnum):
    """Why a message is sent, which decides what binds it."""

    PERSON = "PERSON"
    REPLY = "REPLY"
    SCHEDULED = "SCHEDULED"
    MARKETING = "MARKETING"
    CONFIRMATION = "CONFIRMATION"


class Outcome(StrEnum):
    """May it be sent?"""

    ALLOWED = "ALLOWED"
    DENIED = "DENIED"
    LATER = "LATER"


class Reason(StrEnum):
    """Why a message is not sent, or not now."""

    KILLED = "KILLED"
    KILLED_GLOBALLY = "KILLED_GLOBALLY"
    SUPPRESSED = "SUPPRESSED"
    CONFIRMED_ALREADY = "CONFIRMED_ALREADY"
    TERMS_NOT_ACCEPTED = "TERMS_NOT_ACCEPTED"
    WINDOW_CLOSED = "WINDOW_CLOSED"
    QUIET_HOURS = "QUIET_HOURS"
    GAP_NUMBER = "GAP_NUMBER"
    GAP_CONTACT = "GAP_CONTACT"
    HOUR_LIMIT = "HOUR_LIMIT"
    DAY_LIMIT = "DAY_LIMIT"
    BURST_LIMIT = "BURST_LIMIT"
    QUOTAS_REBUILDING = "QUOTAS_REBUILDING"


EXPLANATIONS = {
    Reason.KILLED: "The organization's kill switch is on.",
    Reason.KILLED_GLOBALLY: "The operator's kill switch is on for every organization.",
    Reason.SUPPRESSED: "The contact asked not to be written to, and has not written since.",
    Reason.CONFIRMED_ALREADY: "The opt-out was confirmed once already, or does not hold any more.",
    Reason.TERMS_NOT_ACCEPTED: "No owner has accepted the terms for this kind of message.",
    Reason.WINDOW_CLOSED: "The channel's window after the contact's last message is over.",
    Reason.QUIET_HOURS: "It is quiet where the recipient is, or may be.",
    Reason.GAP_NUMBER: "It is too soon after the number's last message.",
    Reason.GAP_CONTACT: "It is too soon after the last message to the contact.",
    Reason.HOUR_LIMIT: "The number's messages of the last 60 minutes are all used.",
    Reason.DAY_LIMIT: "The number's messages of today are all used.",
    Reason.BURST_LIMIT: "Too many messages of the number within a short time.",
    Reason.QUOTAS_REBUILDING: "What was sent is being counted again; nothing is sent until it is.",
}


@dataclass(frozen=True, slots=True)
class Decision:
    """What is decided about one message."""

    outcome: Outcome
    reason: Reason | None = None
    retry_time: datetime | None = None
    """Of LATER: not before; None where nobody knows."""
    reservation_id: UUID | None = None

    @property
    def explanation(self) -> str:
        """One sentence about the reason."""
        return EXPLANATIONS[self.reason] if self.reason else ""


@dataclass(frozen=True, slots=True)
class Message:
    """A message that is about to be sent, as far as the rules ask."""

    send_class: SendClass
    delivery_id: UUID
    last_inbound_time: datetime | None = None
    """When the contact last wrote; None: never."""
    reply_window_end_time: datetime | None = None
    """Until when the channel lets anybody answer; None where it sets no window."""
    suppression_id: UUID | None = None
    """Of a confirmation, what it confirms."""
    internal: bool = False
    """True between the organization's own numbers."""


@dataclass(frozen=True, slots=True)
class Held:
    """A suppression that holds for the recipient."""

    id: UUID
    create_time: datetime
    confirm_delivery_id: UUID | None
    """The one message that may confirm it; None while none was given leave to."""
    by_contact: bool
    """Whether it is the contact's own word."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is so when it is asked, of the organization and of the recipient."""

    policy: SendPolicy
    zones: Sequence[ZoneInfo]
    """Where the recipient may be; all must allow."""
    killed: bool = False
    killed_globally: bool = False
    terms_accepted: bool = False
    suppressions: Sequence[Held] = ()


def decide(message: Message, standing: Standing, now: datetime) -> Decision | None:
    """The first rule that refuses the message; None where only limits are left to be asked."""
    if standing.killed_globally:
        return Decision(Outcome.LATER, Reason.KILLED_GLOBALLY, now + GLOBAL_KILL_RETRY)
    if standing.killed:
        return Decision(Outcome.LATER, Reason.KILLED)
    if reason := _suppressed(message, standing.suppressions):
        return Decision(Outcome.DENIED, reason)
    if (message.send_class is SendClass.MARKETING or message.internal) and not standing.terms_accepted:
        return Decision(Outcome.DENIED, Reason.TERMS_NOT_ACCEPTED)
    if message.reply_window_end_time is not None and now >= message.reply_window_end_time:
        return Decision(Outcome.DENIED, Reason.WINDOW_CLOSED)
    free = free_time(message, standing, now)
    if free > now:
        return Decision(Outcome.LATER, Reason.QUIET_HOURS, free)
    policy = standing.policy
    if policy.number_hour_limit == 0:
        return Decision(Outcome.LATER, Reason.HOUR_LIMIT)
    if policy.number_day_limit == 0:
        return Decision(Outcome.LATER, Reason.DAY_LIMIT)
    return None


def free_time(message: Message, standing: Standing, moment: datetime) -> datetime:
    """The first moment from this one on at which quiet hours do not bind the message."""
    grace_end = _grace_end(message, standing)
    if grace_end is not None and moment < grace_end:
        return moment
    return free_from(moment, standing.policy.quiet_hours, standing.zones)


def _suppressed(message: Message, held: Sequence[Held]) -> Reason | None:
    if message.send_class is SendClass.CONFIRMATION:
        return _unconfirmable(message, held)
    wrote = message.last_inbound_time
    for suppression in held:
        answers = message.send_class in (SendClass.PERSON, SendClass.REPLY)
        if not (answers and wrote is not None and wrote > suppression.create_time):
            return Reason.SUPPRESSED
    return None


def _unconfirmable(message: Message, held: Sequence[Held]) -> Reason | None:
    own = next((suppression for suppression in held if suppression.id == message.suppression_id), None)
    # One delivery is one message, however often it is tried: only another one would be the second.
    if own is None or own.confirm_delivery_id not in (None, message.delivery_id):
        return Reason.CONFIRMED_ALREADY
    # One opt-out may suppress several addresses of a person; an earlier one had its own answer.
    if any(suppression.by_contact and suppression.create_time < own.create_time for suppression in held):
        return Reason.SUPPRESSED
    return None


def _grace_end(message: Message, standing: Standing) -> datetime | None:
    """Until when quiet hours leave a message alone, because the contact has just written."""
    wrote = message.last_inbound_time
    if message.send_class is SendClass.CONFIRMATION:
        own = [held.create_time for held in standing.suppressions if held.id == message.suppression_id]
        wrote = max([*own, *([wrote] if wrote else [])], default=None)
    elif message.send_class not in (SendClass.PERSON, SendClass.REPLY):
        return None
    return None if wrote is None else wrote + timedelta(seconds=standing.policy.reply_grace_seconds)
