"""A script's week: windows in which rounds run, and when exactly. No I/O, no clock, no protobuf.

What is drawn follows from script, date, window and place alone, so planning again gives the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from random import Random
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from chassis.errors import FieldViolation, InvalidArgument

DAY_MINUTES = 1440
WEEK_MINUTES = 7 * DAY_MINUTES


@dataclass(frozen=True, slots=True)
class Window:
    """A time of the week in which rounds run, spread over it."""

    weekday: int
    """From Monday, 1, to Sunday, 7: the day it begins."""
    start_minute: int
    end_minute: int
    """Not after ``start_minute``: it ends on the next day."""
    round_count: int
    daypart: int = 0
    """What people call it by; it decides nothing."""

    @property
    def length(self) -> int:
        """Minutes, on a day whose clocks are not changed."""
        return (self.end_minute - self.start_minute - 1) % DAY_MINUTES + 1

    @property
    def start_in_week(self) -> int:
        """Minutes after Monday's midnight."""
        return (self.weekday - 1) * DAY_MINUTES + self.start_minute


@dataclass(frozen=True, slots=True)
class Slot:
    """When one round is due, and until when it may run."""

    round_id: UUID
    window_date: date
    due_time: datetime
    window_end_time: datetime


def week_fits(windows: Sequence[Window], round_length: timedelta) -> None:
    """Raises InvalidArgument WINDOW_INVALID where windows overlap, or leave no time for their rounds and what lies
    between them."""
    for place, window in enumerate(windows):
        if timedelta(minutes=window.length) < round_length * window.round_count:
            needed = round_length * window.round_count
            raise _invalid(
                place,
                f"{window.round_count} rounds and the gaps between them take up to {needed}, and the window has "
                f"{timedelta(minutes=window.length)}. Make it longer, or the rounds fewer or shorter.",
            )
    ordered = sorted(range(len(windows)), key=lambda place: windows[place].start_in_week)
    for place, following in zip(ordered, [*ordered[1:], *ordered[:1]], strict=True):
        free = (windows[following].start_in_week - windows[place].start_in_week) % WEEK_MINUTES
        if place != following and free < windows[place].length:
            raise _invalid(following, "It overlaps with another window.")


def slots(
    script_id: UUID,
    windows: Sequence[Window],
    zone: ZoneInfo,
    round_length: timedelta,
    after: datetime,
    until: datetime,
) -> list[Slot]:
    """The rounds due after a moment and until another, in their order; ``round_length`` with the gap that follows."""
    found: list[Slot] = []
    # The local days of both moments, and the one before: a window may end on the day after it began.
    day, last = after.astimezone(zone).date() - timedelta(days=1), until.astimezone(zone).date()
    while day <= last:
        for window in windows:
            if window.weekday == day.isoweekday():
                found += _slots_of(script_id, window, day, zone, round_length)
        day += timedelta(days=1)
    return sorted(
        (slot for slot in found if after < slot.due_time <= until), key=lambda slot: (slot.due_time, slot.round_id)
    )


def _slots_of(script_id: UUID, window: Window, day: date, zone: ZoneInfo, round_length: timedelta) -> Iterator[Slot]:
    last_day = day if window.end_minute > window.start_minute else day + timedelta(days=1)
    start, end = moment(day, window.start_minute, zone), moment(last_day, window.end_minute, zone)
    length = (end - start) / window.round_count
    for place in range(window.round_count):
        name = f"{day.isoformat()}/{window.start_minute}/{place}"
        # Where clocks that are set forward leave too little time, the round begins with its slot.
        free = max(length - round_length, timedelta())
        drawn = Random(f"{script_id}/{name}").random()  # noqa: S311 - nothing is kept secret by it
        due = start + place * length + drawn * free
        if length > timedelta():
            yield Slot(uuid5(script_id, name), day, due.replace(microsecond=0), end)


def moment(day: date, minute: int, zone: ZoneInfo) -> datetime:
    """When a minute of a local day is: one that the clocks leave out is the first one after, of one that they show
    twice the first."""
    local = datetime.combine(day, time(minute // 60, minute % 60), tzinfo=zone)
    there = local.astimezone(UTC)
    if there.astimezone(zone).replace(tzinfo=None) == local.replace(tzinfo=None):
        return there
    # The clocks go forward somewhere between these two readings of it.
    low, high = local.replace(fold=1).astimezone(UTC), there
    before = low.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) // 2
        if middle.astimezone(zone).utcoffset() == before:
            low = middle
        else:
            high = middle
    return high.replace(microsecond=0)


def _invalid(place: int, sentence: str) -> InvalidArgument:
    return InvalidArgument(
        "WINDOW_INVALID",
        f"Window {place + 1} of the calendar cannot be: {sentence}",
        violations=[FieldViolation(f"calendar.windows[{place}]", sentence)],
    )
