"""P2, P4 and P6: the whole way from webhook to visible rows, against what receiver and SQL could do together."""

from __future__ import annotations

import statistics
from pathlib import Path

from bench import accept, bodies, costs, load
from bench.accept import SENDER, Effort, Taken
from bench.figures import Figure, at_least, at_most
from bench.house import BARE_RECEIVER, POSTGRES, RECEIVER, REST, House, Way
from bench.limits import sql

MUST, GOAL = 0.2, 0.35
COST_MUST = round(costs.within(MUST, cost_ratio_seen=5.7, rate_ratio_seen=0.24), 1)
"""What was seen is of the code whose rates were taken on a quiet machine: bench/README.md says whence."""
P50_GOAL_MS, P99_GOAL_MS = 30.0, 190.0
KEPT_GOAL = 0.9
BACKLOG_MAX = 400
"""Senders pause while more than this waits: what is measured then is what comes out at the other end, too."""
FEW, MANY = 100_000, 1_000_000
NATS = "nats"
GROWTH_WARM_ROUNDS = 15
"""Loading passes by the buffers, and a message of a random contact touches pages that nobody has read yet."""
PRELOAD = Path(__file__).with_name("preload.sql")

_PROCESSED = """
select count(*) from ingest.webhook_events
where state = 'PROCESSED' and process_time >= to_timestamp(%s) and process_time < to_timestamp(%s)
"""
_LATENCIES = """
select percentile_cont(array[0.5, 0.99]) within group (order by (extract(epoch from process_time)
  - (%s::float8 + split_part(split_part(delivery_key, '/', 1), '-', 3)::float8 / %s::float8)) * 1000), count(*)
from ingest.delivery_keys join ingest.webhook_events event on event.id = webhook_event_id
  and event.receive_time = delivery_keys.receive_time
where starts_with(delivery_key, %s) and state = 'PROCESSED'
  and split_part(split_part(delivery_key, '/', 1), '-', 3)::float8 / %s::float8 >= %s
"""


async def measure(house: House, effort: Effort) -> list[Figure]:
    """The rate that goes in and comes out, in turns with both limits; then the latency at half of it."""
    await preload(house, bodies.CONTACTS)
    await sustained(house, effort.seconds / 2)
    # As autovacuum does within a minute or two. Before, look-ups are planned for tables that are empty.
    await house.execute("analyze")
    mine, theirs, near = [], [], []
    for _ in range(effort.runs):
        theirs.append(await _limit(house, effort, Way.LOOPBACK))
        mine.append(await sustained(house, effort.seconds))
        near.append(await _limit(house, effort, Way.SOCKET))
    rates = [taken.rate for taken in mine]
    found = [
        Figure(
            "b webhook to visible rows, sustained (P2); limit is L",
            "/s",
            rates,
            [taken.rate for taken in theirs],
            [at_least(MUST), at_least(GOAL)],
        ),
        Figure("b the same; limit over the socket that the product uses", "/s", rates, [taken.rate for taken in near]),
        *accept.guard("b", "P2", mine, theirs, COST_MUST),
        *accept.parts("b", [taken.cost for taken in mine], (RECEIVER, REST, POSTGRES, NATS)),
        *accept.parts("b the limit's", [taken.cost for taken in theirs], (BARE_RECEIVER, POSTGRES)),
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
            path = await sql.path(house.limit_url(Way.LOOPBACK), known, max(1, round(effort.seconds)))
            taken = await sustained(house, effort.seconds)
            found[known].append((taken.rate, path.rate))
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


async def sustained(house: House, seconds: float) -> Taken:
    """How many webhooks a second are done while no more than a few hundred wait, and what each cost until all were."""
    before = house.spent()
    outcome = await load.send(house.job(seconds=seconds, backlog_max=BACKLOG_MAX))
    assert not outcome.refused, outcome
    await house.settle()
    ((processed,),) = await house.rows(_PROCESSED, outcome.measure_time, outcome.end_time)
    assert isinstance(processed, int)
    cost = house.cost(before, outcome.sent) | {SENDER: outcome.microseconds_each}
    return Taken(processed / (outcome.end_time - outcome.measure_time), cost)


async def _limit(house: House, effort: Effort, way: Way) -> Taken:
    """L: each webhook once through the bare receiver and once through the bare SQL, which share the processors."""
    receiver = await accept.bare(house, effort.seconds, way)
    before = house.spent()[POSTGRES]
    path = await sql.path(house.limit_url(way), bodies.CONTACTS, max(1, round(effort.seconds)))
    # Whoever served pgbench is gone, and what it used with it, but for what its parent says.
    written = costs.each(costs.since_with_ended(before, house.spent()[POSTGRES]), path.messages)
    return Taken(1 / (1 / receiver.rate + 1 / path.rate), receiver.cost | {POSTGRES: receiver.cost[POSTGRES] + written})


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
