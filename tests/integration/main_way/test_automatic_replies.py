"""A customer writes, and is answered by itself: by templates and by a model."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, NoReturn
from uuid import UUID, uuid4

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import web

from chassis.errors import Unavailable
from prosa.conversation.v1.events_pb2 import TurnGathered
from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from sandbox.model.app import KEY, FakeModel
from services.conversation.turns.answering import Answerer
from tests.integration.main_way.answering import Shop, Talk, shop_of
from tests.integration.outreach.test_kill_and_policy import Rest
from tests.world import ADMIN, World

FALLBACK = "Já chamo alguém da equipe."
PRICE = "Custa R$ 50."
AT_ONCE = {"debounce_seconds": 0}
FOR_LONG = {"debounce_seconds": 60, "debounce_max_seconds": 300}
"""Longer than a test lasts: the turn stays open until the test ends it."""
GATHERED = "select state, reason, message_ids, reply_message_id from conversation.turns where conversation_id = %s"


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """An organization of the test's own, with its Chatwoot."""
    async with shop_of(world, session) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def model() -> AsyncIterator[tuple[FakeModel, str]]:
    """A model of the test's own, and where it is."""
    fake = FakeModel()
    runner = web.AppRunner(fake.app(), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield fake, f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    finally:
        fake.released.set()
        await runner.cleanup()


async def choose(shop: Shop, **settings: Any) -> None:
    """Has the organization's conversations answered so, by a persona of its own."""
    admin = Rest(shop.world, shop.harness.organization_id, ADMIN)
    status, persona = await admin.call(
        "POST",
        "/personas",
        {
            "name": f"Lia {uuid4()}",
            "style": "Cordial e breve.",
            "fallback_texts": [FALLBACK],
            "reply_templates": [{"intent": "preço", "phrases": ["quanto custa"], "texts": [PRICE]}],
        },
    )
    assert status == 200, persona
    body = AT_ONCE | {"reply_mode": "SCRIPTED", "persona_id": persona["persona_id"]} | settings
    status, answer = await admin.call("PATCH", "/conversation-settings", body)
    assert status == 200, answer


async def turn_of(talk: Talk, *states: str) -> dict[str, Any]:
    """The conversation's turn, once it is in one of the states."""
    found = await talk.shop.world.until(
        f"{GATHERED} and state = any (%s)", *(UUID(talk.conversation_id), list(states or ["ANSWERED"]))
    )
    return found[0]


async def be_quiet(talk: Talk) -> None:
    """Has the contact been quiet for long enough: the open turn is due, and the worker finds it at its next look."""
    for due in (
        "update conversation.turns set due_time = now() where conversation_id = %s and state = 'OPEN' returning 1",
        "update conversation.turn_queue set due_time = now() where ordering_key = %s::uuid::text returning 1",
    ):
        assert await talk.shop.world.rows(due, UUID(talk.conversation_id))


async def answered(talk: Talk) -> dict[str, Any]:
    """The delivery of the reply to the conversation's only turn, once it has left."""
    turn = await turn_of(talk)
    return await talk.until(str(turn["reply_message_id"]), "SENT", "DELIVERED", "READ")


async def test_templates_answer_a_customer_once_and_hand_nothing_over(shop: Shop) -> None:
    await choose(shop)
    talk = await shop.said("Oi, QUANTO custa?")
    delivery = await answered(talk)
    assert talk.left == [PRICE]
    assert delivery["send_class"] == "REPLY"
    assert str(delivery["answers_message_id"]) == talk.message_id
    (turn,) = await shop.world.rows(
        "select turn_id from conversation.turns where conversation_id = %s", UUID(talk.conversation_id)
    )
    assert delivery["cause"] == f"reply:{turn['turn_id']}"
    assert await talk.handoff() == "AI"
    (fact,) = await shop.world.announced(TurnGathered, shop.harness.organization_id)
    assert [message.text for message in fact.messages] == ["Oi, QUANTO custa?"]


async def test_what_is_written_in_one_go_is_one_turn(shop: Shop) -> None:
    await choose(shop, **FOR_LONG)
    talk = await shop.said("Oi")
    await shop.known(shop.chatwoot.receive(talk.at_chatwoot, "tudo bem?"))
    await shop.world.until(f"{GATHERED} and jsonb_array_length(message_ids) = 2", UUID(talk.conversation_id))
    # The next message is the last, however long this machine takes: quiet is waited for no more.
    await choose(shop)
    await shop.known(shop.chatwoot.receive(talk.at_chatwoot, "quanto custa?"))
    await answered(talk)
    assert talk.left == [PRICE]
    (fact,) = await shop.world.announced(TurnGathered, shop.harness.organization_id)
    assert [message.text for message in fact.messages] == ["Oi", "tudo bem?", "quanto custa?"]


@pytest.mark.req("CO-06")
async def test_a_model_answers_as_the_persona_and_is_told_what_was_said(
    shop: Shop, model: tuple[FakeModel, str]
) -> None:
    fake, url = model
    await choose(shop, reply_mode="MODEL", model_base_url=url, model_key=KEY, model_name="ipe-1")
    talk = await shop.said("Abre no sábado?")
    await answered(talk)
    assert talk.left == ["Sobre “Abre no sábado?”: pode vir, estamos abertos."]
    (asked,) = fake.asked
    assert asked["model"] == "ipe-1"
    assert "Cordial e breve." in asked["messages"][0]["content"]
    assert asked["messages"][1:] == [{"role": "user", "content": "Abre no sábado?"}]
    assert "tools" not in asked
    assert await shop.harness.count("conversation.deliveries") == 1
    (used,) = await shop.world.rows(
        "select token_count from conversation.model_usage where organization_id = %s", shop.harness.organization_id
    )
    assert used["token_count"] > 0


@pytest.mark.parametrize(
    ("faults", "left", "asked"),
    [
        (["too_many", "error"], "Sobre “Abre no sábado?”: pode vir, estamos abertos.", 3),
        (["error", "error", "too_many"], FALLBACK, 3),
        (["junk"], FALLBACK, 1),
    ],
)
async def test_a_model_that_fails_is_asked_again_and_then_the_persona_says_its_own(
    shop: Shop, model: tuple[FakeModel, str], faults: list[str], left: str, asked: int
) -> None:
    fake, url = model
    fake.faults.extend(faults)
    await choose(shop, reply_mode="MODEL", model_base_url=url, model_key=KEY)
    talk = await shop.said("Abre no sábado?")
    await answered(talk)
    assert talk.left == [left]
    assert len(fake.asked) == asked


async def test_a_wrong_key_and_a_spent_day_bring_the_fallback(shop: Shop, model: tuple[FakeModel, str]) -> None:
    fake, url = model
    await choose(shop, reply_mode="MODEL", model_base_url=url, model_key="sk-outra")
    talk = await shop.said("Abre no sábado?")
    await answered(talk)
    await choose(shop, reply_mode="MODEL", model_key=KEY, model_day_token_limit=0)
    other = await shop.said("Abre no domingo?")
    await answered(other)
    assert (talk.left, other.left) == ([FALLBACK], [FALLBACK])
    assert fake.asked == []


@pytest.mark.req("CO-25")
async def test_a_slow_model_is_overtaken_by_the_customer(shop: Shop, model: tuple[FakeModel, str]) -> None:
    fake, url = model
    fake.faults.append("slow")
    await choose(shop, reply_mode="MODEL", model_base_url=url, model_key=KEY)
    talk = await shop.said("Abre no sábado?")
    async with asyncio.timeout(20):
        await fake.arrived.wait()
    await shop.known(shop.chatwoot.receive(talk.at_chatwoot, "Deixa, quero domingo."))
    fake.released.set()
    dropped = await turn_of(talk, "DROPPED")
    assert dropped["reason"] == "NEWER_MESSAGE"
    await answered(talk)
    assert talk.left == ["Sobre “Deixa, quero domingo.”: pode vir, estamos abertos."]
    # The reply saw both; the one that was in the making is said to nobody.
    seen = [message["content"] for message in fake.asked[-1]["messages"] if message["role"] == "user"]
    assert "\n".join(seen) == "Abre no sábado?\nDeixa, quero domingo."


@pytest.mark.req("CO-24")
async def test_what_is_written_while_a_person_has_it_is_kept_and_known_to_automation_afterwards(
    shop: Shop, model: tuple[FakeModel, str]
) -> None:
    fake, url = model
    await choose(shop, reply_mode="MODEL", model_base_url=url, model_key=KEY)
    talk = await shop.said("Abre no sábado?")
    await answered(talk)
    path = f"/api/v1/conversations/{talk.conversation_id}:setHandoff"
    assert (await talk.call(path, {"mode": "HUMAN"}))[0] == 200
    await shop.known(shop.chatwoot.receive(talk.at_chatwoot, "Prefiro falar com alguém."))
    assert (await talk.call(path, {"mode": "AI"}))[0] == 200
    await shop.known(shop.chatwoot.receive(talk.at_chatwoot, "Pode ser você mesmo."))
    await shop.world.until(
        "select 1 from conversation.deliveries where conversation_id = %s and state <> 'QUEUED' having count(*) = 2",
        UUID(talk.conversation_id),
    )
    # Two were answered, and what was written to the person was no turn of its own, nor part of one.
    turns = await shop.world.rows(GATHERED, UUID(talk.conversation_id))
    assert [turn["state"] for turn in turns] == ["ANSWERED"] * 2
    assert sorted(len(turn["message_ids"]) for turn in turns) == [1, 1]
    assert len(fake.asked) == 2
    told = [message["content"] for message in fake.asked[-1]["messages"][1:]]
    for text in ("Abre no sábado?", "Prefiro falar com alguém.", "Pode ser você mesmo."):
        assert text in "\n".join(told)
    assert "Prefiro falar com alguém." in [message["text"] for message in await talk.messages()]


async def test_nothing_is_said_while_a_person_has_it_or_automation_is_off(shop: Shop) -> None:
    await choose(shop, **FOR_LONG)
    talk = await shop.said("Oi, quanto custa?")
    await turn_of(talk, "OPEN")
    status, _ = await talk.call(f"/api/v1/conversations/{talk.conversation_id}:setHandoff", {"mode": "HUMAN"})
    assert status == 200
    await be_quiet(talk)
    assert (await turn_of(talk, "DROPPED"))["reason"] == "HANDOFF_HUMAN"
    assert talk.left == []
    other = await shop.said("Oi, quanto custa?")
    await turn_of(other, "OPEN")
    admin = Rest(shop.world, shop.harness.organization_id, ADMIN)
    await admin.call("PATCH", "/conversation-settings", {"automation_enabled": False})
    await be_quiet(other)
    assert (await turn_of(other, "DROPPED"))["reason"] == "AUTOMATION_OFF"
    assert other.left == []
    assert await shop.world.announced(TurnGathered, shop.harness.organization_id) == []


async def test_a_reply_that_waits_is_taken_back_where_automation_is_switched_off(shop: Shop) -> None:
    await choose(shop)
    owner = shop.world.as_user(shop.harness.organization_id).stub(SendServiceStub)
    await owner.EngageKillSwitch(send_pb.EngageKillSwitchRequest(reason="pausa"))
    talk = await shop.said("Oi, quanto custa?")
    turn = await turn_of(talk)
    admin = Rest(shop.world, shop.harness.organization_id, ADMIN)
    await admin.call("PATCH", "/conversation-settings", {"automation_enabled": False})
    await owner.LiftKillSwitch(send_pb.LiftKillSwitchRequest(reason="passou"))
    delivery = await talk.until(str(turn["reply_message_id"]), "CANCELLED")
    assert delivery["reason"] == "AUTOMATION_OFF"
    assert talk.left == []


async def test_where_nobody_replies_a_turn_is_told_and_left_to_others(shop: Shop) -> None:
    await choose(shop, reply_mode="OFF")
    talk = await shop.said("Oi, quanto custa?")
    turn = await turn_of(talk, "GATHERED")
    assert turn["reply_message_id"] is None
    assert len(await shop.world.announced(TurnGathered, shop.harness.organization_id)) == 1
    assert talk.left == []


async def test_who_answers_in_chatwoot_meanwhile_is_not_talked_over(shop: Shop, model: tuple[FakeModel, str]) -> None:
    fake, url = model
    fake.faults.append("slow")
    await choose(shop, reply_mode="MODEL", model_base_url=url, model_key=KEY)
    talk = await shop.said("Abre no sábado?")
    async with asyncio.timeout(20):
        await fake.arrived.wait()
    agent = next(iter(shop.chatwoot.setup.agents.values()))
    await shop.known(shop.chatwoot.agent_reply(talk.at_chatwoot, agent, "Abrimos às nove!"))
    fake.released.set()
    assert (await turn_of(talk, "DROPPED"))["reason"] == "PERSON_ANSWERED"
    assert talk.left == ["Abrimos às nove!"]


async def test_two_that_answer_by_themselves_do_not_go_on_for_ever(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.conversation.turns.answering.REPLIES_MAX", 1)
    await choose(shop)
    talk = await shop.said("Oi, quanto custa?")
    await answered(talk)
    await shop.known(shop.chatwoot.receive(talk.at_chatwoot, "E quanto custa agora?"))
    assert (await turn_of(talk, "DROPPED"))["reason"] == "REPLIES_LIMITED"
    assert talk.left == [PRICE]


async def test_a_turn_that_waited_through_an_outage_is_answered_no_more(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    await choose(shop)

    async def away(*_: Any) -> NoReturn:
        raise Unavailable("IDENTITY_UNAVAILABLE", "Not there.")

    monkeypatch.setattr(Answerer, "work", away)
    talk = await shop.said("Oi, quanto custa?")
    await shop.world.until(
        "update conversation.turns set due_time = due_time - interval '1 day' where conversation_id = %s returning 1",
        UUID(talk.conversation_id),
    )
    monkeypatch.undo()
    assert (await turn_of(talk, "DROPPED"))["reason"] == "TOO_LATE"
    assert talk.left == []


async def test_a_key_that_no_header_can_hold_is_refused(shop: Shop, model: tuple[FakeModel, str]) -> None:
    admin = Rest(shop.world, shop.harness.organization_id, ADMIN)
    body = {"model_base_url": model[1], "model_name": "gpt"}
    for key in ("sk-é", "sk\nX: y"):
        status, refused = await admin.call("PATCH", "/conversation-settings", body | {"model_key": key})
        assert (status, refused["reason"]) == (400, "REQUEST_INVALID"), refused
        assert "model_key" in str(refused)
        assert key not in str(refused)
