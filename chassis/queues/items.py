"""What waits in a queue, and what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, NamedTuple, TypeAlias, TypeVar
from uuid import UUID

from chassis.errors import InvalidArgument, ProsaError

DETAIL_LENGTH_MAX = 1_000
LONGEST_WAIT = timedelta(seconds=8)
"""Of items that are tried once."""


class Place(NamedTuple):
    """What is to wait: a row of the service's own, named by its id, among those of the same key."""

    item_id: UUID
    organization_id: UUID
    key: str
    """Of one key, one item is worked on at a time, in order. Never shown to anybody; an id or a number, no secret."""
    due_time: datetime | None = None
    """When it takes its place, in a timed queue; at once where there is none or it has passed."""


@dataclass(slots=True)
class Item:
    """What was claimed. A service that reads more with it makes a subclass of its own, see `Handler.load`."""

    sequence: int
    lane: int
    key: str
    item_id: UUID
    put_time: datetime
    organization_id: UUID
    attempt_count: int
    """How many attempts have failed so far."""


ItemT = TypeVar("ItemT", bound=Item)


@dataclass(slots=True)
class Done(Generic[ItemT]):
    """It needs no further attempt."""

    item: ItemT


@dataclass(slots=True)
class Retry(Generic[ItemT]):
    """It is to be tried again, not before ``at``; until then it holds back all that comes after it in its key."""

    item: ItemT
    at: datetime
    detail: str = ""
    counted: bool = True
    """False where nothing is wrong with the item itself: a breaker is open, a limit reached, an hour quiet."""
    gives_way: bool = False
    """True, in a timed queue, to give up its place and take one anew at that time: later ones may pass."""
    reason: str = ""
    """What it failed with, for whoever counts."""


@dataclass(slots=True)
class Dead(Generic[ItemT]):
    """It is given up, with a reason (UPPER_SNAKE) and a sentence; what comes after it in its key goes on."""

    item: ItemT
    reason: str
    detail: str = ""


Outcome: TypeAlias = Done[ItemT] | Retry[ItemT] | Dead[ItemT]


class DeadLetter(NamedTuple):
    """An item that was given up, as the queue keeps it."""

    item_id: UUID
    key: str
    attempt_count: int
    reason: str
    detail: str
    put_time: datetime
    dead_time: datetime


@dataclass(frozen=True, slots=True)
class Attempts:
    """How often an item is tried, and how long it waits after each attempt that failed."""

    waits: Sequence[timedelta] = tuple(timedelta(seconds=seconds) for seconds in (1, 2, 4, 8))

    @property
    def maximum(self) -> int:
        """One more than there are waits."""
        return len(self.waits) + 1

    @property
    def longest(self) -> timedelta:
        """The longest wait."""
        return max(self.waits, default=LONGEST_WAIT)

    def failed(self, item: ItemT, now: datetime, error: ProsaError) -> Retry[ItemT] | Dead[ItemT]:
        """What becomes of an item that failed with this."""
        attempts = item.attempt_count + 1
        # What is wrong with the item itself will be wrong the next time too.
        if isinstance(error, InvalidArgument) or attempts >= self.maximum:
            return Dead(item, error.reason, error.message)
        return Retry(item, now + self.waits[attempts - 1], str(error), reason=error.reason)


def storable(detail: str) -> str:
    """A detail may quote what others sent: PostgreSQL takes no NUL, and nobody reads more than this."""
    return detail.replace("\x00", "")[:DETAIL_LENGTH_MAX].encode("utf-8", "replace").decode()
