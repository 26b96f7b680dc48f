"""Quarters of an hour as days and hours of a time zone, also where its clock jumps."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.conversation.messages.domain.message import Direction
from services.conversation.metrics.domain import QuarterCount, by_day, by_hour, days_asked_for, look_from

QUARTERS_A_DAY = 96


def every_quarter(start: datetime, days: int) -> list[QuarterCount]:
    """One message from outside in every quarter of an hour."""
    return [
        QuarterCount(start + timedelta(minutes=15 * number), Direction.INBOUND, 1, 0)
        for number in range(QUARTERS_A_DAY * days)
    ]


@pytest.mark.parametrize(
    ("zone_name", "day", "quarters"),
    [
        ("America/Sao_Paulo", date(2026, 11, 28), QUARTERS_A_DAY),
        ("Asia/Kolkata", date(2026, 11, 28), QUARTERS_A_DAY),
        ("Asia/Kathmandu", date(2026, 11, 28), QUARTERS_A_DAY),
        ("America/New_York", date(2026, 3, 8), QUARTERS_A_DAY - 4),
        ("America/New_York", date(2026, 11, 1), QUARTERS_A_DAY + 4),
        ("Australia/Lord_Howe", date(2026, 4, 5), QUARTERS_A_DAY + 2),
        # These days begin at one o'clock.
        ("Asia/Beirut", date(2026, 3, 29), QUARTERS_A_DAY - 4),
        ("America/Santiago", date(2026, 9, 6), QUARTERS_A_DAY - 4),
    ],
)
def test_a_day_has_the_quarters_of_its_own(zone_name: str, day: date, quarters: int) -> None:
    zone = ZoneInfo(zone_name)
    start = look_from(day, zone)
    counted = every_quarter(datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=2), 4)
    seen = [count for count in counted if count.quarter >= start]
    [found] = by_day(seen, zone, [day])
    assert (found.date, found.inbound, found.outbound, found.failed) == (day, quarters, 0, 0)
    assert sum(map(sum, by_hour(seen, zone, [day]))) == quarters


def test_today_is_the_zones_and_comes_last() -> None:
    now = datetime(2026, 11, 28, 20, 0, tzinfo=UTC)
    assert days_asked_for(now, ZoneInfo("Asia/Kolkata"), 2) == [date(2026, 11, 28), date(2026, 11, 29)]
    week = days_asked_for(now, ZoneInfo("America/Sao_Paulo"), 0)
    assert (len(week), week[0], week[-1]) == (7, date(2026, 11, 22), date(2026, 11, 28))


def test_directions_stand_apart_and_only_what_was_sent_can_fail() -> None:
    quarter = datetime(2026, 11, 28, 15, 0, tzinfo=UTC)
    counted = [QuarterCount(quarter, Direction.INBOUND, 3, 0), QuarterCount(quarter, Direction.OUTBOUND, 5, 2)]
    [found] = by_day(counted, UTC, [date(2026, 11, 28)])
    assert (found.inbound, found.outbound, found.failed) == (3, 5, 2)


def test_an_hour_that_a_clock_shows_twice_holds_both_and_one_left_out_holds_nothing() -> None:
    zone = ZoneInfo("America/New_York")
    twice = by_hour(every_quarter(datetime(2026, 11, 1, tzinfo=UTC), 2), zone, [date(2026, 11, 1)])[6]
    assert (twice[0], twice[1], twice[2]) == (4, 8, 4)
    once = by_hour(every_quarter(datetime(2026, 3, 8, tzinfo=UTC), 2), zone, [date(2026, 3, 8)])[6]
    assert (once[1], once[2], once[3]) == (4, 0, 4)


def test_half_an_hour_of_difference_does_not_mix_hours() -> None:
    # Half past six in the evening of Friday in UTC is midnight in Kolkata.
    quarters = [datetime(2026, 11, 27, 18, minute, tzinfo=UTC) for minute in (15, 30)]
    counted = [QuarterCount(quarter, Direction.INBOUND, 1, 0) for quarter in quarters]
    zone = ZoneInfo("Asia/Kolkata")
    cells = by_hour(counted, zone, [date(2026, 11, 27), date(2026, 11, 28)])
    assert (cells[4][23], cells[5][0]) == (1, 1)
