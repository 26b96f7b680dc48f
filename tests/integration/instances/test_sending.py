"""What is said through a number leaves once, and how far it came is told back; what is doubtful is not repeated."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from prosa.conversation.v1.events_pb2 import MessageSent
from sandbox.evolution.faults import Fault
from sandbox.evolution.world import Instance
from tests.evolution import PHONE, Admin, eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def talk(admin: Admin) -> tuple[Instance, str]:
    """A connected number to which somebody has written; answers it with the conversation's id."""
    _, instance = await admin.connected()
    admin.fake.world.person_writes(instance, PHONE, "Tem vaga?", "Marisa")
    [event] = await admin.done(1)
    return instance, str(event["conversation_id"])


async def say(admin: Admin, conversation_id: str, text: str) -> str:
    status, message = await admin.call("POST", f"/api/v1/conversations/{conversation_id}/messages", {"text": text})
    assert (status, message["state"]) == (200, "QUEUED"), message
    return str(message["message_id"])


async def until(admin: Admin, message_id: str, *states: str) -> dict[str, Any]:
    rows = await admin.world.until(
        "select * from conversation.deliveries where delivery_id = %s and state = any (%s)",
        *(UUID(message_id), list(states)),
    )
    return dict(rows[0])


@pytest.mark.req("CO-07")
async def test_a_reply_leaves_once_and_its_receipts_come_back(admin: Admin) -> None:
    instance, conversation_id = await talk(admin)
    message_id = await say(admin, conversation_id, "Tem sim! {{ nome }}")
    await until(admin, message_id, "SENT")
    [sent] = admin.fake.world.sent
    assert (sent.instance, sent.number, sent.text) == (instance.name, PHONE[1:], "Tem sim! {{ nome }}")
    await admin.done(1, "send.message")
    for count, word in enumerate(("SERVER_ACK", "DELIVERY_ACK", "READ"), start=1):
        admin.fake.world.receipt(instance, sent.jid, sent.message_id, word)
        await admin.done(count, "messages.update")
    delivery = await until(admin, message_id, "READ")
    assert delivery["network_id"] == f"WAID:{sent.message_id}"
    first, second = await admin.messages(conversation_id)
    assert (first["text"], second["text"], second["state"]) == ("Tem vaga?", "Tem sim! {{ nome }}", "READ")
    # The echo made no second message, and did not take the person's name from it.
    assert (second["message_id"], second["author"]) == (message_id, "AGENT")
    facts = await admin.world.announced(MessageSent, admin.harness.organization_id)
    assert [fact.message.message_id for fact in facts] == [message_id]
    # With the number's own token, which can do no more than that.
    assert instance.token not in ("", "the-global-key-of-evolution")


@pytest.mark.parametrize("kind", ["rest.lost_answer", "rest.not_saved"])
async def test_an_answer_that_says_nothing_sends_nothing_again(admin: Admin, kind: str) -> None:
    instance, conversation_id = await talk(admin)
    admin.fake.faults.set(Fault(kind, count=1, only="/message/sendText"))
    message_id = await say(admin, conversation_id, "Só amanhã.")
    await until(admin, message_id, "SENT")
    assert [sent.text for sent in admin.fake.world.sent] == ["Só amanhã."]
    assert len(await admin.messages(conversation_id)) == 2
    admin.fake.world.receipt(instance, "", admin.fake.world.sent[0].message_id, "DELIVERY_ACK")
    await until(admin, message_id, "DELIVERED")


async def test_what_left_unseen_is_found_by_a_look(admin: Admin) -> None:
    _, conversation_id = await talk(admin)
    admin.fake.faults.set(Fault("rest.lost_answer", count=1, only="/message/sendText"))
    admin.fake.faults.set(Fault("webhook.lost", count=1, only="send.message"))
    message_id = await say(admin, conversation_id, "Até amanhã!")
    await until(admin, message_id, "UNCERTAIN")
    await until(admin, message_id, "SENT")
    assert len(admin.fake.world.sent) == 1


async def test_a_number_without_whatsapp_is_told_at_once(admin: Admin) -> None:
    _, conversation_id = await talk(admin)
    admin.fake.world.absent.add(PHONE[1:])
    message_id = await say(admin, conversation_id, "Oi?")
    delivery = await until(admin, message_id, "FAILED")
    assert (delivery["reason"], delivery["explanation"]) == ("NUMBER_UNKNOWN", "The number has no WhatsApp.")
    assert admin.fake.world.sent == []


async def test_somebody_known_by_a_lid_alone_is_answered_there(admin: Admin) -> None:
    _, instance = await admin.connected()
    admin.fake.world.person_writes(instance, PHONE, "só o LID", "Marisa", form="lid")
    [event] = await admin.done(1)
    message_id = await say(admin, str(event["conversation_id"]), "Olá!")
    await until(admin, message_id, "SENT")
    [sent] = admin.fake.world.sent
    assert sent.number.endswith("@lid")


async def test_a_message_that_went_to_somebody_else_is_a_failure_and_says_so(admin: Admin) -> None:
    _, conversation_id = await talk(admin)
    admin.fake.world.cached[PHONE[1:]] = "551130000043@s.whatsapp.net"
    message_id = await say(admin, conversation_id, "Só para você")
    delivery = await until(admin, message_id, "FAILED")
    assert "another number" in delivery["explanation"]


async def test_a_receipt_of_a_message_from_before_is_ignored_in_the_end(admin: Admin) -> None:
    instance, _ = await talk(admin)
    admin.fake.world.receipt(instance, "5511900000000@s.whatsapp.net", "3EB0NEVERHEARDOF", "READ")

    async def tried() -> Any:
        return await admin.world.rows(
            "select 1 from ingest.webhook_queue where organization_id = %s and attempt_count > 0",
            admin.harness.organization_id,
        )

    # It may have overtaken its message, so it waits a little for it.
    await eventually(tried)
    [event] = await admin.done(1, "messages.update")
    assert (event["state"], event["reason"]) == ("IGNORED", "MESSAGE_UNKNOWN")
