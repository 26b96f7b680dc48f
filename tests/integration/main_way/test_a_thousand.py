"""A busy day's webhooks in one go: none refused, none lost, none counted twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import pytest

from tests.harness import Harness, changed, sample

PEOPLE, MESSAGES_EACH, AT_ONCE = 50, 20, 64
FIRST = "message_created.whatsapp_cloud.incoming"


def bodies() -> list[dict[str, Any]]:
    """What so many people write, one after the other and all among each other."""
    told = sample(FIRST)
    return [
        changed(
            told,
            id=700_000 + number * PEOPLE + person,
            source_id=f"wamid.{number}.{person}",
            content=f"{number}",
            conversation__id=70_000 + person,
            conversation__meta__sender__id=70_000 + person,
            conversation__meta__sender__phone_number=f"+55119{person:08d}",
            sender__id=70_000 + person,
            sender__phone_number=f"+55119{person:08d}",
            conversation__contact_inbox__source_id=f"55119{person:08d}",
            conversation__contact_inbox__contact_id=70_000 + person,
        )
        for number in range(MESSAGES_EACH)
        for person in range(PEOPLE)
    ]


@pytest.mark.req("IN-14")
async def test_a_thousand_signed_webhooks_leave_a_thousand_messages(harness: Harness) -> None:
    free = asyncio.Semaphore(AT_ONCE)

    async def post(body: dict[str, Any]) -> int:
        async with free:
            return (await harness.post(body))[0]

    statuses = Counter(await asyncio.gather(*map(post, bodies())))
    assert statuses == {200: PEOPLE * MESSAGES_EACH}
    await harness.world.until(
        "select from ingest.webhook_events where organization_id = %s and state <> 'PENDING' having count(*) = 1000",
        harness.organization_id,
    )
    counted = await harness.world.rows(
        """
        with own as (select %s::uuid as organization_id)
        select (select count(*) from own join conversation.messages using (organization_id)) as messages,
          (select count(distinct (conversation_id, text))
            from own join conversation.messages using (organization_id)) as distinct_messages,
          (select count(*) from own join conversation.conversations using (organization_id)) as conversations,
          (select count(*) from own join identity.contacts using (organization_id)) as contacts,
          (select count(*) from own join crm.deals using (organization_id)) as deals,
          (select count(*) from own join ingest.webhook_events using (organization_id)
            where state <> 'PROCESSED') as errors
        """,
        harness.organization_id,
    )
    assert counted == [
        {
            "messages": PEOPLE * MESSAGES_EACH,
            "distinct_messages": PEOPLE * MESSAGES_EACH,
            "conversations": PEOPLE,
            "contacts": PEOPLE,
            "deals": PEOPLE,
            "errors": 0,
        }
    ]
