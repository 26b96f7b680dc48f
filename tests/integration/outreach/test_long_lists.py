"""A long list is read page by page: what a page costs does not grow with the list, and merged contacts show once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from chassis.db import Result, Tx
from services.outreach.lists import list_store
from services.outreach.lists.limits import MEMBERS_READ_MAX
from tests.integration.identity.cast import given_organization
from tests.world import World

TARGETS = ("identity", "outreach")
MEMBERS, PAGE = 20_000, 50
LOOKED_AT_PER_MEMBER = 40
"""Rows, and pages of tables and indexes, for one member shown: some look-ups by key, each a few pages deep."""


class Explaining:
    """A transaction whose every statement is measured too."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self.plans: list[dict[str, Any]] = []

    async def execute(self, statement: str, parameters: Mapping[str, Any]) -> Result:
        """Runs the statement, and explains it."""
        explained = await self._tx.execute(f"explain (analyze, buffers, format json) {statement}", parameters)
        self.plans += [plan["Plan"] for plan in explained.scalar_one()]
        return await self._tx.execute(statement, parameters)

    def buffers(self) -> int:
        """Pages of tables and indexes that were looked at."""
        return sum(int(plan[f"Shared {kind} Blocks"]) for plan in self.plans for kind in ("Hit", "Read"))

    def rows(self) -> int:
        """Rows that any step has made or left out."""

        def of(step: dict[str, Any]) -> int:
            seen = sum(
                value for name, value in step.items() if name == "Actual Rows" or name.startswith("Rows Removed")
            )
            return int(seen * step["Actual Loops"]) + sum(of(inner) for inner in step.get("Plans", ()))

        return sum(of(plan) for plan in self.plans)


async def long_list(world: World, organization_id: UUID, count: int = MEMBERS) -> UUID:
    """A list of many, one in ten of whom was merged into the contact that was added right before."""
    list_id = uuid4()
    await world.rows(
        """
        with made as (
          select number, gen_random_uuid() as contact_id,
            ('00000000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid as id
          from generate_series(1, %s) as number
        ), added as (
          insert into outreach.contact_list_members
            (organization_id, contact_list_id, contact_id, id, source, external_id, name, add_time)
          select %s, %s, contact_id, id, 'WHATSAPP', '+55119' || lpad(number::text, 8, '0'), 'Pessoa ' || number, now()
          from made
        )
        insert into outreach.contact_redirects
        select %s, later.contact_id, earlier.contact_id, 1
        from made later join made earlier on earlier.number = later.number - 1
        where later.number %% 10 = 0
        returning 1
        """,
        count,
        organization_id,
        list_id,
        organization_id,
    )
    return list_id


async def test_a_page_costs_what_it_shows_however_long_the_list_is(world: World) -> None:
    organization_id = await given_organization(world)
    list_id = await long_list(world, organization_id)
    async with await world.admin() as admin:
        await admin.execute("analyze outreach.contact_list_members")
        await admin.execute("analyze outreach.contact_redirects")
    middle = UUID(f"00000000-0000-7000-8000-{MEMBERS // 2:012x}")
    for before in (None, middle):
        async with world.database("outreach").transaction(organization_id) as tx:
            explaining = Explaining(tx)
            shown = await list_store.list_members(cast("Tx", explaining), organization_id, list_id, before, PAGE)
        assert len(shown) == PAGE
        told = json.dumps(explaining.plans, indent=1)
        assert 0 < explaining.buffers() <= LOOKED_AT_PER_MEMBER * PAGE, told
        assert 0 < explaining.rows() <= LOOKED_AT_PER_MEMBER * PAGE, told


@pytest.mark.parametrize("page", [1, 7, 10_000])
async def test_merged_contacts_show_once_on_whatever_page_they_are(world: World, page: int) -> None:
    organization_id = await given_organization(world)
    list_id = await long_list(world, organization_id, 300)
    names: list[str] = []
    ids: list[UUID] = []
    before: UUID | None = None
    while True:
        async with world.database("outreach").transaction(organization_id) as tx:
            shown = await list_store.list_members(tx, organization_id, list_id, before, page)
        names += [member.name for member in shown]
        ids += [member.contact_id for member in shown]
        if len(shown) < page:
            break
        before = shown[-1].id
    # Of 9 and 10 the later stands for both, under the id of the earlier.
    assert names == [f"Pessoa {number}" for number in range(300, 0, -1) if number % 10 != 9]
    assert len(set(ids)) == len(ids) == 270


async def test_an_audience_is_read_page_by_page_and_no_further_than_it_is_counted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    organization_id = await given_organization(world)
    list_id = await long_list(world, organization_id)

    async def pages() -> list[int]:
        async with world.database("outreach").transaction(organization_id) as tx:
            return [len(page) async for page in list_store.read_audience(tx, organization_id, list_id)]

    whole = await pages()
    # One in ten stands for two.
    assert sum(whole) == MEMBERS * 9 // 10
    assert max(whole) == MEMBERS_READ_MAX
    monkeypatch.setattr("services.outreach.lists.list_store.AUDIENCE_COUNTED_MAX", 2 * MEMBERS_READ_MAX)
    assert await pages() == [MEMBERS_READ_MAX] * 2
