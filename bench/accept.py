"""P1 and P3: a webhook from HTTP to committed, against the bare door, taking turns."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from bench import load
from bench.figures import Figure, at_least, at_most
from bench.house import DOOR, REST, House, Way

MUST, GOAL = 0.35, 0.5
P50_GOAL, P99_GOAL = 3.0, 5.0


@dataclass(frozen=True, slots=True)
class Effort:
    """How often and how long."""

    runs: int
    seconds: float


async def measure(house: House, effort: Effort) -> list[Figure]:
    """Rate in a closed loop of 64 senders, then latency in an open loop at half of it. Only the door runs."""
    await house.suite.supervisor.hold(REST, graceful=True)
    try:
        rates, costs = await _rates(house, effort)
        latencies = await _latencies(house, effort, statistics.median(rates[0]) / 2)
    finally:
        await house.forget_webhooks()
        await house.suite.supervisor.release(REST)
    (mine, theirs, near), (mine_late, theirs_late) = rates, latencies
    bounds = [at_least(MUST, must=True), at_least(GOAL)]
    return [
        Figure("a webhook accepted, HTTP to committed (P1)", "/s", mine, theirs, bounds),
        Figure("a the same; limit over the socket that the product uses", "/s", mine, near),
        Figure("a processor time a webhook, door", "us", [cost[DOOR] for cost in costs]),
        Figure("a processor time a webhook, PostgreSQL", "us", [cost["postgres"] for cost in costs]),
        Figure(
            "a latency of the 200 at half rate, p50 (P3)",
            "ms",
            [outcome.p50 for outcome in mine_late],
            [outcome.p50 for outcome in theirs_late],
            [at_most(P50_GOAL)],
        ),
        Figure(
            "a latency of the 200 at half rate, p99 (P3)",
            "ms",
            [outcome.p99 for outcome in mine_late],
            [outcome.p99 for outcome in theirs_late],
            [at_most(P99_GOAL)],
        ),
    ]


async def bare_rate(house: House, seconds: float, way: Way) -> float:
    """What the bare door takes in a second."""
    outcome = await load.send(house.job(seconds=seconds, bare=way))
    await house.execute("truncate bare.webhooks")
    return outcome.rate


async def _rates(
    house: House, effort: Effort
) -> tuple[tuple[list[float], list[float], list[float]], list[dict[str, float]]]:
    """Rates of the product and of both bare doors, and microseconds of processor time a webhook by child."""
    mine, theirs, near, costs = [], [], [], []
    for _ in range(effort.runs):
        theirs.append(await bare_rate(house, effort.seconds, Way.LOOPBACK))
        before = house.spent()
        outcome = await load.send(house.job(seconds=effort.seconds))
        assert not outcome.refused, outcome
        mine.append(outcome.rate)
        costs.append(house.microseconds_each(before, outcome.sent))
        await house.forget_webhooks()
        near.append(await bare_rate(house, effort.seconds, Way.SOCKET))
    return (mine, theirs, near), costs


async def _latencies(house: House, effort: Effort, rate: float) -> tuple[list[load.Outcome], list[load.Outcome]]:
    """Both at the same rate, half of what the product takes: each must stand what the other does."""
    mine, theirs = [], []
    for _ in range(effort.runs):
        theirs.append(await load.send(house.job(seconds=effort.seconds, rate=rate, bare=Way.LOOPBACK)))
        await house.execute("truncate bare.webhooks")
        mine.append(await load.send(house.job(seconds=effort.seconds, rate=rate)))
        await house.forget_webhooks()
    return mine, theirs
