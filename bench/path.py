"""P2, P4 and P6: the whole way from webhook to visible rows, against what door and SQL could do together."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench import accept, bodies, load
from bench.accept import Effort
from bench.figures import Figure, at_least, at_most
from bench.house import DOOR, REST, House, Way
from bench.limits import sql

MUST, GOAL = 0.2, 0.35
P50_GOAL_MS, P99_GOAL_MS = 30.0, 190.0
KEPT_GOAL = 0.9
BACKLOG_MAX = 400
"""Senders pause while more than this waits: what is measured then is what comes out at the other end, too."""
FEW, MANY = 100_000, 1_000_000
GROWTH_WARM_ROUNDS = 15
"""Loading passes by the buffers, and a message of a random contact touches pages that nobody has read yet."""
PRELOAD = Path(__file__).with_name("preload.sql")

_PROCESSED = """
select count(*) from ingest.webhook_events
where state = 'PROCESSED' and process_time >= to_timestamp(%s) and process_time < to_timestamp(%s)
"""
_LATENCIES = """
select percentile_cont(array[0.5, 0.99]) within group (order by (extract(epoch from process_time)
  - (%s::float8 + split_part(delivery_key, '-', 3)::float8 / %s::float8)) * 1000), count(*)
from ingest.delivery_keys join ingest.webhook_events event on event.id = webhook_event_id
  and event.receive_time = delivery_keys.receive_time
where starts_with(delivery_key, %s) and state = 'PROCESSED'
  and split_part(delivery_key, '-', 3)::float8 / %s::float8 >= %s
"""


async def measure(house: House, effort: Effort) -> list[Figure]:
    """The rate that goes in and comes out, in turns with both limits; then the latency at half of it."""
    await preload(house, bodies.CONTACTS)
    await sustained(house, effort.seconds / 2)
    rates, limits, near_limits, costs = [], [], [], []
    for _ in range(effort.runs):
        limits.append(await _limit(house, effort, Way.LOOPBACK))
        before = house.spent()
        rate, count = await sustained(house, effort.seconds)
        rates.append(rate)
        costs.append(house.microseconds_each(before, count))
        near_limits.append(await _limit(house, effort, Way.SOCKET))
    found = [
        Figure(
            "b webhook to visible rows, sustained (P2); limit is L",
            "/s",
            rates,
            limits,
            [at_least(MUST, must=True), at_least(GOAL)],
        ),
        Figure("b the same; limit over the socket that the product uses", "/s", rates, near_limits),
        *(
            Figure(f"b processor time a webhook, {name}", "us", [cost[name] for cost in costs])
            for name in (DOOR, REST, "postgres", "nats")
        ),
    ]
    half = statistics.median(rates) / 2
    latencies = [await _latency(house, effort.seconds, half) for _ in range(effort.runs)]
    return [
        *found,
        Figure(
            f"b webhook to visible rows at {half:,.0f}/s, p50 (P4)",
            "ms",
            [p50 for p50, _ in latencies],
            bounds=[at_most(P50_GOAL_MS)],
        ),
        Figure(
            f"b webhook to visible rows at {half:,.0f}/s, p99 (P4)",
            "ms",
            [p99 for _, p99 in latencies],
            bounds=[at_most(P99_GOAL_MS)],
        ),
    ]


async def growth(house: House, effort: Effort) -> list[Figure]:
    """P6: what remains of the rate, and of the limit, when contacts are ten times as many."""
    found: dict[int, list[tuple[float, float]]] = {}
    for known in (FEW, MANY):
        await preload(house, known)
        await sql.prepare(house.database_url, known)
        # Nothing of the loading may be left to be written while it is measured.
        await house.execute("checkpoint")
        await sustained(house, GROWTH_WARM_ROUNDS * effort.seconds)
        found[known] = []
        for _ in range(effort.runs):
            path = await sql.path_rate(house.limit_url(Way.LOOPBACK), known, max(1, round(effort.seconds)))
            rate, _ = await sustained(house, effort.seconds)
            found[known].append((rate, path))
    names = ("b rate at 1,000,000 contacts; limit is at 100,000 (P6)", "b the same of the bare SQL")
    return [
        Figure(name, "/s", [pair[place] for pair in found[MANY]], [pair[place] for pair in found[FEW]], bounds)
        for place, (name, bounds) in enumerate(zip(names, ([at_least(KEPT_GOAL)], []), strict=True))
    ]


async def preload(house: House, known: int) -> None:
    """Makes customers up to this number known."""
    if house.known >= known:
        return
    statements = PRELOAD.read_text().format(
        organization=house.organization_id,
        connection=house.connection_id,
        channel=house.channel_id,
        board=house.board_id,
        stage=house.stage_id,
        account=bodies.ACCOUNT_ID,
        inbox=bodies.INBOX_ID,
        first=house.known + 1,
        known=known,
    )
    for statement in statements.split(";\n\n"):
        await house.execute(statement.rstrip(";\n"))
    house.known = known


async def sustained(house: House, seconds: float) -> tuple[float, int]:
    """How many webhooks a second are done while no more than a few hundred wait, and how many were sent in all."""
    outcome = await load.send(house.job(seconds=seconds, backlog_max=BACKLOG_MAX))
    assert not outcome.refused, outcome
    await house.settle()
    ((processed,),) = await house.rows(_PROCESSED, outcome.measure_time, outcome.end_time)
    assert isinstance(processed, int)
    return processed / (outcome.end_time - outcome.measure_time), outcome.sent


async def _limit(house: House, effort: Effort, way: Way) -> float:
    """L: each webhook once through the bare door and once through the bare SQL, which share the processors."""
    door = await accept.bare_rate(house, effort.seconds, way)
    path = await sql.path_rate(house.limit_url(way), bodies.CONTACTS, max(1, round(effort.seconds)))
    return 1 / (1 / door + 1 / path)


async def _latency(house: House, seconds: float, rate: float) -> tuple[float, float]:
    """p50 and p99 in milliseconds, from when a webhook should have left to when its rows were there."""
    job = house.job(seconds=seconds, rate=rate)
    outcome = await load.send(job)
    assert not outcome.refused, outcome
    await house.settle()
    prefix = "id:" + bodies.delivery_id(job.stream.run, 0).rpartition("-")[0] + "-"
    ((found, count),) = await house.rows(_LATENCIES, outcome.begin_time, rate, prefix, rate, job.warm_seconds)
    assert isinstance(found, list)
    assert isinstance(count, int)
    assert count > rate * seconds * 0.8, (count, outcome)
    return found[0], found[1]
