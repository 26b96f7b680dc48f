"""When the rounds of a week are due."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from services.conversation.scripts.week import DAY_MINUTES, Window, moment, slots, week_fits

SCRIPT = UUID(int=8)
LENGTH = timedelta(minutes=20)
ZONES = ("America/Sao_Paulo", "America/New_York", "Europe/Lisbon", "Australia/Lord_Howe", "Asia/Kolkata", "UTC")
NEW_YORK = ZoneInfo("America/New_York")


@st.composite
def windows(draw: st.DrawFn) -> list[Window]:
    """Some days, each with a window that has time for its rounds."""
    made = []
    for weekday in draw(st.sets(st.integers(1, 7), min_size=1)):
        start, length = draw(st.integers(0, DAY_MINUTES - 1)), draw(st.integers(60, 600))
        count = draw(st.integers(1, length // 20))
        made.append(Window(weekday, start, (start + length) % DAY_MINUTES, count))
    return made


@settings(deadline=None)
@given(windows(), st.sampled_from(ZONES), st.integers(0, 700 * 24 * 60))
def test_a_month_planned_day_by_day_is_the_month_planned_at_once(
    week: list[Window], zone_name: str, minutes: int
) -> None:
    zone, start = ZoneInfo(zone_name), datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minutes)
    days = [start + timedelta(days=day) for day in range(32)]
    whole = slots(SCRIPT, week, zone, LENGTH, days[0], days[-1])
    assert [
        slot for day, following in pairwise(days) for slot in slots(SCRIPT, week, zone, LENGTH, day, following)
    ] == whole
    assert len({slot.round_id for slot in whole}) == len(whole)
    # Each is due on the day of its window, within it.
    by_weekday = {window.weekday: window for window in week}
    for slot in whole:
        window = by_weekday[slot.window_date.isoweekday()]
        opened = moment(slot.window_date, window.start_minute, zone)
        assert opened <= slot.due_time <= slot.window_end_time
    # As many a week as the calendar says, whatever the clocks do.
    complete = [slot for slot in whole if (slot.window_date - days[1].astimezone(zone).date()).days in range(1, 29)]
    assert len(complete) == 4 * sum(window.round_count for window in week)


@settings(deadline=None)
@given(windows(), st.sampled_from(ZONES))
def test_rounds_of_a_window_keep_their_distance(week: list[Window], zone_name: str) -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    zone = ZoneInfo(zone_name)
    whole = slots(SCRIPT, week, zone, LENGTH, start, start + timedelta(days=14))
    for slot, following in pairwise(whole):
        if slot.window_date == following.window_date and slot.window_end_time == following.window_end_time:
            assert following.due_time - slot.due_time >= LENGTH - timedelta(seconds=1)


def test_another_script_is_due_at_other_times() -> None:
    start = datetime(2026, 6, 1, tzinfo=UTC)
    week = [Window(weekday, 540, 720, 2) for weekday in range(1, 6)]
    one, other = (
        [slot.due_time for slot in slots(UUID(int=number), week, ZoneInfo("UTC"), LENGTH, start, start + timedelta(7))]
        for number in (1, 2)
    )
    assert len(one) == len(other) == 10
    assert one != other


def test_a_minute_that_the_clocks_leave_out_is_the_first_one_after() -> None:
    # On 8 March 2026 New York goes from 02:00 to 03:00.
    there = datetime(2026, 3, 8, 7, 0, tzinfo=UTC)
    assert [moment(date(2026, 3, 8), minute, NEW_YORK) for minute in (120, 150, 179, 180)] == [there] * 4
    assert moment(date(2026, 3, 8), 119, NEW_YORK) == there - timedelta(minutes=1)


def test_a_minute_that_the_clocks_show_twice_is_the_first() -> None:
    assert moment(date(2026, 11, 1), 90, NEW_YORK) == datetime(2026, 11, 1, 5, 30, tzinfo=UTC)


def test_a_window_that_the_clocks_leave_out_whole_has_no_round() -> None:
    start = datetime(2026, 3, 8, tzinfo=UTC)
    week = [Window(7, 120, 180, 1)]
    assert slots(SCRIPT, week, NEW_YORK, LENGTH, start, start + timedelta(days=2)) == []
    assert len(slots(SCRIPT, week, NEW_YORK, LENGTH, start + timedelta(7), start + timedelta(days=9))) == 1


@pytest.mark.parametrize(
    "week",
    [
        [Window(1, 540, 550, 20)],
        [Window(1, 540, 600, 4)],
        [Window(1, 540, 720, 1), Window(1, 700, 800, 1)],
        # From Sunday night into Monday.
        [Window(7, 1380, 120, 1), Window(1, 60, 180, 1)],
        [Window(3, 540, 720, 1), Window(3, 540, 720, 1)],
    ],
)
def test_a_week_that_cannot_be_is_refused(week: list[Window]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        week_fits(week, LENGTH)
    assert refused.value.reason == "WINDOW_INVALID"


def test_windows_that_touch_are_taken() -> None:
    week_fits([Window(7, 1380, 60, 1), Window(1, 60, 180, 6), Window(1, 180, 240, 3)], LENGTH)
    week_fits([Window(2, 0, 0, 48)], LENGTH)
    week_fits([], LENGTH)
