"""The colleague of the demo, who takes a conversation over, answers, and gives it back."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest_asyncio

from cli.calls import Calls
from cli.demo.answering import ANSWER, CUSTOMER, EMAIL, QUESTION, THANKS, Colleague
from prosa.conversation.v1 import events_pb2
from prosa.conversation.v1.conversation_service_pb2 import HandoffMode
from sandbox.chatwoot.records import OUTGOING
from tests.integration.main_way.answering import Shop, shop_of
from tests.world import World

PASSWORD = "girassol de papel 9"


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """An organization of the test's own, with its Chatwoot."""
    async with shop_of(world, session) as opened:
        yield opened


async def test_each_run_shows_one_answer_and_the_colleague_is_invited_once(shop: Shop) -> None:
    harness = shop.harness
    calls = Calls(shop.world.host.signer("cli"), {}, shop.world.host.grpc_address)
    for run in (1, 2):
        colleague = Colleague(
            *(calls, str(harness.organization_id), harness.url, shop.chatwoot_url, PASSWORD),
            run=run,
            pause_seconds=0,
        )
        await colleague.answer()
    await calls.close()

    (thread,) = [each for each in shop.chatwoot.conversations.values() if each.contact.name == CUSTOMER]
    said = [(message.content, message.message_type == OUTGOING) for message in thread.messages if message.content]
    assert said == [(QUESTION, False), (ANSWER, True), (THANKS, False)] * 2
    changes = await shop.world.announced(events_pb2.HandoffChanged, harness.organization_id)
    told = [(HandoffMode.Name(change.handoff.mode), change.handoff.actor.name) for change in changes]
    assert told == [("HANDOFF_MODE_HUMAN", EMAIL), ("HANDOFF_MODE_AI", EMAIL)] * 2
    members = await shop.world.rows(
        "select role from identity.members join identity.users using (user_id)"
        " where organization_id = %s and email = %s",
        *(harness.organization_id, EMAIL),
    )
    assert [member["role"] for member in members] == ["AGENT"]


async def test_who_knows_another_password_gives_up_and_takes_nothing_over(shop: Shop) -> None:
    harness = shop.harness
    calls = Calls(shop.world.host.signer("cli"), {}, shop.world.host.grpc_address)
    for password in (PASSWORD, "another password 7"):
        colleague = Colleague(
            *(calls, str(harness.organization_id), harness.url, shop.chatwoot_url, password),
            run=1,
            pause_seconds=0,
        )
        await colleague.answer()
    await calls.close()
    changes = await shop.world.announced(events_pb2.HandoffChanged, harness.organization_id)
    assert len(changes) == 2
