"""What strangers may hold of the public port, over real sockets: little, for a short time, and never the last place."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from chassis import sockets
from chassis.errors import Unauthenticated
from gateway.limits import HEAD_BYTES_MAX, UNPROVEN_SMALL_BYTES
from gateway.listening.connection import Stage
from gateway.listening.connections import ConnectionLimits, Connections
from gateway.routes.webhooks import WebhookLimits
from prosa.ingest.v1 import ingest_service_pb2 as pb
from tests.integration.gateway.fake_services import ACCEPT, World, accept_all, serve_gateway
from tests.world import PATIENCE_SECONDS

WEBHOOK = "/webhooks/chatwoot/a-key"
REQUEST = b"POST " + WEBHOOK.encode() + b" HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}"
SECONDS = PATIENCE_SECONDS


class Clock:
    """A monotonic clock that tests advance."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Bounded:
    """Connections with small limits, a clock of the test's own, and their metrics."""

    def __init__(self, **limits: Any) -> None:
        self.registry, self.clock = CollectorRegistry(), Clock()
        self.connections = Connections(ConnectionLimits(**limits), registry=self.registry, monotonic=self.clock)

    def refused(self, reason: str) -> float:
        """How many were refused for a reason, as monitoring sees it."""
        value = self.registry.get_sample_value("prosa_http_connections_refused_total", {"reason": reason})
        assert value is not None, reason
        return value


@asynccontextmanager
async def dialled(world: World, *sent: bytes) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A raw connection on which something was sent."""
    host, _, port = world.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        for data in sent:
            writer.write(data)
        yield reader, writer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


async def answer_of(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    """One answer: status, headers by lower-case name, body."""
    async with asyncio.timeout(SECONDS):
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


async def until(wanted: Callable[[], bool]) -> None:
    """Waits until the other side of a socket has noticed something."""
    async with asyncio.timeout(SECONDS):
        while not wanted():  # noqa: ASYNC110 a socket's other side has no event
            await asyncio.sleep(0.005)


@pytest.mark.case("S4")
async def test_idle_sockets_give_way_to_a_genuine_webhook() -> None:
    bounded = Bounded(connections_max=20)
    async with serve_gateway(bounded.connections) as world:
        strangers = [dialled(world) for _ in range(60)]
        opened = [await stranger.__aenter__() for stranger in strangers]
        await until(lambda: bounded.refused("crowded_out") >= 40)
        assert len(bounded.connections) <= 20
        async with world.http.post(WEBHOOK, data=b"{}") as response:
            assert response.status == 200
        # Those who had waited longest were told by the end of their connection.
        async with asyncio.timeout(SECONDS):
            assert await opened[0][0].read() == b""
        assert bounded.registry.get_sample_value("prosa_http_connections", {"stage": "waiting"}) == len(
            bounded.connections
        ) - bounded.connections.count(Stage.RESTING)
        for stranger in strangers:
            await stranger.__aexit__(None, None, None)


@pytest.mark.case("S4")
async def test_a_caller_who_was_genuine_keeps_his_connection_among_strangers() -> None:
    bounded = Bounded(connections_max=20)
    async with serve_gateway(bounded.connections) as world, dialled(world, REQUEST) as (reader, writer):
        assert (await answer_of(reader))[0] == 200
        strangers = [dialled(world) for _ in range(60)]
        for stranger in strangers:
            await stranger.__aenter__()
        await until(lambda: bounded.refused("crowded_out") >= 41)
        writer.write(REQUEST)
        assert (await answer_of(reader))[0] == 200
        for stranger in strangers:
            await stranger.__aexit__(None, None, None)


@pytest.mark.case("S4")
@pytest.mark.parametrize(
    "request_sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n",
        b"POST /api/v1/contacts HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\n{}",
    ],
    ids=["public", "refused"],
)
async def test_an_answer_that_anybody_gets_makes_nobody_genuine(request_sent: bytes) -> None:
    bounded = Bounded(connections_max=20)

    async def refuse(_: object) -> Any:
        raise Unauthenticated("TOKEN_MISSING", "No token.")

    async with serve_gateway(bounded.connections) as world:
        world.fakes.answers["/prosa.identity.v1.ContactService/CreateContact"] = refuse
        async with dialled(world, request_sent) as (reader, _):
            await answer_of(reader)
            await until(lambda: bounded.connections.count(Stage.BUSY) == 0)
            assert bounded.connections.count(Stage.RESTING) == 0
            bounded.clock.now += bounded.connections.limits.head_seconds
            bounded.connections.sweep()
            async with asyncio.timeout(SECONDS):
                assert await reader.read() == b""


@pytest.mark.case("S4")
async def test_unfinished_headers_are_bounded_together() -> None:
    bounded = Bounded(heads_bytes_max=100_000)
    filler = b"GET / HTTP/1.1\r\n" + b"X-Filler: " + b"x" * 15_000 + b"\r\n"
    async with serve_gateway(bounded.connections) as world:
        strangers = [dialled(world, filler) for _ in range(30)]
        for stranger in strangers:
            await stranger.__aenter__()
        await until(lambda: bounded.refused("headers_total") >= 20)
        assert 0 < bounded.connections.heads_bytes <= 100_000
        async with world.http.post(WEBHOOK, data=b"{}") as response:
            assert response.status == 200
        for stranger in strangers:
            await stranger.__aexit__(None, None, None)
        await until(lambda: bounded.connections.heads_bytes == 0)


@pytest.mark.case("S4")
async def test_headers_larger_than_any_request_needs_are_refused() -> None:
    bounded = Bounded()
    line = b"X-Filler: " + b"x" * 8_000 + b"\r\n"
    async with serve_gateway(bounded.connections) as world:
        sent = b"GET / HTTP/1.1\r\n" + line * (HEAD_BYTES_MAX // len(line) + 1)
        async with dialled(world, sent) as (reader, _):
            status, headers, body = await answer_of(reader)
    assert (status, headers["content-type"]) == (431, "application/problem+json")
    assert json.loads(body)["reason"] == "HEADERS_TOO_LARGE"
    assert bounded.refused("headers_large") == 1


@pytest.mark.case("S4")
async def test_headers_that_drip_have_a_deadline_which_each_byte_does_not_move() -> None:
    bounded = Bounded(head_seconds=5.0)
    async with (
        serve_gateway(bounded.connections) as world,
        dialled(world, b"POST /webho") as (reader, writer),
        dialled(world) as (silent, _),
    ):
        await until(lambda: bounded.connections.heads_bytes == 11 and len(bounded.connections) == 2)
        bounded.clock.now = 4.9
        writer.write(b"oks/")
        await until(lambda: bounded.connections.heads_bytes == 15)
        bounded.connections.sweep()
        assert len(bounded.connections) == 2
        bounded.clock.now = 5.0
        bounded.connections.sweep()
        status, headers, body = await answer_of(reader)
        assert (status, headers["content-type"]) == (408, "application/problem+json")
        assert headers["connection"] == "close"
        assert json.loads(body)["reason"] == "HEADERS_SLOW"
        async with asyncio.timeout(SECONDS):
            assert await silent.read() == b""
    assert bounded.refused("headers_slow") == 2
    assert bounded.connections.heads_bytes == 0


@pytest.mark.case("S4")
async def test_the_next_request_of_a_genuine_caller_has_the_deadline_too() -> None:
    bounded = Bounded(head_seconds=5.0)
    async with serve_gateway(bounded.connections) as world, dialled(world, REQUEST) as (reader, writer):
        await answer_of(reader)
        bounded.clock.now = 60.0
        bounded.connections.sweep()
        writer.write(REQUEST[:20])
        await until(lambda: bounded.connections.heads_bytes == 20)
        bounded.clock.now = 64.0
        bounded.connections.sweep()
        writer.write(REQUEST[20:])
        assert (await answer_of(reader))[0] == 200
        writer.write(REQUEST[:20])
        await until(lambda: bounded.connections.heads_bytes == 20)
        bounded.clock.now = 69.0
        bounded.connections.sweep()
        async with asyncio.timeout(SECONDS):
            assert await reader.read() == b""


@pytest.mark.case("S4")
async def test_a_request_under_way_is_not_pushed_out_by_strangers_but_ends_one_day() -> None:
    bounded = Bounded(connections_max=5, request_seconds=60.0)
    release = asyncio.Event()

    async def held(request: Any) -> Any:
        await release.wait()
        return await accept_all(request)

    async with serve_gateway(bounded.connections) as world:
        world.fakes.answers[ACCEPT] = held
        async with dialled(world, REQUEST) as (reader, _):
            await world.fakes.wait_for_calls(1)
            strangers = [dialled(world) for _ in range(20)]
            for stranger in strangers:
                await stranger.__aenter__()
            await until(lambda: bounded.refused("crowded_out") >= 16)
            release.set()
            assert (await answer_of(reader))[0] == 200
            for stranger in strangers:
                await stranger.__aexit__(None, None, None)
        release.clear()
        async with dialled(world, REQUEST) as (reader, _):
            await until(lambda: bounded.connections.count(Stage.BUSY) == 1)
            bounded.clock.now = 60.0
            bounded.connections.sweep()
            async with asyncio.timeout(SECONDS):
                assert await reader.read() == b""
        assert bounded.refused("request_long") == 1
        release.set()


@pytest.mark.case("S4")
async def test_no_more_files_is_logged_counted_and_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    class Exhausted(socket.socket):
        """A listening socket of a process that has no file left, once."""

        failures = 1

        def accept(self) -> tuple[socket.socket, Any]:
            if self.failures:
                self.failures -= 1
                raise OSError(errno.EMFILE, "Too many open files")
            return super().accept()

    def listen(host: str, port: int) -> list[socket.socket]:
        return [Exhausted(fileno=opened.detach()) for opened in real(host, port)]

    real = sockets.listen
    monkeypatch.setattr(sockets, "listen", listen)
    bounded = Bounded()
    async with serve_gateway(bounded.connections) as world, world.http.post(WEBHOOK, data=b"{}") as response:
        assert response.status == 200
    assert bounded.refused("accept_failed") == 1


@pytest.mark.case("S13")
@pytest.mark.parametrize(
    "sent",
    [
        b"BLAH\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET / HTTP/1.0\n\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
    ],
    ids=["no request", "version", "space", "bare", "header", "line", "smuggled", "tls", "zeros"],
)
async def test_what_is_no_request_is_refused_as_every_other_error_is(gateway: World, sent: bytes) -> None:
    async with dialled(gateway, sent) as (reader, _):
        status, headers, body = await answer_of(reader)
        async with asyncio.timeout(SECONDS):
            assert await reader.read() == b""
    assert (status, headers["content-type"]) == (400, "application/problem+json")
    assert json.loads(body)["reason"] == "REQUEST_MALFORMED"
    assert headers["server"] == "prosa"
    assert not any(word in str(headers) + body.decode() for word in ("aiohttp", "Python/"))


async def test_requests_in_one_piece_are_answered_one_after_the_other(gateway: World) -> None:
    body = REQUEST.replace(b"\r\n\r\n{}", b"\r\n\r\n")
    async with dialled(gateway, REQUEST + REQUEST + body) as (reader, writer):
        assert [(await answer_of(reader))[0] for _ in range(2)] == [200, 200]
        writer.write(b"{}")
        assert (await answer_of(reader))[0] == 200
        writer.write(REQUEST)
        assert (await answer_of(reader))[0] == 200
    assert len(gateway.fakes.called(ACCEPT)) == 4


async def test_a_body_that_nobody_reads_leaves_the_connection_usable(gateway: World) -> None:
    unread = b"POST /nowhere HTTP/1.1\r\nHost: here\r\nContent-Length: 4\r\n\r\n"
    async with dialled(gateway, unread) as (reader, writer):
        assert (await answer_of(reader))[0] == 404
        writer.write(b"body")
        writer.write(REQUEST)
        assert (await answer_of(reader))[0] == 200


@pytest.mark.case("S5")
async def test_webhooks_that_name_no_connection_keep_none_waiting_that_name_one(gateway: World) -> None:
    release = asyncio.Event()

    async def held(request: pb.AcceptWebhooksRequest) -> pb.AcceptWebhooksResponse:
        if not all(webhook.connection_key for webhook in request.webhooks):
            await release.wait()
        return await accept_all(request)

    gateway.fakes.answers[ACCEPT] = held

    async def post(path: str, size: int) -> int:
        headers = {"X-Chatwoot-Signature": "sha256=abc"}
        async with gateway.http.post(path, data=b"x" * size, headers=headers) as response:
            return response.status

    strange = [asyncio.create_task(post("/api/chatwoot/webhook", size)) for size in (2, 100_000, 300_000) * 10]
    await gateway.fakes.wait_for_calls(2)
    assert [await post("/webhooks/chatwoot/a-key", size) for size in (2, 300_000)] == [200, 200]
    assert not any(task.done() for task in strange)
    release.set()
    assert set(await asyncio.gather(*strange)) == {200}


@pytest.mark.case("S5")
async def test_of_what_proves_nothing_only_so_much_is_read_and_what_is_proved_is_given_back() -> None:
    outcome = pb.ACCEPT_OUTCOME_UNAUTHENTICATED

    async def answer(request: pb.AcceptWebhooksRequest) -> pb.AcceptWebhooksResponse:
        return pb.AcceptWebhooksResponse(results=[pb.AcceptResult(outcome=outcome)] * len(request.webhooks))

    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 40_000

    async with serve_gateway(
        webhook_limits=WebhookLimits(unproven_burst_bytes=100_000, unproven_bytes_per_second=0)
    ) as gateway:
        gateway.fakes.answers[ACCEPT] = answer

        async def post(data: Any) -> int:
            headers = {"X-Chatwoot-Signature": "sha256=abc"}
            async with gateway.http.post("/api/chatwoot/webhook", data=data, headers=headers) as response:
                return response.status

        for outcome in (pb.ACCEPT_OUTCOME_ACCEPTED, pb.ACCEPT_OUTCOME_IGNORED, pb.ACCEPT_OUTCOME_INVALID):
            proved = [await post(data) for data in (b"x" * 90_000, chunks()) * 2]
            assert set(proved) == {400 if outcome == pb.ACCEPT_OUTCOME_INVALID else 200}
        outcome = pb.ACCEPT_OUTCOME_UNAUTHENTICATED
        large = b"x" * (UNPROVEN_SMALL_BYTES + 1)
        assert [await post(data) for data in (b"x" * 50_000, chunks(), large)] == [401, 401, 503]
        # A webhook of usual size is read however much strangers have sent.
        assert [await post(b"x" * UNPROVEN_SMALL_BYTES) for _ in range(10)] == [401] * 10
        assert await post(chunks()) == 503
