"""Each migration on its own: what it takes back is what it brought, no more and no less."""

from __future__ import annotations

import asyncio

import pytest

from chassis import migrate
from chassis.migrations import SERVICES
from tests.migration.conftest import NewDatabase
from tests.migration.test_migrations import one_step_up, structure


@pytest.mark.req("ID-11")
@pytest.mark.parametrize("service", SERVICES)
async def test_a_step_down_leaves_exactly_what_stood_before_the_step_up(
    new_database: NewDatabase, service: str
) -> None:
    url = await new_database(None)
    # The installation's id, which outlives every migration, and nothing else.
    await asyncio.to_thread(migrate.migrate_up, url, [])
    stood = {}
    while True:
        current = await asyncio.to_thread(one_step_up, url, service)
        stood[current] = structure(url)
        (revision,) = migrate.revisions(url, [service])
        if revision.up_to_date:
            break
    assert len({str(made) for made in stood.values()}) > 1, "no step makes a difference"
    for expected in [*reversed(stood)][1:]:
        (revision,) = await asyncio.to_thread(migrate.migrate_down, url, 1, [service])
        assert revision.current == expected
        found = structure(url)
        assert {kind: found[kind] for kind in found if found[kind] != stood[expected][kind]} == {}, expected
