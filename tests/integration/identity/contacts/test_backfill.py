"""Contacts that were there before get the WhatsApp identity that their own phone says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import pytest
import pytest_asyncio

from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.identity.v1.events_pb2 import ContactCreated, ContactIdentityLinked, IdentityConflictDetected
from tests.integration.identity.cast import (
    INSTAGRAM,
    WHATSAPP,
    contacts_of,
    given_organization,
    logged_outcomes,
    new_igsid,
    new_lid,
    new_phone,
    resolve_one,
)
from tests.world import AGENT, World, error_info

TARGETS = ("identity",)
RELAYING = {"outbox_queue", "relay_state", "leases"}
"""Where the relay keeps how far it has published what was announced before; the outbox itself counts."""


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World) -> UUID:
    """An organization of the test's own."""
    return await given_organization(world)


async def given_contact(world: World, shop: UUID, phone: str = "", **fields: Any) -> str:
    """A contact made by hand, without an identity."""
    request = pb.CreateContactRequest(name="Ana", phone=phone, **fields)
    return str((await contacts_of(world, shop).CreateContact(request)).contact_id)


async def given_row(world: World, shop: UUID, phone: str) -> str:
    """A contact whose phone no program of ours has written."""
    contact_id = uuid4()
    async with await world.admin() as connection:
        await connection.execute(
            "insert into identity.contacts (organization_id, contact_id, name, phone, email, tags, version,"
            " create_time, update_time) values (%s, %s, 'Rui', %s, '', '{}', 1, %s, %s)",
            [shop, contact_id, phone, world.clock.now(), world.clock.now()],
        )
    return str(contact_id)


async def batches(
    world: World, shop: UUID, page_size: int = 500, *, dry_run: bool = False
) -> AsyncIterator[pb.BackfillContactIdentitiesResponse]:
    """The backfill, batch by batch."""
    request = pb.BackfillContactIdentitiesRequest(source=WHATSAPP, page_size=page_size, dry_run=dry_run)
    while True:
        answer = await contacts_of(world, shop).BackfillContactIdentities(request)
        yield answer
        if not answer.next_page_token:
            return
        request.page_token = answer.next_page_token


async def totals(world: World, shop: UUID, page_size: int = 500, *, dry_run: bool = False) -> dict[str, int]:
    """What all batches came to; what came to nothing is left out."""
    counts: dict[str, int] = {}
    async for answer in batches(world, shop, page_size, dry_run=dry_run):
        for field, value in answer.ListFields():
            if field.name.endswith("_count"):
                counts[field.name.removesuffix("_count")] = counts.get(field.name.removesuffix("_count"), 0) + value
    return counts


async def owner_of(world: World, shop: UUID, phone: str) -> str:
    """The contact that has a phone's identity; empty where nobody has."""
    found = await contacts_of(world, shop).ListContactIdentities(
        pb.ListContactIdentitiesRequest(source=WHATSAPP, external_id=phone)
    )
    return next((identity.contact_id for identity in found.identities), "")


async def state(world: World) -> dict[str, Any]:
    """A fingerprint of every table of identity."""
    tables = await world.rows(
        "select table_name as name from information_schema.tables"
        " where table_schema = 'identity' and table_type = 'BASE TABLE'"
    )
    prints = {}
    # That it was run is audited each time; what it found is not another for it.
    for name in {table["name"] for table in tables if not table["name"].startswith("audit_entries")} - RELAYING:
        prints[name] = await world.rows(
            f"select count(*) as count, md5(coalesce(string_agg(t::text, '|' order by t::text), '')) as hash"
            f" from identity.{name} t"
        )
    return prints


@pytest.mark.req("ID-10")
async def test_every_contact_with_a_phone_of_its_own_gets_its_identity_once(world: World, shop: UUID) -> None:
    phones = [new_phone() for _ in range(5)]
    ids = [await given_contact(world, shop, phone) for phone in phones]
    await resolve_one(world, shop, source=WHATSAPP, external_id=new_phone())
    await given_contact(world, shop, email="ana@example.com")
    await resolve_one(world, shop, source=INSTAGRAM, external_id=new_igsid())

    expected = {"examined": 8, "created": 5, "existing": 1, "without_phone": 2}
    before = await state(world)
    assert await totals(world, shop, 3, dry_run=True) == expected
    assert await state(world) == before
    assert await totals(world, shop, 3) == expected
    assert [await owner_of(world, shop, phone) for phone in phones] == ids
    linked = await world.announced(ContactIdentityLinked, shop)
    assert [fact.identity.contact_id for fact in linked[2:]] == ids
    assert await logged_outcomes(world, shop) == ["created", "created", *["fallback_phone"] * 5]

    before = await state(world)
    assert await totals(world, shop, 3) == {"examined": 8, "existing": 6, "without_phone": 2}
    assert await state(world) == before


async def test_a_linked_contact_is_the_one_who_writes_from_its_phone(world: World, shop: UUID) -> None:
    phone = new_phone()
    contact_id = await given_contact(world, shop, phone)
    await totals(world, shop)
    found = await resolve_one(world, shop, source=WHATSAPP, external_id=phone, address=f"{phone[1:]}@s.whatsapp.net")
    assert (found.outcome, found.contact_id) == (pb.RESOLUTION_OUTCOME_MATCHED, contact_id)


@pytest.mark.parametrize(
    ("region", "written", "kept", "phone"),
    [
        ("BR", "(11) 9 8877-6655", "+5511988776655", "+5511988776655"),
        ("BR", "", "+551188776655", "+5511988776655"),
        ("MX", "", "+5215512345678", "+525512345678"),
        ("PT", "912 345 678", "+351912345678", "+351912345678"),
    ],
)
async def test_a_phone_in_another_writing_becomes_the_one_key_of_its_region(
    world: World, region: str, written: str, kept: str, phone: str
) -> None:
    shop = await given_organization(world, region)
    contact_id = await given_contact(world, shop, written) if written else await given_row(world, shop, kept)
    (row,) = await world.rows("select phone from identity.contacts where organization_id = %s", shop)
    assert row["phone"] == kept
    assert await totals(world, shop) == {"examined": 1, "created": 1}
    (linked,) = await world.announced(ContactIdentityLinked, shop)
    assert (linked.identity.contact_id, linked.identity.external_id) == (contact_id, phone)


@pytest.mark.req("ID-10")
@pytest.mark.parametrize("page_size", [1, 2, 500])
async def test_contacts_with_one_phone_are_a_conflict_in_whatever_batches_they_lie(
    world: World, shop: UUID, page_size: int
) -> None:
    first = await given_contact(world, shop, "+5511988776655")
    alone = await given_contact(world, shop, new_phone())
    # The same number as it was written before mobiles had a nine.
    second = await given_row(world, shop, "+551188776655")
    expected = {"examined": 3, "created": 1, "conflicting": 2}
    before = await state(world)
    assert await totals(world, shop, page_size, dry_run=True) == expected
    assert await state(world) == before
    assert await totals(world, shop, page_size) == expected
    assert await owner_of(world, shop, "+5511988776655") == ""
    (linked,) = await world.announced(ContactIdentityLinked, shop)
    assert linked.identity.contact_id == alone

    (conflict,) = await world.rows("select * from identity.identity_conflicts where organization_id = %s", shop)
    assert (conflict["state"], conflict["external_id"]) == ("OPEN", "+5511988776655")
    assert {str(each) for each in conflict["candidate_contact_ids"]} == {first, second}
    (announced,) = await world.announced(IdentityConflictDetected, shop)
    assert announced.identity_conflict_id == str(conflict["identity_conflict_id"])
    assert (announced.source, set(announced.candidate_contact_ids)) == (WHATSAPP, {first, second})
    (logged,) = await world.rows("select * from identity.identity_resolution_problems where organization_id = %s", shop)
    assert (logged["outcome"], logged["cause_id"]) == ("ambiguous", "backfill:whatsapp")

    before = await state(world)
    again = {"examined": 3, "existing": 1, "conflicting": 2}
    assert await totals(world, shop, page_size) == again
    assert await state(world) == before


@pytest.mark.req("ID-10")
async def test_an_identity_of_somebody_else_is_not_overwritten(world: World, shop: UUID) -> None:
    phone = new_phone()
    holder = await given_contact(world, shop, new_phone(), source=WHATSAPP, external_id=phone)
    wanting = await given_contact(world, shop, phone)
    (answer,) = [each async for each in batches(world, shop)]
    assert (answer.created_count, answer.conflicting_count) == (1, 1)
    (conflict,) = answer.conflicts
    assert (conflict.conversation_key, conflict.owner_contact_id) == (f"whatsapp:{phone}", holder)
    assert list(conflict.candidate_contact_ids) == [holder, wanting]
    assert await owner_of(world, shop, phone) == holder
    (announced,) = await world.announced(IdentityConflictDetected, shop)
    assert (announced.contact_id, announced.identity_conflict_id) == (holder, conflict.identity_conflict_id)
    (logged,) = await world.rows("select * from identity.identity_resolution_problems where organization_id = %s", shop)
    assert str(logged["contact_id"]) == holder

    before = await state(world)
    (again,) = [each async for each in batches(world, shop)]
    assert again.conflicts == answer.conflicts
    assert await state(world) == before


async def test_a_third_contact_joins_the_open_conflict_and_opens_no_second_one(world: World, shop: UUID) -> None:
    phone = new_phone()
    ids = [await given_contact(world, shop, phone) for _ in range(2)]
    await totals(world, shop)
    ids.append(await given_contact(world, shop, phone))
    assert await totals(world, shop) == {"examined": 3, "conflicting": 3}
    (conflict,) = await world.rows("select * from identity.identity_conflicts where organization_id = %s", shop)
    assert {str(each) for each in conflict["candidate_contact_ids"]} == set(ids)
    assert len(await world.announced(IdentityConflictDetected, shop)) == 1


async def test_what_people_have_decided_is_not_asked_again(world: World, shop: UUID) -> None:
    phone = new_phone()
    kept, other = [await given_contact(world, shop, phone) for _ in range(2)]
    await totals(world, shop)
    async with await world.admin() as connection:
        await connection.execute(
            "update identity.identity_conflicts set state = 'RESOLVED', resolve_time = create_time"
            " where organization_id = %s",
            [shop],
        )
    before = await state(world)
    assert await totals(world, shop) == {"examined": 2, "conflicting": 2}
    assert await state(world) == before
    async with await world.admin() as connection:
        await connection.execute("update identity.contacts set phone = '' where contact_id = %s", [other])
    assert await totals(world, shop) == {"examined": 2, "created": 1, "without_phone": 1}
    assert await owner_of(world, shop, phone) == kept


async def test_a_phone_that_can_be_no_number_is_named_and_left(world: World, shop: UUID) -> None:
    contact_id = await given_row(world, shop, "+5511000")
    before = await state(world)
    (answer,) = [each async for each in batches(world, shop)]
    assert (answer.unreadable_count, list(answer.unreadable_contact_ids)) == (1, [contact_id])
    assert await state(world) == before


async def test_a_lid_stays_beside_the_phone_until_whatsapp_says_they_are_one(world: World, shop: UUID) -> None:
    lid, phone = new_lid(), new_phone()
    contact_id = await given_contact(world, shop, phone, source=WHATSAPP, external_id=f"{lid}@lid")
    assert await totals(world, shop) == {"examined": 1, "created": 1}
    lid_alias = pb.Alias(kind=pb.ALIAS_KIND_WHATSAPP_LID, value=lid)
    found = await resolve_one(world, shop, source=WHATSAPP, external_id=phone, aliases=[lid_alias])
    assert (found.contact_id, found.conversation_key) == (contact_id, f"whatsapp:{phone}")
    rows = await world.rows("select external_id from identity.contact_identities where organization_id = %s", shop)
    assert [row["external_id"] for row in rows] == [phone]


@pytest.mark.req("ID-10")
async def test_somebody_who_writes_while_a_batch_runs_is_the_same_contact(world: World, shop: UUID) -> None:
    phone = new_phone()
    contact_id = await given_contact(world, shop, phone)
    async with await world.admin() as holder:
        async with holder.transaction():
            await holder.execute("lock table identity.contact_identities in share row exclusive mode")
            running = asyncio.create_task(totals(world, shop))
            # The batch holds the phone's keys by now, and waits to write the identity.
            await world.until_waiting_on_locks(1)
            writing = asyncio.create_task(resolve_one(world, shop, source=WHATSAPP, external_id=phone, name="Ana"))
            await world.until_waiting_on_locks(2)
        assert await running == {"examined": 1, "created": 1}
        found = await writing
    assert (found.outcome, found.contact_id) == (pb.RESOLUTION_OUTCOME_MATCHED, contact_id)
    assert len(await world.announced(ContactIdentityLinked, shop)) == 1
    assert len(await world.announced(ContactCreated, shop)) == 1


async def test_a_batch_waits_for_a_contact_that_is_made_with_one_of_its_phones(world: World, shop: UUID) -> None:
    phone = new_phone()
    first = await given_contact(world, shop, phone)
    async with await world.admin() as holder:
        async with holder.transaction():
            await holder.execute("lock table identity.contacts in share row exclusive mode")
            making = asyncio.create_task(given_contact(world, shop, phone))
            # The new contact's keys are held by now; the batch has looked before it is there, and waits for them.
            await world.until_waiting_on_locks(1)
            running = asyncio.create_task(totals(world, shop))
            await world.until_waiting_on_locks(2)
        second = await making
        assert await running == {"examined": 1, "conflicting": 1}
    assert await owner_of(world, shop, phone) == ""
    (conflict,) = await world.announced(IdentityConflictDetected, shop)
    assert list(conflict.candidate_contact_ids) == [first, second]


async def test_two_backfills_at_once_make_each_identity_once(world: World, shop: UUID) -> None:
    for _ in range(4):
        await given_contact(world, shop, new_phone())
    async with await world.admin() as holder:
        async with holder.transaction():
            await holder.execute("lock table identity.contact_identities in share row exclusive mode")
            running = [asyncio.create_task(totals(world, shop)) for _ in range(2)]
            await world.until_waiting_on_locks(2)
        counted = sorted(await asyncio.gather(*running), key=sorted)
    assert counted == [{"created": 4, "examined": 4}, {"examined": 4, "existing": 4}]
    assert len(await world.announced(ContactIdentityLinked, shop)) == 4


async def test_a_contact_whose_phone_changes_meanwhile_gets_the_identity_of_the_new_one(
    world: World, shop: UUID
) -> None:
    old, new = new_phone(), new_phone()
    contact_id = await given_contact(world, shop, old)
    async with await world.admin() as holder:
        async with holder.transaction():
            await holder.execute("update identity.contacts set phone = %s where contact_id = %s", [new, contact_id])
            running = asyncio.create_task(totals(world, shop))
            await world.until_waiting_on_locks(1)
        assert await running == {"examined": 1, "created": 1}
    assert (await owner_of(world, shop, old), await owner_of(world, shop, new)) == ("", contact_id)


async def test_only_whatsapp_identities_follow_from_a_phone(world: World, shop: UUID) -> None:
    request = pb.BackfillContactIdentitiesRequest(source=INSTAGRAM)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await contacts_of(world, shop).BackfillContactIdentities(request)
    assert error_info(refused.value).reason == "SOURCE_INVALID"


async def test_a_page_token_of_a_dry_run_is_none_of_a_real_one_and_agents_may_not(world: World, shop: UUID) -> None:
    for _ in range(2):
        await given_contact(world, shop, new_phone())
    request = pb.BackfillContactIdentitiesRequest(source=WHATSAPP, page_size=1, dry_run=True)
    request.page_token = (await contacts_of(world, shop).BackfillContactIdentities(request)).next_page_token
    request.dry_run = False
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await contacts_of(world, shop).BackfillContactIdentities(request)
    assert error_info(refused.value).reason == "PAGE_TOKEN_INVALID"
    agent = world.as_user(shop, AGENT).stub(ContactServiceStub)
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await agent.BackfillContactIdentities(pb.BackfillContactIdentitiesRequest(source=WHATSAPP))
    assert denied.value.code() is grpc.StatusCode.PERMISSION_DENIED
