"""A Chatwoot in both directions: its webhooks reach Prosa, and what Prosa sends reaches it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import aiohttp
from aiohttp import web

from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from sandbox.chatwoot.app import make_app, set_up_account
from sandbox.chatwoot.faults import Faults
from sandbox.chatwoot.people import Person
from sandbox.chatwoot.records import EVENTS, OUTGOING, Conversation, Message
from sandbox.chatwoot.sender import Sender
from sandbox.chatwoot.world import World as ChatwootWorld
from tests.harness import INSTAGRAM_INBOX, SECRET, WHATSAPP_INBOX, Harness, open_harness
from tests.world import AGENT, World

TOKEN = "token-of-the-account"


@dataclass
class Shop:
    """An organization with its Chatwoot."""

    harness: Harness
    chatwoot: ChatwootWorld
    faults: Faults
    chatwoot_url: str
    """Where the fake listens."""

    @property
    def world(self) -> World:
        """Where Prosa runs."""
        return self.harness.world

    async def said(self, text: str = "Oi, tem vaga?", inbox: str = "whatsapp", name: str = "") -> Talk:
        """A customer writes; answers the conversation once Prosa knows of the message."""
        row = self.chatwoot.setup.inbox(inbox)
        assert row is not None
        message = self.chatwoot.incoming_message(row, Person.named(name or f"Ana {uuid4().hex}"), text)
        return await self.known(message)

    async def known(self, message: Message) -> Talk:
        """Waits until Prosa knows a message of the fake; answers its conversation."""
        found = await self.world.until(
            "select conversation_id::text, message_id::text from conversation.message_keys where organization_id = %s"
            " and provider_message_id = %s",
            *(self.harness.organization_id, str(message.id)),
        )
        return Talk(self, message.conversation, found[0]["conversation_id"], found[0]["message_id"])


@dataclass
class Talk:
    """One conversation, on both sides."""

    shop: Shop
    at_chatwoot: Conversation
    conversation_id: str
    message_id: str
    """Of the message that was waited for."""

    @property
    def left(self) -> list[str]:
        """What was written in it to the customer, as the fake has it."""
        return [
            message.content or ""
            for message in self.at_chatwoot.messages
            if message.message_type == OUTGOING and not message.private
        ]

    async def call(self, path: str, body: Any = None, *, person: bool = True, method: str = "") -> tuple[int, Any]:
        """A call over HTTP, of a person of the staff or with the API key."""
        harness = self.shop.harness
        headers = bearer(harness) if person else {"X-Api-Key": harness.api_key}
        verb = method or ("GET" if body is None else "POST")
        async with harness.session.request(verb, harness.url + path, json=body, headers=headers) as response:
            return response.status, await response.json(content_type=None)

    async def send(self, text: str, *, person: bool = True, **fields: Any) -> tuple[int, Any]:
        """SendMessage over HTTP."""
        return await self.call(
            f"/api/v1/conversations/{self.conversation_id}/messages", {"text": text, **fields}, person=person
        )

    async def until(self, delivery_id: str, *states: str) -> dict[str, Any]:
        """Waits until a delivery is in one of the states; answers its row."""
        found = await self.shop.world.until(
            "select * from conversation.deliveries where delivery_id = %s and state = any (%s)",
            *(UUID(delivery_id), list(states)),
        )
        return found[0]

    async def messages(self) -> list[Any]:
        """Its messages over HTTP, oldest first."""
        status, answer = await self.call(f"/api/v1/conversations/{self.conversation_id}/messages")
        assert status == 200, answer
        return list(reversed(answer["messages"]))

    async def handoff(self) -> str:
        """Who answers: AI or HUMAN."""
        status, answer = await self.call(f"/api/v1/conversations/{self.conversation_id}")
        assert status == 200, answer
        return str(answer["handoff"]["mode"]).removeprefix("HANDOFF_MODE_")


def bearer(harness: Harness) -> dict[str, str]:
    """The headers of somebody of the organization's staff."""
    token, _ = harness.world.host.signer("identity").person_token(
        kind="user",
        principal=f"user:{uuid4()}",
        organization_id=harness.organization_id,
        role=AGENT,
        name="larissa@escola-ipe.example",
    )
    return {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def shop_of(world: World, session: aiohttp.ClientSession) -> AsyncIterator[Shop]:
    """Opens an organization whose connection leads to a fake of its own."""
    faults = Faults()
    harness = await open_harness(world, session, inboxes=(WHATSAPP_INBOX, INSTAGRAM_INBOX))
    chatwoot = ChatwootWorld(world.clock.now, seed=uuid4().int % 2**31, account_id=harness.account_id)
    set_up_account(chatwoot, access_token=TOKEN, whatsapp_inbox_id=WHATSAPP_INBOX, instagram_inbox_id=INSTAGRAM_INBOX)
    chatwoot.setup.add_webhook(harness.webhook_url, secret=SECRET, subscriptions=EVENTS)
    sender = Sender(chatwoot.setup, faults, now=world.clock.now, ordered=True, attempt_count_max=5)
    runner = web.AppRunner(make_app(chatwoot, sender, faults), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    chatwoot_url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        connections = world.as_user(harness.organization_id).stub(ConnectionServiceStub)
        await connections.UpdateConnection(
            connection_pb.UpdateConnectionRequest(
                connection_id=harness.connection.connection_id,
                base_url=chatwoot_url,
                access_token=TOKEN,
            )
        )
        await world.until(
            "select 1 from conversation.provider_accounts where organization_id = %s"
            " and access_token_sealed is not null",
            harness.organization_id,
        )
        yield Shop(harness, chatwoot, faults, chatwoot_url)
    finally:
        await runner.cleanup()
