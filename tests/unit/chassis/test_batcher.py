"""Natural batching: no timer, bounded, and one's fate is nobody else's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import pytest

import chassis.batcher
from chassis.batcher import Batcher
from chassis.errors import Unavailable

WAIT_SECONDS = 8.0
TURNS = 3


class Recorder:
    """A flush that is held until released, and remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.release = asyncio.Event()
        self.began = asyncio.Event()
        self.error: Exception | None = None

    async def flush(self, items: list[str]) -> list[str]:
        self.batches.append(items)
        self.began.set()
        await self.release.wait()
        if self.error is not None:
            raise self.error
        return [item.upper() for item in items]


def batcher(recorder: Recorder, flushers: int = 1, items_max: int = 100, **limits: Any) -> Batcher[str, str]:
    values: dict[str, Any] = {"bytes_max": 1000, "queue_items_max": 1000, "queue_bytes_max": 10_000} | limits
    return Batcher(recorder.flush, size_of=len, flushers=flushers, items_max=items_max, **values)


async def submit_all(subject: Batcher[str, str], items: list[str]) -> list[asyncio.Task[str]]:
    """Submits items and waits until each of them is queued or taken."""
    tasks = [asyncio.create_task(subject.submit(item)) for item in items]
    await asyncio.sleep(0)
    return tasks


async def test_a_lone_item_leaves_at_once() -> None:
    recorder = Recorder()
    recorder.release.set()
    assert await batcher(recorder).submit("a") == "A"
    assert recorder.batches == [["a"]]


async def test_what_waits_while_a_batch_is_away_leaves_together_and_in_order() -> None:
    recorder = Recorder()
    subject = batcher(recorder)
    first = await submit_all(subject, ["a"])
    await recorder.began.wait()
    rest = await submit_all(subject, ["b", "c", "d"])
    assert subject.waiting == 3
    recorder.release.set()
    assert await asyncio.gather(*first, *rest) == ["A", "B", "C", "D"]
    assert recorder.batches == [["a"], ["b", "c", "d"]]


async def test_a_second_flusher_begins_only_where_enough_waits() -> None:
    recorder = Recorder()
    subject = batcher(recorder, flushers=2, items_worth=2)
    first = await submit_all(subject, ["a"])
    await recorder.began.wait()
    second = await submit_all(subject, ["b"])
    assert recorder.batches == [["a"]]
    third = await submit_all(subject, ["c"])
    await asyncio.sleep(0)
    assert recorder.batches == [["a"], ["b", "c"]]
    recorder.release.set()
    assert await asyncio.gather(*first, *second, *third) == ["A", "B", "C"]


async def test_two_flushers_have_two_batches_away_at_once_and_never_three() -> None:
    recorder = Recorder()
    subject = batcher(recorder, flushers=2, items_max=1)
    tasks = await submit_all(subject, ["a", "b", "c"])
    await asyncio.sleep(0)
    assert recorder.batches == [["a"], ["b"]]
    recorder.release.set()
    assert await asyncio.gather(*tasks) == ["A", "B", "C"]


async def test_a_batch_is_bounded_by_items_and_by_bytes_and_one_large_item_travels_alone() -> None:
    recorder = Recorder()
    subject = batcher(recorder, items_max=2, bytes_max=5)
    items = ["x", "ab", "cd", "e", "fghij", "k" * 9, "l"]
    tasks = await submit_all(subject, items)
    recorder.release.set()
    await asyncio.gather(*tasks)
    assert recorder.batches == [["x", "ab"], ["cd", "e"], ["fghij"], ["k" * 9], ["l"]]


async def test_overload_is_refused_at_once_by_items_and_by_bytes() -> None:
    recorder = Recorder()
    subject = batcher(recorder, queue_items_max=2, queue_bytes_max=10)
    first = await submit_all(subject, ["a"])
    await recorder.began.wait()
    waiting = await submit_all(subject, ["b" * 6])
    with pytest.raises(Unavailable) as too_large:
        await subject.submit("c" * 5)
    waiting += await submit_all(subject, ["d"])
    with pytest.raises(Unavailable) as too_many:
        await subject.submit("e")
    assert too_large.value.reason == too_many.value.reason == "OVERLOADED"
    recorder.release.set()
    await asyncio.gather(*first, *waiting)
    assert await subject.submit("c" * 5) == "C" * 5


async def test_one_who_gives_up_does_not_take_the_others_along() -> None:
    recorder = Recorder()
    subject = batcher(recorder)
    away = await submit_all(subject, ["a", "b"])
    await recorder.began.wait()
    waiting = await submit_all(subject, ["c", "d"])
    away[0].cancel()
    waiting[0].cancel()
    await asyncio.sleep(0)
    recorder.release.set()
    assert list(await asyncio.gather(away[1], waiting[1])) == ["B", "D"]
    assert recorder.batches == [["a", "b"], ["d"]]


class HeldTime:
    """The running loop, but for its time, which passes only where a test says so."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._now = 1_000.0
        self._alarms: list[tuple[float, Callable[[], None], asyncio.Handle]] = []

    def time(self) -> float:
        return self._now

    def create_future(self) -> asyncio.Future[Any]:
        return self._loop.create_future()

    def call_at(self, when: float, callback: Callable[[], None]) -> asyncio.Handle:
        handle = asyncio.Handle(callback, (), self._loop)
        self._alarms.append((when, callback, handle))
        return handle

    def call_later(self, delay: float, callback: Callable[[], None]) -> asyncio.Handle:
        return self.call_at(self._now + delay, callback)

    async def pass_by(self, seconds: float) -> None:
        """Rings what is due by then, in its order, and lets those wake who were told."""
        end = self._now + seconds
        while due := sorted((alarm for alarm in self._alarms if alarm[0] <= end), key=lambda alarm: alarm[0]):
            when, callback, handle = due[0]
            self._alarms.remove(due[0])
            self._now = max(self._now, when)
            if not handle.cancelled():
                callback()
        self._now = end
        for _ in range(TURNS):
            await asyncio.sleep(0)


@pytest.fixture
async def held_time(monkeypatch: pytest.MonkeyPatch) -> HeldTime:
    """Time that the test holds."""
    held = HeldTime()
    monkeypatch.setattr(
        chassis.batcher, "asyncio", SimpleNamespace(**vars(asyncio) | {"get_running_loop": lambda: held})
    )
    return held


async def test_who_is_not_answered_in_time_is_told_so_whether_it_waits_or_is_away(held_time: HeldTime) -> None:
    recorder = Recorder()
    subject = batcher(recorder, wait_seconds_max=WAIT_SECONDS)
    late = await submit_all(subject, ["away", "also away"])
    await recorder.began.wait()
    late += await submit_all(subject, ["waiting"])
    await held_time.pass_by(WAIT_SECONDS)
    results = await asyncio.gather(*late, return_exceptions=True)
    assert [type(result) for result in results] == [TimeoutError] * 3
    again = await submit_all(subject, ["again"])
    recorder.release.set()
    assert await asyncio.gather(*again) == ["AGAIN"]
    assert recorder.batches == [["away", "also away"], ["again"]]


@pytest.mark.case("O15")
async def test_the_time_of_each_begins_when_it_comes(held_time: HeldTime) -> None:
    recorder = Recorder()
    subject = batcher(recorder, wait_seconds_max=WAIT_SECONDS)
    answered = await submit_all(subject, ["answered"])
    await recorder.began.wait()
    recorder.release.set()
    await asyncio.gather(*answered)
    recorder.release.clear()
    await held_time.pass_by(WAIT_SECONDS / 2)
    (late,) = await submit_all(subject, ["late"])
    # The alarm of the first, who has gone, comes and goes.
    await held_time.pass_by(WAIT_SECONDS * 0.75)
    assert not late.done()
    await held_time.pass_by(WAIT_SECONDS * 0.25)
    assert late.done()
    assert isinstance(late.exception(), TimeoutError)
    recorder.release.set()
    await subject.close()


async def test_an_error_reaches_every_item_of_its_batch_and_no_other() -> None:
    recorder = Recorder()
    recorder.error = Unavailable("AWAY", "Soon.")
    subject = batcher(recorder)
    tasks = await submit_all(subject, ["a", "b"])
    recorder.release.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results == [recorder.error, recorder.error]
    recorder.error = None
    assert await subject.submit("c") == "C"


async def test_a_flush_that_answers_too_few_results_fails_all_of_them() -> None:
    async def short(items: list[str]) -> list[str]:
        return items[1:]

    subject: Batcher[str, str] = Batcher(
        short, size_of=len, flushers=1, items_max=9, bytes_max=99, queue_items_max=9, queue_bytes_max=99
    )
    with pytest.raises(RuntimeError, match="1 items were sent, 0 results came"):
        await subject.submit("a")


async def test_a_batch_runs_as_nobody_in_particular() -> None:
    caller: ContextVar[str] = ContextVar("caller", default="nobody")
    seen: list[str] = []

    async def flush(items: list[str]) -> list[str]:
        seen.append(caller.get())
        return items

    subject: Batcher[str, str] = Batcher(
        flush, size_of=len, flushers=1, items_max=9, bytes_max=99, queue_items_max=9, queue_bytes_max=99
    )
    caller.set("somebody")
    await subject.submit("a")
    assert seen == ["nobody"]


async def test_closing_sends_what_waits_and_takes_nothing_more() -> None:
    recorder = Recorder()
    subject = batcher(recorder, items_max=1)
    tasks = await submit_all(subject, ["a", "b"])
    closing = asyncio.create_task(subject.close())
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await subject.submit("c")
    assert not closing.done()
    recorder.release.set()
    await closing
    assert await asyncio.gather(*tasks) == ["A", "B"]


async def test_an_item_that_comes_as_the_last_flusher_ends_is_not_left_behind() -> None:
    recorder = Recorder()
    subject = batcher(recorder, flushers=2, items_worth=32)
    first = await submit_all(subject, ["a"])
    await recorder.began.wait()

    async def submit_in_the_same_turn_of_the_loop() -> str:
        await recorder.release.wait()
        return await subject.submit("b")

    late = asyncio.create_task(submit_in_the_same_turn_of_the_loop())
    await asyncio.sleep(0)
    recorder.release.set()
    async with asyncio.timeout(1):
        assert await asyncio.gather(*first, late) == ["A", "B"]
