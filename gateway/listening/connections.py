"""All open connections: how many there may be, how long each may take, and who goes when there is no space.

A connection stands in the queue of its stage, in the order in which it came there: the first of a queue is the one
whose time ends first, and the one that gives way first.
"""

from __future__ import annotations

import asyncio
from collections import Counter as Counts
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge

from gateway import problems
from gateway.limits import (
    BUSY_GIVES_WAY_SECONDS,
    CONNECTIONS_MAX,
    CONNECTIONS_PER_NETWORK_MAX,
    FILES_RESERVED,
    HEAD_BYTES_MAX,
    HEAD_SECONDS,
    HEADS_BYTES_MAX,
    REQUEST_SECONDS,
    SWEEP_SECONDS,
)
from gateway.listening.connection import Connection, Stage
from gateway.listening.peers import Peers
from gateway.networks import network_of

log = structlog.get_logger("gateway.connections")

NEAR = "near"
_SLOW, _LARGE, _LONG, _CROWDED, _FULL, _NETWORK, _HEADS, _TLS, _ACCEPT = REASONS = (
    "headers_slow",
    "headers_large",
    "request_long",
    "crowded_out",
    "full",
    "network_full",
    "headers_total",
    "tls_failed",
    "accept_failed",
)
"""Why a connection was refused or ended."""


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What bounds the connections; tests choose smaller ones."""

    connections_max: int = CONNECTIONS_MAX
    per_network_max: int = CONNECTIONS_PER_NETWORK_MAX
    head_bytes_max: int = HEAD_BYTES_MAX
    heads_bytes_max: int = HEADS_BYTES_MAX
    head_seconds: float = HEAD_SECONDS
    request_seconds: float = REQUEST_SECONDS
    busy_gives_way_seconds: float = BUSY_GIVES_WAY_SECONDS

    @classmethod
    def within(cls, open_files: int) -> ConnectionLimits:
        """As many as a process that may open so many files can bear."""
        return cls(connections_max=max(1, min(CONNECTIONS_MAX, open_files - FILES_RESERVED)))


@dataclass(slots=True, eq=False)
class Origin:
    """A network that connections come from; this machine and trusted proxies are not bounded as one."""

    name: str
    bounded: bool
    count: int = 0
    # Those that wait, the longest first.
    waiting: dict[Connection, None] = field(default_factory=dict)


class Connections:
    """Counts, bounds and ends connections."""

    def __init__(
        self,
        limits: ConnectionLimits | None = None,
        peers: Peers | None = None,
        registry: CollectorRegistry | None = None,
        monotonic: Callable[[], float] | None = None,
    ) -> None:
        self.limits, self.peers = limits or ConnectionLimits(), peers or Peers()
        self._monotonic = monotonic or asyncio.get_running_loop().time
        self._queues: dict[Stage, dict[Connection, float]] = {stage: {} for stage in Stage}
        self._origins: dict[str, Origin] = {}
        self._heads_bytes = 0
        self._refused: Counts[str] = Counts()
        self._refused_from: Counts[str] = Counts()
        self._sweeping: asyncio.TimerHandle | None = None
        registry = registry or CollectorRegistry()
        self._refusals = Counter(
            "prosa_http_connections_refused_total",
            "Connections that were refused or ended, by reason.",
            ["reason"],
            registry=registry,
        )
        for reason in REASONS:
            self._refusals.labels(reason)
        open_now = Gauge("prosa_http_connections", "Open connections, by what they do.", ["stage"], registry=registry)
        for stage, queue in self._queues.items():
            open_now.labels(stage.value).set_function(queue.__len__)
        Gauge("prosa_http_connections_max", "How many connections may be open.", registry=registry).set(
            self.limits.connections_max
        )
        Gauge("prosa_http_headers_bytes", "Kept of headers that are not whole.", registry=registry).set_function(
            lambda: self._heads_bytes
        )

    def __len__(self) -> int:
        return sum(len(queue) for queue in self._queues.values())

    def count(self, stage: Stage) -> int:
        """How many connections are at a stage."""
        return len(self._queues[stage])

    @property
    def heads_bytes(self) -> int:
        """What is kept of all headers that are not whole."""
        return self._heads_bytes

    def admit(self, address: str, make: Callable[[Origin], Connection]) -> Connection | None:
        """Answers a connection from the address, for which another may have had to go; None where there is no space."""
        origin = self._origin(address)
        if origin.bounded and origin.count >= self.limits.per_network_max:
            if not origin.waiting:
                self._turn_away(_NETWORK, origin)
                return None
            self._end(next(iter(origin.waiting)), _NETWORK)
        if len(self) >= self.limits.connections_max and not self.make_space():
            self._turn_away(_FULL, origin)
            return None
        connection = make(origin)
        # Making space may have ended the network's last connection, and its count with it: it is the same one still.
        self._origins[origin.name] = origin
        origin.count += 1
        self._enter(connection, Stage.WAITING)
        return connection

    def make_space(self) -> bool:
        """Ends the connection that can best be spared; false where none can."""
        waiting, resting, busy = (self._queues[stage] for stage in (Stage.WAITING, Stage.RESTING, Stage.BUSY))
        # Whoever sent no whole request; then who has nothing under way; then a request that takes very long.
        if waiting or resting:
            self._end(next(iter(waiting or resting)), _CROWDED)
            return True
        first, since = next(iter(busy.items()), (None, 0.0))
        if first is not None and self._monotonic() - since >= self.limits.busy_gives_way_seconds:
            self._end(first, _CROWDED)
            return True
        return False

    def move(self, connection: Connection, stage: Stage) -> None:
        """Puts a connection last in the queue of a stage; one that has ended stays out."""
        if self._queues[connection.stage].pop(connection, None) is None:
            return
        connection.origin.waiting.pop(connection, None)
        self._enter(connection, stage)

    def gathered(self, connection: Connection, size: int) -> None:
        """Counts what a connection keeps of headers that are not whole, or no longer keeps."""
        if connection not in self._queues[connection.stage]:
            return
        self._heads_bytes += size
        if size <= 0:
            return
        if connection.stage is not Stage.WAITING:
            # Its next request has begun to come, and takes its time from here.
            self.move(connection, Stage.WAITING)
        if connection.unfinished_bytes > self.limits.head_bytes_max:
            self._end(connection, _LARGE, problems.HEADERS_TOO_LARGE)
        while self._heads_bytes > self.limits.heads_bytes_max and self._queues[Stage.WAITING]:
            self._end(next(iter(self._queues[Stage.WAITING])), _HEADS)

    def lost(self, connection: Connection) -> None:
        """Forgets a connection that has ended, whoever ended it."""
        if self._queues[connection.stage].pop(connection, None) is None:
            return
        origin = connection.origin
        origin.waiting.pop(connection, None)
        origin.count -= 1
        if not origin.count:
            self._origins.pop(origin.name, None)
        self._heads_bytes -= connection.unfinished_bytes

    def failed(self, connection: Connection, error: Exception) -> None:
        """A connection that could not be taken over: the TLS handshake failed, or the peer left."""
        log.debug("connection_not_made", error=repr(error))
        self._note(_TLS, connection.origin)
        self.lost(connection)

    def not_accepted(self, error: OSError) -> None:
        """The system gave no connection, most likely for want of files: those that can be spared make space."""
        log.warning("accept_failed", error=repr(error), open=len(self))
        self._refusals.labels(_ACCEPT).inc()
        self.make_space()

    def start(self) -> None:
        """Looks after time limits from now on."""
        self._sweeping = asyncio.get_running_loop().call_later(SWEEP_SECONDS, self._sweep_on)

    def stop(self) -> None:
        """Ends whoever waits, and looks no more."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        for connection in list(self._queues[Stage.WAITING]):
            self._drop(connection)

    def sweep(self) -> None:
        """Ends what has taken too long, and says what was refused since the last look."""
        now = self._monotonic()
        limits = self.limits
        for connection in self._expired(Stage.WAITING, now - limits.head_seconds):
            # Somebody who connected and said nothing is no refusal worth a word to him, but it is counted.
            self._end(connection, _SLOW, problems.HEADERS_SLOW)
        for connection in self._expired(Stage.BUSY, now - limits.request_seconds):
            self._end(connection, _LONG)
        if self._refused:
            (network, count), *_ = self._refused_from.most_common(1)
            log.warning(
                "connections_refused",
                reasons=dict(self._refused),
                open=len(self),
                open_max=limits.connections_max,
                most_from=network,
                most_count=count,
            )
            self._refused.clear()
            self._refused_from.clear()

    def _sweep_on(self) -> None:
        self.sweep()
        self.start()

    def _expired(self, stage: Stage, before: float) -> list[Connection]:
        expired = []
        for connection, since in self._queues[stage].items():
            if since > before:
                break
            expired.append(connection)
        return expired

    def _origin(self, address: str) -> Origin:
        name = NEAR if self.peers.near(address) else network_of(address)
        origin = self._origins.get(name)
        if origin is None:
            origin = self._origins[name] = Origin(name, bounded=name != NEAR)
        return origin

    def _enter(self, connection: Connection, stage: Stage) -> None:
        connection.stage = stage
        self._queues[stage][connection] = self._monotonic()
        if stage is Stage.WAITING and connection.origin.bounded:
            connection.origin.waiting[connection] = None

    def _end(self, connection: Connection, reason: str, problem: problems.Problem | None = None) -> None:
        self._note(reason, connection.origin)
        self._drop(connection, problem)

    def _drop(self, connection: Connection, problem: problems.Problem | None = None) -> None:
        # Forgotten first: the loop tells of its end only later, and there must be space now.
        self.lost(connection)
        if problem is None:
            connection.abort()
        else:
            connection.refuse(problem)

    def _turn_away(self, reason: str, origin: Origin) -> None:
        self._note(reason, origin)
        if not origin.count:
            self._origins.pop(origin.name, None)

    def _note(self, reason: str, origin: Origin) -> None:
        self._refusals.labels(reason).inc()
        self._refused[reason] += 1
        self._refused_from[origin.name] += 1
