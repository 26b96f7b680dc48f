"""Natural batching: what arrives together travels together, without waiting for anything.

A few flushers take turns. Each takes all that waits, up to a batch, and sends it; while it is away the next batch
gathers by itself. An idle gateway thus sends items one by one and at once, a busy one in batches that grow with the
load. There is no timer to tune. The second flusher, and each further one, begins only where enough waits to be worth
a call of its own.

Nobody waits longer than the batcher was told to: one alarm for all of them, since who came first is due first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context
from dataclasses import dataclass
from typing import Generic, TypeVar

from chassis.errors import Unavailable

WAIT_SECONDS_MAX = 60.0
"""Of items whose batcher was not told otherwise: longer than any call lasts."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(slots=True)
class _Waiting(Generic[Item, Result]):
    item: Item
    size: int
    done: asyncio.Future[Result]


class Batcher(Generic[Item, Result]):
    """Gathers items into calls of `flush`, which answers one result per item, in order."""

    def __init__(
        self,
        flush: Callable[[list[Item]], Awaitable[list[Result]]],
        *,
        size_of: Callable[[Item], int],
        flushers: int,
        items_worth: int = 1,
        items_max: int,
        bytes_max: int,
        queue_items_max: int,
        queue_bytes_max: int,
        wait_seconds_max: float = WAIT_SECONDS_MAX,
    ) -> None:
        self._flush = flush
        self._size_of = size_of
        self._flushers = flushers
        self._items_worth = items_worth
        self._items_max, self._bytes_max = items_max, bytes_max
        self._queue_items_max, self._queue_bytes_max = queue_items_max, queue_bytes_max
        self._queue: deque[_Waiting[Item, Result]] = deque()
        self._queue_bytes = 0
        self._running: set[asyncio.Task[None]] = set()
        self._wait_seconds_max = wait_seconds_max
        self._due: deque[tuple[float, asyncio.Future[Result]]] = deque()
        self._alarm: asyncio.TimerHandle | None = None
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many items wait for a flusher."""
        return len(self._queue)

    async def submit(self, item: Item) -> Result:
        """Answers the item's own result. An error of the call reaches every item of its batch.

        Raises Unavailable at once where too much waits already, TimeoutError where no answer comes in time. A caller
        that gives up leaves the others alone.
        """
        size = self._size_of(item)
        if self._closed:
            raise Unavailable("SHUTTING_DOWN", "This process is stopping; try again.")
        if len(self._queue) >= self._queue_items_max or self._queue_bytes + size > self._queue_bytes_max:
            raise Unavailable("OVERLOADED", "Too much is waiting already; try again soon.")
        loop = asyncio.get_running_loop()
        waiting: _Waiting[Item, Result] = _Waiting(item, size, loop.create_future())
        while self._due and self._due[0][1].done():
            self._due.popleft()
        self._due.append((loop.time() + self._wait_seconds_max, waiting.done))
        if self._alarm is None:
            self._alarm = loop.call_later(self._wait_seconds_max, self._ring)
        self._queue.append(waiting)
        self._queue_bytes += size
        running = len(self._running)
        if running < self._flushers and (not running or len(self._queue) >= self._items_worth):
            # In an empty context: a batch is nobody's alone, and must not act or be logged as the first of its callers.
            task = asyncio.create_task(self._work(), context=Context())
            self._running.add(task)
            task.add_done_callback(self._running.discard)
        return await waiting.done

    async def close(self) -> None:
        """Takes nothing more and answers when all that waited is done."""
        self._closed = True
        while self._running:
            await asyncio.wait(self._running)
        if self._alarm is not None:
            self._alarm.cancel()

    def _ring(self) -> None:
        """Tells those who are due that their time is over, and sets the alarm for the next one who still waits."""
        loop = asyncio.get_running_loop()
        while self._due and ((done := self._due[0][1]).done() or self._due[0][0] <= loop.time()):
            if not done.done():
                done.set_exception(TimeoutError())
            self._due.popleft()
        self._alarm = loop.call_at(self._due[0][0], self._ring) if self._due else None

    async def _work(self) -> None:
        try:
            await self._work_off()
        finally:
            # At once, not when the loop tells of the task's end: an item that came between the two would wait for
            # a flusher that takes no more.
            task = asyncio.current_task()
            assert task is not None
            self._running.discard(task)

    async def _work_off(self) -> None:
        while batch := self._take():
            try:
                results = await self._flush([waiting.item for waiting in batch])
                if len(results) != len(batch):
                    raise RuntimeError(f"{len(batch)} items were sent, {len(results)} results came")
            except asyncio.CancelledError:
                _fail(batch, Unavailable("SHUTTING_DOWN", "This process is stopping; try again."))
                raise
            except Exception as error:
                _fail(batch, error)
            else:
                for waiting, result in zip(batch, results, strict=True):
                    if not waiting.done.done():
                        waiting.done.set_result(result)

    def _take(self) -> list[_Waiting[Item, Result]]:
        """Takes the next batch off the queue; items whose caller has given up are dropped."""
        batch: list[_Waiting[Item, Result]] = []
        size = 0
        while self._queue and len(batch) < self._items_max:
            waiting = self._queue[0]
            abandoned = waiting.done.done()
            # One item larger than a batch still travels, alone.
            if batch and not abandoned and size + waiting.size > self._bytes_max:
                break
            self._queue.popleft()
            self._queue_bytes -= waiting.size
            if not abandoned:
                batch.append(waiting)
                size += waiting.size
        return batch


def _fail(batch: list[_Waiting[Item, Result]], error: Exception) -> None:
    for waiting in batch:
        if not waiting.done.done():
            waiting.done.set_exception(error)
