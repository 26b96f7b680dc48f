"""Messages whose sender dies: ``kill -9`` after Chatwoot has taken them and before anything of it is committed here."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp
from aiohttp import web

from chassis import auth, rpc
from chassis.clock import SystemClock
from embedded.ports import LOOPBACK
from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.v1 import options_pb2
from sandbox.chatwoot.app import make_app
from sandbox.chatwoot.faults import Fault, Faults
from sandbox.chatwoot.people import Person
from sandbox.chatwoot.records import EVENTS, OUTGOING, WHATSAPP, Event
from sandbox.chatwoot.sender import Sender
from sandbox.chatwoot.world import World
from tests.chaos.hand import Hand
from tests.chaos.invariants import Check, check
from tests.chaos.observer import LOOK_SECONDS, Observer
from tests.chaos.system import SECRET, System, open_channels

ACCOUNT_ID = 8
INBOXES = (31, 32, 33, 34, 35)
"""Each is a channel, whose messages leave one after the other: so many are with Chatwoot at once."""
TOKEN = "token-of-the-account-that-is-written-to"
LATE_SECONDS = 30.0
"""How late Chatwoot answers: later than the kill."""
TAKEN_SECONDS_MAX = 90.0
SETTLED_SECONDS_MAX = 180.0
"""After the last kill: the lease of who died runs out, and the new one looks at Chatwoot, perhaps twice."""
RETRY_SECONDS = 0.3


@dataclass
class Provider:
    """A Chatwoot that takes what is sent to it."""

    world: World
    faults: Faults
    port: int
    takes: list[Callable[[], None]] = field(default_factory=list)
    """Called with every message that it took, before it answers."""

    @property
    def host(self) -> str:
        """Where it is reached."""
        return f"{LOOPBACK}:{self.port}"

    def texts(self) -> Counter[str]:
        """How often each text stands in its conversations, of those that were sent to customers."""
        return Counter(
            message.content or "" for message in self.world.messages.values() if message.message_type == OUTGOING
        )

    def note(self, event: Event) -> None:
        """One more event of the fake's world."""
        if event.name != "message_created" or event.message_id is None:
            return
        if self.world.messages[event.message_id].message_type == OUTGOING:
            for take in self.takes:
                take()


@asynccontextmanager
async def open_provider(seed: int) -> AsyncIterator[Provider]:
    """Serves a Chatwoot of its own with a few inboxes."""
    faults = Faults(seed)
    world = World(lambda: datetime.now(UTC), seed=seed, account_id=ACCOUNT_ID)
    world.setup.add_agent("Otávio Brandão", "otavio@escola-ipe.example", "administrator", access_token=TOKEN)
    for inbox_id in INBOXES:
        world.setup.add_inbox(WHATSAPP, f"WhatsApp {inbox_id}", inbox_id=inbox_id)
    sender = Sender(world.setup, faults, now=world.now, ordered=True, attempt_count_max=5)
    runner = web.AppRunner(make_app(world, sender, faults), access_log=None)
    await runner.setup()
    await web.TCPSite(runner, LOOPBACK, 0).start()
    provider = Provider(world, faults, runner.addresses[0][1])
    world.listen(provider.note)
    try:
        yield provider
    finally:
        await runner.cleanup()


class Sending:
    """People who answer, and the deaths of what sends their answers."""

    def __init__(self, system: System, provider: Provider, observer: Observer, hand: Hand) -> None:
        self._system, self._provider, self._observer, self._hand = system, provider, observer, hand
        self._conversations: list[str] = []
        self._texts: list[str] = []

    async def run(self, kill_count: int) -> list[Check]:
        """So many kills, each with a message of every channel at Chatwoot; what must be true of the messages then."""
        await self._set_up()
        target = next(app.name for app in self._system.suite.apps if "conversation" in app.targets)
        async with aiohttp.ClientSession() as session:
            for number in range(kill_count):
                await self._strike(session, target, number)
        return await self._judge(kill_count)

    async def _set_up(self) -> None:
        acting = rpc.for_organization(self._system.organization_id)
        world = self._provider.world
        async with open_channels(self._system.suite) as channels:
            stub = ConnectionServiceStub(channels["ingest"])
            connection = await stub.CreateConnection(
                connection_pb.CreateConnectionRequest(
                    name="Chatwoot that is written to",
                    account_id=ACCOUNT_ID,
                    base_url=f"http://{self._provider.host}",
                    access_token=TOKEN,
                    webhook_secret=SECRET,
                ),
                metadata=acting,
            )
            for inbox_id in INBOXES:
                await stub.CreateChannel(
                    connection_pb.CreateChannelRequest(
                        connection_id=connection.connection_id,
                        name=f"inbox {inbox_id}",
                        source=options_pb2.SOURCE_WHATSAPP,
                        inbox_id=inbox_id,
                    ),
                    metadata=acting,
                )
        world.setup.add_webhook(self._system.url + connection.webhook_path, secret=SECRET, subscriptions=EVENTS)
        for inbox_id in INBOXES:
            world.incoming_message(world.setup.inboxes[inbox_id], Person.named(f"Ana {uuid4().hex}"), "Oi, tem vaga?")
        sendable = (
            "select conversation_id::text as id from conversation.conversations"
            " join conversation.provider_accounts using (organization_id, connection_id)"
            f" where connection_id = '{connection.connection_id}' and access_token_sealed is not null"
        )
        async with asyncio.timeout(TAKEN_SECONDS_MAX):
            while len(rows := await self._observer.rows(sendable)) < len(INBOXES):  # noqa: ASYNC110 another process
                await asyncio.sleep(LOOK_SECONDS)
        self._conversations = [row["id"] for row in rows]

    async def _strike(self, session: aiohttp.ClientSession, target: str, number: int) -> None:
        waited_for = len(self._conversations)
        back: asyncio.Future[Callable[[], Awaitable[None]]] = asyncio.get_running_loop().create_future()

        def take() -> None:
            nonlocal waited_for
            waited_for -= 1
            if waited_for == 0:
                # Here, within the request: whoever sent it has not been answered.
                back.set_result(self._hand.kill(target))

        self._provider.takes = [take]
        # Of every other time, Chatwoot's own events are lost too, so that what left must be looked for.
        self._provider.faults.clear("webhook.lost")
        if number % 2 == 0:
            self._provider.faults.set(Fault("webhook.lost", only="message_"))
        self._provider.faults.set(Fault("rest.late_answer", count=waited_for, seconds=LATE_SECONDS, only="/messages"))
        for conversation_id in self._conversations:
            text = f"Resposta {number} a {conversation_id}"
            self._texts.append(text)
            await self._send(session, conversation_id, text)
        async with asyncio.timeout(TAKEN_SECONDS_MAX):
            await (await back)()

    async def _send(self, session: aiohttp.ClientSession, conversation_id: str, text: str) -> None:
        """SendMessage over HTTP under one ``request_id``, until it is answered."""
        private_key = auth.load_private_key(self._system.suite.directory / "keys", "identity")
        token, _ = auth.TokenSigner("identity", private_key, SystemClock()).person_token(
            kind="user",
            principal=f"user:{uuid4()}",
            organization_id=self._system.organization_id,
            role=options_pb2.ROLE_AGENT,
            name="larissa@escola-ipe.example",
        )
        url = f"{self._system.url}/api/v1/conversations/{conversation_id}/messages"
        body, answered = {"text": text, "request_id": str(uuid4())}, 0
        async with asyncio.timeout(TAKEN_SECONDS_MAX):
            while answered != 200:
                try:
                    async with session.post(url, json=body, headers={"Authorization": f"Bearer {token}"}) as response:
                        answered, said = response.status, await response.text()
                except aiohttp.ClientError as error:
                    answered, said = 0, repr(error)
                if answered not in (0, 200, 503):
                    raise AssertionError(f"{answered}: {said}")
                if answered != 200:
                    await asyncio.sleep(RETRY_SECONDS)

    async def _judge(self, kill_count: int) -> list[Check]:
        open_states = "select 1 from conversation.deliveries where state not in ('SENT', 'DELIVERED', 'READ', 'FAILED')"
        unsettled = await self._observer.left_over(open_states, SETTLED_SECONDS_MAX)
        rows = await self._observer.rows(
            "select text, delivery.state, attempt_count from conversation.messages"
            " left join conversation.deliveries delivery on delivery_id = message_id"
            " where direction = 'OUTBOUND' and starts_with(text, 'Resposta ')"
        )
        left, kept = self._provider.texts(), Counter(row["text"] for row in rows)
        states = ", ".join(f"{count} {state}" for state, count in Counter(row["state"] for row in rows).items())
        told = f"{len(self._texts)} messages, {kill_count} kills: {states}"
        return [
            check("no message left twice", [text for text, count in left.items() if count > 1], told),
            check("every message left", [text for text in self._texts if not left[text]], told),
            check("every message is one row", [text for text in self._texts if kept[text] != 1], f"{len(rows)} rows"),
            check(
                "every message is known to have left",
                [*unsettled, *((row["text"], row["state"]) for row in rows if row["state"] in (None, "FAILED"))],
                told,
            ),
            check("each was tried once", [row["text"] for row in rows if row["attempt_count"] != 1], told),
        ]
