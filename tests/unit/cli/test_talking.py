"""The week of the demo's script."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from cli.demo.talking import ROUND_EVERY, ZONE, week_from
from services.conversation.scripts.week import Window, slots, week_fits


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 11, 29, 15, 8, 49, tzinfo=UTC),
        datetime(2026, 11, 29, 15, 8, 50, tzinfo=UTC),
        datetime(2026, 11, 29, 23, 59, 55, tzinfo=UTC),
        datetime(2026, 11, 30, 0, 0, 0, tzinfo=UTC),
    ],
)
def test_a_round_is_due_within_two_minutes_and_every_half_an_hour_from_then_on(now: datetime) -> None:
    windows = [Window(one.weekday, one.start_minute, one.end_minute, one.round_count) for one in week_from(now).windows]
    week_fits(windows, ROUND_EVERY)
    found = slots(UUID(int=1), windows, ZoneInfo(ZONE), ROUND_EVERY, now, now + timedelta(days=8))
    first, *_ = due = [slot.due_time for slot in found]
    assert timedelta(seconds=10) <= first - now <= timedelta(seconds=70)
    assert {later - earlier for earlier, later in pairwise(due)} == {ROUND_EVERY}
    assert len(due) > 7 * 48
