"""Business time, handed in so that a test can choose it.

Deadlines and waits use monotonic time, leases the database's clock; everything else asks a Clock.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """Tells the time in UTC."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class SettableClock:
    """A clock that stands still until it is moved."""

    def __init__(self, start: datetime) -> None:
        self._now = start

    def now(self) -> datetime:
        return self._now

    def advance(self, step: timedelta) -> None:
        """Moves forward by a step."""
        self._now += step

    def set(self, moment: datetime) -> None:
        """Moves to a moment, also back."""
        self._now = moment
