"""P7: what forced row-level security costs the SQL of the main way: PostgreSQL's processor time with and without it."""

from __future__ import annotations

from bench import bodies, path
from bench.accept import Effort
from bench.figures import Figure, at_most
from bench.house import House

COST_GOAL = 1.05

_TABLES = """
select format('%I.%I', nspname, relname) from pg_class join pg_namespace on pg_namespace.oid = relnamespace
where relrowsecurity and nspname in ('identity', 'ingest', 'conversation', 'crm')
"""


async def measure(house: House, effort: Effort) -> list[Figure]:
    """The same traffic, policies on and off in turns."""
    await path.preload(house, bodies.CONTACTS)
    tables = [str(name) for (name,) in await house.rows(_TABLES)]
    bound, free = [], []
    await path.sustained(house, effort.seconds)
    for _ in range(effort.runs):
        bound.append(await _cost(house, effort))
        await _switch(house, tables, "disable")
        try:
            free.append(await _cost(house, effort))
        finally:
            await _switch(house, tables, "enable")
    name = "b PostgreSQL's processor time a webhook; limit is without policies (P7)"
    return [Figure(name, "us", bound, free, [at_most(COST_GOAL)])]


async def _cost(house: House, effort: Effort) -> float:
    before = house.spent()
    _, count = await path.sustained(house, effort.seconds)
    return house.microseconds_each(before, count)["postgres"]


async def _switch(house: House, tables: list[str], state: str) -> None:
    for table in tables:
        await house.execute(f"alter table {table} {state} row level security")
