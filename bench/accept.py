"""P1 and P3: a webhook from HTTP to committed, against the bare receiver, taking turns."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bench import costs, load
from bench.figures import Figure, at_least, at_most
from bench.house import BARE_RECEIVER, POSTGRES, RECEIVER, REST, House, Way

MUST, GOAL = 0.35, 0.5
COST_MUST = round(costs.within(MUST, cost_ratio_seen=2.37, rate_ratio_seen=0.40), 1)
"""What was seen is of the code whose rates were taken on a quiet machine: bench/README.md says whence."""
P50_GOAL, P99_GOAL = 3.0, 5.0
SENDER = "sender"


@dataclass(frozen=True, slots=True)
class Effort:
    """How often and how long."""

    runs: int
    seconds: float
    series: int = 1
    """How often the runs are repeated where their median alone cannot tell."""


class Taken(NamedTuple):
    """How many webhooks a second were taken, and what each cost."""

    rate: float
    cost: costs.Cost


async def measure(house: House, effort: Effort) -> list[Figure]:
    """Rate in a closed loop of 64 senders, then latency in an open loop at half of it. Only the receiver runs."""
    await house.suite.supervisor.hold(REST, graceful=True)
    try:
        rounds = await _rounds(house, effort)
        latencies = await _latencies(house, effort, statistics.median(mine.rate for mine, *_ in rounds) / 2)
    finally:
        await house.forget_webhooks()
        await house.suite.supervisor.release(REST)
    mine, theirs, near = zip(*rounds, strict=True)
    mine_late, theirs_late = latencies
    return [
        Figure(
            "a webhook accepted, HTTP to committed (P1)",
            "/s",
            [taken.rate for taken in mine],
            [taken.rate for taken in theirs],
            [at_least(MUST), at_least(GOAL)],
        ),
        Figure(
            "a the same; limit over the socket that the product uses",
            "/s",
            [taken.rate for taken in mine],
            [taken.rate for taken in near],
        ),
        *guard("a", "P1", mine, theirs, COST_MUST),
        *parts("a", [taken.cost for taken in mine], (RECEIVER, POSTGRES)),
        *parts("a the limit's", [taken.cost for taken in theirs], (BARE_RECEIVER, POSTGRES)),
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


def guard(group: str, name: str, mine: Sequence[Taken], theirs: Sequence[Taken], share: float) -> list[Figure]:
    """What a webhook costs in all, beside what it costs the limit: the must that other load moves little."""
    return [
        Figure(
            f"{group} processor time a webhook, sender included ({name})",
            "us",
            [sum(taken.cost.values()) for taken in mine],
            [sum(taken.cost.values()) for taken in theirs],
            [at_most(share, must=True)],
        ),
        Figure(
            f"{group} processors at work ({name})",
            "",
            [costs.at_work(*taken) for taken in mine],
            [costs.at_work(*taken) for taken in theirs],
        ),
    ]


def parts(title: str, found: list[costs.Cost], names: tuple[str, ...]) -> list[Figure]:
    """Who used it."""
    return [Figure(f"{title} processor time a webhook, {name}", "us", [cost[name] for cost in found]) for name in names]


async def bare(house: House, seconds: float, way: Way) -> Taken:
    """What the bare receiver takes in."""
    before = house.limit_spent(way)
    outcome = await load.send(house.job(seconds=seconds, bare=way))
    after = house.limit_spent(way)
    await house.execute("truncate bare.webhooks")
    cost = {name: costs.each(costs.since(before[name], used), outcome.sent) for name, used in after.items()}
    return Taken(outcome.rate, cost | {SENDER: outcome.microseconds_each})


async def _rounds(house: House, effort: Effort) -> list[tuple[Taken, Taken, Taken]]:
    """The product between both bare receivers, so many times."""
    rounds = []
    for _ in range(effort.runs):
        theirs = await bare(house, effort.seconds, Way.LOOPBACK)
        before = house.spent()
        outcome = await load.send(house.job(seconds=effort.seconds))
        assert not outcome.refused, outcome
        cost = house.cost(before, outcome.sent) | {SENDER: outcome.microseconds_each}
        await house.forget_webhooks()
        near = await bare(house, effort.seconds, Way.SOCKET)
        rounds.append((Taken(outcome.rate, cost), theirs, near))
    return rounds


async def _latencies(house: House, effort: Effort, rate: float) -> tuple[list[load.Outcome], list[load.Outcome]]:
    """Both at the same rate, half of what the product takes: each must stand what the other does."""
    mine, theirs = [], []
    for _ in range(effort.runs):
        theirs.append(await load.send(house.job(seconds=effort.seconds, rate=rate, bare=Way.LOOPBACK)))
        await house.execute("truncate bare.webhooks")
        mine.append(await load.send(house.job(seconds=effort.seconds, rate=rate)))
        await house.forget_webhooks()
    return mine, theirs
