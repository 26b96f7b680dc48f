"""Identifiers: UUIDv7, which sort by the time they were made (RFC 9562, section 5.7)."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Protocol
from uuid import UUID

from chassis.clock import Clock

_VERSION_7 = 0x7 << 76
_VARIANT = 0b10 << 62
_RANDOM_BITS = 74
_LOW_62 = (1 << 62) - 1


class Ids(Protocol):
    """Makes identifiers."""

    def new(self) -> UUID:
        """A new UUIDv7, later than all made before by this maker."""
        ...


class Uuid7Ids:
    """UUIDv7 from a clock and a source of random bytes; strictly growing within one maker."""

    def __init__(self, clock: Clock, random_bytes: Callable[[int], bytes] = os.urandom) -> None:
        self._clock = clock
        self._random_bytes = random_bytes
        self._last_ms = -1
        self._last_random = 0

    def new(self) -> UUID:
        now_ms = int(self._clock.now().timestamp() * 1000)
        if now_ms > self._last_ms:
            self._last_ms = now_ms
            # The top bit is left free, so that counting up within a millisecond has space.
            self._last_random = int.from_bytes(self._random_bytes(10)) >> (80 - _RANDOM_BITS + 1)
        else:
            self._last_random += 1
        rand_a, rand_b = self._last_random >> 62, self._last_random & _LOW_62
        return UUID(int=(self._last_ms << 80) | _VERSION_7 | (rand_a << 64) | _VARIANT | rand_b)
