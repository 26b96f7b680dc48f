"""A clock for worlds: every look at it is a little later than the last."""

from datetime import UTC, datetime, timedelta


class TickingClock:
    """Starts at a fixed time and steps on by so many milliseconds at each call."""

    def __init__(self, step_milliseconds: float = 137.021) -> None:
        self._time = datetime(2026, 7, 20, 12, tzinfo=UTC)
        self._step = timedelta(milliseconds=step_milliseconds)

    def __call__(self) -> datetime:
        self._time += self._step
        return self._time
