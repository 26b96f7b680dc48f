"""How many bytes each sender may have read: what one sends beyond its share keeps nobody else waiting."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Hashable


class ByteBudgets:
    """A share for each sender, which fills again with time."""

    def __init__(self, burst_bytes: int, bytes_per_second: float, senders_max: int) -> None:
        self._burst_bytes = burst_bytes
        self._bytes_per_second = bytes_per_second
        self._senders_max = senders_max
        # What each has spent, as of when; who has not been heard of for the longest is forgotten first.
        self._spent: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()

    def take(self, sender: Hashable, size: int) -> bool:
        """Spends so many bytes of the sender's share; False, and nothing spent, where it has not so much left."""
        spent, now = self._spent_by(sender)
        if spent and spent + size > self._burst_bytes:
            return False
        self._keep(sender, spent + size, now)
        return True

    def exhausted(self, sender: Hashable) -> bool:
        """Whether nothing is left of the sender's share."""
        return self._spent_by(sender)[0] >= self._burst_bytes

    def charge(self, sender: Hashable, size: int) -> None:
        """Spends so many bytes, whether or not they are left; gives them back where they are fewer than none."""
        spent, now = self._spent_by(sender)
        self._keep(sender, max(0.0, spent + size), now)

    def _keep(self, sender: Hashable, spent: float, now: float) -> None:
        self._spent[sender] = spent, now
        self._spent.move_to_end(sender)
        if len(self._spent) > self._senders_max:
            self._spent.popitem(last=False)

    def _spent_by(self, sender: Hashable) -> tuple[float, float]:
        now = time.monotonic()
        spent, as_of = self._spent.get(sender, (0.0, now))
        return max(0.0, spent - (now - as_of) * self._bytes_per_second), now
