"""What was told before opens no deal anew when it is told again after the deal was closed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.harness import Harness, changed, sample
from tests.integration.main_way.test_sameness import COPIED, INCOMING, copy_of, messages

CREATED = "conversation_created.api_evolution.no_messages"


async def deals(harness: Harness) -> list[str]:
    """The states of all deals, the oldest first."""
    rows = await harness.world.rows(
        "select state from crm.deals where organization_id = %s order by id", harness.organization_id
    )
    return [row["state"] for row in rows]


async def close(harness: Harness) -> None:
    """Closes the open deal as moving it to a closing stage will."""
    async with harness.world.database("crm").transaction(harness.organization_id) as tx:
        await tx.execute("update crm.deals set state = 'WON', version = version + 1 where state = 'OPEN'")


def told_again(kind: str) -> dict[str, Any]:
    """What comes after the deal was closed."""
    body = sample(COPIED)
    match kind:
        case "a copy":
            return copy_of(body, 1)
        case "an edit":
            return copy_of(body, 1, content="Tem horário domingo?")
        case "a copy in the next conversation":
            return copy_of(body, 1, conversation__id=body["conversation"]["id"] + 1)
        case "an update":
            return changed(body, event="message_updated")
        case _:
            # A fork that retries under a delivery id of its own.
            return body


@pytest.mark.case("F05")
@pytest.mark.parametrize(
    "kind", ["a copy", "an edit", "a copy in the next conversation", "an update", "another delivery"]
)
async def test_a_message_that_is_told_again_opens_no_deal(harness: Harness, kind: str) -> None:
    first = await harness.deliver(sample(COPIED))
    assert await deals(harness) == ["OPEN"]
    await close(harness)
    event = await harness.deliver(told_again(kind))
    assert event["state"] == "PROCESSED"
    assert await deals(harness) == ["WON"]
    [message] = await messages(harness, first["conversation_id"])
    assert message["text"] == (told_again(kind)["content"] if kind == "an edit" else sample(COPIED)["content"])
    # What is new opens one, also in the conversation that had the closed one.
    news = changed(sample(COPIED), id=99_001, source_id="WAID:3EB0C7D1A9F24E5B8A60", content="E amanhã?")
    await harness.deliver(news)
    assert await deals(harness) == ["WON", "OPEN"]
    assert len(await messages(harness, first["conversation_id"])) == 2


async def test_a_conversation_that_is_told_again_opens_no_deal_and_a_new_one_does(harness: Harness) -> None:
    body = sample(CREATED)
    await harness.deliver(body)
    assert await deals(harness) == ["OPEN"]
    await close(harness)
    await harness.deliver(body)
    assert await deals(harness) == ["WON"]
    await harness.deliver(changed(body, id=body["id"] + 1))
    assert await deals(harness) == ["WON", "OPEN"]


async def test_a_caller_who_asks_for_the_deal_gets_one(harness: Harness) -> None:
    asked = {"source": "WHATSAPP", "external_id": "+5511900009301"}
    answers = []
    for _ in range(2):
        status, answer = await harness.send("/api/v1/contacts:ensure", asked)
        assert status == 200
        answers.append(answer)
        await close(harness)
    assert await deals(harness) == ["WON", "WON"]
    assert [answer["deal_created"] for answer in answers] == [True, True]


@pytest.mark.case("F19")
async def test_a_used_message_id_is_no_telling_again(harness: Harness) -> None:
    await harness.deliver(sample(INCOMING))
    await close(harness)
    # The same person, after a restore: another message under the same id.
    other = {"source_id": "wamid.HBgNNTUxMTkwMDAwNDgyMRUCABIYZZ9", "created_at": "2026-07-20T15:00:00.204Z"}
    await harness.deliver(changed(sample(INCOMING), content="Outra", **other))
    assert await deals(harness) == ["WON", "OPEN"]
