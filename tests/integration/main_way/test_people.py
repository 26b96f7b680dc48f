"""People are never mixed up: who writes is who is meant, or somebody new, and people are asked."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import pytest

from prosa.identity.v1.events_pb2 import ContactUpdated, IdentityConflictDetected
from tests.harness import Harness, changed, open_harness, sample
from tests.world import World

ENSURE = "/api/v1/contacts:ensure"
INCOMING = "message_created.whatsapp_cloud.incoming"
EVOLUTION = "message_created.api_evolution.incoming"
UPDATED = "contact_updated.name_and_email_changed"
INSTAGRAM = "message_created.instagram_login.incoming_image"
SENDER = "conversation__meta__sender__"
SHARED = "recepcao@oficina-aurora.example"


async def ensured(harness: Harness, external_id: str, source: str = "WHATSAPP", **fields: str) -> dict[str, Any]:
    """Ensures somebody who can be ensured."""
    status, answer = await harness.send(ENSURE, {"source": source, "external_id": external_id} | fields)
    assert status == 200, answer
    return answer


async def contacts_of(harness: Harness, **query: str) -> list[dict[str, Any]]:
    """The contacts that the REST interface lists."""
    status, listed = await harness.get("/api/v1/contacts", **query)
    assert status == 200, listed
    contacts: list[dict[str, Any]] = listed["contacts"]
    return contacts


async def asked(harness: Harness) -> list[IdentityConflictDetected]:
    """What people are asked, one task each."""
    return await harness.world.announced(IdentityConflictDetected, harness.organization_id)


async def until_tasks(harness: Harness, count: int) -> list[dict[str, Any]]:
    """Waits for so many tasks, and answers them as people see them."""
    await harness.world.until(
        "select 1 from crm.reconciliation_tasks where organization_id = %s having count(*) >= %s",
        harness.organization_id,
        count,
    )
    _, listed = await harness.get("/api/v1/reconciliation-tasks")
    tasks: list[dict[str, Any]] = listed["tasks"]
    return tasks


def cloud(number: int, phone: str, **changes: Any) -> dict[str, Any]:
    """A message of somebody of their own on WhatsApp Cloud."""
    values: dict[str, Any] = {
        "id": 9000 + number,
        "source_id": f"wamid.{number}",
        "conversation__id": 7000 + number,
        "conversation__contact_inbox__source_id": phone.removeprefix("+"),
        SENDER + "id": 500 + number,
        SENDER + "phone_number": phone,
    }
    return changed(sample(INCOMING), **(values | changes))


# Weak evidence.


@pytest.mark.case("F08")
async def test_people_who_share_an_email_are_never_one(harness: Harness) -> None:
    first, second, third = [
        await ensured(harness, f"+55119000070{number:02d}", email=SHARED, name=f"Cliente {number}")
        for number in range(3)
    ]
    junk = [await ensured(harness, f"+55119000071{number:02d}", email="nao@tem.com") for number in range(2)]
    everybody = [first, second, third, *junk]
    assert len({answer["contact_id"] for answer in everybody}) == 5
    assert [answer["outcome"] for answer in everybody] == ["created", "created", "ambiguous", "created", "created"]
    # The second could be the first, the third either of them; nobody is asked about those without an address.
    conflicts = await asked(harness)
    assert [(each.contact_id, list(each.candidate_contact_ids)) for each in conflicts] == [
        (second["contact_id"], [first["contact_id"]]),
        (third["contact_id"], [first["contact_id"], second["contact_id"]]),
    ]
    again = [await ensured(harness, f"+55119000070{number:02d}", email=SHARED) for number in range(3)]
    assert {answer["outcome"] for answer in again} == {"matched"}
    assert len(await asked(harness)) == 2
    assert len(await until_tasks(harness, 2)) == 2


@pytest.mark.case("F08")
async def test_a_webhook_with_a_shared_email_makes_nobody_anybody_else(harness: Harness) -> None:
    for number in range(3):
        await harness.deliver(cloud(number, f"+55119000072{number:02d}", **{SENDER + "email": SHARED}))
    assert await harness.count("identity.contacts") == 3
    assert len(await asked(harness)) == 2


@pytest.mark.case("F08")
async def test_strangers_at_once_with_one_email_are_as_many_contacts(harness: Harness) -> None:
    answers = await asyncio.gather(
        *(ensured(harness, f"+55119000073{number:02d}", email=SHARED) for number in range(20))
    )
    assert len({answer["contact_id"] for answer in answers}) == 20
    assert {answer["outcome"] for answer in answers} <= {"created", "ambiguous"}
    assert len(await asked(harness)) == 19


@pytest.mark.parametrize("value", ["email", "phone"])
async def test_one_contact_that_writes_with_no_other_id_of_the_source_is_joined(harness: Harness, value: str) -> None:
    known = await ensured(harness, "+5511900007401", email="ana@example.com")
    given = {"email": "ana@example.com", "phone": "11 90000-7401"}[value]
    found = await ensured(harness, "17841400000000001", "INSTAGRAM", **{value: given})
    assert (found["outcome"], found["contact_id"]) == (f"fallback_{value}", known["contact_id"])
    # That contact has an Instagram id now: the next one is somebody else, and people are asked.
    other = await ensured(harness, "17841400000000002", "INSTAGRAM", **{value: given})
    assert (other["outcome"], other["contact_id"] == known["contact_id"]) == ("created", False)
    assert [list(each.candidate_contact_ids) for each in await asked(harness)] == [[known["contact_id"]]]


async def test_a_weak_match_fills_gaps_and_replaces_nothing(harness: Harness) -> None:
    status, known = await harness.send("/api/v1/contacts", {"name": "Ana Souza", "phone": "+5511900004821"})
    assert status == 200, known
    await harness.deliver(changed(sample(UPDATED), name="Outra Pessoa"))
    [contact] = await contacts_of(harness)
    assert contact["contact_id"] == known["contact_id"]
    assert (contact["name"], contact["email"]) == ("Ana Souza", "marina.teles@exemplo.example")


async def test_a_contact_event_without_an_id_is_nobodys_by_its_email(harness: Harness) -> None:
    known = await ensured(harness, "+5511900007501", email=SHARED, name="Ana")
    event = await harness.deliver(changed(sample(UPDATED), phone_number=None, email=SHARED, name="Outra Pessoa"))
    assert (event["state"], event["reason"]) == ("IGNORED", "CONTACT_UNKNOWN")
    [contact] = await contacts_of(harness)
    assert (contact["contact_id"], contact["name"]) == (known["contact_id"], "Ana")
    assert (
        await harness.world.rows(
            "select 1 from identity.contact_aliases where organization_id = %s", harness.organization_id
        )
        == []
    )


@pytest.mark.parametrize("attribute", ["phone_number", "email"])
async def test_what_was_cleared_at_the_provider_joins_nobody_any_more(harness: Harness, attribute: str) -> None:
    email, phone = "marina@exemplo.example", "+5511900004821"
    await harness.deliver(changed(sample(INCOMING), **{SENDER + "email": email}))
    [marina] = await contacts_of(harness)
    assert (marina["phone"], marina["email"]) == (phone, email)
    previous = {"phone_number": phone, "email": email}[attribute]
    cleared = changed(
        sample(UPDATED),
        name="Marina Teles",
        phone_number=phone,
        email=email,
        changed_attributes=[{attribute: {"previous_value": previous, "current_value": None}}],
    )
    cleared[attribute] = None
    event = await harness.deliver(cleared)
    assert event["state"] == "PROCESSED"
    field = "phone" if attribute == "phone_number" else "email"
    [marina] = await contacts_of(harness)
    assert marina[field] == ""
    other = await ensured(harness, "17841400000000003", "INSTAGRAM", **{field: previous})
    assert (other["outcome"], other["contact_id"] == marina["contact_id"]) == ("created", False)
    assert await asked(harness) == []


# Junk and caps.


@pytest.mark.req("ID-26")
async def test_junk_joins_nobody_and_a_sixth_phone_is_a_question(harness: Harness) -> None:
    junk = [
        {"phone": "0000000000"},
        {"email": "nao@tem.com"},
        {"phone": "undefined", "email": "undefined"},
        {"phone": "11 99999-9999", "email": "NULL@loja.example"},
    ]
    answers = await asyncio.gather(
        *(
            ensured(harness, f"1784140000001{number:04d}", "INSTAGRAM", **junk[number % len(junk)])
            for number in range(100)
        )
    )
    assert len({answer["contact_id"] for answer in answers}) == 100
    assert {answer["outcome"] for answer in answers} == {"created"}
    assert await asked(harness) == []

    await harness.deliver(cloud(0, "+5511900007600"))
    [owner] = await contacts_of(harness, phone="+5511900007600")
    for number in range(1, 6):
        # One contact of Chatwoot whose number changes.
        body = changed(sample(UPDATED), id=500, phone_number=f"+55119000076{number:02d}", email=None)
        await harness.deliver(body)
        await harness.deliver(body)
    identities = await harness.world.rows(
        "select external_id from identity.contact_identities where contact_id = %s order by 1", owner["contact_id"]
    )
    assert [row["external_id"] for row in identities] == [f"+55119000076{number:02d}" for number in range(5)]
    [conflict] = await asked(harness)
    assert (conflict.external_id, list(conflict.candidate_contact_ids)) == ("+5511900007605", [owner["contact_id"]])
    assert len(await until_tasks(harness, 1)) == 1


async def test_a_source_id_that_says_nothing_joins_nobody(harness: Harness) -> None:
    for number in range(3):
        body = cloud(number, f"+55119000077{number:02d}", conversation__contact_inbox__source_id="undefined")
        await harness.deliver(body)
    assert await harness.count("identity.contacts") == 3
    assert await asked(harness) == []


@pytest.mark.case("O13")
async def test_what_is_not_taken_over_is_answered(harness: Harness) -> None:
    answer = await ensured(harness, "17841400000000004", "INSTAGRAM", phone="12", email="maria")
    assert [(each["field"], each["reason"]) for each in answer["ignored_fields"]] == [
        ("phone", "PHONE_INVALID"),
        ("email", "EMAIL_INVALID"),
    ]
    assert all(each["message"] for each in answer["ignored_fields"])
    answer = await ensured(harness, "17841400000000004", "INSTAGRAM", phone="0000000000", email="nao@tem.com")
    assert [(each["field"], each["reason"]) for each in answer["ignored_fields"]] == [
        ("phone", "VALUE_BLOCKED"),
        ("email", "VALUE_BLOCKED"),
    ]
    answer = await ensured(harness, "17841400000000004", "INSTAGRAM", phone="+5511900007801", email="m@exemplo.example")
    assert answer["ignored_fields"] == []


async def test_a_reference_that_a_caller_names_for_everybody_joins_nobody(harness: Harness) -> None:
    named = {"account_id": harness.account_id, "inbox_id": 21, "contact_id": 1}
    found = []
    for number in range(3):
        asked_for = {
            "source": "WHATSAPP",
            "external_id": f"+55119000083{number:02d}",
            "conversation": named | {"conversation_id": 8300 + number},
        }
        status, answer = await harness.send(ENSURE, asked_for)
        assert status == 200, answer
        found.append(answer)
    assert len({answer["contact_id"] for answer in found}) == 3
    assert {answer["outcome"] for answer in found} == {"created"}


# Ambiguity changes nobody.


@pytest.mark.case("F33")
async def test_a_number_that_becomes_anothers_changes_nobodys_profile(harness: Harness) -> None:
    await harness.deliver(
        cloud(1, "+5511900007901", **{SENDER + "name": "Ana Souza", SENDER + "email": "ana@a.example"})
    )
    await harness.deliver(
        cloud(2, "+5511900007902", **{SENDER + "name": "Rui Prado", SENDER + "email": "rui@r.example"})
    )
    before = await contacts_of(harness)
    body = changed(sample(UPDATED), id=502, phone_number="+5511900007901", name="Rui Novo", email="novo@r.example")
    for _ in range(3):
        event = await harness.deliver(body)
        assert event["state"] == "PROCESSED"
    assert await contacts_of(harness) == before
    assert len(await asked(harness)) == 1
    # A message of the same Chatwoot contact, with the number that is another's, teaches that one nothing either.
    await harness.deliver(cloud(3, "+5511900007901", **{SENDER + "id": 502, SENDER + "name": "Rui Novo"}))
    assert await contacts_of(harness) == before


@pytest.mark.case("F33")
async def test_a_reference_moves_no_number_that_another_carries(harness: Harness) -> None:
    await harness.deliver(cloud(1, "+5511900008001", **{SENDER + "name": "Rui Prado"}))
    [rui] = await contacts_of(harness)
    status, ana = await harness.send("/api/v1/contacts", {"name": "Ana", "phone": "+5511900008002"})
    assert status == 200
    body = changed(sample(UPDATED), id=501, phone_number="+5511900008002", name="Outro Nome", email=None)
    for _ in range(2):
        await harness.deliver(body)
    names = {contact["contact_id"]: (contact["name"], contact["phone"]) for contact in await contacts_of(harness)}
    assert names[rui["contact_id"]] == ("Rui Prado", "+5511900008001")
    assert names[ana["contact_id"]] == ("Ana", "+5511900008002")
    [conflict] = await asked(harness)
    assert set(conflict.candidate_contact_ids) == {rui["contact_id"], ana["contact_id"]}


# Whose number it is.


async def mexican(world: World, session: aiohttp.ClientSession) -> Harness:
    """An organization in Mexico."""
    return await open_harness(world, session, region="MX")


@pytest.mark.parametrize(
    ("written", "key"),
    [
        ("81 8345 6789", "whatsapp:+528183456789"),
        ("55 1234 5678", "whatsapp:+525512345678"),
        ("+55 11 90000-4821", "whatsapp:+5511900004821"),
    ],
)
@pytest.mark.parametrize("body", [INCOMING, EVOLUTION])
async def test_a_number_of_a_webhook_is_of_the_organizations_region(
    world: World, session: aiohttp.ClientSession, body: str, written: str, key: str
) -> None:
    harness = await mexican(world, session)
    event = await harness.deliver(
        changed(sample(body), **{SENDER + "phone_number": written, SENDER + "identifier": None})
    )
    assert event["state"] == "PROCESSED", event["detail"]
    _, conversations = await harness.get("/api/v1/conversations")
    assert [each["conversation_key"] for each in conversations["conversations"]] == [key]
    answer = await ensured(harness, written)
    assert (answer["outcome"], answer["conversation_key"]) == ("matched", key)
    [contact] = await contacts_of(harness)
    assert contact["phone"] == key.removeprefix("whatsapp:")


async def test_a_contact_event_and_an_instagram_phone_are_read_in_the_region_too(
    world: World, session: aiohttp.ClientSession
) -> None:
    harness = await mexican(world, session)
    await harness.deliver(changed(sample("contact_created.whatsapp_cloud"), phone_number="81 8345 6789"))
    await harness.deliver(changed(sample(INSTAGRAM), **{SENDER + "phone_number": "81 8345 6789"}))
    [contact] = await contacts_of(harness)
    _, identities = await harness.get("/api/v1/identities")
    assert {each["conversation_key"] for each in identities["identities"]} == {
        "whatsapp:+528183456789",
        "instagram:7733100045600121",
    }
    assert contact["phone"] == "+528183456789"


@pytest.mark.case("F10")
@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"conversation__contact_inbox__source_id": "22507081910"}, "whatsapp:+22507081910"),
        (
            {"conversation__contact_inbox__source_id": "22507081910", SENDER + "phone_number": "+22507081910"},
            "whatsapp:+22507081910",
        ),
        ({SENDER + "identifier": "22997010203@s.whatsapp.net"}, "whatsapp:+22997010203"),
    ],
)
async def test_an_id_of_whatsapps_own_is_a_key_whatever_the_plan_says(
    harness: Harness, change: dict[str, Any], key: str
) -> None:
    change = {SENDER + "phone_number": None, "conversation__contact_inbox__source_id": None} | change
    event = await harness.deliver(changed(sample(INCOMING), **change))
    assert event["state"] == "PROCESSED", event["detail"]
    _, conversations = await harness.get("/api/v1/conversations")
    assert [each["conversation_key"] for each in conversations["conversations"]] == [key]
    # Who is known is found, by the key and by the number; the plan still judges what people type of strangers.
    phone = key.removeprefix("whatsapp:")
    for known in (key, phone):
        assert (await ensured(harness, known))["outcome"] == "matched"
    _, listed = await harness.get("/api/v1/identities", external_id=phone)
    assert [each["conversation_key"] for each in listed["identities"]] == [key]
    status, problem = await harness.send(ENSURE, {"source": "WHATSAPP", "external_id": "+22507081911"})
    assert (status, problem["reason"]) == (400, "EXTERNAL_ID_INVALID")
    assert await harness.count("identity.contacts") == 1
    status, _ = await harness.send("/api/v1/suppressions", {"source": "WHATSAPP", "external_id": phone})
    assert status == 200


@pytest.mark.case("F11")
@pytest.mark.parametrize("digits", ["51987651101", "4591231101", "6591231101", "34912341101"])
async def test_digits_that_are_a_number_at_home_and_abroad_are_refused_with_a_way_out(
    harness: Harness, digits: str
) -> None:
    await harness.deliver(cloud(1, f"+{digits}"))
    [contact] = await contacts_of(harness)
    status, problem = await harness.send(ENSURE, {"source": "WHATSAPP", "external_id": digits})
    assert (status, problem["reason"]) == (400, "EXTERNAL_ID_AMBIGUOUS")
    assert f"whatsapp:+{digits}" in problem["detail"]
    assert "whatsapp:+55" in problem["detail"]
    assert "phone" in problem["detail"]
    assert await harness.count("identity.contacts") == 1
    said = [await ensured(harness, f"+{digits}"), await ensured(harness, digits, phone=f"+{digits}")]
    assert {answer["contact_id"] for answer in said} == {contact["contact_id"]}
    home = await ensured(harness, digits, phone=digits)
    assert home["conversation_key"].startswith("whatsapp:+55")


@pytest.mark.case("F11")
@pytest.mark.parametrize("external_id", ["+5511900004821 / +5511900004822", "11 90000-4821, +5511900004822"])
async def test_several_numbers_in_one_text_are_refused(harness: Harness, external_id: str) -> None:
    status, problem = await harness.send(ENSURE, {"source": "WHATSAPP", "external_id": external_id})
    assert (status, problem["reason"]) == (400, "EXTERNAL_ID_INVALID")
    answer = await ensured(harness, "17841400000000005", "INSTAGRAM", phone=external_id)
    assert [each["reason"] for each in answer["ignored_fields"]] == ["PHONE_INVALID"]


# A reference alone.


@pytest.mark.case("F03")
async def test_a_known_reference_alone_leads_to_the_contact(harness: Harness) -> None:
    first = await harness.deliver(sample(EVOLUTION))
    bare = {SENDER + "phone_number": None, SENDER + "identifier": None}
    again = await harness.deliver(changed(sample(EVOLUTION), id=5161, source_id="WAID:2", **bare))
    assert (again["state"], again["contact_id"]) == ("PROCESSED", first["contact_id"]), again["detail"]
    assert again["conversation_id"] == first["conversation_id"]
    assert again["message_id"] not in (None, first["message_id"])
    _, conversation = await harness.get(f"/api/v1/conversations/{again['conversation_id']}")
    assert conversation["conversation_key"] == "whatsapp:+5521900007733"
    assert await harness.count("identity.contacts") == 1


@pytest.mark.case("F03")
@pytest.mark.parametrize("reference", ["contact", "source"])
async def test_either_reference_is_enough_and_an_unknown_one_is_a_dead_letter(harness: Harness, reference: str) -> None:
    first = await harness.deliver(sample(EVOLUTION))
    bare: dict[str, Any] = {
        SENDER + "phone_number": None,
        SENDER + "identifier": None,
        "id": 5162,
        "source_id": "WAID:3",
    }
    unknown: dict[str, Any] = {SENDER + "id": 999, "conversation__contact_inbox__contact_id": 999}
    other = {"conversation__contact_inbox__source_id": "another", "conversation__id": 395}
    again = await harness.deliver(changed(sample(EVOLUTION), **bare, **(unknown if reference == "source" else other)))
    assert (again["state"], again["contact_id"]) == ("PROCESSED", first["contact_id"]), again["detail"]
    stranger = {SENDER + "id": 998, "conversation__contact_inbox__source_id": "a third", "id": 5163}
    nobody = await harness.deliver(changed(sample(EVOLUTION), **(bare | unknown | other | stranger)))
    assert (nobody["state"], nobody["reason"]) == ("DEAD_LETTER", "NO_VALID_IDENTITY")
    assert await harness.count("identity.contacts") == 1


# Usernames.


@pytest.mark.case("F34")
@pytest.mark.req("ID-27")
async def test_a_username_is_shown_and_found_old_and_new_for_thirty_days_and_is_never_a_key(harness: Harness) -> None:
    def named(number: int, username: str, igsid: str = "7733100045600121") -> dict[str, Any]:
        return changed(
            sample(INSTAGRAM),
            id=5141 + number,
            source_id=f"mid.{number}",
            conversation__id=392 + (igsid != "7733100045600121"),
            conversation__contact_inbox__source_id=igsid,
            **{
                SENDER + "additional_attributes": {"username": username},
                SENDER + "id": 131 + (igsid != "7733100045600121"),
                SENDER + "name": "Caio Furtado",
            },
        )

    await harness.deliver(named(0, "caio.antes"))
    await harness.deliver(named(1, "caio.agora"))
    [caio] = await contacts_of(harness)
    await harness.deliver(named(1, "caio.agora") | {"id": 5149, "source_id": "mid.9"})
    # The first name came with the identity; the second one is told once, as a new version of the contact.
    told = await harness.world.announced(ContactUpdated, harness.organization_id)
    assert [(each.contact.contact_id, each.version) for each in told] == [(caio["contact_id"], 2)]
    _, shown = await harness.get(f"/api/v1/contacts/{caio['contact_id']}")
    assert [each["username"] for each in shown["identities"]] == ["caio.agora"]
    for search in ("caio.antes", "caio.agora", "@caio.agora", "CAIO.AG"):
        assert [each["contact_id"] for each in await contacts_of(harness, name=search)] == [caio["contact_id"]], search
    # The old name may go to somebody else: never a key.
    await harness.deliver(named(2, "caio.antes", igsid="7733100045600999"))
    assert await harness.count("identity.contacts") == 2
    assert len(await contacts_of(harness, name="caio.antes")) == 2
    async with await harness.world.admin() as admin:
        await admin.execute(
            "update identity.former_usernames set end_time = end_time - interval '31 days' where organization_id = %s",
            [harness.organization_id],
        )
    assert [each["contact_id"] for each in await contacts_of(harness, name="caio.antes")] != [caio["contact_id"]]
    assert len(await contacts_of(harness, name="caio.antes")) == 1
    assert len(await contacts_of(harness, name="caio.agora")) == 1
