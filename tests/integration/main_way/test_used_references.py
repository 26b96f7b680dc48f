"""A contact id of the provider that was another's before hands nobody over: after a restore it is given anew."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Harness, changed, sample
from tests.integration.main_way.test_people import (
    INSTAGRAM,
    SENDER,
    UPDATED,
    asked,
    cloud,
    contacts_of,
    until_tasks,
)

ANA, BRUNO = "+5511900009101", "+5511900009102"
CREATED = "contact_created.whatsapp_cloud"
REFERENCE = {SENDER + "id": 770}


def writes(number: int, phone: str, name: str | None, **more: Any) -> dict[str, Any]:
    """A message under the one contact id of the provider."""
    return cloud(number, phone, **(REFERENCE | {SENDER + "name": name} | more))


def profile(kind: str, phone: str, name: str, *changes: dict[str, Any]) -> dict[str, Any]:
    """A contact event under the same contact id."""
    body = changed(sample(kind), id=770, phone_number=phone, name=name, email=None)
    return body | ({"changed_attributes": list(changes)} if changes else {})


async def people(harness: Harness) -> dict[str, tuple[str, str]]:
    """Name and phone of each contact, by id."""
    return {each["contact_id"]: (each["name"], each["phone"]) for each in await contacts_of(harness)}


async def identities(harness: Harness) -> dict[str, str]:
    """The contact of each external id."""
    rows = await harness.world.rows(
        "select external_id, contact_id::text from identity.contact_identities where organization_id = %s",
        harness.organization_id,
    )
    return {row["external_id"]: row["contact_id"] for row in rows}


@pytest.mark.case("F19")
@pytest.mark.parametrize("first", ["a message", "contact_created", "contact_updated"])
async def test_a_stranger_under_a_used_reference_is_a_contact_of_their_own(harness: Harness, first: str) -> None:
    await harness.deliver(writes(1, ANA, "Ana Souza"))
    [ana] = await people(harness)
    if first == "contact_created":
        await harness.deliver(profile(CREATED, BRUNO, "Bruno Reis"))
    elif first == "contact_updated":
        renamed = {"name": {"previous_value": "Bruno", "current_value": "Bruno Reis"}}
        await harness.deliver(profile(UPDATED, BRUNO, "Bruno Reis", renamed))
    for number in (2, 3):
        event = await harness.deliver(writes(number, BRUNO, "Bruno Reis"))
        assert event["state"] == "PROCESSED"
    found = await people(harness)
    assert sorted(found.values()) == [("Ana Souza", ANA), ("Bruno Reis", BRUNO)]
    assert found[ana] == ("Ana Souza", ANA)
    [conflict] = await asked(harness)
    assert (conflict.external_id, list(conflict.candidate_contact_ids)) == (BRUNO, [ana])
    assert len(await until_tasks(harness, 1)) == 1
    # What either writes from now on is that one's, and people are asked no more.
    await harness.deliver(writes(4, ANA, "Ana Souza"))
    assert await people(harness) == found
    assert len(await asked(harness)) == 1


async def test_somebody_of_another_source_under_a_used_reference_is_nobody_known(harness: Harness) -> None:
    await harness.deliver(changed(sample(INSTAGRAM), **REFERENCE))
    [caio] = await people(harness)
    await harness.deliver(writes(2, BRUNO, "Bruno Reis"))
    assert len(await people(harness)) == 2
    assert (await identities(harness))[BRUNO] != caio
    assert len(await asked(harness)) == 1


@pytest.mark.parametrize("agrees", ["name", "email", "source", "event"])
async def test_a_number_that_changes_stays_with_the_person_whom_something_else_names(
    harness: Harness, agrees: str
) -> None:
    said = {SENDER + "email": "ana@exemplo.example"} if agrees == "email" else {}
    if agrees == "source":
        # An inbox of an API: its source ids are no numbers, and stay with the contact.
        said = {"conversation__contact_inbox__source_id": "6f1c1a52-8d7e-4b7e-9d55-0c1b7a2e9f10"}
    await harness.deliver(writes(1, ANA, "Ana Souza", **said))
    [ana] = await people(harness)
    name = "ana  SOUZA" if agrees == "name" else "Aninha"
    if agrees == "event":
        moved = {"phone_number": {"previous_value": ANA, "current_value": BRUNO}}
        await harness.deliver(profile(UPDATED, BRUNO, name, moved))
    await harness.deliver(writes(2, BRUNO, name, **said))
    assert list(await people(harness)) == [ana]
    assert await identities(harness) == {ANA: ana, BRUNO: ana}
    assert await asked(harness) == []


OLD, NEW, THIRD = "BR.13491208655302741918", "BR.24602319766413852029", "BR.35713420877524963130"


def under(number: int, bsuid: str, name: str | None, reference: int = 770) -> dict[str, Any]:
    """A message of somebody without a phone, under a business-scoped id and a contact id of the provider."""
    own = {"conversation__contact_inbox__source_id": bsuid, SENDER + "phone_number": None, SENDER + "id": reference}
    return writes(number, "", name, **own)


async def business_ids(harness: Harness) -> list[dict[str, Any]]:
    """The business-scoped ids in the order in which they were learnt, with whom and which identity each belongs to."""
    return await harness.world.rows(
        "select value, contact_id::text, contact_identity_id::text from identity.contact_aliases"
        " where organization_id = %s and kind = 'WHATSAPP_BSUID' order by create_time, value",
        harness.organization_id,
    )


@pytest.mark.req("ID-24")
@pytest.mark.parametrize("named", [True, False])
async def test_a_business_scoped_id_that_rotates_keeps_the_person(harness: Harness, named: bool) -> None:
    name = "Ana Souza" if named else None
    for number, bsuid in enumerate((OLD, NEW, OLD)):
        event = await harness.deliver(under(number, bsuid, name))
        assert event["state"] == "PROCESSED"
    [ana] = await people(harness)
    aliases = await business_ids(harness)
    assert [(row["value"], row["contact_id"]) for row in aliases] == [(OLD, ana), (NEW, ana)]
    # One line, the old id before the new one: both were learnt of the one identity, and there is no other.
    [identity] = await harness.world.rows(
        "select contact_identity_id::text, external_id from identity.contact_identities where organization_id = %s",
        harness.organization_id,
    )
    assert {row["contact_identity_id"] for row in aliases} == {identity["contact_identity_id"]}
    assert identity["external_id"] == f"bsuid:{OLD}"
    assert await asked(harness) == []


@pytest.mark.req("ID-24")
async def test_a_rotated_id_that_is_somebody_elses_moves_nothing_and_is_asked_about_once(harness: Harness) -> None:
    await harness.deliver(under(1, OLD, "Ana Souza"))
    await harness.deliver(under(2, THIRD, "Rui Lima", reference=771))
    before = await people(harness), await identities(harness), await business_ids(harness)
    assert len(before[0]) == 2
    owner = before[2][1]["contact_id"]
    for number in (3, 4):
        event = await harness.deliver(under(number, THIRD, "Ana Souza"))
        assert (event["state"], str(event["contact_id"])) == ("PROCESSED", owner)
    assert (await people(harness), await identities(harness), await business_ids(harness)) == before
    [task] = await until_tasks(harness, 1)
    assert set(task["candidate_contact_ids"]) == set(before[0])
    assert len(await asked(harness)) == 1


async def test_a_phone_of_one_and_an_email_of_another_is_nobodys_to_pick(harness: Harness) -> None:
    owners = []
    for fields in ({"name": "Ana", "phone": ANA}, {"name": "Rui", "email": "rui@exemplo.example"}):
        status, contact = await harness.send("/api/v1/contacts", fields)
        assert status == 200
        owners.append(contact["contact_id"])
    await harness.deliver(cloud(1, ANA, **{SENDER + "email": "rui@exemplo.example", SENDER + "name": "Alguém"}))
    assert len(await people(harness)) == 3
    [conflict] = await asked(harness)
    assert set(conflict.candidate_contact_ids) == set(owners)


async def test_an_email_that_two_have_joins_nobody(harness: Harness) -> None:
    """It is kept where it is said: were it the first one's alone, whoever comes next would be taken for that one."""
    for number, phone in enumerate((ANA, BRUNO)):
        await harness.deliver(cloud(number, phone, **{SENDER + "email": "recepcao@oficina-aurora.example"}))
    before = await people(harness)
    assert len(before) == 2
    await harness.deliver(changed(sample(INSTAGRAM), **{SENDER + "email": "recepcao@oficina-aurora.example"}))
    assert len(await people(harness)) == 3
    conflicts = await asked(harness)
    assert set(conflicts[-1].candidate_contact_ids) == set(before)
