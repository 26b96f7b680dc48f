"""A reply through Prosa leaves by Chatwoot once, and its states come back; what is uncertain is looked at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import aiohttp
import pytest_asyncio

from prosa.conversation.v1 import events_pb2
from prosa.outreach.v1 import send_service_pb2 as send_pb
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from sandbox.chatwoot.faults import Fault
from tests.integration.conversation.messages.reports import Reported, answered, batch
from tests.integration.main_way.answering import Shop, shop_of
from tests.world import World


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """An organization of the test's own, with its Chatwoot."""
    async with shop_of(world, session) as opened:
        yield opened


async def test_a_persons_reply_leaves_once_and_its_echo_settles_it(shop: Shop) -> None:
    talk = await shop.said()
    status, message = await talk.send("Tem sim! {{ contact.name }}", request_id=str(uuid4()))
    assert (status, message["state"], message["author"]) == (200, "QUEUED", "AGENT"), message
    assert message["delivery"]["send_class"] == "PERSON"

    row = await talk.until(message["message_id"], "DELIVERED")

    # A word joiner keeps Chatwoot from reading a template; ours is as it was typed.
    assert talk.left == ["Tem sim! {\u2060{ contact.name }}"]
    assert row["attempt_count"] == 1
    shown = await talk.messages()
    assert [(each["text"], each["state"], each["author"]) for each in shown[1:]] == [
        ("Tem sim! {{ contact.name }}", "DELIVERED", "AGENT")
    ]
    assert shown[1]["provider_message_id"]
    assert await talk.handoff() == "HUMAN"
    facts = await shop.world.announced(events_pb2.MessageSent, shop.harness.organization_id)
    assert [fact.message.delivery.delivery_id for fact in facts] == [message["message_id"]]
    queued = await shop.world.announced(events_pb2.MessageQueued, shop.harness.organization_id)
    assert [fact.message.message_id for fact in queued] == [message["message_id"]]
    assert await shop.harness.count("conversation.delivery_queue") == 0
    kept = await shop.world.rows(
        "select state from outreach.reservations where delivery_id = %s", UUID(message["message_id"])
    )
    assert kept == [{"state": "USED"}]


async def test_an_answer_that_was_lost_is_settled_by_its_echo(shop: Shop) -> None:
    talk = await shop.said()
    shop.faults.set(Fault("rest.lost_answer", count=1, only="/messages"))
    _, message = await talk.send("Só amanhã.")
    await talk.until(message["message_id"], "DELIVERED")
    assert talk.left == ["Só amanhã."]
    assert len(await talk.messages()) == 2


async def test_what_is_uncertain_is_found_at_the_provider_and_never_sent_again(shop: Shop) -> None:
    talk = await shop.said()
    # Neither the answer nor the echo arrives.
    shop.faults.set(Fault("rest.lost_answer", count=1, only="/messages"))
    shop.faults.set(Fault("webhook.lost", only="message_"))
    _, message = await talk.send("Vou ver.")
    await talk.until(message["message_id"], "UNCERTAIN")

    status, checked = await talk.call(f"/api/v1/deliveries/{message['message_id']}:check", {})

    assert (status, checked["state"]) == (200, "SENT"), checked
    assert talk.left == ["Vou ver."]


async def test_an_error_of_the_provider_is_uncertain_and_is_not_repeated(shop: Shop) -> None:
    talk = await shop.said()
    shop.faults.set(Fault("rest.error", count=1, status=502, only="/messages"))
    _, message = await talk.send("Um momento.")
    await talk.until(message["message_id"], "UNCERTAIN")
    _, checked = await talk.call(f"/api/v1/deliveries/{message['message_id']}:check", {})
    assert (checked["state"], checked["reason"]) == ("UNCERTAIN", "PROVIDER_SILENT")
    assert talk.left == []


async def test_what_was_being_sent_when_its_worker_died_is_uncertain_and_is_not_sent_again(shop: Shop) -> None:
    talk = await shop.said()
    shop.faults.set(Fault("rest.error", count=1, status=502, only="/messages"))
    _, message = await talk.send("Um momento.")
    message_id = UUID(message["message_id"])
    await talk.until(message["message_id"], "UNCERTAIN")

    # What a worker leaves behind that was killed between the mark and the answer.
    await shop.world.rows(
        "with marked as (update conversation.deliveries set state = 'SENDING', reason = '' where delivery_id = %s)"
        " update conversation.delivery_queue set next_attempt_time = now() where item_id = %s returning item_id",
        message_id,
        message_id,
    )
    await talk.until(message["message_id"], "UNCERTAIN")

    (kept,) = await shop.world.rows(
        "select attempt_count, explanation from conversation.deliveries where delivery_id = %s", message_id
    )
    assert (kept["attempt_count"], talk.left) == (1, [])
    assert "restarted" in kept["explanation"]


async def test_an_echo_that_is_told_days_late_is_known_by_our_mark(shop: Shop) -> None:
    talk = await shop.said()
    shop.faults.set(Fault("rest.error", count=1, status=502, only="/messages"))
    _, message = await talk.send("Um momento.")
    await talk.until(message["message_id"], "UNCERTAIN")
    (kept,) = await shop.world.rows(
        "update conversation.deliveries set send_time = send_time - interval '3 days' where delivery_id = %s"
        " returning connection_id::text, channel_id::text, contact_id::text",
        UUID(message["message_id"]),
    )
    (place,) = await shop.world.rows(
        "select provider_conversation_id, conversation_key from conversation.conversations where conversation_id = %s",
        UUID(talk.conversation_id),
    )
    thread = Reported(shop.harness.organization_id, **kept, **place)

    strange, marked = await batch(
        shop.world,
        thread.item(answered("90001", "Outra coisa.", delivery_id="no id at all")),
        thread.item(answered("90002", "Um momento.", delivery_id=message["message_id"])),
    )

    assert strange.item.message_id != message["message_id"], strange
    assert marked.item.message_id == message["message_id"], marked
    await talk.until(message["message_id"], "SENT")


async def test_a_refusal_of_the_provider_fails_with_what_to_do(shop: Shop) -> None:
    talk = await shop.said()
    shop.faults.set(Fault("rest.error", count=1, status=404, only="/messages"))
    _, message = await talk.send("Oi?")
    row = await talk.until(message["message_id"], "FAILED")
    assert row["reason"] == "PROVIDER_REFUSED"
    assert "no such conversation" in row["explanation"]


async def test_a_request_sent_twice_is_one_message(shop: Shop) -> None:
    talk = await shop.said()
    request_id = str(uuid4())
    answers = await asyncio.gather(*(talk.send("Uma vez.", request_id=request_id) for _ in range(2)))
    assert len({answer["message_id"] for _, answer in answers}) == 1
    await talk.until(answers[0][1]["message_id"], "DELIVERED")
    assert talk.left == ["Uma vez."]


async def test_what_the_kill_switch_holds_back_is_refused_and_what_waits_is_kept(shop: Shop) -> None:
    talk = await shop.said()
    switch = shop.world.as_user(shop.harness.organization_id).stub(SendServiceStub)
    await switch.EngageKillSwitch(send_pb.EngageKillSwitchRequest(reason="Incidente"))
    status, answer = await talk.send("Oi")
    assert (status, answer["reason"]) == (503, "SENDING_KILLED"), answer
    await switch.LiftKillSwitch(send_pb.LiftKillSwitchRequest())
    status, _ = await talk.send("Oi de novo")
    assert status == 200


async def test_what_was_taken_is_answered_again_though_a_kill_switch_is_on(shop: Shop) -> None:
    talk = await shop.said()
    request_id = str(uuid4())
    _, taken = await talk.send("Oi", request_id=request_id)
    await talk.until(taken["message_id"], "DELIVERED")
    switch = shop.world.as_user(shop.harness.organization_id).stub(SendServiceStub)
    await switch.EngageKillSwitch(send_pb.EngageKillSwitchRequest(reason="Incidente"))
    status, again = await talk.send("Oi", request_id=request_id)
    assert (status, again) == (200, taken)
    # Another message under that id is told so, and one of its own id that it cannot leave now.
    status, answer = await talk.send("Oi, Ana", request_id=request_id)
    assert (status, answer["reason"]) == (409, "REQUEST_ID_REUSED"), answer
    status, answer = await talk.send("Oi", request_id=str(uuid4()))
    assert (status, answer["reason"]) == (503, "SENDING_KILLED"), answer
    assert talk.left == ["Oi"]


async def test_a_key_replies_only_while_automation_has_the_conversation_and_to_the_newest_message(
    shop: Shop,
) -> None:
    talk = await shop.said()
    status, message = await talk.send("Bot aqui.", person=False, answered_message_id=talk.message_id)
    assert (status, message["author"], message["delivery"]["send_class"]) == (200, "API", "REPLY"), message
    await talk.until(message["message_id"], "DELIVERED")
    # Its echo says that a person with the token wrote it, which it did not.
    assert (await talk.messages())[-1]["author"] == "API"
    assert await talk.handoff() == "AI"

    newer = await shop.known(shop.chatwoot.receive(talk.at_chatwoot, "E amanhã?"))
    status, answer = await talk.send("Atrasado.", person=False, answered_message_id=talk.message_id)
    assert (status, answer["reason"]) == (400, "NEWER_MESSAGE"), answer
    await talk.send("Deixa comigo.")
    status, answer = await talk.send("Bot de novo.", person=False, answered_message_id=newer.message_id)
    assert (status, answer["reason"]) == (400, "HANDOFF_HUMAN"), answer


async def test_a_conversation_without_anything_to_send_with_is_refused(shop: Shop) -> None:
    talk = await shop.said()
    await shop.world.rows(
        "delete from conversation.provider_accounts where organization_id = %s returning 1",
        shop.harness.organization_id,
    )
    status, answer = await talk.send("Oi")
    assert (status, answer["reason"]) == (400, "CHANNEL_CANNOT_SEND"), answer


async def test_what_waits_can_be_taken_back(shop: Shop) -> None:
    talk = await shop.said()
    _, first = await talk.send("Primeira.")
    await talk.until(first["message_id"], "DELIVERED")
    # The number rests for three seconds after each message.
    _, second = await talk.send("Segunda.")
    status, cancelled = await talk.call(f"/api/v1/deliveries/{second['message_id']}:cancel", {})
    assert (status, cancelled["state"], cancelled["reason"]) == (200, "CANCELLED", "CANCELLED_BY_HAND"), cancelled
    status, answer = await talk.call(f"/api/v1/deliveries/{first['message_id']}:cancel", {})
    assert (status, answer["reason"]) == (400, "DELIVERY_UNDER_WAY"), answer
    assert talk.left == ["Primeira."]


async def test_deliveries_are_listed_by_time_whatever_their_ids(shop: Shop) -> None:
    talk = await shop.said()
    ids = []
    for text in ("Um.", "Dois.", "Três."):
        _, message = await talk.send(text)
        ids.append(message["message_id"])
        await talk.until(message["message_id"], "DELIVERED")
    # As the id of a confirmation, which is drawn from what it confirms.
    await shop.world.rows(
        "update conversation.deliveries set create_time = create_time + interval '1 minute' where delivery_id = %s"
        " returning 1",
        UUID(ids[0]),
    )
    listed: list[str] = []
    token = ""
    while len(listed) < len(ids) + 1:
        query = f"?page_size=1&conversation_id={talk.conversation_id}" + (f"&page_token={token}" if token else "")
        status, page = await talk.call(f"/api/v1/deliveries{query}")
        assert status == 200, page
        listed += [delivery["delivery_id"] for delivery in page["deliveries"]]
        token = page["next_page_token"]
        if not token:
            break
    assert listed == [ids[0], ids[2], ids[1]]
