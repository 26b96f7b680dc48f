"""What an n8n flow calls first: contact, deal and conversation in one call."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from tests.harness import INSTAGRAM_INBOX, WHATSAPP_INBOX, Harness, sample

IGSID = "17841400000000000"
ENSURE = "/api/v1/contacts:ensure"


@pytest.mark.req("CR-01")
async def test_a_new_person_gets_a_contact_and_a_deal_and_is_matched_the_next_time(harness: Harness) -> None:
    asked = {"source": "INSTAGRAM", "external_id": IGSID, "name": "Ana"}
    status, first = await harness.send(ENSURE, asked)
    assert status == 200, first
    assert (first["outcome"], first["conversation_key"], first["handoff"]) == ("created", f"instagram:{IGSID}", "AI")
    assert first["deal_created"]
    assert first["stage_label"]
    status, again = await harness.send(ENSURE, asked)
    assert (again["contact_id"], again["deal_id"]) == (first["contact_id"], first["deal_id"])
    assert (again["outcome"], again["deal_created"]) == ("matched", False)


async def test_fifty_calls_at_once_find_one_contact_and_one_deal(harness: Harness) -> None:
    asked = {"source": "WHATSAPP", "external_id": "11 90000-7777", "name": "Ana"}
    answers = await asyncio.gather(*(harness.send(ENSURE, asked) for _ in range(50)))
    assert {status for status, _ in answers} == {200}
    assert len({(answer["contact_id"], answer["deal_id"]) for _, answer in answers}) == 1
    assert sum(answer["deal_created"] for _, answer in answers) == 1
    assert await harness.count("identity.contacts") == 1
    assert await harness.count("crm.deals") == 1


async def test_a_named_conversation_is_linked_and_its_handoff_answered(harness: Harness) -> None:
    event = await harness.deliver(sample("message_created.whatsapp_cloud.native_app_echo"))
    named = {
        "account_id": harness.account_id,
        "inbox_id": WHATSAPP_INBOX,
        "conversation_id": 391,
        "contact_id": 118,
    }
    asked = {"source": "WHATSAPP", "external_id": "+5511900004821", "conversation": named}
    status, answer = await harness.send(ENSURE, asked)
    assert status == 200, answer
    assert answer["conversation_id"] == str(event["conversation_id"])
    assert answer["handoff"] == "HUMAN"
    _, conversation = await harness.get(f"/api/v1/conversations/{answer['conversation_id']}")
    assert conversation["deal_id"] == answer["deal_id"]


async def test_the_same_request_id_gets_the_same_answer_and_another_body_an_error(harness: Harness) -> None:
    asked = {"source": "INSTAGRAM", "external_id": IGSID, "request_id": str(uuid4())}
    _, first = await harness.send(ENSURE, asked)
    _, again = await harness.send(ENSURE, asked)
    assert again == first
    assert again["outcome"] == "created"
    status, refused = await harness.send(ENSURE, asked | {"name": "Bia"})
    assert (status, refused["reason"]) == (409, "REQUEST_ID_REUSED")


@pytest.mark.parametrize(
    ("change", "status", "reason"),
    [
        ({"external_id": "unknown"}, 400, "EXTERNAL_ID_INVALID"),
        ({"external_id": ""}, 400, "REQUEST_INVALID"),
        ({"source": "TELEGRAM"}, 400, "FIELD_INVALID"),
        ({"board_key": "no-such-board"}, 404, "BOARD_NOT_FOUND"),
        ({"conversation": {"account_id": 1, "inbox_id": 2, "conversation_id": 3}}, 404, "CHANNEL_NOT_FOUND"),
        ({"agent": True}, 400, "FIELD_UNKNOWN"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_made(
    harness: Harness, change: dict[str, object], status: int, reason: str
) -> None:
    asked: dict[str, object] = {"source": "INSTAGRAM", "external_id": IGSID}
    answered, problem = await harness.send(ENSURE, asked | change)
    assert (answered, problem["reason"]) == (status, reason), problem
    assert problem["detail"]
    assert await harness.count("identity.contacts") == 0
    assert await harness.count("crm.deals") == 0


async def test_a_phone_that_is_given_leads_to_the_contact_who_has_it(harness: Harness) -> None:
    _, first = await harness.send(ENSURE, {"source": "WHATSAPP", "external_id": "+5511900004821", "name": "Ana"})
    asked = {"source": "INSTAGRAM", "external_id": IGSID, "phone": "(11) 90000-4821"}
    status, found = await harness.send(ENSURE, asked)
    assert (status, found["outcome"], found["contact_id"]) == (200, "fallback_phone", first["contact_id"])


async def test_a_number_without_its_country_is_of_the_organizations_region(harness: Harness) -> None:
    async with await harness.world.admin() as admin:
        await admin.execute(
            "update identity.organizations set region = 'US' where organization_id = %s", [harness.organization_id]
        )
    status, answer = await harness.send(ENSURE, {"source": "WHATSAPP", "external_id": "(415) 555-2671", "name": "Ann"})
    assert (status, answer["conversation_key"]) == (200, "whatsapp:+14155552671")


async def test_an_inbox_of_another_source_is_refused(harness: Harness) -> None:
    named = {"account_id": harness.account_id, "inbox_id": INSTAGRAM_INBOX, "conversation_id": 1}
    asked = {"source": "WHATSAPP", "external_id": "+5511900004821", "conversation": named}
    status, problem = await harness.send(ENSURE, asked)
    assert (status, problem["reason"]) == (400, "SOURCE_MISMATCH")
