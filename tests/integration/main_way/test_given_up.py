"""What cannot be worked on leaves nothing unfinished behind: each row ends, or is looked at like any other such."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, NoReturn
from uuid import UUID

import aiohttp
import pytest
import pytest_asyncio

from chassis.crypto import Vault
from chassis.errors import InvalidArgument
from prosa.conversation.v1 import events_pb2
from sandbox.chatwoot.faults import Fault
from services.conversation.deliveries.account_store import ACCESS_TOKEN_COLUMN
from services.conversation.deliveries.worker import Deliverer
from services.conversation.limits import LOOK_WAITS
from services.conversation.providers import SENDERS
from services.conversation.turns.answering import Answerer
from tests.integration.main_way.answering import TOKEN, Shop, shop_of
from tests.integration.main_way.test_automatic_replies import choose, turn_of
from tests.world import World

REFUSED = "ITEM_REFUSED"


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """An organization of the test's own, with its Chatwoot."""
    async with shop_of(world, session) as opened:
        yield opened


async def refuse(*_: Any, **__: Any) -> NoReturn:
    """Raises what is given up at once, as anything else is at the last attempt."""
    raise InvalidArgument(REFUSED, "The item cannot be processed: Fault.")


async def waiting(shop: Shop) -> int:
    """How many deliveries wait, in the queue or among its dead letters."""
    return await shop.harness.count("conversation.delivery_queue") + await dead(shop)


async def dead(shop: Shop) -> int:
    """How many deliveries are dead letters."""
    return await shop.harness.count("conversation.delivery_queue_dead")


async def test_a_token_that_other_keys_sealed_fails_what_was_to_be_sent_with_it(shop: Shop) -> None:
    talk = await shop.said()
    organization_id = shop.harness.organization_id
    others = Vault({"other": b"o" * 32}, "other")
    sealed = others.seal(TOKEN.encode(), organization_id=organization_id, column=ACCESS_TOKEN_COLUMN)
    await shop.world.rows(
        "update conversation.provider_accounts set access_token_sealed = %s where organization_id = %s returning 1",
        *(sealed, organization_id),
    )
    _, message = await talk.send("Tem sim!")

    row = await talk.until(message["message_id"], "FAILED")

    assert row["reason"] == "CHANNEL_CANNOT_SEND"
    assert "access_token once more" in row["explanation"]
    facts = await shop.world.announced(events_pb2.MessageUpdated, organization_id)
    assert [(fact.message.message_id, fact.message.delivery.reason) for fact in facts] == [
        (message["message_id"], "CHANNEL_CANNOT_SEND")
    ]
    await shop.world.until(
        "select 1 where not exists (select from conversation.delivery_queue where organization_id = %s)",
        organization_id,
    )
    assert await dead(shop) == 0
    # Whoever asks for a look gets the delivery, not an error.
    status, checked = await talk.call(f"/api/v1/deliveries/{message['message_id']}:check", {})
    assert (status, checked["state"]) == (200, "FAILED"), checked


async def test_a_delivery_that_is_given_up_before_it_was_begun_has_failed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await shop.said()
    monkeypatch.setattr(Deliverer, "work", refuse)
    _, message = await talk.send("Tem sim!")
    row = await talk.until(message["message_id"], "FAILED")
    assert (row["reason"], row["explanation"]) == (REFUSED, "The item cannot be processed: Fault.")
    (fact,) = await shop.world.announced(events_pb2.MessageUpdated, shop.harness.organization_id)
    assert fact.message.delivery.reason == REFUSED
    assert await dead(shop) == 1
    assert talk.left == []


async def test_a_delivery_that_is_given_up_while_it_is_sent_is_looked_for(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await shop.said()
    # Nothing but a look tells that it left.
    shop.faults.set(Fault("webhook.lost", only="message_"))
    chatwoot = SENDERS["CHATWOOT"]

    async def send(*given: Any) -> NoReturn:
        await chatwoot.send(*given)
        await refuse()

    monkeypatch.setitem(SENDERS, "CHATWOOT", replace(chatwoot, send=send))
    _, message = await talk.send("Tem sim!")
    row = await talk.until(message["message_id"], "UNCERTAIN")
    assert row["reason"] == "PROVIDER_SILENT"
    assert (await shop.harness.count("conversation.delivery_queue"), await dead(shop)) == (1, 0)
    status, checked = await talk.call(f"/api/v1/deliveries/{message['message_id']}:check", {})
    assert (status, checked["state"]) == (200, "SENT"), checked
    assert talk.left == ["Tem sim!"]


async def test_a_look_that_is_given_up_is_one_of_its_looks(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    talk = await shop.said()
    shop.faults.set(Fault("rest.lost_answer", count=1, only="/messages"))
    shop.faults.set(Fault("webhook.lost", only="message_"))
    _, message = await talk.send("Tem sim!")
    delivery_id = UUID(message["message_id"])
    await talk.until(message["message_id"], "UNCERTAIN")
    monkeypatch.setattr(Deliverer, "work", refuse)
    look_now = "update conversation.delivery_queue set due_time = now() where item_id = %s returning 1"
    await shop.world.until(look_now, delivery_id)
    await shop.world.until(
        "select 1 from conversation.deliveries where delivery_id = %s and look_count = 1 and state = 'UNCERTAIN'",
        delivery_id,
    )
    assert await dead(shop) == 0
    await shop.world.rows(
        "update conversation.deliveries set look_count = %s where delivery_id = %s returning 1",
        *(len(LOOK_WAITS) - 1, delivery_id),
    )
    await shop.world.until(look_now, delivery_id)
    row = await talk.until(message["message_id"], "FAILED")
    assert row["reason"] == "PROVIDER_SILENT"
    assert "not sent again" in row["explanation"]
    assert await waiting(shop) == 0


async def test_a_turn_that_is_given_up_is_dropped(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    await choose(shop)
    monkeypatch.setattr(Answerer, "work", refuse)
    talk = await shop.said("Oi, quanto custa?")
    assert (await turn_of(talk, "DROPPED"))["reason"] == REFUSED
    assert talk.left == []
    monkeypatch.undo()
    # What is written next is a turn of its own, and answered.
    await shop.known(shop.chatwoot.receive(talk.at_chatwoot, "Quanto custa?"))
    turn = await turn_of(talk, "ANSWERED")
    await talk.until(str(turn["reply_message_id"]), "SENT", "DELIVERED", "READ")
