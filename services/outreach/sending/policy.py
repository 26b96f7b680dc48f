"""What an organization allows itself to send, and when: its limits, and the hours in which people are left alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from chassis.errors import Aborted, InvalidArgument

DAY_MINUTES = 1440
WEEK_DAYS = 7
SEARCH_MAX = 64
"""After so many ends of quiet hours in a row nobody looks further: a policy and zones that leave hardly any time."""


@dataclass(frozen=True, slots=True)
class QuietHours:
    """A time of day in which people are left alone."""

    weekdays: tuple[int, ...]
    """From Monday, 1, to Sunday, 7: the day it begins; empty: all."""
    start_minute: int
    end_minute: int
    """Before ``start_minute``: it ends on the next day."""


@dataclass(frozen=True, slots=True)
class SendPolicy:
    """The limits of each of an organization's numbers, and its quiet hours."""

    organization_id: UUID
    quiet_hours: tuple[QuietHours, ...] = (QuietHours((), 21 * 60, 8 * 60),)
    reply_grace_seconds: int = 1800
    number_hour_limit: int = 60
    number_day_limit: int = 400
    burst_limit: int = 5
    burst_seconds: int = 60
    number_gap_seconds: int = 3
    contact_gap_seconds: int = 0
    update_time: datetime | None = None
    """None while it is the one that everybody begins with."""
    version: int = 0


def quiet_hours_valid(periods: Sequence[QuietHours]) -> None:
    """Raises InvalidArgument QUIET_HOURS_INVALID for a period without length, and where no minute of a week is left."""
    minutes: set[int] = set()
    for period in periods:
        if period.start_minute == period.end_minute:
            raise InvalidArgument(
                "QUIET_HOURS_INVALID",
                "Quiet hours cannot begin and end at the same minute. To stop sending, use the kill switch.",
            )
        length = (period.end_minute - period.start_minute) % DAY_MINUTES
        for weekday in period.weekdays or range(1, WEEK_DAYS + 1):
            start = (weekday - 1) * DAY_MINUTES + period.start_minute
            minutes.update(minute % (WEEK_DAYS * DAY_MINUTES) for minute in range(start, start + length))
    if len(minutes) == WEEK_DAYS * DAY_MINUTES:
        raise InvalidArgument(
            "QUIET_HOURS_INVALID",
            "These quiet hours leave no minute of the week. To stop sending, use the kill switch.",
        )


def etag_fresh(policy: SendPolicy, etag: str) -> None:
    """Raises Aborted ETAG_STALE where the etag is another version's; an empty one means any."""
    if etag and etag != str(policy.version):
        raise Aborted("ETAG_STALE", "The send policy was changed since you read it. Read it again, then decide.")


def free_from(moment: datetime, periods: Sequence[QuietHours], zones: Iterable[ZoneInfo]) -> datetime:
    """The first moment from this one on that lies in no quiet hours of any of the zones; often the moment itself."""
    everywhere = tuple(zones)
    for _ in range(SEARCH_MAX):
        ends = [end for zone in everywhere for end in _ends_around(moment, periods, zone)]
        if not ends:
            return moment
        moment = max(ends)
    return moment


def day_around(moment: datetime, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """The beginning of the calendar day that a moment lies in, and of the next."""
    today = moment.astimezone(zone).date()
    return _at(today, 0, zone, late=False), _at(today + timedelta(days=1), 0, zone, late=False)


def _ends_around(moment: datetime, periods: Sequence[QuietHours], zone: ZoneInfo) -> Iterator[datetime]:
    """When those periods end that the moment lies in."""
    today = moment.astimezone(zone).date()
    for period in periods:
        for day in (today - timedelta(days=1), today):
            if period.weekdays and day.isoweekday() not in period.weekdays:
                continue
            last = day if period.end_minute > period.start_minute else day + timedelta(days=1)
            start = _at(day, period.start_minute, zone, late=False)
            end = _at(last, period.end_minute, zone, late=True)
            if start <= moment < end:
                yield end


def _at(day: date, minute: int, zone: ZoneInfo, *, late: bool) -> datetime:
    """A minute of a local day. Of one that the clocks show twice the first, or the second where ``late``."""
    # A minute that the clocks leave out is read by the offset before: it is the same while after the leap.
    local = datetime.combine(day, time(minute // 60, minute % 60), tzinfo=zone)
    return local.replace(fold=int(late and _twice(local))).astimezone(UTC)


def _twice(local: datetime) -> bool:
    first, second = local.replace(fold=0).utcoffset(), local.replace(fold=1).utcoffset()
    return first is not None and second is not None and first > second
