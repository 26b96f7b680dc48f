"""Resolving people in batches, as ingest does."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from chassis.errors import from_status
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1.events_pb2 import (
    ContactCreated,
    ContactIdentityLinked,
    ContactIdentityPromoted,
    ContactUpdated,
    IdentityConflictDetected,
)
from tests.integration.identity.cast import (
    INSTAGRAM,
    WHATSAPP,
    alias,
    batches,
    contacts_of,
    given_organization,
    logged_outcomes,
    new_igsid,
    new_lid,
    new_phone,
    person,
    resolve,
    resolve_one,
)
from tests.world import World

TARGETS = ("identity",)
LID, BSUID = pb.ALIAS_KIND_WHATSAPP_LID, pb.ALIAS_KIND_WHATSAPP_BSUID
CHATWOOT_CONTACT, CHATWOOT_SOURCE = pb.ALIAS_KIND_CHATWOOT_CONTACT, pb.ALIAS_KIND_CHATWOOT_SOURCE

CREATED, MATCHED = pb.RESOLUTION_OUTCOME_CREATED, pb.RESOLUTION_OUTCOME_MATCHED
FALLBACK_PHONE, FALLBACK_EMAIL = pb.RESOLUTION_OUTCOME_FALLBACK_PHONE, pb.RESOLUTION_OUTCOME_FALLBACK_EMAIL
AMBIGUOUS, NOT_FOUND = pb.RESOLUTION_OUTCOME_AMBIGUOUS, pb.RESOLUTION_OUTCOME_NOT_FOUND


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World) -> UUID:
    """An organization of the test's own."""
    return await given_organization(world)


async def count(world: World, table: str, organization_id: UUID) -> int:
    """How many rows an organization has in a table."""
    rows = await world.rows(f"select count(*) as n from identity.{table} where organization_id = %s", organization_id)
    return int(rows[0]["n"])


async def given_contact(world: World, organization_id: UUID, **fields: str) -> str:
    """A contact made by hand."""
    stub = contacts_of(world, organization_id)
    values: dict[str, Any] = {"name": "Bia"} | fields
    contact = await stub.CreateContact(pb.CreateContactRequest(**values))
    return str(contact.contact_id)


async def test_an_unknown_person_is_made_with_an_identity_and_announced(world: World, shop: UUID) -> None:
    phone = new_phone()
    made = await resolve_one(world, shop, source=WHATSAPP, external_id=phone, address=phone[1:], name="Ana")
    assert (made.outcome, made.conversation_key, made.name, made.phone) == (CREATED, f"whatsapp:{phone}", "Ana", phone)
    (created,) = await world.announced(ContactCreated, shop)
    assert (created.contact.contact_id, created.contact.phone, created.version) == (made.contact_id, phone, 1)
    (linked,) = await world.announced(ContactIdentityLinked, shop)
    assert (linked.identity.contact_identity_id, linked.identity.address) == (made.contact_identity_id, phone[1:])


@pytest.mark.req("ID-03")
async def test_a_known_identity_is_found_first_on_either_source(world: World, shop: UUID) -> None:
    phone, igsid = new_phone(), new_igsid()
    first = await resolve(
        world,
        person(shop, source=WHATSAPP, external_id=phone),
        person(shop, source=INSTAGRAM, external_id=igsid),
    )
    again = await resolve(
        world,
        person(shop, source=WHATSAPP, external_id=f"{phone[1:]}@s.whatsapp.net"),
        person(shop, source=INSTAGRAM, external_id=igsid),
    )
    assert [found.outcome for found in again] == [MATCHED, MATCHED]
    assert [found.contact_id for found in again] == [found.contact_id for found in first]
    assert again[1].conversation_key == f"instagram:{igsid}"


async def test_a_brazilian_mobile_is_one_person_with_and_without_its_ninth_digit(world: World, shop: UUID) -> None:
    made = await resolve_one(world, shop, source=WHATSAPP, external_id="+5511998765432")
    found = await resolve_one(world, shop, source=WHATSAPP, external_id="551198765432")
    assert (found.outcome, found.contact_id) == (MATCHED, made.contact_id)


async def test_a_new_person_who_appears_three_times_in_a_batch_is_one_contact(world: World, shop: UUID) -> None:
    igsid = new_igsid()
    found = await resolve(world, *[person(shop, source=INSTAGRAM, external_id=igsid, name="Rui")] * 3)
    assert [each.outcome for each in found] == [CREATED, MATCHED, MATCHED]
    assert len({each.contact_id for each in found}) == 1
    assert await count(world, "contacts", shop) == 1
    assert len(await world.announced(ContactCreated, shop)) == 1


@pytest.mark.req("ID-02", "CR-07")
async def test_fifty_parallel_resolves_of_one_new_person_make_one_contact(world: World, shop: UUID) -> None:
    igsid = new_igsid()
    async with await world.admin() as holder:
        async with holder.transaction():
            await holder.execute("lock table identity.contacts in share row exclusive mode")
            calls = [
                asyncio.create_task(resolve_one(world, shop, source=INSTAGRAM, external_id=igsid)) for _ in range(50)
            ]
            # As many as the pool has connections wait: one for the table, the others for the one.
            await world.until_waiting_on_locks(8)
        found = await asyncio.gather(*calls)
    assert len({each.contact_id for each in found}) == 1
    assert len({each.contact_identity_id for each in found}) == 1
    assert sorted(each.outcome for each in found) == [CREATED] + [MATCHED] * 49
    assert await count(world, "contacts", shop) == 1
    assert await count(world, "contact_identities", shop) == 1


async def test_two_ids_with_one_new_phone_at_once_make_one_contact(world: World, shop: UUID) -> None:
    phone = new_phone()
    people = [
        {"source": INSTAGRAM, "external_id": new_igsid(), "phone": phone},
        {"source": WHATSAPP, "external_id": phone},
    ]
    async with await world.admin() as holder:
        async with holder.transaction():
            await holder.execute("lock table identity.contacts in share row exclusive mode")
            calls = [asyncio.create_task(resolve_one(world, shop, **fields)) for fields in people]
            await world.until_waiting_on_locks(2)
        found = await asyncio.gather(*calls)
    assert sorted(each.outcome for each in found) == [CREATED, FALLBACK_PHONE]
    assert len({each.contact_id for each in found}) == 1


async def test_two_ids_of_one_source_with_one_new_phone_at_once_are_two_people(world: World, shop: UUID) -> None:
    phone, igsids = new_phone(), [new_igsid(), new_igsid()]
    async with await world.admin() as holder:
        async with holder.transaction():
            await holder.execute("lock table identity.contacts in share row exclusive mode")
            calls = [
                asyncio.create_task(resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, phone=phone))
                for igsid in igsids
            ]
            await world.until_waiting_on_locks(2)
        found = await asyncio.gather(*calls)
    assert [each.outcome for each in found] == [CREATED, CREATED]
    assert len({each.contact_id for each in found}) == 2
    assert len(await world.announced(IdentityConflictDetected, shop)) == 1


@pytest.mark.req("ID-04")
@pytest.mark.parametrize("apart", [True, False])
@pytest.mark.parametrize("by", ["phone", "email"])
async def test_one_weak_candidate_is_not_the_person_and_is_asked_about_once(
    world: World, shop: UUID, by: str, apart: bool
) -> None:
    value = new_phone() if by == "phone" else f"{uuid4().hex}@example.com"
    first = person(shop, source=INSTAGRAM, external_id=new_igsid(), **{by: value})
    second = person(shop, source=INSTAGRAM, external_id=new_igsid(), **{by: value})
    if apart:
        known, other = [(await resolve(world, each))[0] for each in (first, second)]
    else:
        known, other = await resolve(world, first, second)
    assert (known.outcome, other.outcome) == (CREATED, CREATED)
    assert known.contact_id != other.contact_id
    assert list(other.candidate_contact_ids) == [known.contact_id]
    for _ in range(2):
        again = await resolve(world, first, second)
        assert [each.outcome for each in again] == [MATCHED, MATCHED]
    (conflict,) = await world.announced(IdentityConflictDetected, shop)
    assert (conflict.contact_id, list(conflict.candidate_contact_ids)) == (other.contact_id, [known.contact_id])


async def test_a_batch_across_organizations_keeps_them_apart(world: World, shop: UUID) -> None:
    other, phone = await given_organization(world), new_phone()
    found = await resolve(
        world,
        person(shop, source=WHATSAPP, external_id=phone),
        person(other, source=WHATSAPP, external_id=phone),
        person(shop, source=WHATSAPP, external_id=phone),
    )
    assert found[0].contact_id == found[2].contact_id != found[1].contact_id


@pytest.mark.req("ID-04")
@pytest.mark.parametrize("known", [0, 1, 2])
@pytest.mark.parametrize("by", ["phone", "email"])
async def test_the_fallback_creates_links_or_asks_but_never_picks(
    world: World, shop: UUID, known: int, by: str
) -> None:
    value = new_phone() if by == "phone" else f"{uuid4().hex}@example.com"
    existing = [await given_contact(world, shop, **{by: value}) for _ in range(known)]
    found = await resolve_one(world, shop, source=INSTAGRAM, external_id=new_igsid(), **{by: value})
    linked = {"phone": FALLBACK_PHONE, "email": FALLBACK_EMAIL}[by]
    assert found.outcome == (CREATED, linked, AMBIGUOUS)[known]
    assert (found.contact_id in existing) is (known == 1)
    assert sorted(found.candidate_contact_ids) == (sorted(existing) if known == 2 else [])
    assert await count(world, "contacts", shop) == (1, 1, 3)[known]
    outcome = ("created", f"fallback_{by}", "ambiguous")[known]
    assert await logged_outcomes(world, shop) == [outcome]


async def test_a_whatsapp_number_links_to_the_contact_made_by_hand_with_that_phone(world: World, shop: UUID) -> None:
    contact_id = await given_contact(world, shop, phone="11 8765-4321")
    found = await resolve_one(world, shop, source=WHATSAPP, external_id="5511987654321")
    assert (found.outcome, found.contact_id, found.name) == (FALLBACK_PHONE, contact_id, "Bia")


async def test_names_never_find_anybody(world: World, shop: UUID) -> None:
    contact_id = await given_contact(world, shop, name="Ana Souza")
    found = await resolve_one(world, shop, source=INSTAGRAM, external_id=new_igsid(), name="Ana Souza")
    assert found.contact_id != contact_id


async def test_several_candidates_are_left_alone_and_asked_about_once(world: World, shop: UUID) -> None:
    phone, igsid = new_phone(), new_igsid()
    existing = {await given_contact(world, shop, phone=phone) for _ in range(2)}
    first = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, phone=phone)
    again = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, phone=phone)
    assert first.contact_id not in existing
    assert (again.outcome, again.contact_id) == (MATCHED, first.contact_id)
    (conflict,) = await world.announced(IdentityConflictDetected, shop)
    assert (conflict.contact_id, set(conflict.candidate_contact_ids)) == (first.contact_id, existing)
    assert await world.announced(ContactUpdated, shop) == []


@pytest.mark.req("ID-07")
async def test_a_known_identity_keeps_its_contact_when_its_phone_is_somebody_elses(world: World, shop: UUID) -> None:
    igsid, phone = new_igsid(), new_phone()
    mine = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid)
    before = await world.rows("select * from identity.contact_identities where organization_id = %s", shop)
    other = await given_contact(world, shop, phone=phone)
    for _ in range(2):
        found = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, phone=phone, update_profile=True)
        assert (found.contact_id, found.phone) == (mine.contact_id, "")
    assert await world.rows("select * from identity.contact_identities where organization_id = %s", shop) == before
    (conflict,) = await world.rows(
        "select * from identity.identity_conflicts where organization_id = %s and state = 'OPEN'", shop
    )
    assert set(map(str, conflict["candidate_contact_ids"])) == {mine.contact_id, other}
    assert len(await world.announced(IdentityConflictDetected, shop)) == 1
    assert await logged_outcomes(world, shop) == ["created", "ambiguous", "matched"]


async def test_a_later_candidate_joins_the_open_conflict_without_a_second_task(world: World, shop: UUID) -> None:
    igsid, phones = new_igsid(), [new_phone(), new_phone()]
    mine = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid)
    others = [await given_contact(world, shop, phone=phone) for phone in phones]
    outcomes = [
        (await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, phone=phone)).outcome for phone in phones
    ]
    assert outcomes == [AMBIGUOUS, AMBIGUOUS]
    (conflict,) = await world.rows("select * from identity.identity_conflicts where organization_id = %s", shop)
    assert set(map(str, conflict["candidate_contact_ids"])) == {mine.contact_id, *others}
    assert len(await world.announced(IdentityConflictDetected, shop)) == 1


async def test_an_unknown_person_stays_unknown_where_nobody_is_to_be_made(world: World, shop: UUID) -> None:
    found = await resolve_one(world, shop, source=WHATSAPP, external_id=new_phone(), create_missing=False)
    assert (found.outcome, found.contact_id, found.contact_identity_id) == (NOT_FOUND, "", "")
    assert await count(world, "contacts", shop) == 0
    assert await logged_outcomes(world, shop) == ["not_found"]


async def test_a_lid_is_a_person_until_the_phone_is_known_and_then_gives_way(world: World, shop: UUID) -> None:
    lid, phone = new_lid(), new_phone()
    early = await resolve_one(world, shop, source=WHATSAPP, external_id=f"{lid}@lid", name="Caio")
    assert (early.outcome, early.conversation_key) == (CREATED, f"whatsapp:lid:{lid}")
    known = await resolve_one(
        world, shop, source=WHATSAPP, external_id=phone, address=phone[1:], aliases=[alias(LID, lid)]
    )
    assert (known.outcome, known.contact_id, known.contact_identity_id) == (
        MATCHED,
        early.contact_id,
        early.contact_identity_id,
    )
    assert (known.conversation_key, known.previous_conversation_key) == (f"whatsapp:{phone}", f"whatsapp:lid:{lid}")
    (promoted,) = await world.announced(ContactIdentityPromoted, shop)
    assert promoted.previous_conversation_key == f"whatsapp:lid:{lid}"
    assert (promoted.identity.conversation_key, promoted.identity.address) == (f"whatsapp:{phone}", phone[1:])
    late = await resolve_one(world, shop, source=WHATSAPP, external_id=f"lid:{lid}")
    assert (late.outcome, late.contact_id, late.conversation_key) == (MATCHED, early.contact_id, f"whatsapp:{phone}")
    assert await count(world, "contacts", shop) == 1
    assert await count(world, "contact_identities", shop) == 1


async def test_a_business_scoped_id_with_a_phone_beside_it_is_known_by_the_phone(world: World, shop: UUID) -> None:
    phone = new_phone()
    early = await resolve_one(world, shop, source=WHATSAPP, external_id="BR.1a2B3c")
    known = await resolve_one(world, shop, source=WHATSAPP, external_id="BR.1a2B3c", phone=phone)
    assert early.conversation_key == known.previous_conversation_key == "whatsapp:bsuid:BR.1a2B3c"
    assert (known.conversation_key, known.contact_id) == (f"whatsapp:{phone}", early.contact_id)


async def test_a_lid_and_a_phone_of_two_contacts_are_never_merged_silently(world: World, shop: UUID) -> None:
    lid, phone = new_lid(), new_phone()
    by_lid = await resolve_one(world, shop, source=WHATSAPP, external_id=f"lid:{lid}")
    by_phone = await resolve_one(world, shop, source=WHATSAPP, external_id=phone)
    both = await resolve_one(world, shop, source=WHATSAPP, external_id=phone, aliases=[alias(LID, lid)])
    assert (both.outcome, both.contact_id, both.previous_conversation_key) == (AMBIGUOUS, by_phone.contact_id, "")
    (conflict,) = await world.announced(IdentityConflictDetected, shop)
    assert set(conflict.candidate_contact_ids) == {by_lid.contact_id, by_phone.contact_id}
    assert await world.announced(ContactIdentityPromoted, shop) == []


async def test_a_provisional_id_of_the_same_contact_gives_way_to_the_phone(world: World, shop: UUID) -> None:
    lid, phone = new_lid(), new_phone()
    early = await resolve_one(world, shop, source=WHATSAPP, external_id=f"lid:{lid}")
    stub = contacts_of(world, shop)
    await stub.CreateContactIdentity(
        pb.CreateContactIdentityRequest(contact_id=early.contact_id, source=WHATSAPP, external_id=phone)
    )
    known = await resolve_one(world, shop, source=WHATSAPP, external_id=phone, aliases=[alias(LID, lid)])
    assert (known.contact_id, known.previous_conversation_key) == (early.contact_id, f"whatsapp:lid:{lid}")
    assert await count(world, "contact_identities", shop) == 1
    late = await resolve_one(world, shop, source=WHATSAPP, external_id=f"lid:{lid}")
    assert late.conversation_key == f"whatsapp:{phone}"


async def test_a_lid_in_the_phone_field_is_no_phone(world: World, shop: UUID) -> None:
    lid = new_lid()[:13]
    found = await resolve_one(world, shop, source=WHATSAPP, external_id=f"lid:{lid}", phone=f"+{lid}")
    assert (found.conversation_key, found.phone) == (f"whatsapp:lid:{lid}", "")


async def test_a_chatwoot_contact_leads_to_the_person_where_nobody_is_named(world: World, shop: UUID) -> None:
    reference = [alias(CHATWOOT_CONTACT, f"{uuid4()}:118")]
    made = await resolve_one(world, shop, source=INSTAGRAM, external_id=new_igsid(), aliases=reference)
    found = await resolve_one(
        world, shop, aliases=reference, name="Lia Prado", create_missing=False, update_profile=True
    )
    assert (found.outcome, found.contact_id, found.name) == (MATCHED, made.contact_id, "Lia Prado")
    assert found.conversation_key == made.conversation_key


async def test_a_changed_phone_of_a_chatwoot_contact_stays_with_the_person(world: World, shop: UUID) -> None:
    reference, old, new = [alias(CHATWOOT_CONTACT, f"{uuid4()}:7")], new_phone(), new_phone()
    made = await resolve_one(world, shop, source=WHATSAPP, external_id=old, aliases=reference)
    moved = await resolve_one(
        world,
        shop,
        source=WHATSAPP,
        external_id=new,
        aliases=reference,
        phone=new,
        removed_phone=old,
        update_profile=True,
    )
    assert (moved.outcome, moved.contact_id, moved.phone) == (MATCHED, made.contact_id, new)
    assert moved.conversation_key == f"whatsapp:{new}"
    assert await count(world, "contact_identities", shop) == 2


async def test_an_alias_does_not_beat_an_exact_identity(world: World, shop: UUID) -> None:
    reference, phone = [alias(CHATWOOT_SOURCE, f"{uuid4()}:22:abc")], new_phone()
    referenced = await resolve_one(world, shop, source=WHATSAPP, external_id=new_phone(), aliases=reference)
    exact = await resolve_one(world, shop, source=WHATSAPP, external_id=phone)
    found = await resolve_one(world, shop, source=WHATSAPP, external_id=phone, aliases=reference)
    assert (found.outcome, found.contact_id) == (AMBIGUOUS, exact.contact_id)
    assert set(found.candidate_contact_ids) == {exact.contact_id, referenced.contact_id}


@pytest.mark.req("ID-05")
@pytest.mark.parametrize("external_id", ["unknown", "", "Ana", "0"])
async def test_one_without_a_valid_id_spoils_no_batch_and_is_logged(world: World, shop: UUID, external_id: str) -> None:
    request = pb.BatchResolveContactsRequest(
        people=[
            person(shop, source=INSTAGRAM, external_id=external_id, name="Ana"),
            person(shop, source=INSTAGRAM, external_id=new_igsid()),
            person(uuid4(), source=INSTAGRAM, external_id=new_igsid()),
        ]
    )
    answer = await batches(world).BatchResolveContacts(request)
    assert from_status(answer.results[0].error).reason == "EXTERNAL_ID_INVALID"
    assert answer.results[1].contact.outcome == CREATED
    assert from_status(answer.results[2].error).reason == "ORGANIZATION_NOT_FOUND"
    assert sorted(await logged_outcomes(world, shop)) == ["created", "error"]
    assert await count(world, "contacts", shop) == 1


@pytest.mark.req("ID-06")
async def test_every_resolution_is_logged_with_its_outcome(world: World, shop: UUID) -> None:
    phone, shared = new_phone(), new_phone()
    await given_contact(world, shop, phone=phone)
    await given_contact(world, shop, email="so@example.com")
    for _ in range(2):
        await given_contact(world, shop, phone=shared)
    igsid = new_igsid()
    await resolve(
        world,
        person(shop, source=INSTAGRAM, external_id=igsid, cause_id="event-1"),
        person(shop, source=INSTAGRAM, external_id=igsid),
        person(shop, source=INSTAGRAM, external_id=new_igsid(), phone=phone),
        person(shop, source=INSTAGRAM, external_id=new_igsid(), email="so@example.com"),
        person(shop, source=INSTAGRAM, external_id=new_igsid(), phone=shared),
        person(shop, source=INSTAGRAM, external_id=new_igsid(), create_missing=False),
    )
    rows = await world.rows(
        "select * from identity.messaging_identity_resolution_log where organization_id = %s order by id", shop
    )
    outcomes = ["created", "matched", "fallback_phone", "fallback_email", "ambiguous", "not_found"]
    assert sorted(row["action"] for row in rows) == sorted(outcomes)
    assert {row["request_id"] for row in rows if row["action"] == "created"} == {"event-1"}
    stub = contacts_of(world, shop)
    listed = await stub.ListIdentityResolutions(pb.ListIdentityResolutionsRequest(page_size=4))
    rest = await stub.ListIdentityResolutions(
        pb.ListIdentityResolutionsRequest(page_size=4, page_token=listed.next_page_token)
    )
    assert len({each.identity_resolution_id for each in [*listed.resolutions, *rest.resolutions]}) == 6
    only = await stub.ListIdentityResolutions(pb.ListIdentityResolutionsRequest(outcome=AMBIGUOUS))
    assert [len(each.candidate_contact_ids) for each in only.resolutions] == [2]


@pytest.mark.req("ID-13")
async def test_processing_the_same_events_again_changes_nothing(world: World, shop: UUID) -> None:
    lid, phone, shared = new_lid(), new_phone(), new_phone()
    for _ in range(2):
        await given_contact(world, shop, phone=shared)
    events = [
        person(shop, source=WHATSAPP, external_id=f"lid:{lid}", name="Caio"),
        person(shop, source=WHATSAPP, external_id=phone, aliases=[alias(LID, lid)]),
        person(shop, source=INSTAGRAM, external_id=new_igsid(), phone=shared),
        person(shop, source=INSTAGRAM, external_id=new_igsid(), aliases=[alias(CHATWOOT_CONTACT, f"{uuid4()}:1")]),
    ]
    first = await resolve(world, *events)
    tables = ("contacts", "contact_identities", "contact_aliases", "identity_conflicts", "outbox")

    async def state() -> list[object]:
        return [
            await world.rows(f"select * from identity.{table} where organization_id = %s order by 1, 2", shop)
            for table in tables
        ]

    before = await state()
    again = await resolve(world, *events)
    assert [each.contact_id for each in again] == [each.contact_id for each in first]
    assert {each.outcome for each in again} == {MATCHED}
    assert await state() == before
