"""Places for callers who wait for a fact: a share for each organization, so that none takes the others'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from chassis.errors import ResourceExhausted

WAITING_MAX = 1_000
"""How many callers of a process may wait for a fact at once, each in a call of its own; one more is refused."""
WAITING_PER_ORGANIZATION_MAX = 20
"""Of them for one organization's: a flow needs one."""


class Waits:
    """Who waits now, of this process."""

    def __init__(self) -> None:
        self._held: Counter[UUID] = Counter()

    @contextmanager
    def place(self, organization_id: UUID) -> Iterator[None]:
        """Holds a place for the block. Raises ResourceExhausted FEED_WAITS_LIMITED where there is none."""
        if self._held[organization_id] >= WAITING_PER_ORGANIZATION_MAX:
            raise _limited(f"{WAITING_PER_ORGANIZATION_MAX} callers of the organization wait for a fact already.")
        if self._held.total() >= WAITING_MAX:
            raise _limited("Very many wait for a fact already.")
        self._held[organization_id] += 1
        try:
            yield
        finally:
            self._held[organization_id] -= 1
            if not self._held[organization_id]:
                del self._held[organization_id]


def _limited(detail: str) -> ResourceExhausted:
    return ResourceExhausted("FEED_WAITS_LIMITED", f"{detail} Let one reader wait, or ask without wait_seconds.")
