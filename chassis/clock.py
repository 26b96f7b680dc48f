"""Business time, handed in so that a test can choose it: it is asked for, and waited for.

What happens at a time of the business (upkeep, what is due at a date) sleeps by a Clock. Deadlines, retries and polls
use monotonic time and the loop's own sleep, leases the database's clock.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Protocol

LOOK_SECONDS = 60.0
"""How often a sleeper looks whether the machine's clock was set forward, or the machine was asleep itself."""
SETTLE_SECONDS_MAX = 60.0
"""How long a simulation waits, in real time, for those that it woke."""


class Clock(Protocol):
    """Tells the time in UTC."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...

    async def sleep_until(self, moment: datetime, woken: asyncio.Event | None = None) -> bool:
        """Sleeps until the moment, or until the event is set: True where the moment has come.

        Who may not act too early asks the time again: a clock can be set back.
        """
        ...


async def _sleep(seconds: float, woken: asyncio.Event | None) -> bool:
    """Sleeps so long; answers whether the event was set before."""
    if woken is None:
        await asyncio.sleep(seconds)
        return False
    try:
        async with asyncio.timeout(seconds):
            await woken.wait()
    except TimeoutError:
        return False
    return True


class SystemClock:
    """The machine's own clock."""

    def __init__(self, sleep: Callable[[float, asyncio.Event | None], Awaitable[bool]] = _sleep) -> None:
        self._sleep = sleep

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep_until(self, moment: datetime, woken: asyncio.Event | None = None) -> bool:
        # Counted from now on in monotonic time: one who sets the clock back by a day does not stop what comes hourly.
        left = (moment - self.now()).total_seconds()
        while left > 0:
            step = min(left, LOOK_SECONDS)
            if await self._sleep(step, woken):
                return False
            left = min(left - step, (moment - self.now()).total_seconds())
        return True


@dataclass(frozen=True, slots=True, order=True)
class _Sleeper:
    moment: datetime
    number: int
    """Of two that sleep until the same moment, who came first wakes first."""
    task: asyncio.Task[Any]
    alarm: asyncio.Future[None]
    woken: asyncio.Event | None

    @property
    def about_to_wake(self) -> bool:
        return self.woken is not None and self.woken.is_set()


class SettableClock:
    """A clock that stands still until it is moved; for tests, which so let hours pass in no time.

    Who sleeps by it and is woken counts as busy until its task sleeps by it again, or ends.
    """

    def __init__(self, start: datetime) -> None:
        self._now = start
        self._numbers = count()
        self._sleepers: list[_Sleeper] = []
        self._known: set[asyncio.Task[Any]] = set()
        self._busy: set[asyncio.Task[Any]] = set()
        self._changed = asyncio.Event()

    def now(self) -> datetime:
        return self._now

    def advance(self, step: timedelta) -> None:
        """Moves forward by a step."""
        self.set(self._now + step)

    def set(self, moment: datetime) -> None:
        """Moves to a moment, also back, and wakes who slept until then; waits for nobody."""
        self._now = moment
        for sleeper in sorted(self._sleepers):
            if sleeper.moment <= moment:
                self._wake(sleeper)

    async def run_until(
        self,
        moment: datetime,
        settled: Callable[[], Awaitable[None]] | None = None,
        patience_seconds: float = SETTLE_SECONDS_MAX,
    ) -> None:
        """Moves to the moment by way of every time that somebody sleeps until.

        One after the other wakes at its own time, and the next when all are idle again and ``settled`` has returned,
        which waits for what does not sleep by a clock.

        Raises TimeoutError naming who was still busy when patience ended.
        """
        while True:
            await self.idle(patience_seconds)
            if settled is not None:
                await settled()
                await self.idle(patience_seconds)
            due = min((sleeper for sleeper in self._sleepers if sleeper.moment <= moment), default=None)
            if due is None:
                self._now = max(self._now, moment)
                return
            self._now = max(self._now, due.moment)
            self._wake(due)

    async def idle(self, patience_seconds: float = SETTLE_SECONDS_MAX) -> None:
        """Waits until everybody who ever slept by this clock sleeps again or has ended."""

        def all_idle() -> bool:
            return not self._busy and not any(sleeper.about_to_wake for sleeper in self._sleepers)

        await self._until(all_idle, patience_seconds)

    async def asleep(self, number: int, patience_seconds: float = SETTLE_SECONDS_MAX) -> None:
        """Waits until so many sleep at the same time: that who was just started has come so far."""
        await self._until(lambda: len(self._sleepers) >= number, patience_seconds)

    async def _until(self, condition: Callable[[], bool], patience_seconds: float) -> None:
        try:
            async with asyncio.timeout(patience_seconds):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            busy = ", ".join(sorted(task.get_name() for task in self._busy)) or "nobody"
            raise TimeoutError(f"{len(self._sleepers)} sleep by this clock; busy: {busy}.") from None

    async def sleep_until(self, moment: datetime, woken: asyncio.Event | None = None) -> bool:
        if moment <= self._now:
            return True
        task = asyncio.current_task()
        assert task is not None
        if task not in self._known:
            self._known.add(task)
            task.add_done_callback(self._forget)
        sleeper = _Sleeper(moment, next(self._numbers), task, asyncio.get_running_loop().create_future(), woken)
        self._sleepers.append(sleeper)
        self._busy.discard(task)
        self._changed.set()
        awaited: set[asyncio.Future[Any]] = {sleeper.alarm}
        if woken is not None:
            awaited.add(asyncio.ensure_future(woken.wait()))
        try:
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
            return sleeper.alarm.done()
        finally:
            for future in awaited:
                future.cancel()
            self._rouse(sleeper)

    def _wake(self, sleeper: _Sleeper) -> None:
        # Busy from now on, and not from when its task runs: until then a simulation would find everybody idle.
        self._rouse(sleeper)
        if not sleeper.alarm.done():
            sleeper.alarm.set_result(None)

    def _rouse(self, sleeper: _Sleeper) -> None:
        if sleeper in self._sleepers:
            self._sleepers.remove(sleeper)
            self._busy.add(sleeper.task)
            self._changed.set()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._known.discard(task)
        self._busy.discard(task)
        self._changed.set()
