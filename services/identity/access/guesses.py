"""Bounds guessing without locking anybody out: few places to try from a network, and wrong answers that take longer.

Places are kept in the memory of one process; where identity runs in several, a network has so many in each.
"""

from __future__ import annotations

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from chassis.errors import ResourceExhausted

DELAY_SECONDS_FIRST = 0.5
DELAY_SECONDS_MAX = 4.0
"""Less than a caller of the gateway waits for an answer."""
NETWORKS_MAX = 10_000
"""Networks remembered at once, those that tried last; a forgotten one begins anew."""


def delay_seconds(failures: int, free: int) -> float:
    """How long the answer to a wrong guess takes: nothing for the free ones, then twice as long each time."""
    if failures <= free:
        return 0.0
    return min(DELAY_SECONDS_FIRST * 2.0 ** min(failures - free - 1, 10), DELAY_SECONDS_MAX)


@dataclass(slots=True, eq=False)
class Place:
    """What one attempt takes of its network's places, and of all."""

    free_at: float = math.inf
    working: bool = True

    def hold(self, until: float) -> None:
        """The attempt was wrong: its place stays taken until then, whether or not its caller waits for the answer."""
        self.free_at = until


@dataclass(slots=True)
class _Network:
    places: list[Place] = field(default_factory=list)
    failures: int = 0
    window_end: float = 0.0


class Places:
    """The places to guess from: so many at work in all, so many a network, those of slow answers included.

    ``refusal`` says in which words an attempt is refused, and after how many seconds it may be made again.
    """

    def __init__(
        self,
        *,
        refusal: Callable[[int], ResourceExhausted],
        total: int,
        per_network: int,
        failures_free: int,
        window_seconds: float,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._refusal = refusal
        self._total, self._per_network = total, per_network
        self._failures_free, self._window_seconds = failures_free, window_seconds
        self._monotonic = monotonic
        self._working = 0
        self._networks: OrderedDict[str, _Network] = OrderedDict()

    @contextmanager
    def take(self, network: str) -> Iterator[Place]:
        """A place of the network's. Raises ResourceExhausted, with when to try again, where none is free."""
        known, now = self._network(network), self._monotonic()
        known.places = [place for place in known.places if place.free_at > now]
        if self._working >= self._total or len(known.places) >= self._per_network:
            soonest = min((place.free_at for place in known.places), default=math.inf)
            wait = 1 if math.isinf(soonest) else max(1, math.ceil(soonest - now))
            raise self._refusal(wait)
        place = Place()
        known.places.append(place)
        self._working += 1
        try:
            yield place
        finally:
            self.done(place)
            if math.isinf(place.free_at):
                known.places.remove(place)

    def done(self, place: Place) -> None:
        """The work of an attempt is over; what is left of it only makes its network wait."""
        if place.working:
            place.working = False
            self._working -= 1

    def wrong(self, network: str, place: Place, delay: float = 0.0) -> float:
        """Counts a wrong guess and holds its place; answers for how many seconds, at least the delay given."""
        known, now = self._network(network), self._monotonic()
        if now >= known.window_end:
            known.failures, known.window_end = 0, now + self._window_seconds
        known.failures += 1
        self.done(place)
        delay = max(delay, delay_seconds(known.failures, self._failures_free))
        place.hold(now + delay)
        return delay

    def _network(self, network: str) -> _Network:
        known = self._networks.setdefault(network, _Network())
        self._networks.move_to_end(network)
        while len(self._networks) > NETWORKS_MAX:
            self._networks.popitem(last=False)
        return known
