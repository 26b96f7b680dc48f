"""Each migration on its own: what it takes back is what it brought, no more and no less."""

from __future__ import annotations

import asyncio

import pytest

from chassis import migrate
from chassis.lines import chassis_versions, known_versions
from chassis.migrations import role
from chassis.system import SERVICES
from tests.isolation.catalogue import connect, rows
from tests.migration.conftest import NewDatabase
from tests.migration.test_migrations import chassis_up, down_to, one_step_up, structure


@pytest.mark.req("ID-11")
@pytest.mark.parametrize("chassis", [False, True], ids=["own", "chassis"])
@pytest.mark.parametrize("service", SERVICES)
async def test_a_step_down_leaves_exactly_what_stood_before_the_step_up(
    new_database: NewDatabase, service: str, chassis: bool
) -> None:
    url = await new_database(None)
    # The installation's id, which outlives every migration, and nothing else.
    await asyncio.to_thread(migrate.migrate_up, url, [])
    known = chassis_versions() if chassis else known_versions(service)
    stood = {}
    if not chassis:
        await asyncio.to_thread(chassis_up, url, service)
        stood[""] = structure(url)
    for version in known:
        assert await asyncio.to_thread(one_step_up, url, service, chassis=chassis) == version
        stood[version] = structure(url)
    assert len({str(made) for made in stood.values()}) > 1, "no step makes a difference"
    for expected in [*reversed(known)][1:]:
        await asyncio.to_thread(down_to, url, service, expected)
        found = structure(url)
        assert {kind: found[kind] for kind in found if found[kind] != stood[expected][kind]} == {}, expected


@pytest.mark.parametrize("service", SERVICES)
async def test_a_function_that_running_processes_call_stays_callable(new_database: NewDatabase, service: str) -> None:
    """While an installation goes up, processes of the release before call the functions that they know.

    So what takes other parameters or gives another answer gets a name, or a number of parameters, of its own.
    """
    url = await new_database(None)
    await asyncio.to_thread(migrate.migrate_up, url, [])
    called: dict[str, str] = {}
    for chassis in (True, False):
        for _ in chassis_versions() if chassis else known_versions(service):
            version = await asyncio.to_thread(one_step_up, url, service, chassis=chassis)
            now = callable_functions(url, service)
            assert {name: now.get(name) for name in called} == called, version
            called = now
    assert called


def callable_functions(url: str, service: str) -> dict[str, str]:
    """What each function of the schema that the service may call answers, by name and parameters."""
    query = (
        "select oid::regprocedure::text as name, pg_get_function_result(oid) as answer from pg_proc"
        " where pronamespace = %s::regnamespace and prorettype <> 'trigger'::regtype"
        " and has_function_privilege(%s, oid, 'execute')"
    )
    with connect(url) as admin:
        return {row["name"]: row["answer"] for row in rows(admin, query, service, role(service))}
