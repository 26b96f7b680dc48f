"""Figures out of quarters of an hour, in whatever time zone they are asked for. No I/O, no clock, no protobuf.

All time zones of today differ from UTC by whole quarters of an hour, so that days and hours of any of them are made of
whole quarters, also where a clock is put forward or back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from services.conversation.messages.domain.message import Direction

DAY_COUNT = 7
"""How many days are counted where nobody says."""
WEEKDAYS, HOURS = 7, 24
EARLIER = timedelta(hours=3)
"""A day may begin within a jump of the clock: by so much earlier is looked; what is of the day before is left out."""


@dataclass(frozen=True, slots=True)
class QuarterCount:
    """The messages of one direction that were written in one quarter of an hour."""

    quarter: datetime
    """Its beginning."""
    direction: Direction
    count: int
    failed_count: int


@dataclass(slots=True)
class DayCount:
    """The messages of one day."""

    date: date
    inbound: int = 0
    outbound: int = 0
    failed: int = 0


def days_asked_for(now: datetime, zone: tzinfo, day_count: int) -> list[date]:
    """The last so many days as the zone's calendar has them, today last."""
    today = now.astimezone(zone).date()
    return [today - timedelta(days=back) for back in reversed(range(day_count or DAY_COUNT))]


def look_from(first: date, zone: tzinfo) -> datetime:
    """A moment from which on nothing of a day is missed."""
    return datetime.combine(first, time(), tzinfo=zone).astimezone(UTC) - EARLIER


def by_day(counts: Iterable[QuarterCount], zone: tzinfo, dates: Iterable[date]) -> list[DayCount]:
    """What was counted on each of the dates."""
    days = {each: DayCount(each) for each in dates}
    for counted in counts:
        day = days.get(counted.quarter.astimezone(zone).date())
        if day is None:
            continue
        if counted.direction is Direction.INBOUND:
            day.inbound += counted.count
        else:
            day.outbound += counted.count
            day.failed += counted.failed_count
    return list(days.values())


def by_hour(counts: Iterable[QuarterCount], zone: tzinfo, dates: Iterable[date]) -> list[list[int]]:
    """By weekday from Monday and by hour of the day, what was counted on the dates.

    An hour that a clock shows twice holds both; one that it leaves out holds nothing of that day.
    """
    cells = [[0] * HOURS for _ in range(WEEKDAYS)]
    wanted = set(dates)
    for counted in counts:
        local = counted.quarter.astimezone(zone)
        if local.date() in wanted:
            cells[local.weekday()][local.hour] += counted.count
    return cells
