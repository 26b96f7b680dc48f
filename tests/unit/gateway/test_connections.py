"""Who gets a connection where there is no space for everybody."""

from __future__ import annotations

from typing import Any, cast

import pytest
from prometheus_client import CollectorRegistry

from gateway.limits import CONNECTIONS_MAX, FILES_RESERVED
from gateway.listening.connection import Connection, Stage
from gateway.listening.connections import ConnectionLimits, Connections, Origin
from gateway.listening.peers import Peers

STRANGER, NEIGHBOUR, OTHER = "192.0.2.7", "192.0.2.99", "198.51.100.1"


class Line:
    """A connection that only notes that it was ended."""

    def __init__(self, origin: Origin) -> None:
        self.origin, self.stage, self.unfinished_bytes, self.ended = origin, Stage.WAITING, 0, False

    def abort(self) -> None:
        """Ended."""
        self.ended = True

    def refuse(self, _problem: object) -> None:
        """Ended with a word."""
        self.ended = True


def opened(proxies: str = "", **limits: Any) -> tuple[Connections, CollectorRegistry]:
    """Connections with small limits, and their metrics."""
    registry = CollectorRegistry()
    limited = ConnectionLimits(**limits)
    return Connections(limited, Peers.trusting(proxies), registry, monotonic=lambda: 0.0), registry


def admit(connections: Connections, address: str) -> Line | None:
    """Lets one in, if there is space."""
    return cast("Line | None", connections.admit(address, lambda origin: cast("Connection", Line(origin))))


@pytest.mark.case("S4")
def test_a_network_has_a_share_and_pushes_out_its_own() -> None:
    connections, registry = opened(connections_max=100, per_network_max=3)
    other = admit(connections, OTHER)
    crowd = [admit(connections, address) for address in (STRANGER, NEIGHBOUR, STRANGER)]
    newest = admit(connections, "::ffff:192.0.2.50")
    assert [line.ended for line in [other, *crowd, newest] if line] == [False, True, False, False, False]
    for line in (*crowd[1:], newest):
        connections.move(cast("Connection", line), Stage.BUSY)
    assert admit(connections, STRANGER) is None, "all of its share is at work"
    assert admit(connections, OTHER) is not None
    seen = registry.get_sample_value("prosa_http_connections_refused_total", {"reason": "network_full"})
    assert seen == 2
    connections.lost(cast("Connection", newest))
    assert admit(connections, STRANGER) is not None, "what has ended counts no more"


@pytest.mark.case("S4")
def test_a_network_whose_last_connection_made_space_is_counted_on() -> None:
    connections, _ = opened(connections_max=2, per_network_max=1)
    crowd = [admit(connections, STRANGER) for _ in range(3)]
    assert len(connections) == 1
    assert [line.ended for line in crowd if line] == [True, True, False]


@pytest.mark.case("S4")
@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "203.0.113.4", "::ffff:203.0.113.4"])
def test_this_machine_and_a_trusted_proxy_stand_for_many(address: str) -> None:
    connections, _ = opened("203.0.113.0/24", connections_max=100, per_network_max=3)
    assert all(admit(connections, address) for _ in range(50))
    assert len(connections) == 50


@pytest.mark.case("S4")
def test_where_all_are_at_work_the_newcomer_waits_outside_until_one_takes_very_long() -> None:
    registry, now = CollectorRegistry(), [0.0]
    limits = ConnectionLimits(connections_max=2, busy_gives_way_seconds=15.0)
    connections = Connections(limits, registry=registry, monotonic=lambda: now[0])
    busy = [admit(connections, OTHER) for _ in range(2)]
    for line in busy:
        connections.move(cast("Connection", line), Stage.BUSY)
    now[0] = 14.9
    assert admit(connections, STRANGER) is None
    assert registry.get_sample_value("prosa_http_connections_refused_total", {"reason": "full"}) == 1
    now[0] = 15.0
    assert admit(connections, STRANGER) is not None
    assert [line.ended for line in busy if line] == [True, False]
    streaming, _ = opened(connections_max=1)
    subscriber = admit(streaming, OTHER)
    streaming.move(cast("Connection", subscriber), Stage.STREAMING)
    assert admit(streaming, STRANGER) is None, "live updates are never pushed out"


@pytest.mark.case("S4")
@pytest.mark.parametrize(
    ("open_files", "connections_max"), [(1_024, 1_024 - FILES_RESERVED), (1_000_000, CONNECTIONS_MAX), (10, 1)]
)
def test_no_more_connections_are_taken_than_there_are_files(open_files: int, connections_max: int) -> None:
    assert ConnectionLimits.within(open_files).connections_max == connections_max
