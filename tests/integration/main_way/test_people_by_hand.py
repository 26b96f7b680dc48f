"""What people and their programs say of contacts by hand: read in the region first, and within the caps."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.harness import Harness, changed, sample
from tests.integration.main_way.test_people import (
    ENSURE,
    EVOLUTION,
    INCOMING,
    SENDER,
    asked,
    cloud,
    contacts_of,
    ensured,
    mexican,
    until_tasks,
)
from tests.world import World

RESOLVE = "/api/v1/contacts:resolve"
BACKFILL = "/api/v1/contacts:backfillIdentities"


async def made(harness: Harness, **fields: str) -> str:
    """The id of a contact made by hand."""
    status, contact = await harness.send("/api/v1/contacts", {"name": "Ana"} | fields)
    assert status == 200, contact
    contact_id: str = contact["contact_id"]
    return contact_id


async def link(harness: Harness, contact_id: str, external_id: str, source: str = "WHATSAPP") -> tuple[int, Any]:
    """Gives a contact one more identity by hand."""
    return await harness.send(
        f"/api/v1/contacts/{contact_id}/identities", {"source": source, "external_id": external_id}
    )


async def ids_of(harness: Harness, contact_id: str) -> set[str]:
    """The ids that a contact writes with."""
    status, contact = await harness.get(f"/api/v1/contacts/{contact_id}")
    assert status == 200, contact
    return {each["external_id"] for each in contact["identities"]}


def phone(number: int) -> str:
    """One of many numbers."""
    return f"+55119000091{number:02d}"


# A contact has at most so many ids of a kind.


@pytest.mark.parametrize(
    ("source", "form", "kind"),
    [
        ("WHATSAPP", "+55119000091{:02d}", "WhatsApp numbers"),
        ("WHATSAPP", "lid:1834500000001{:02d}", "WhatsApp ids without a number"),
        ("INSTAGRAM", "178414000000001{:02d}", "Instagram ids"),
    ],
)
async def test_a_sixth_id_of_a_kind_is_refused_by_hand_and_says_how_many_there_may_be(
    harness: Harness, source: str, form: str, kind: str
) -> None:
    contact_id = await made(harness)
    for number in range(5):
        status, linked = await link(harness, contact_id, form.format(number), source)
        assert status == 200, linked
    status, problem = await link(harness, contact_id, form.format(5), source)
    assert (status, problem["reason"]) == (400, "IDENTITIES_LIMITED")
    assert f"has 5 {kind}; it may have at most 5" in problem["detail"]
    assert await ids_of(harness, contact_id) == {form.format(number) for number in range(5)}
    # What is there already is answered again, another kind has space, and so has another contact.
    assert (await link(harness, contact_id, form.format(4), source))[0] == 200
    assert (await link(harness, contact_id, "17841400000000999", "INSTAGRAM"))[0] == (
        400 if source != "WHATSAPP" else 200
    )
    assert (await link(harness, await made(harness), form.format(5), source))[0] == 200


async def test_of_many_numbers_linked_at_once_five_are_taken(harness: Harness) -> None:
    contact_id = await made(harness)
    answers = await asyncio.gather(*(link(harness, contact_id, phone(number)) for number in range(12)))
    assert sorted(status for status, _ in answers) == [200] * 5 + [400] * 7
    assert {problem["reason"] for status, problem in answers if status == 400} == {"IDENTITIES_LIMITED"}
    assert len(await ids_of(harness, contact_id)) == 5


def by_lid(number: int) -> dict[str, Any]:
    """A message of whoever has one LID, with a number of its own."""
    return cloud(
        0,
        phone(number),
        id=9100 + number,
        source_id=f"wamid.lid{number}",
        conversation__contact_inbox__source_id="183450000000199",
        **{SENDER + "identifier": "183450000000199@lid"},
    )


async def test_a_sixth_number_under_one_lid_is_somebody_elses_until_people_decide(harness: Harness) -> None:
    for number in range(6):
        event = await harness.deliver(by_lid(number))
        assert event["state"] == "PROCESSED", event["detail"]
    [owner] = await contacts_of(harness, phone=phone(0))
    assert await ids_of(harness, owner["contact_id"]) == {phone(number) for number in range(5)}
    [conflict] = await asked(harness)
    assert (conflict.external_id, list(conflict.candidate_contact_ids)) == (phone(5), [owner["contact_id"]])
    await harness.deliver(by_lid(5) | {"id": 9199, "source_id": "wamid.lid99"})
    assert len(await until_tasks(harness, 1)) == 1
    assert await harness.count("identity.contacts") == 2


async def test_a_lid_becomes_no_sixth_number(harness: Harness) -> None:
    contact_id = await made(harness)
    for number in range(5):
        assert (await link(harness, contact_id, phone(number)))[0] == 200
    assert (await link(harness, contact_id, "lid:183450000000199"))[0] == 200
    event = await harness.deliver(by_lid(5))
    assert event["state"] == "PROCESSED", event["detail"]
    assert await ids_of(harness, contact_id) == {*(phone(number) for number in range(5)), "lid:183450000000199"}
    [conflict] = await asked(harness)
    assert (conflict.external_id, list(conflict.candidate_contact_ids)) == (phone(5), [contact_id])


async def test_the_backfill_asks_about_a_sixth_number(harness: Harness) -> None:
    contact_id = await made(harness, phone=phone(5))
    for number in range(5):
        assert (await link(harness, contact_id, phone(number)))[0] == 200
    for dry_run in (True, False, False):
        status, batch = await harness.send(BACKFILL, {"source": "WHATSAPP", "dry_run": dry_run})
        assert status == 200, batch
        assert (batch["created_count"], batch["conflicting_count"]) == (0, 1)
    assert len(await ids_of(harness, contact_id)) == 5
    [conflict] = await asked(harness)
    assert (conflict.external_id, list(conflict.candidate_contact_ids)) == (phone(5), [contact_id])
    assert len(await until_tasks(harness, 1)) == 1


async def test_a_number_that_finds_nobody_is_given_to_nobody_by_a_reference(harness: Harness) -> None:
    await harness.deliver(sample(EVOLUTION))
    body = sample(EVOLUTION)
    named = {
        "account_id": harness.account_id,
        "inbox_id": body["inbox"]["id"],
        "contact_id": body["conversation"]["meta"]["sender"]["id"],
        "conversation_id": body["conversation"]["id"],
    }
    status, answer = await harness.send(
        ENSURE, {"source": "WHATSAPP", "external_id": "+22507081910", "conversation": named}
    )
    assert status == 200, answer
    assert await ids_of(harness, answer["contact_id"]) == {"+5521900007733"}
    assert answer["conversation_key"] == "whatsapp:+5521900007733"


# Digits are read in the region first, and what WhatsApp uses is believed where it is known.


@pytest.mark.case("F11")
@pytest.mark.parametrize(
    ("digits", "home"),
    [
        ("51987651101", "+5551987651101"),
        ("4591231101", "+5545991231101"),
        ("6591231101", "+5565991231101"),
        ("34912341101", "+5534912341101"),
    ],
)
async def test_digits_by_hand_are_of_the_region_and_never_ambiguous(harness: Harness, digits: str, home: str) -> None:
    status, resolved = await harness.send(RESOLVE, {"source": "WHATSAPP", "external_id": digits})
    assert (status, resolved["conversation_key"]) == (200, f"whatsapp:{home}"), resolved
    _, listed = await harness.get("/api/v1/identities", external_id=digits)
    assert [each["external_id"] for each in listed["identities"]] == [home]
    assert [each["contact_id"] for each in await contacts_of(harness, phone=digits)] == [resolved["contact_id"]]
    status, linked = await link(harness, resolved["contact_id"], digits)
    assert (status, linked["external_id"]) == (200, home), linked
    status, suppression = await harness.send("/api/v1/suppressions", {"source": "WHATSAPP", "external_id": digits})
    assert (status, suppression["external_id"]) == (200, home), suppression


@pytest.mark.case("F11")
async def test_digits_by_hand_are_of_another_region_too_and_abroad_where_they_are_none_there(
    world: World, session: aiohttp.ClientSession
) -> None:
    harness = await mexican(world, session)
    for digits, key in (("8183456789", "+528183456789"), ("5511900004821", "+5511900004821")):
        status, resolved = await harness.send(RESOLVE, {"source": "WHATSAPP", "external_id": digits})
        assert (status, resolved["conversation_key"]) == (200, f"whatsapp:{key}"), resolved
        status, suppression = await harness.send("/api/v1/suppressions", {"source": "WHATSAPP", "external_id": digits})
        assert (status, suppression["external_id"]) == (200, key), suppression
        assert len(await contacts_of(harness, phone=digits)) == 1


@pytest.mark.case("F10")
@pytest.mark.parametrize("typed", ["+22507081910", "22507081910", "+225 07 08 19 10", "whatsapp:+22507081910"])
async def test_a_number_that_whatsapp_uses_is_found_however_it_is_typed(harness: Harness, typed: str) -> None:
    fields = {SENDER + "phone_number": None, "conversation__contact_inbox__source_id": "22507081910"}
    await harness.deliver(changed(sample(INCOMING), **fields))
    [contact] = await contacts_of(harness)
    status, resolved = await harness.send(RESOLVE, {"source": "WHATSAPP", "external_id": typed})
    assert (status, resolved.get("contact_id"), resolved.get("outcome")) == (200, contact["contact_id"], "MATCHED")
    assert (await ensured(harness, typed))["contact_id"] == contact["contact_id"]
    assert [each["contact_id"] for each in await contacts_of(harness, phone=typed)] == [contact["contact_id"]]
    _, listed = await harness.get("/api/v1/identities", external_id=typed)
    assert [each["contact_id"] for each in listed["identities"]] == [contact["contact_id"]]
    status, linked = await link(harness, contact["contact_id"], typed)
    assert (status, linked["external_id"]) == (200, "+22507081910"), linked
    status, problem = await link(harness, await made(harness), typed)
    assert (status, problem["reason"]) == (409, "IDENTITY_TAKEN")


@pytest.mark.case("F10")
@pytest.mark.parametrize("typed", ["+22507081911", "22507081911"])
async def test_the_plan_judges_what_is_typed_of_strangers(harness: Harness, typed: str) -> None:
    status, problem = await harness.send(RESOLVE, {"source": "WHATSAPP", "external_id": typed})
    assert (status, problem["reason"]) == (400, "EXTERNAL_ID_INVALID")
    contact_id = await made(harness)
    status, problem = await link(harness, contact_id, typed)
    assert (status, problem["reason"]) == (400, "EXTERNAL_ID_INVALID")
    status, problem = await harness.send(
        "/api/v1/contacts", {"name": "Rui", "source": "WHATSAPP", "external_id": typed}
    )
    assert (status, problem["reason"]) == (400, "EXTERNAL_ID_INVALID")
    assert await harness.count("identity.contacts") == 1
    assert await ids_of(harness, contact_id) == set()
