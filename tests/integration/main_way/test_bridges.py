"""Chatwoots whose WhatsApp inboxes are bridges of a paired phone: their source ids are LIDs, which are no numbers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Harness, changed, sample
from tests.integration.main_way.test_people import EVOLUTION, INCOMING, SENDER, contacts_of

LID = "183450000000199"
SOURCE_ID = "conversation__contact_inbox__source_id"
NAMELESS: dict[str, Any] = {SENDER + "phone_number": None, SENDER + "identifier": None}


async def keys_of(harness: Harness) -> list[str]:
    """The keys of the organization's identities."""
    _, listed = await harness.get("/api/v1/identities")
    return [each["conversation_key"] for each in listed["identities"]]


async def aliases_of(harness: Harness, kind: str) -> list[str]:
    """What the organization's contacts are also known by."""
    rows = await harness.world.rows(
        "select value from identity.contact_aliases where organization_id = %s and kind = %s order by 1",
        harness.organization_id,
        kind,
    )
    return [row["value"] for row in rows]


@pytest.mark.case("F10")
@pytest.mark.parametrize("lid", [LID, "18345000000019"])
async def test_digits_of_a_bridge_that_are_no_number_are_a_lid_and_lead_to_the_phone_later(
    harness: Harness, lid: str
) -> None:
    body = changed(sample(INCOMING), conversation__group_type="individual", **NAMELESS | {SOURCE_ID: lid})
    event = await harness.deliver(body)
    assert event["state"] == "PROCESSED", event["detail"]
    assert await keys_of(harness) == [f"whatsapp:lid:{lid}"]
    assert await aliases_of(harness, "WHATSAPP_LID") == [lid]
    told = changed(body, id=5999, source_id="wamid.known", **{SENDER + "phone_number": "+5511900004821"})
    again = await harness.deliver(told)
    assert (again["state"], again["contact_id"]) == ("PROCESSED", event["contact_id"])
    assert await keys_of(harness) == ["whatsapp:+5511900004821"]
    assert await harness.count("identity.contacts") == 1


@pytest.mark.case("F10")
async def test_a_lid_in_the_phone_field_of_a_bridge_is_no_phone(harness: Harness) -> None:
    fields = {SOURCE_ID: LID, SENDER + "phone_number": f"+{LID}", SENDER + "identifier": None}
    await harness.deliver(changed(sample(INCOMING), conversation__group_type="individual", **fields))
    assert await keys_of(harness) == [f"whatsapp:lid:{LID}"]
    assert [contact["phone"] for contact in await contacts_of(harness)] == [""]


@pytest.mark.case("F10")
@pytest.mark.parametrize(
    ("change", "key"),
    [
        # Chatwoot as it is: all digits of a WhatsApp inbox are Meta's, and believed.
        ({SOURCE_ID: LID}, f"whatsapp:+{LID}"),
        ({SOURCE_ID: "2250708191", "conversation__group_type": "individual"}, "whatsapp:+2250708191"),
        ({SOURCE_ID: "22507081910", "conversation__group_type": "individual"}, "whatsapp:+22507081910"),
        ({SOURCE_ID: "5511900004821", "conversation__group_type": "individual"}, "whatsapp:+5511900004821"),
        # A German number of fifteen digits, which the plan knows.
        ({SOURCE_ID: "496912345678901", "conversation__group_type": "individual"}, "whatsapp:+496912345678901"),
    ],
)
async def test_a_number_stays_a_number(harness: Harness, change: dict[str, Any], key: str) -> None:
    event = await harness.deliver(changed(sample(INCOMING), **NAMELESS | change))
    assert event["state"] == "PROCESSED", event["detail"]
    assert await keys_of(harness) == [key]


@pytest.mark.parametrize("source_id", [f"{LID}@lid", f"{LID}:17@lid", f"{LID}@hosted.lid"])
async def test_a_source_id_that_says_it_is_a_lid_is_one_in_any_inbox(harness: Harness, source_id: str) -> None:
    event = await harness.deliver(changed(sample(EVOLUTION), **NAMELESS | {SOURCE_ID: source_id}))
    assert event["state"] == "PROCESSED", event["detail"]
    assert await keys_of(harness) == [f"whatsapp:lid:{LID}"]


async def test_digits_of_an_api_inbox_are_nobodys(harness: Harness) -> None:
    event = await harness.deliver(changed(sample(EVOLUTION), **NAMELESS | {SOURCE_ID: LID}))
    assert (event["state"], event["reason"]) == ("DEAD_LETTER", "NO_VALID_IDENTITY")
    assert await keys_of(harness) == []
