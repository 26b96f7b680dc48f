"""What a resolution learns of a person's profile: what is filled, what is replaced, and what is left out."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import pytest_asyncio

from chassis import wire
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1.events_pb2 import (
    ContactUpdated,
)
from tests.integration.identity.cast import (
    INSTAGRAM,
    WHATSAPP,
    contacts_of,
    given_organization,
    new_igsid,
    new_phone,
    person,
    resolve,
    resolve_one,
)
from tests.world import World

TARGETS = ("identity",)


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World) -> UUID:
    """An organization of the test's own."""
    return await given_organization(world)


async def test_a_profile_learnt_twice_at_once_loses_nothing(world: World, shop: UUID) -> None:
    phone, igsid = new_phone(), new_igsid()
    made = await resolve_one(world, shop, source=WHATSAPP, external_id=phone)
    await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, phone=phone)
    async with await world.admin() as holder:
        async with holder.transaction():
            await holder.execute("select 1 from identity.contacts where contact_id = %s for update", [made.contact_id])
            calls = [
                asyncio.create_task(resolve_one(world, shop, source=WHATSAPP, external_id=phone, name="Ana")),
                asyncio.create_task(resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, email="a@b.com.br")),
            ]
            await world.until_waiting_on_locks(2)
        await asyncio.gather(*calls)
    contact = await contacts_of(world, shop).GetContact(pb.GetContactRequest(contact_id=made.contact_id))
    assert (contact.name, contact.email, contact.etag) == ("Ana", "a@b.com.br", "3")


async def test_a_profile_is_only_filled_unless_it_may_be_replaced(world: World, shop: UUID) -> None:
    igsid = new_igsid()
    await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, name="Ana")
    kept = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, name="Outra", email="ANA@example.com")
    replaced = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, name="Ana Lima", update_profile=True)
    same = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, name="", update_profile=True)
    assert [kept.name, replaced.name, same.name] == ["Ana", "Ana Lima", "Ana Lima"]
    updates = await world.announced(ContactUpdated, shop)
    assert [(fact.contact.name, fact.contact.email, fact.version) for fact in updates] == [
        ("Ana", "ana@example.com", 2),
        ("Ana Lima", "ana@example.com", 3),
    ]


@pytest.mark.parametrize("apart", [True, False])
async def test_a_profile_that_comes_late_replaces_no_newer_one(world: World, shop: UUID, apart: bool) -> None:
    igsid, phone, now = new_igsid(), new_phone(), datetime(2026, 7, 20, 14, tzinfo=UTC)
    await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, name="Ana")

    def word(name: str, minutes: int, **fields: str) -> pb.Person:
        time = wire.to_timestamp(now + timedelta(minutes=minutes))
        known = {"source": INSTAGRAM, "external_id": igsid, "update_profile": True, "profile_time": time}
        return person(shop, name=name, **known, **fields)

    # The second word says nothing new; the third is older than it and not than what it would replace.
    words = [word("Ana Lima", 0), word("Ana Lima", 2), word("Ana L.", 1, phone=phone)]
    if apart:
        found = [(await resolve(world, each))[0] for each in words]
    else:
        found = await resolve(world, *words)
    assert [contact.name for contact in found] == ["Ana Lima"] * 3
    assert found[-1].phone == phone
    (again,) = await resolve(world, word("Ana Lima Sá", 2))
    assert again.name == "Ana Lima Sá"
    updates = await world.announced(ContactUpdated, shop)
    assert [fact.contact.name for fact in updates][-1] == "Ana Lima Sá"
    assert len(updates) == (3 if apart else 2)


async def test_nul_characters_are_left_out(world: World, shop: UUID) -> None:
    made = await resolve_one(world, shop, source=INSTAGRAM, external_id=new_igsid(), name="A\0na", cause_id="e\0vent")
    assert made.name == "Ana"
