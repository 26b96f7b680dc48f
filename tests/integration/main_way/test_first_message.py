"""A customer writes, and the right contact, deal and conversation are there."""

from __future__ import annotations

import pytest

from tests.harness import Harness, sample


@pytest.mark.req("IN-04")
async def test_a_first_instagram_message_finds_contact_deal_and_conversation(harness: Harness) -> None:
    event = await harness.deliver(sample("conversation_created.instagram_login"))
    assert event["state"] == "PROCESSED", event
    status, contacts = await harness.get("/api/v1/contacts")
    assert status == 200
    assert [contact["name"] for contact in contacts["contacts"]] == ["Caio Furtado"]
    status, conversations = await harness.get("/api/v1/conversations")
    assert status == 200
    [conversation] = conversations["conversations"]
    assert conversation["conversation_key"] == "instagram:7733100045600121"
    assert conversation["contact_id"] == contacts["contacts"][0]["contact_id"]
    status, deals = await harness.get("/api/v1/deals")
    assert [deal["deal_id"] for deal in deals["deals"]] == [conversation["deal_id"]]
