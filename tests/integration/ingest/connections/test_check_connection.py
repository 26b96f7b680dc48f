"""CheckConnection against a fake Chatwoot over real HTTP, and the client against servers that misbehave."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import grpc.aio
import orjson
import pytest
import pytest_asyncio
from aiohttp import web
from google.protobuf.timestamp_pb2 import Timestamp

from chassis.addresses import AllowedHosts
from chassis.outgoing import Outgoing
from prosa.ingest.v1 import connection_service_pb2 as pb
from prosa.ingest.v1 import ingest_service_pb2 as acceptance_pb
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceStub
from sandbox.chatwoot.app import make_app, set_up_account
from sandbox.chatwoot.faults import Fault, Faults
from sandbox.chatwoot.records import EVENTS
from sandbox.chatwoot.sender import Sender
from sandbox.chatwoot.world import World as ChatwootWorld
from services.ingest.limits import CHATWOOT_ANSWER_BYTES_MAX
from services.ingest.providers.chatwoot.check import Failure
from services.ingest.providers.chatwoot.client import ChatwootAccount, ChatwootClient, ChatwootError
from tests.integration.ingest.connections.making import (
    INSTAGRAM,
    WHATSAPP,
    connections,
    given_channel,
    given_connection,
)
from tests.unit.sandbox.clock import TickingClock
from tests.world import World, error_info

TARGETS = ("ingest",)
TOKEN = "token-da-administradora"
SECRET = "segredo-do-teste"
ACCOUNT_ID = 7
ITEMS = ["api_reachable", "token_valid", "inboxes_known", "webhook_registered", "secret_set", "events_arriving"]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def listening(app: web.Application) -> AsyncIterator[str]:
    """The app's URL on loopback."""
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class Fake:
    """A running Chatwoot and its switchboard."""

    chatwoot: ChatwootWorld
    faults: Faults
    url: str

    def register(self, connection: pb.Connection, *, secret: str = SECRET, subscriptions: Any = EVENTS) -> None:
        """Adds our webhook, as an administrator does."""
        self.chatwoot.setup.add_webhook(
            f"https://prosa.example.com{connection.webhook_path}", secret=secret, subscriptions=subscriptions
        )


@pytest_asyncio.fixture(loop_scope="session")
async def fake() -> AsyncIterator[Fake]:
    clock, faults = TickingClock(), Faults()
    chatwoot = ChatwootWorld(clock, seed=4, account_id=ACCOUNT_ID)
    set_up_account(chatwoot, access_token=TOKEN, evolution_inbox_id=3)
    sender = Sender(chatwoot.setup, faults, now=clock, in_flight_max=1)
    async with listening(make_app(chatwoot, sender, faults)) as url:
        yield Fake(chatwoot, faults, url)


async def given(world: World, organization_id: UUID, fake: Fake, **changes: Any) -> pb.Connection:
    """A connection to the fake that lacks nothing but its webhook and an event."""
    fields = {"base_url": fake.url, "access_token": TOKEN, "webhook_secret": SECRET} | changes
    made = await given_connection(world, organization_id, **fields)
    await given_channel(world, made, 1, WHATSAPP)
    await given_channel(world, made, 2, INSTAGRAM)
    return made


async def check(world: World, connection: pb.Connection) -> tuple[bool, dict[str, pb.CheckItem]]:
    """What a check finds, by the item's name."""
    answer = await connections(world, UUID(connection.organization_id)).CheckConnection(
        pb.CheckConnectionRequest(connection_id=connection.connection_id)
    )
    assert [item.name for item in answer.items] == ITEMS
    assert answer.passed == all(item.passed for item in answer.items)
    assert all(TOKEN not in item.detail and SECRET not in item.detail for item in answer.items)
    return answer.passed, {item.name: item for item in answer.items}


def failed(items: dict[str, pb.CheckItem]) -> list[str]:
    return [name for name, item in items.items() if not item.passed]


async def test_a_connection_that_lacks_nothing_passes(world: World, organization_id: UUID, fake: Fake) -> None:
    made = await given(world, organization_id, fake, webhook_secret="")
    fake.register(made)
    received = Timestamp(seconds=int(world.clock.now().timestamp()))
    webhook = acceptance_pb.Webhook(
        provider=acceptance_pb.PROVIDER_CHATWOOT,
        connection_key=made.connection_key,
        body=b'{"event":"webwidget_triggered","id":1}',
        receive_time=received,
    )
    acceptor = world.as_service("gateway").stub(IngestServiceStub)
    await acceptor.AcceptWebhooks(acceptance_pb.AcceptWebhooksRequest(webhooks=[webhook]))
    await connections(world, organization_id).AddWebhookSecret(
        pb.AddWebhookSecretRequest(connection_id=made.connection_id, webhook_secret=SECRET)
    )
    passed, items = await check(world, made)
    assert passed, {name: items[name].detail for name in failed(items)}
    assert "4.15.1" in items["api_reachable"].detail
    assert "administrator" in items["token_valid"].detail
    assert "Channel::Instagram" in items["inboxes_known"].detail
    (row,) = await world.rows(
        "select receive_time from ingest.webhook_events where organization_id = %s", organization_id
    )
    assert f"{row['receive_time']:%Y-%m-%dT%H:%M:%SZ}" in items["events_arriving"].detail


async def test_a_new_connection_is_told_what_is_still_to_do(world: World, organization_id: UUID, fake: Fake) -> None:
    made = await given_connection(world, organization_id, base_url=fake.url, access_token=TOKEN)
    _, items = await check(world, made)
    assert failed(items) == ["inboxes_known", "webhook_registered", "secret_set", "events_arriving"]
    assert '1 "WhatsApp Escola Ipê"' in items["inboxes_known"].detail
    for expected in (made.webhook_path, "message_created", "Integrations > Webhooks"):
        assert expected in items["webhook_registered"].detail
    assert "unsigned" in items["secret_set"].detail


@pytest.mark.parametrize(
    ("token", "expected"), [("palpite", "refuses the access token"), ("", "No access token is kept")]
)
async def test_a_token_that_is_not_believed_fails_all_that_needs_it(
    world: World, organization_id: UUID, fake: Fake, token: str, expected: str
) -> None:
    _, items = await check(world, await given(world, organization_id, fake, access_token=token))
    assert failed(items) == ["token_valid", "inboxes_known", "webhook_registered", "events_arriving"]
    assert expected in items["token_valid"].detail


async def test_a_mistyped_connection_is_mended_and_checked_with_its_new_token_alone(
    world: World, organization_id: UUID, fake: Fake
) -> None:
    asked: list[str | None] = []

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path != "/api":
            asked.append(request.headers.get("Api-Access-Token"))
        return await handler(request)

    sender = Sender(fake.chatwoot.setup, fake.faults, now=TickingClock(), in_flight_max=1)
    app = make_app(fake.chatwoot, sender, fake.faults)
    app.middlewares.append(note)
    async with listening(app) as url:
        made = await given(world, organization_id, fake, base_url=url, account_id=8, access_token="token-girado")
        fake.register(made)
        _, items = await check(world, made)
        assert failed(items) == ["token_valid", "inboxes_known", "webhook_registered", "events_arriving"]
        assert set(asked) == {"token-girado"}
        asked.clear()
        await connections(world, organization_id).UpdateConnection(
            pb.UpdateConnectionRequest(
                connection_id=made.connection_id, account_id=ACCOUNT_ID, base_url=f"{url}/", access_token=TOKEN
            )
        )
        _, items = await check(world, made)
        assert failed(items) == ["events_arriving"]
        assert set(asked) == {TOKEN}


async def test_the_token_of_an_agent_is_not_enough(world: World, organization_id: UUID, fake: Fake) -> None:
    token = fake.chatwoot.setup.agents[2].access_token
    _, items = await check(world, await given(world, organization_id, fake, access_token=token))
    assert failed(items) == ["token_valid", "webhook_registered", "events_arriving"]
    assert "Larissa Queiroz's, who is agent in account 7" in items["token_valid"].detail


async def test_the_token_of_another_account_is_not_enough(world: World, organization_id: UUID, fake: Fake) -> None:
    _, items = await check(world, await given(world, organization_id, fake, account_id=8))
    assert failed(items) == ["token_valid", "inboxes_known", "webhook_registered", "events_arriving"]
    assert "no member of account 8" in items["token_valid"].detail


async def test_an_inbox_that_is_not_there_or_of_another_medium_is_named(
    world: World, organization_id: UUID, fake: Fake
) -> None:
    made = await given(world, organization_id, fake)
    await given_channel(world, made, 3, WHATSAPP, "Evolution")
    await given_channel(world, made, 44, WHATSAPP, "Fantasma")
    other = await given_connection(world, organization_id, base_url=fake.url, access_token=TOKEN)
    await given_channel(world, other, 2, WHATSAPP, "Trocada")
    _, items = await check(world, made)
    assert '"Fantasma" names inbox 44' in items["inboxes_known"].detail
    assert "Evolution" not in items["inboxes_known"].detail
    _, items = await check(world, other)
    assert '"Trocada" is declared as WHATSAPP' in items["inboxes_known"].detail
    assert "Channel::Instagram" in items["inboxes_known"].detail


async def test_a_webhook_without_a_needed_event_or_with_another_secret_is_noticed(
    world: World, organization_id: UUID, fake: Fake
) -> None:
    made = await given(world, organization_id, fake)
    fake.register(made, secret="outro-segredo", subscriptions=("conversation_created", "message_created"))
    _, items = await check(world, made)
    assert failed(items) == ["webhook_registered", "secret_set", "events_arriving"]
    assert "not subscribed to conversation_updated" in items["webhook_registered"].detail
    assert "message_created" not in items["webhook_registered"].detail
    assert "signs with another one" in items["secret_set"].detail
    assert "outro-segredo" not in items["secret_set"].detail


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault("rest.error", status=503), "answers 503"),
        (Fault("rest.rate_limit"), "too many requests"),
        (Fault("rest.reset"), "broke off"),
    ],
)
async def test_a_failing_chatwoot_is_described(fake: Fake, fault: Fault, expected: str) -> None:
    fake.faults.set(fault)
    async with asking(fake.url.removeprefix("http://")) as chatwoot:
        seen = await chatwoot.observe(fake.url, TOKEN, ACCOUNT_ID)
    for outcome in (seen.version, seen.profile, seen.inboxes, seen.webhooks):
        assert isinstance(outcome, Failure)
        assert expected in outcome.sentence


async def test_without_base_url_there_is_nobody_to_ask(world: World, organization_id: UUID) -> None:
    _, items = await check(world, await given_connection(world, organization_id))
    assert "No base_url is kept" in items["api_reachable"].detail
    for name in ("token_valid", "inboxes_known", "webhook_registered"):
        assert items[name].detail == "Could not be asked either: see api_reachable."


@asynccontextmanager
async def asking(allowed_hosts: str, *, timeout_seconds: float = 4.0) -> AsyncIterator[ChatwootClient]:
    """A client that may reach what the operator allows."""
    outgoing = Outgoing(AllowedHosts(allowed_hosts))
    try:
        yield ChatwootClient(outgoing, timeout_seconds=timeout_seconds)
    finally:
        await outgoing.close()


@asynccontextmanager
async def account_at(
    url: str, *, allowed_hosts: str | None = None, timeout_seconds: float = 4.0
) -> AsyncIterator[ChatwootAccount]:
    """The account at a URL whose host and port the operator allows, or else what is said."""
    allowed = urlsplit(url).netloc if allowed_hosts is None else allowed_hosts
    outgoing = Outgoing(AllowedHosts(allowed))
    try:
        yield ChatwootAccount(outgoing, timeout_seconds, url, TOKEN, ACCOUNT_ID)
    finally:
        await outgoing.close()


async def sentence_of(handler: Handler, *, allowed_hosts: str | None = None) -> str:
    """How the client describes what a server does when it is asked for its version."""
    app = web.Application()
    app.router.add_get("/{path:.*}", handler)
    async with listening(app) as url, account_at(url, allowed_hosts=allowed_hosts) as account:
        with pytest.raises(ChatwootError) as failure:
            await account.version()
    return failure.value.sentence


async def test_private_addresses_are_not_called() -> None:
    called = []

    async def answer(request: web.Request) -> web.Response:
        called.append(request.path)
        return web.json_response({"version": "4.15.1"})

    sentence = await sentence_of(answer, allowed_hosts="chat.example.com")
    assert "127.0.0.1 leads to no public address" in sentence
    assert "PROSA_ALLOWED_HOSTS" in sentence
    assert called == []
    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with listening(app) as url:
        by_name = url.replace("127.0.0.1", "localhost")
        async with account_at(by_name, allowed_hosts="") as account:
            with pytest.raises(ChatwootError, match="localhost leads to no public address"):
                await account.version()
        async with account_at(by_name, allowed_hosts="localhost") as account:
            assert await account.version() == "4.15.1"
    assert called == ["/api"]


async def test_redirects_are_not_followed() -> None:
    called = []

    async def redirect(request: web.Request) -> web.Response:
        called.append(request.path)
        raise web.HTTPFound("/elsewhere")

    assert "redirects to /elsewhere" in await sentence_of(redirect)
    assert called == ["/api"]


async def test_the_token_is_sent_where_it_is_needed_alone() -> None:
    seen = {}

    async def answer(request: web.Request) -> web.Response:
        seen[request.path] = request.headers.get("Api-Access-Token")
        return web.json_response({"version": "4.15.1", "name": "Otávio", "accounts": []})

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with listening(app) as url, account_at(f"{url}/chat/") as account:
        await account.version()
        await account.profile()
    assert seen == {"/chat/api": None, "/chat/api/v1/profile": TOKEN}


async def test_an_answer_without_end_is_cut_off() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        sent = 0
        try:
            while sent < 16 * CHATWOOT_ANSWER_BYTES_MAX:
                await response.write(b" " * 65_536)
                sent += 65_536
        except ConnectionError:
            return response
        raise AssertionError("The client read on.")

    assert f"larger than {CHATWOOT_ANSWER_BYTES_MAX} bytes" in await sentence_of(endless)


async def test_silence_is_waited_for_only_so_long() -> None:
    gave_up = asyncio.Event()

    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the client hangs up
        writer.close()
        gave_up.set()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, account_at(f"http://127.0.0.1:{port}", timeout_seconds=0.2) as account:
        with pytest.raises(ChatwootError, match="did not answer in time"):
            await account.version()
        await gave_up.wait()


@pytest.mark.parametrize(
    ("body", "expected"), [("<html>", "not with JSON"), ("[]", "not as Chatwoot does"), ("{}", "not as Chatwoot does")]
)
async def test_another_program_at_the_address_is_recognized(body: str, expected: str) -> None:
    async def answer(_request: web.Request) -> web.Response:
        return web.Response(text=body)

    assert expected in await sentence_of(answer)


async def test_nobody_at_the_address_is_described() -> None:
    async with listening(web.Application()) as url:
        pass
    async with account_at(url) as account:
        with pytest.raises(ChatwootError, match="refuses the connection"):
            await account.version()


_DEEP = orjson.loads(b"[" * 1_000 + b"]" * 1_000)
_ODD_TEXTS = ["x", "x" * 900_000, "a\u0000\n\u202eb"]
_ODD: list[Any] = [None, True, 7, -1.5, *_ODD_TEXTS, [], [[]], {}, {"id": {}}, _DEEP, [_DEEP], [7] * 9]


@pytest.mark.case("S13")
@pytest.mark.parametrize("odd", _ODD, ids=lambda odd: type(odd).__name__)
async def test_whatever_an_address_answers_the_check_says_it_in_few_words(
    world: World, organization_id: UUID, odd: Any
) -> None:
    row = dict.fromkeys(("url", "subscriptions", "secret", "name", "channel_type", "role"), odd)

    async def answer(request: web.Request) -> web.Response:
        at = request.path.rpartition("/")[2]
        body = {
            "api": {"version": odd},
            "profile": {"name": odd, "accounts": [odd, {**row, "id": ACCOUNT_ID}, {**row, "id": odd}]},
            "inboxes": {"payload": [odd, {**row, "id": 1}, {**row, "id": odd}]},
            "webhooks": {"payload": {"webhooks": [odd, row, {**row, "url": "https://x/api/chatwoot/webhook"}]}},
        }[at]
        return web.Response(body=orjson.dumps(body), content_type="application/json")

    app = web.Application()
    app.router.add_get("/{path:.*}", answer)
    async with listening(app) as url:
        made = await given_connection(world, organization_id, base_url=url, access_token=TOKEN, webhook_secret=SECRET)
        await given_channel(world, made, 1, WHATSAPP)
        passed, items = await check(world, made)
    assert not passed
    assert all(item.detail.isprintable() and len(item.detail) < 2_000 for item in items.values())


@pytest.mark.case("S3")
async def test_an_organization_checks_one_connection_at_a_time(world: World, organization_id: UUID) -> None:
    asked, answering = asyncio.Event(), asyncio.Event()

    async def hang(_: web.Request) -> web.Response:
        asked.set()
        await answering.wait()
        return web.json_response({})

    app = web.Application()
    app.router.add_get("/{path:.*}", hang)
    async with listening(app) as url:
        made = await given_connection(world, organization_id, base_url=url, access_token=TOKEN)
        first = asyncio.create_task(check(world, made))
        await asked.wait()
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await check(world, made)
        assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert error_info(refused.value).reason == "CHECK_RUNNING"
        answering.set()
        await first
        assert not (await check(world, made))[0]
