"""Campaigns are held in one order, whatever order a batch comes in, so that no two handlers wait for each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID, uuid4

import pytest

from tests.integration.identity.cast import given_organization
from tests.integration.outreach.writing import Writing
from tests.world import World

TARGETS = ("identity", "outreach")
PHONES = "+5511900004821", "+5511900004822"


async def heard(shops: Sequence[Writing], contacts: Sequence[UUID], campaigns: Sequence[UUID]) -> None:
    both = zip(shops, PHONES, contacts, strict=True)
    await shops[0].heard(*(shop.said("SAIR", phone, contact) for shop, phone, contact in both))


async def answered(shops: Sequence[Writing], contacts: Sequence[UUID], campaigns: Sequence[UUID]) -> None:
    both = zip(shops, PHONES, contacts, strict=True)
    await shops[0].answered(*(shop.said("Oi", phone, contact) for shop, phone, contact in both))


async def left(shops: Sequence[Writing], contacts: Sequence[UUID], campaigns: Sequence[UUID]) -> None:
    await shops[0].left(*campaigns)


@pytest.mark.parametrize("handler", [heard, answered, left])
async def test_organizations_are_taken_in_order(world: World, handler: Callable[..., Awaitable[None]]) -> None:
    """The batch names the later organization first; while the earlier one's campaign is held, none is taken."""
    organizations = sorted([await given_organization(world) for _ in range(2)], reverse=True)
    shops = [Writing(world, organization_id) for organization_id in organizations]
    contacts = [uuid4(), uuid4()]
    campaigns = [
        await shop.campaign((contact, phone)) for shop, contact, phone in zip(shops, contacts, PHONES, strict=True)
    ]
    await waits_without_holding(world, handler(shops, contacts, campaigns), waited_for=campaigns[1], free=campaigns[0])


async def test_campaigns_of_all_who_left_are_taken_in_order(world: World) -> None:
    """Who was in the later campaign writes first."""
    shop = Writing(world, await given_organization(world))
    contacts = [uuid4(), uuid4()]
    earlier, later = [await shop.campaign((contact, PHONES[0])) for contact in contacts]
    batch = [shop.said("SAIR", phone, contact) for phone, contact in zip(PHONES, reversed(contacts), strict=True)]
    await waits_without_holding(world, shop.heard(*batch), waited_for=earlier, free=later)


async def test_who_left_in_one_batch_is_noted_at_the_last_that_each_was_sent(world: World) -> None:
    shop = Writing(world, await given_organization(world))
    survivor, loser, other = uuid4(), uuid4(), uuid4()
    await shop.merged(survivor, loser)
    first = await shop.campaign((survivor, PHONES[0]), (other, PHONES[1]))
    second = await shop.campaign((loser, PHONES[0]))
    for campaign_id in (first, second):
        await shop.sent(campaign_id, timedelta(hours=1))
    batch = [("SAIR", PHONES[1], other), ("PARAR", PHONES[0], loser), ("SAIR", "+5511900004823", survivor)]
    await shop.heard(*(shop.said(*message) for message in batch))
    assert await shop.touched(first) == {survivor: ("SENT", False, False), other: ("SENT", False, True)}
    assert await shop.touched(second) == {loser: ("SENT", False, True)}


async def waits_without_holding(world: World, handling: Awaitable[None], *, waited_for: UUID, free: UUID) -> None:
    """A handler stands before a campaign that is held, and has not taken the other one before it."""
    lock = "select 1 from outreach.campaigns where id = %s for update nowait"
    async with await world.admin() as holder:
        async with holder.transaction(force_rollback=True):
            await holder.execute(lock, [waited_for])
            task = asyncio.ensure_future(handling)
            await world.until_waiting_on_locks(1)
            await holder.execute(lock, [free])
        await task
