"""Clocks are waited for: the machine's however it is set meanwhile, a test's by moving it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest

from chassis.clock import LOOK_SECONDS, SettableClock, SystemClock

START = datetime(2026, 3, 2, 9, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class SetClock(SystemClock):
    """The machine's clock as somebody sets it; its sleeps take no time and are written down."""

    def __init__(self, *set_by: timedelta, woken_after: int | None = None) -> None:
        super().__init__(self._sleep_at_once)
        self.time = START
        self.slept: list[float] = []
        self._set_by = list(set_by)
        self._woken_after = woken_after

    def now(self) -> datetime:
        return self.time

    async def _sleep_at_once(self, seconds: float, _woken: asyncio.Event | None) -> bool:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds) + (self._set_by.pop(0) if self._set_by else timedelta())
        return len(self.slept) == self._woken_after


async def test_the_machine_s_clock_sleeps_as_long_as_it_is_until_the_moment() -> None:
    clock = SetClock()
    assert await clock.sleep_until(START + timedelta(seconds=LOOK_SECONDS + 3))
    assert clock.slept == [LOOK_SECONDS, 3]
    assert await clock.sleep_until(START)
    assert len(clock.slept) == 2


async def test_who_sleeps_by_the_machine_s_clock_wakes_soon_after_it_was_set_forward() -> None:
    clock = SetClock(HOUR)
    assert await clock.sleep_until(START + HOUR)
    assert clock.slept == [LOOK_SECONDS]


async def test_a_machine_s_clock_that_is_set_back_holds_nobody_up_for_longer_than_was_asked() -> None:
    clock = SetClock(-DAY)
    assert await clock.sleep_until(START + HOUR)
    assert sum(clock.slept) == HOUR.total_seconds()


async def test_who_is_woken_before_the_moment_is_told_so() -> None:
    clock = SetClock(woken_after=2)
    assert not await clock.sleep_until(START + HOUR, asyncio.Event())
    assert len(clock.slept) == 2
    woken = asyncio.Event()
    woken.set()
    assert not await SystemClock().sleep_until(SystemClock().now() + HOUR, woken)


@asynccontextmanager
async def working(*jobs: Callable[[], Awaitable[None]]) -> AsyncIterator[Sequence[asyncio.Future[None]]]:
    tasks = [asyncio.ensure_future(job()) for job in jobs]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def test_a_month_passes_at_once_and_everybody_wakes_at_their_own_times_in_order() -> None:
    clock = SettableClock(START)
    woken: list[tuple[str, datetime]] = []

    def every(name: str, step: timedelta, turns: int) -> Callable[[], Awaitable[None]]:
        async def job() -> None:
            while True:
                assert await clock.sleep_until(clock.now() + step)
                for _ in range(turns):
                    # As one that asks a server: nobody may be woken meanwhile, nor the time move.
                    now = clock.now()
                    await asyncio.sleep(0)
                    assert clock.now() == now
                woken.append((name, clock.now()))

        return job

    async with working(every("slow", 2 * HOUR, 50), every("quick", HOUR, 1)):
        await clock.asleep(2)
        await clock.run_until(START + 30 * DAY)
        assert clock.now() == START + 30 * DAY
        assert woken == sorted(woken, key=lambda entry: entry[1])
        assert [moment for name, moment in woken if name == "quick"] == [START + n * HOUR for n in range(1, 721)]
        assert [moment for name, moment in woken if name == "slow"] == [START + n * 2 * HOUR for n in range(1, 361)]
        # Who slept longer was there first.
        assert woken[1:3] == [("slow", START + 2 * HOUR), ("quick", START + 2 * HOUR)]


async def test_a_simulation_waits_for_what_hangs_on_who_woke() -> None:
    clock = SettableClock(START)
    handed_on: asyncio.Queue[int] = asyncio.Queue()
    effects: list[datetime] = []

    async def hand_on() -> None:
        while True:
            await clock.sleep_until(clock.now() + HOUR)
            handed_on.put_nowait(1)

    async def follow() -> None:
        while True:
            await handed_on.get()
            await asyncio.sleep(0)
            effects.append(clock.now())
            handed_on.task_done()

    async with working(hand_on, follow):
        await clock.asleep(1)
        await clock.run_until(START + 3 * HOUR, handed_on.join)
    assert effects == [START + HOUR, START + 2 * HOUR, START + 3 * HOUR]


async def test_who_is_woken_by_another_is_busy_until_it_sleeps_again() -> None:
    clock = SettableClock(START)
    something, seen = asyncio.Event(), list[bool]()

    async def work() -> None:
        while True:
            something.clear()
            seen.append(await clock.sleep_until(clock.now() + DAY, something))

    async with working(work):
        await clock.asleep(1)
        something.set()
        await clock.idle()
        assert seen == [False]
        clock.advance(DAY)
        await clock.idle()
        assert seen == [False, True]


async def test_moving_the_clock_wakes_who_is_due_and_nobody_else() -> None:
    clock = SettableClock(START)
    woken: list[str] = []

    def once(name: str, moment: datetime) -> Callable[[], Awaitable[None]]:
        async def job() -> None:
            await clock.sleep_until(moment)
            woken.append(name)

        return job

    async with working(once("late", START + DAY), once("due", START + HOUR), once("first", START + MINUTE)) as tasks:
        await clock.asleep(3)
        clock.set(START + HOUR)
        await clock.idle()
        assert woken == ["first", "due"]
        assert [task.done() for task in tasks] == [False, True, True]


async def test_a_simulation_that_does_not_come_to_rest_says_who_is_busy() -> None:
    clock = SettableClock(START)

    async def stuck() -> None:
        await clock.sleep_until(START + HOUR)
        await asyncio.Event().wait()

    task = asyncio.create_task(stuck(), name="crm.stuck")
    await clock.asleep(1)
    clock.advance(HOUR)
    with pytest.raises(TimeoutError, match=r"busy: crm\.stuck"):
        await clock.run_until(START + DAY, patience_seconds=0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    # Who has ended is waited for no longer.
    await clock.run_until(START + DAY)
