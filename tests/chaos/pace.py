"""How fast letters may leave: as the faults go on, so that events flow during each of them and none run out early."""

from __future__ import annotations

import asyncio
import time

TICK_SECONDS = 0.05
FAULT_SECONDS = 12.0
"""How long a fault with its recovery is taken to last; its share of the letters is spread over this time."""


class Pace:
    """Deals the letters out over the faults of a run."""

    def __init__(self, letter_count: int, fault_count: int) -> None:
        self._letter_count = letter_count
        self._share = letter_count / max(1, fault_count)
        self._done_count = 0
        self._begun = time.monotonic()
        self._dealt = 0
        self._free = fault_count == 0
        self._tokens = asyncio.Semaphore(0)

    async def next(self) -> None:
        """Waits until one more letter may leave."""
        await self._tokens.acquire()

    def fault_begins(self) -> None:
        """The next fault's share may leave."""
        self._begun = time.monotonic()

    def fault_ends(self) -> int:
        """What is left of its share may leave at once; answers how many letters have been dealt by then."""
        self._done_count += 1
        self._begun = time.monotonic()
        return self._allowed()

    def no_more_faults(self) -> None:
        """Everything may leave."""
        self._free = True

    async def run(self) -> None:
        """Deals until all is dealt."""
        while self._dealt < self._letter_count:
            allowed = self._allowed()
            for _ in range(allowed - self._dealt):
                self._tokens.release()
            self._dealt = max(self._dealt, allowed)
            await asyncio.sleep(TICK_SECONDS)

    def _allowed(self) -> int:
        if self._free:
            return self._letter_count
        passed = min(1.0, (time.monotonic() - self._begun) / FAULT_SECONDS)
        return min(self._letter_count, int(self._share * (self._done_count + passed)))
