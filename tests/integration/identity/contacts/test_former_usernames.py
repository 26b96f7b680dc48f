"""Usernames that were given up: kept for a while by whoever changes one, found, and then gone."""

from __future__ import annotations

from uuid import UUID

import pytest

from prosa.identity.v1 import contact_service_pb2 as pb
from services.identity.contacts.servicer import USERNAME_FOUND_DAYS
from tests.integration.identity.cast import INSTAGRAM, contacts_of, given_organization, new_igsid, resolve_one
from tests.world import World

TARGETS = ("identity",)
FORMER_USERNAMES_MAX = 10
"""As the trigger counts them."""


async def called(world: World, organization_id: UUID, igsid: str, *usernames: str) -> str:
    """Lets an account write under one username after another; answers its contact."""
    contact_id = ""
    for username in usernames:
        resolved = await resolve_one(world, organization_id, source=INSTAGRAM, external_id=igsid, username=username)
        contact_id = resolved.contact_id
    return contact_id


async def kept(world: World, organization_id: UUID) -> list[str]:
    """The former usernames that are there, the latest first."""
    rows = await world.rows(
        "select username from identity.former_usernames where organization_id = %s order by end_time desc",
        organization_id,
    )
    return [row["username"] for row in rows]


async def found(world: World, organization_id: UUID, name: str) -> list[str]:
    """The contacts that are found by a name."""
    answer = await contacts_of(world, organization_id).ListContacts(pb.ListContactsRequest(name=name))
    return [contact.contact_id for contact in answer.contacts]


@pytest.mark.case("F34")
async def test_upkeep_takes_a_username_away_thirty_days_after_it_was_given_up(world: World) -> None:
    organization_id, igsid = await given_organization(world), new_igsid()
    contact_id = await called(world, organization_id, igsid, "caio.um", "caio.dois", "caio.tres")
    assert await kept(world, organization_id) == ["caio.dois", "caio.um"]
    for username, days in (("caio.um", USERNAME_FOUND_DAYS + 1), ("caio.dois", USERNAME_FOUND_DAYS - 1)):
        await world.rows(
            "update identity.former_usernames set end_time = %s - make_interval(days => %s)"
            " where organization_id = %s and username = %s returning 1",
            world.clock.now(),
            days,
            organization_id,
            username,
        )
    assert await found(world, organization_id, "caio.um") == []
    [upkeep] = await world.rows("select identity.upkeep(%s) as refused", world.clock.now())
    assert upkeep == {"refused": None}
    assert await kept(world, organization_id) == ["caio.dois"]
    assert await found(world, organization_id, "caio.dois") == [contact_id]
    assert await found(world, organization_id, "caio.tres") == [contact_id]


async def test_the_latest_are_kept_and_one_that_came_back_is_kept_once(world: World) -> None:
    organization_id, igsid = await given_organization(world), new_igsid()
    names = [f"rita.{number:02d}" for number in range(FORMER_USERNAMES_MAX + 3)]
    await called(world, organization_id, igsid, *names)
    latest = names[-2 : -FORMER_USERNAMES_MAX - 2 : -1]
    assert await kept(world, organization_id) == latest
    # The oldest that is kept comes back and is given up once more: it is the latest then.
    await called(world, organization_id, igsid, latest[-1], "rita.fim")
    assert await kept(world, organization_id) == [latest[-1], names[-1], *latest[:-2]]


async def test_the_same_username_told_again_gives_none_up(world: World) -> None:
    organization_id = await given_organization(world)
    await called(world, organization_id, new_igsid(), "", "nina", "nina")
    assert await kept(world, organization_id) == []
