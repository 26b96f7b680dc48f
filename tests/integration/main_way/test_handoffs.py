"""A person takes a conversation over and gives it back, here or by Chatwoot's label; automation is silent meanwhile."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import aiohttp
import pytest_asyncio

from prosa.conversation.v1 import events_pb2
from sandbox.chatwoot.faults import Fault
from services.conversation.messages.domain.record import HANDOFF_LABEL
from tests.integration.main_way.answering import Shop, Talk, shop_of
from tests.world import World


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """An organization of the test's own, with its Chatwoot."""
    async with shop_of(world, session) as opened:
        yield opened


async def hand(talk: Talk, mode: str, **fields: Any) -> tuple[int, Any]:
    """SetHandoff over HTTP, by a person."""
    return await talk.call(f"/api/v1/conversations/{talk.conversation_id}:setHandoff", {"mode": mode, **fields})


async def handed(shop: Shop) -> list[tuple[str, str]]:
    """Every handoff that was announced: its source and what it was moved to."""
    facts = await shop.world.announced(events_pb2.HandoffChanged, shop.harness.organization_id)
    return [(fact.handoff.source, "HUMAN" if fact.handoff.mode == 2 else "AI") for fact in facts]


async def until_labels(shop: Shop, talk: Talk, *labels: str) -> None:
    """Waits until Prosa knows these labels of the conversation."""
    await shop.world.until(
        "select 1 from conversation.conversations where conversation_id = %s and labels = %s::text[]",
        *(talk.conversation_id, list(labels)),
    )


async def test_who_takes_over_and_gives_back_is_kept_and_the_label_at_chatwoot_follows(shop: Shop) -> None:
    talk = await shop.said()
    talk.at_chatwoot.labels = ["vip"]
    status, taken = await hand(talk, "HUMAN", reason="Quer falar com a Larissa", request_id=str(uuid4()))
    assert (status, taken["handoff"]["mode"], taken["handoff"]["source"]) == (200, "HUMAN", "ui"), taken
    assert taken["handoff"]["actor"]["name"] == "larissa@escola-ipe.example"
    await until_labels(shop, talk, HANDOFF_LABEL, "vip")
    assert sorted(talk.at_chatwoot.labels) == [HANDOFF_LABEL, "vip"]

    status, given = await hand(talk, "AI", etag=taken["etag"])
    assert (status, given["reason"]) == (409, "ETAG_STALE"), given
    status, given = await hand(talk, "AI")
    assert (status, given["handoff"]["mode"]) == (200, "AI"), given
    await until_labels(shop, talk, "vip")

    # The labels came back by webhook and moved nothing.
    assert await handed(shop) == [("ui", "HUMAN"), ("ui", "AI")]
    assert await talk.handoff() == "AI"


async def test_handed_over_and_back_before_chatwoot_tells_of_either_it_stays_as_it_was_said(shop: Shop) -> None:
    talk = await shop.said()
    shop.faults.set(Fault("webhook.delay", seconds=1.5, only="conversation_updated"))
    await hand(talk, "HUMAN")
    await shop.world.until(
        "select 1 from conversation.conversations where conversation_id = %s and label_write_us > 0",
        talk.conversation_id,
    )
    await hand(talk, "AI")
    await until_labels(shop, talk, HANDOFF_LABEL)
    await until_labels(shop, talk)
    assert await handed(shop) == [("ui", "HUMAN"), ("ui", "AI")]
    assert await talk.handoff() == "AI"


async def test_the_label_of_chatwoot_silences_automation_and_its_removal_lets_it_speak(shop: Shop) -> None:
    talk = await shop.said()
    shop.chatwoot.set_labels(talk.at_chatwoot, [HANDOFF_LABEL])
    await until_labels(shop, talk, HANDOFF_LABEL)
    assert await talk.handoff() == "HUMAN"
    status, refused = await talk.send("Sou o bot.", person=False)
    assert (status, refused["reason"]) == (400, "HANDOFF_HUMAN"), refused

    shop.chatwoot.set_labels(talk.at_chatwoot, [])
    await until_labels(shop, talk)
    status, message = await talk.send("Sou o bot.", person=False)
    assert status == 200, message
    await talk.until(message["message_id"], "DELIVERED")
    assert await handed(shop) == [("webhook", "HUMAN"), ("webhook", "AI")]


async def test_automatic_replies_that_wait_are_taken_back_when_a_person_takes_over(shop: Shop) -> None:
    talk = await shop.said()
    _, first = await talk.send("Oi, sou o bot.", person=False)
    await talk.until(first["message_id"], "DELIVERED")
    # The number rests for some seconds after each message.
    _, second = await talk.send("E posso ajudar.", person=False)
    await hand(talk, "HUMAN")
    row = await talk.until(second["message_id"], "CANCELLED")
    assert row["reason"] == "HANDOFF_HUMAN"
    assert talk.left == ["Oi, sou o bot."]


async def test_a_label_that_chatwoot_does_not_take_is_written_again_and_the_handoff_stands(shop: Shop) -> None:
    talk = await shop.said()
    shop.faults.set(Fault("rest.error", count=1, only="/labels"))
    status, _ = await hand(talk, "HUMAN")
    assert status == 200
    await until_labels(shop, talk, HANDOFF_LABEL)
    assert shop.faults.struck["rest.error"] == 1
    assert await talk.handoff() == "HUMAN"
