"""What was told before opens no deal anew when it is told again after the deal was closed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.integration.main_way.test_sameness import COPIED, INCOMING, copy_of, messages
from tests.office import Office, changed, sample

CREATED = "conversation_created.api_evolution.no_messages"


async def deals(office: Office) -> list[str]:
    """The states of all deals, the oldest first."""
    rows = await office.world.rows(
        "select state from crm.deals where organization_id = %s order by id", office.organization_id
    )
    return [row["state"] for row in rows]


async def close(office: Office) -> None:
    """Closes the open deal as moving it to a closing stage will."""
    async with office.world.database("crm").transaction(office.organization_id) as tx:
        await tx.exec_driver_sql("update crm.deals set state = 'WON', version = version + 1 where state = 'OPEN'")


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
async def test_a_message_that_is_told_again_opens_no_deal(office: Office, kind: str) -> None:
    first = await office.deliver(sample(COPIED))
    assert await deals(office) == ["OPEN"]
    await close(office)
    event = await office.deliver(told_again(kind))
    assert event["state"] == "PROCESSED"
    assert await deals(office) == ["WON"]
    [message] = await messages(office, first["conversation_id"])
    assert message["text"] == (told_again(kind)["content"] if kind == "an edit" else sample(COPIED)["content"])
    # What is new opens one, also in the conversation that had the closed one.
    news = changed(sample(COPIED), id=99_001, source_id="WAID:3EB0C7D1A9F24E5B8A60", content="E amanhã?")
    await office.deliver(news)
    assert await deals(office) == ["WON", "OPEN"]
    assert len(await messages(office, first["conversation_id"])) == 2


async def test_a_conversation_that_is_told_again_opens_no_deal_and_a_new_one_does(office: Office) -> None:
    body = sample(CREATED)
    await office.deliver(body)
    assert await deals(office) == ["OPEN"]
    await close(office)
    await office.deliver(body)
    assert await deals(office) == ["WON"]
    await office.deliver(changed(body, id=body["id"] + 1))
    assert await deals(office) == ["WON", "OPEN"]


async def test_a_caller_who_asks_for_the_deal_gets_one(office: Office) -> None:
    asked = {"source": "WHATSAPP", "external_id": "+5511900009301"}
    answers = []
    for _ in range(2):
        status, answer = await office.send("/api/v1/contacts:ensure", asked)
        assert status == 200
        answers.append(answer)
        await close(office)
    assert await deals(office) == ["WON", "WON"]
    assert [answer["deal_created"] for answer in answers] == [True, True]


@pytest.mark.case("F19")
async def test_a_used_message_id_is_no_telling_again(office: Office) -> None:
    await office.deliver(sample(INCOMING))
    await close(office)
    # The same person, after a restore: another message under the same id.
    other = {"source_id": "wamid.HBgNNTUxMTkwMDAwNDgyMRUCABIYZZ9", "created_at": "2026-07-20T15:00:00.204Z"}
    await office.deliver(changed(sample(INCOMING), content="Outra", **other))
    assert await deals(office) == ["WON", "OPEN"]
