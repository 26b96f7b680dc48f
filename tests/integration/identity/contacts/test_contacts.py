"""Contacts and identities as people and programs read and write them."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import pytest
import pytest_asyncio

from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1.events_pb2 import ContactCreated, ContactIdentityLinked
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
from tests.world import World, error_info

TARGETS = ("identity",)


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World) -> UUID:
    """An organization of the test's own."""
    return await given_organization(world)


async def reason_of(call: Any) -> str:
    """Why a call was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return error_info(refused.value).reason


async def test_a_contact_made_by_hand_is_answered_with_its_identity_and_announced(world: World, shop: UUID) -> None:
    stub = contacts_of(world, shop)
    request = pb.CreateContactRequest(
        name=" Ana Souza ",
        phone="(11) 9 8765-4321",
        email="Ana@Example.com",
        tags=["vip", "atacado", "vip"],
        source=WHATSAPP,
        external_id="11987654321",
        request_id=str(uuid4()),
    )
    made = await stub.CreateContact(request)
    assert (made.name, made.phone, made.email) == ("Ana Souza", "+5511987654321", "ana@example.com")
    assert list(made.tags) == ["atacado", "vip"]
    assert [each.conversation_key for each in made.identities] == ["whatsapp:+5511987654321"]
    assert await stub.CreateContact(request) == made
    assert await stub.GetContact(pb.GetContactRequest(contact_id=made.contact_id)) == made
    assert len(await world.announced(ContactCreated, shop)) == 1
    assert len(await world.announced(ContactIdentityLinked, shop)) == 1


async def test_two_contacts_may_be_made_by_hand_with_one_phone(world: World, shop: UUID) -> None:
    stub, phone = contacts_of(world, shop), new_phone()
    made = [await stub.CreateContact(pb.CreateContactRequest(name=name, phone=phone)) for name in ("Ana", "Rui")]
    assert made[0].contact_id != made[1].contact_id


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"phone": "12"}, "PHONE_INVALID"),
        ({"email": "ana"}, "EMAIL_INVALID"),
        ({"name": "  "}, "NAME_INVALID"),
        ({"external_id": "123456"}, "EXTERNAL_ID_INVALID"),
        ({"source": INSTAGRAM}, "EXTERNAL_ID_INVALID"),
        ({"source": INSTAGRAM, "external_id": "unknown"}, "EXTERNAL_ID_INVALID"),
        ({"tags": ["x" * 101]}, "TAG_INVALID"),
    ],
)
async def test_a_contact_that_makes_no_sense_is_refused(
    world: World, shop: UUID, fields: dict[str, Any], reason: str
) -> None:
    request = pb.CreateContactRequest(**({"name": "Ana"} | fields))
    assert await reason_of(contacts_of(world, shop).CreateContact(request)) == reason


async def test_an_identity_of_somebody_else_is_taken(world: World, shop: UUID) -> None:
    stub, igsid, lid = contacts_of(world, shop), new_igsid(), new_lid()
    holder = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid)
    await resolve_one(world, shop, source=WHATSAPP, external_id=f"lid:{lid}", phone=new_phone())
    for source, external_id in ((INSTAGRAM, igsid), (WHATSAPP, f"{lid}@lid")):
        request = pb.CreateContactRequest(name="Rui", source=source, external_id=external_id)
        assert await reason_of(stub.CreateContact(request)) == "IDENTITY_TAKEN"
    other = await stub.CreateContact(pb.CreateContactRequest(name="Rui"))
    link = pb.CreateContactIdentityRequest(contact_id=other.contact_id, source=INSTAGRAM, external_id=igsid)
    assert await reason_of(stub.CreateContactIdentity(link)) == "IDENTITY_TAKEN"
    again = pb.CreateContactIdentityRequest(contact_id=holder.contact_id, source=INSTAGRAM, external_id=igsid)
    assert (await stub.CreateContactIdentity(again)).contact_identity_id == holder.contact_identity_id
    nowhere = pb.CreateContactIdentityRequest(contact_id=str(uuid4()), source=INSTAGRAM, external_id=new_igsid())
    assert await reason_of(stub.CreateContactIdentity(nowhere)) == "CONTACT_NOT_FOUND"


async def test_a_linked_identity_leads_to_the_contact(world: World, shop: UUID) -> None:
    stub, igsid = contacts_of(world, shop), new_igsid()
    made = await stub.CreateContact(pb.CreateContactRequest(name="Ana"))
    request = pb.CreateContactIdentityRequest(
        contact_id=made.contact_id, source=INSTAGRAM, external_id=igsid, request_id=str(uuid4())
    )
    linked = await stub.CreateContactIdentity(request)
    assert await stub.CreateContactIdentity(request) == linked
    found = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid)
    assert (found.contact_id, found.contact_identity_id) == (made.contact_id, linked.contact_identity_id)
    assert len(await world.announced(ContactIdentityLinked, shop)) == 1


async def test_resolving_with_a_request_id_answers_the_same_again(world: World, shop: UUID) -> None:
    stub = contacts_of(world, shop)
    request = pb.ResolveContactRequest(source=INSTAGRAM, external_id=new_igsid(), name="Ana", request_id=str(uuid4()))
    made = await stub.ResolveContact(request)
    assert made.outcome == pb.RESOLUTION_OUTCOME_CREATED
    assert await stub.ResolveContact(request) == made
    found = await stub.ResolveContact(
        pb.ResolveContactRequest(source=request.source, external_id=request.external_id, name="Ana")
    )
    assert (found.outcome, found.contact_id) == (pb.RESOLUTION_OUTCOME_MATCHED, made.contact_id)
    assert await logged_outcomes(world, shop) == ["created", "matched"]


async def test_resolving_an_invalid_id_is_refused_and_logged(world: World, shop: UUID) -> None:
    request = pb.ResolveContactRequest(source=INSTAGRAM, external_id="Ana Souza", request_id=str(uuid4()))
    for _ in range(2):
        assert await reason_of(contacts_of(world, shop).ResolveContact(request)) == "EXTERNAL_ID_INVALID"
    assert await logged_outcomes(world, shop) == ["error", "error"]


async def test_contacts_are_found_by_phone_in_any_form_email_tag_and_part_of_the_name(world: World, shop: UUID) -> None:
    stub = contacts_of(world, shop)
    ana = await stub.CreateContact(
        pb.CreateContactRequest(name="Ana 100% Souza", phone="+5511987650001", email="ana@example.com", tags=["vip"])
    )
    await stub.CreateContact(pb.CreateContactRequest(name="Rui", phone="+5511987650002", email="rui@example.com"))
    filters: list[dict[str, Any]] = [
        {"phone": "11 8765-0001"},
        {"email": "ANA@example.com"},
        {"tag": "vip"},
        {"name": "souza"},
        {"name": "0%"},
        {"phone": "+5511987650001", "tag": "vip"},
    ]
    for wanted in filters:
        listed = await stub.ListContacts(pb.ListContactsRequest(**wanted))
        assert [each.contact_id for each in listed.contacts] == [ana.contact_id], wanted
    misses: list[dict[str, Any]] = [
        {"name": "A_a"},
        {"tag": "VIP"},
        {"phone": "+5511987650001", "email": "rui@example.com"},
    ]
    for missed in misses:
        assert (await stub.ListContacts(pb.ListContactsRequest(**missed))).contacts == [], missed
    assert await reason_of(stub.ListContacts(pb.ListContactsRequest(phone="12"))) == "PHONE_INVALID"


async def test_lists_run_newest_first_in_pages_bound_to_their_filter(world: World, shop: UUID) -> None:
    stub = contacts_of(world, shop)
    made = [(await resolve_one(world, shop, source=INSTAGRAM, external_id=new_igsid())).contact_id for _ in range(5)]
    first = await stub.ListContacts(pb.ListContactsRequest(page_size=3))
    rest = await stub.ListContacts(pb.ListContactsRequest(page_size=3, page_token=first.next_page_token))
    assert [each.contact_id for each in [*first.contacts, *rest.contacts]] == made[::-1]
    assert rest.next_page_token == ""
    other = pb.ListContactsRequest(page_size=3, page_token=first.next_page_token, name="a")
    assert await reason_of(stub.ListContacts(other)) == "PAGE_TOKEN_INVALID"
    page = await stub.ListContactIdentities(pb.ListContactIdentitiesRequest(page_size=2))
    more = await stub.ListContactIdentities(
        pb.ListContactIdentitiesRequest(page_size=4, page_token=page.next_page_token)
    )
    assert [each.contact_id for each in [*page.identities, *more.identities]] == made[::-1]


async def test_identities_are_found_by_contact_source_and_external_id(world: World, shop: UUID) -> None:
    stub = contacts_of(world, shop)
    phone, igsid = "+5511987659999", new_igsid()
    by_phone = await resolve_one(world, shop, source=WHATSAPP, external_id=phone)
    by_igsid = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid)
    for wanted, found in (
        ({"contact_id": by_phone.contact_id}, by_phone),
        ({"source": INSTAGRAM}, by_igsid),
        ({"source": WHATSAPP, "external_id": "1187659999"}, by_phone),
        ({"external_id": igsid}, by_igsid),
    ):
        listed = await stub.ListContactIdentities(pb.ListContactIdentitiesRequest(**wanted))
        assert [each.contact_identity_id for each in listed.identities] == [found.contact_identity_id], wanted
    nobody = await stub.ListContactIdentities(pb.ListContactIdentitiesRequest(external_id="nobody"))
    assert nobody.identities == []


async def test_the_region_completes_numbers_without_a_country(world: World) -> None:
    german = await given_organization(world, region="DE")
    found = await resolve_one(world, german, source=WHATSAPP, external_id="0151 23456789")
    assert found.conversation_key == "whatsapp:+4915123456789"
