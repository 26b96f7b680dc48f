"""P7: what forced row-level security costs the SQL of the main way: PostgreSQL's processor time with and without it."""

from __future__ import annotations

from bench import bodies, path
from bench.accept import Effort
from bench.figures import Figure, at_most
from bench.house import POSTGRES, House

COST_MUST = 1.05

_TABLES = """
select format('%I.%I', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where relrowsecurity and nspname in ('identity', 'ingest', 'conversation', 'crm')
"""


async def measure(house: House, effort: Effort) -> list[Figure]:
    """The same traffic, policies on and off in turns: series of runs, for the cost is less than one series can tell."""
    await path.preload(house, bodies.CONTACTS)
    tables = [str(name) for (name,) in await house.rows(_TABLES)]
    bound: list[float] = []
    free: list[float] = []
    await path.sustained(house, effort.seconds)
    for turn in range(effort.runs * effort.series):
        # Tables grow meanwhile: who comes second must not always be the same.
        for policies in (True, False) if turn % 2 == 0 else (False, True):
            (bound if policies else free).append(await _cost(house, effort, tables, policies=policies))
    name = f"b PostgreSQL's processor time a webhook; limit is without policies (P7); {effort.series} series"
    return [Figure(name, "us", bound, free, [at_most(COST_MUST, must=True)], series=effort.series)]


async def _cost(house: House, effort: Effort, tables: list[str], *, policies: bool) -> float:
    if policies:
        return (await path.sustained(house, effort.seconds)).cost[POSTGRES]
    await _switch(house, tables, "disable")
    try:
        return (await path.sustained(house, effort.seconds)).cost[POSTGRES]
    finally:
        await _switch(house, tables, "enable")


async def _switch(house: House, tables: list[str], state: str) -> None:
    for table in tables:
        await house.execute(f"alter table {table} {state} row level security")
