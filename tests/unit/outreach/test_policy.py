"""Quiet hours and calendar days, where the recipient is and the clocks go back and forth."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from chassis.errors import Aborted, InvalidArgument
from services.outreach.sending.policy import (
    QuietHours,
    SendPolicy,
    day_around,
    etag_fresh,
    free_from,
    quiet_hours_valid,
)

NIGHT = QuietHours((), 21 * 60, 8 * 60)
SAO_PAULO, LISBON, NEW_YORK = ZoneInfo("America/Sao_Paulo"), ZoneInfo("Europe/Lisbon"), ZoneInfo("America/New_York")


def at(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "free"),
    [
        ("2026-03-04T23:59:59", "2026-03-04T23:59:59"),
        ("2026-03-05T00:00:00", "2026-03-05T11:00:00"),
        ("2026-03-05T10:59:59", "2026-03-05T11:00:00"),
        ("2026-03-05T11:00:00", "2026-03-05T11:00:00"),
    ],
)
def test_a_night_lasts_from_its_first_minute_to_its_last(moment: str, free: str) -> None:
    assert free_from(at(moment), [NIGHT], [SAO_PAULO]) == at(free)


def test_all_zones_must_allow() -> None:
    # 08:00 in São Paulo is 11:00 in Lisbon and 06:00 in New York, where it is quiet until 13:00 UTC.
    assert free_from(at("2026-03-03T01:00"), [NIGHT], [SAO_PAULO, LISBON, NEW_YORK]) == at("2026-03-03T13:00")
    # Two zones that are never both awake for long: the night of one ends in that of the other.
    long_night = QuietHours((), 12 * 60, 11 * 60)
    tokyo = ZoneInfo("Asia/Tokyo")
    free = free_from(at("2026-03-04T00:00"), [long_night], [SAO_PAULO])
    assert free == at("2026-03-04T14:00")
    assert free_from(free, [long_night], [tokyo]) == at("2026-03-05T02:00")


def test_a_night_belongs_to_the_day_it_begins_on() -> None:
    saturday_night = QuietHours((6,), 22 * 60, 10 * 60)
    sunday_morning = at("2026-03-08T09:00")
    assert free_from(sunday_morning, [saturday_night], [LISBON]) == at("2026-03-08T10:00")
    assert free_from(at("2026-03-07T09:00"), [saturday_night], [LISBON]) == at("2026-03-07T09:00")
    assert free_from(at("2026-03-08T23:00"), [saturday_night], [LISBON]) == at("2026-03-08T23:00")


def test_quiet_hours_that_follow_on_each_other_are_one_time() -> None:
    periods = [QuietHours((), 21 * 60, 23 * 60), QuietHours((), 23 * 60, 7 * 60)]
    assert free_from(at("2026-01-10T21:30"), periods, [LISBON]) == at("2026-01-11T07:00")


def test_the_night_in_which_clocks_change_is_an_hour_shorter_or_longer() -> None:
    # Lisbon, 29 March 2026: 01:00 becomes 02:00. 25 October: 02:00 becomes 01:00.
    night = [QuietHours((), 21 * 60, 90)]
    assert free_from(at("2026-03-28T22:00"), night, [LISBON]) == at("2026-03-29T01:30")
    # Half past one comes twice; it is quiet until the second.
    assert free_from(at("2026-10-24T22:00"), night, [LISBON]) == at("2026-10-25T01:30")
    beginning = [QuietHours((), 90, 8 * 60)]
    assert free_from(at("2026-10-25T00:29"), beginning, [LISBON]) == at("2026-10-25T00:29")
    assert free_from(at("2026-10-25T00:30"), beginning, [LISBON]) == at("2026-10-25T08:00")


def test_a_day_is_the_organizations_own_and_as_long_as_it_is() -> None:
    assert day_around(at("2026-03-05T02:00"), SAO_PAULO) == (at("2026-03-04T03:00"), at("2026-03-05T03:00"))
    assert day_around(at("2026-03-29T12:00"), LISBON) == (at("2026-03-29T00:00"), at("2026-03-29T23:00"))


@pytest.mark.parametrize(
    "periods",
    [
        [QuietHours((), 600, 600)],
        [QuietHours((), 0, 720), QuietHours((), 720, 0)],
        [QuietHours((1, 2, 3, 4, 5, 6), 0, 720), QuietHours((), 720, 0), QuietHours((7,), 0, 1439), NIGHT],
    ],
)
def test_quiet_hours_without_length_or_without_end_are_refused(periods: list[QuietHours]) -> None:
    with pytest.raises(InvalidArgument, match="QUIET_HOURS_INVALID"):
        quiet_hours_valid(periods)


def test_a_minute_a_week_is_enough() -> None:
    quiet_hours_valid([])
    quiet_hours_valid([NIGHT])
    quiet_hours_valid([QuietHours((1, 2, 3, 4, 5, 6), 0, 720), QuietHours((), 720, 0), QuietHours((7,), 1, 720)])


def test_an_etag_of_before_is_stale() -> None:
    policy = SendPolicy(UUID(int=1), version=3)
    etag_fresh(policy, "")
    etag_fresh(policy, "3")
    with pytest.raises(Aborted, match="ETAG_STALE"):
        etag_fresh(policy, "2")
