"""A new installation's tables have not been analyzed: what is looked for by its whole key must be found by it then."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from uuid import UUID, uuid4

import psycopg
import pytest

from chassis.migrations import role
from services.conversation.messages import store
from tests.integration.conversation.messages.test_copies_plan import FILL
from tests.world import World

TARGETS = ("conversation",)
WANTED = 100
_PARAMETER = re.compile(r"%\((\w+)\)b")


@pytest.mark.parametrize("count", [0, 300, 5_000])
async def test_the_networks_id_is_found_by_its_whole_key_before_the_first_analyze(
    world: World, organization_id: UUID, count: int
) -> None:
    """By the plan that is made once, and by those that are made for a hundred messages."""
    channel_id = uuid4()
    async with await world.admin() as admin, admin.transaction(force_rollback=True):
        await admin.execute(FILL.encode(), [organization_id, channel_id, count])
        known = await admin.execute(b"select from pg_statistic where starelid = 'conversation.message_keys'::regclass")
        assert await known.fetchone() is None
        # As the service sees it: what its policies add must not change the way.
        await admin.execute(f"set local role {role('conversation')}".encode())
        for query in (f"(generic_plan) {_numbered()}", _for_a_hundred(organization_id, channel_id)):
            lines = await _plan(admin, query)
            scans = [place for place, line in enumerate(lines) if "Index Scan using message_keys_by_source" in line]
            assert len(scans) == 1, lines
            condition = lines[scans[0] + 1]
            assert condition.startswith("Index Cond:")
            for column in ("source_week", "organization_id", "channel_id", "provider_source_id"):
                assert f"({column} = wanted_1.{column})" in condition


async def _plan(admin: psycopg.AsyncConnection[dict[str, str]], query: str) -> list[str]:
    found = await admin.execute(f"explain {query}".encode())
    return [row["QUERY PLAN"].strip() for row in await found.fetchall()]


def _numbered() -> str:
    numbers = itertools.count(1)
    return _PARAMETER.sub(lambda _: f"${next(numbers)}", store._LOAD_MESSAGES)


def _for_a_hundred(organization_id: UUID, channel_id: UUID) -> str:
    given: dict[str, Iterable[object]] = {
        "organization_ids": [organization_id] * WANTED,
        "channel_ids": [channel_id] * WANTED,
        "provider_ids": range(WANTED),
        "source_weeks": [2_900] * WANTED,
        "source_organization_ids": [organization_id] * WANTED,
        "source_channel_ids": [channel_id] * WANTED,
        "source_ids": [f"wamid.{number}" for number in range(WANTED)],
    }
    arrays = {name: "{" + ",".join(map(str, values)) + "}" for name, values in given.items()}
    return _PARAMETER.sub(lambda found: f"'{arrays[found[1]]}'", store._LOAD_MESSAGES)
