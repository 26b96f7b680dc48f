"""Webhooks in: untouched bytes, batches, honest answers, and always one within four seconds."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from io import BytesIO
from urllib.parse import urlsplit

import grpc.aio
import pytest

from chassis.errors import InvalidArgument, Unavailable
from gateway.routes.webhooks import OWN_POST, WebhookLimits
from gateway.senders import SENDERS
from prosa.ingest.v1 import ingest_service_pb2 as pb
from tests.integration.gateway.fake_services import ACCEPT, NOW, World, accept_all, serve_gateway

KEY = "k3y-ABC_123"
CHATWOOT = f"/webhooks/chatwoot/{KEY}"
EVOLUTION = f"/webhooks/evolution/{KEY}"
LEGACY = "/api/chatwoot/webhook"
SIGNED = {"X-Chatwoot-Signature": "sha256=abc"}
IMPATIENT = WebhookLimits(deadline_seconds=0.3, call_timeout_seconds=0.2)
FOUR_SECONDS = 4.0


def _answer_all(gateway: World, outcome: pb.AcceptOutcome.ValueType, reason: str = "") -> None:
    async def answer(request: pb.AcceptWebhooksRequest) -> pb.AcceptWebhooksResponse:
        result = pb.AcceptResult(outcome=outcome, reason=reason, webhook_event_id="e1")
        return pb.AcceptWebhooksResponse(results=[result] * len(request.webhooks))

    gateway.fakes.answers[ACCEPT] = answer


def _webhooks(gateway: World) -> list[pb.Webhook]:
    return [webhook for call in gateway.fakes.called(ACCEPT) for webhook in call.request.webhooks]


async def test_a_webhook_reaches_ingest_untouched_with_only_the_headers_a_check_needs(gateway: World) -> None:
    body = b'{"event":"message_created","content":"Ol\\u00e1 \xc3\xa9"}\n '
    trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    headers = {
        "X-Chatwoot-Signature": "sha256=abc",
        "X-Chatwoot-Timestamp": "1790000000",
        "X-Chatwoot-Delivery": "d-1",
        "Cookie": "secret",
        "X-Organization-Id": "not here",
        "traceparent": trace,
    }
    async with gateway.http.post(CHATWOOT, data=body, headers=headers) as response:
        assert response.status == 200
        assert await response.json() == {"success": True, "webhook_event_id": f"event-{KEY}"}
    (webhook,) = _webhooks(gateway)
    assert webhook.body == body
    assert (webhook.provider, webhook.connection_key, webhook.trace_parent) == (pb.PROVIDER_CHATWOOT, KEY, trace)
    assert dict(webhook.headers) == {
        "x-chatwoot-signature": "sha256=abc",
        "x-chatwoot-timestamp": "1790000000",
        "x-chatwoot-delivery": "d-1",
    }
    assert webhook.receive_time.ToDatetime(NOW.tzinfo) == NOW
    assert gateway.fakes.called(ACCEPT)[0].metadata["authorization"] == "Bearer gateway"


@pytest.mark.parametrize("suffix", ["", "/messages-upsert", "//messages-upsert", "/"])
async def test_evolution_is_heard_with_and_without_the_event_in_the_path(gateway: World, suffix: str) -> None:
    headers = {"Authorization": "Bearer jwt", "X-Api-Key": "shared", "X-Chatwoot-Delivery": "no"}
    async with gateway.http.post(f"{EVOLUTION}{suffix}", data=b"{}", headers=headers) as response:
        assert response.status == 200
    (webhook,) = _webhooks(gateway)
    assert (webhook.provider, webhook.connection_key) == (pb.PROVIDER_EVOLUTION, KEY)
    assert dict(webhook.headers) == {"authorization": "Bearer jwt", "x-api-key": "shared"}


async def test_compressed_bytes_stay_as_they_were_sent(gateway: World) -> None:
    body = gzip.compress(b'{"event":"x"}')
    async with gateway.http.post(CHATWOOT, data=body, headers={"Content-Encoding": "gzip"}) as response:
        assert response.status == 200
    (webhook,) = _webhooks(gateway)
    assert webhook.body == body
    assert webhook.headers["content-encoding"] == "gzip"


async def test_a_chunked_body_and_an_empty_one_are_bodies_too(gateway: World) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b'{"a":'
        yield b"1}"

    async with gateway.http.post(CHATWOOT, data=chunks()) as response:
        assert response.status == 200
    async with gateway.http.post(CHATWOOT) as response:
        assert response.status == 200
    assert [webhook.body for webhook in _webhooks(gateway)] == [b'{"a":1}', b""]


async def test_headers_of_any_bytes_and_length_never_break_the_receiver(gateway: World) -> None:
    url = urlsplit(gateway.url)
    reader, writer = await asyncio.open_connection(url.hostname, url.port)
    head = f"POST {CHATWOOT} HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nConnection: close\r\n"
    odd = b"X-Chatwoot-Signature: \xff\xfe\r\nX-Chatwoot-Delivery: " + b"d" * 5000 + b"\r\n\r\n{}"
    writer.write(head.encode() + odd)
    assert (await reader.readline()).startswith(b"HTTP/1.1 200")
    writer.close()
    await writer.wait_closed()
    (webhook,) = _webhooks(gateway)
    assert set(webhook.headers) == {"x-chatwoot-signature"}


@pytest.mark.parametrize("path", [CHATWOOT, EVOLUTION])
async def test_what_prosa_posts_itself_is_told_that_it_is_gone_and_reaches_nobody(gateway: World, path: str) -> None:
    # An outbound endpoint that names a webhook address of Prosa: each post would become a fact that is posted again.
    async with gateway.http.post(path, data=b"{}", headers={OWN_POST: "7"}) as response:
        assert (response.status, (await response.json())["reason"]) == (410, "OWN_POST")
    assert gateway.fakes.calls == []


@pytest.mark.parametrize(
    ("outcome", "reason", "status", "told"),
    [
        (pb.ACCEPT_OUTCOME_DUPLICATE, "", 200, None),
        (pb.ACCEPT_OUTCOME_UNAUTHENTICATED, "SIGNATURE_MISMATCH", 401, "SIGNATURE_MISMATCH"),
        (pb.ACCEPT_OUTCOME_NOT_FOUND, "", 404, "CONNECTION_NOT_FOUND"),
    ],
)
async def test_the_outcome_becomes_the_status(
    gateway: World, outcome: pb.AcceptOutcome.ValueType, reason: str, status: int, told: str | None
) -> None:
    _answer_all(gateway, outcome, reason)
    async with gateway.http.post(CHATWOOT, data=b"{}") as response:
        answer = await response.json()
        assert response.status == status
    assert answer.get("reason") == told
    assert status != 401 or "Invalid signature" in answer["detail"]


@pytest.mark.parametrize("key", ["a" * 129, "a%20b", "a%00b", "%C3%A9", "a:b"])
async def test_what_cannot_be_a_key_is_not_found_without_asking(gateway: World, key: str) -> None:
    async with gateway.http.post(f"/webhooks/chatwoot/{key}", data=b"{}") as response:
        assert response.status == 404
    assert gateway.fakes.calls == []


async def test_one_byte_above_the_limit_is_too_large_declared_or_not() -> None:
    senders = {
        "chatwoot": replace(SENDERS["chatwoot"], body_bytes_max=10),
        "evolution": replace(SENDERS["evolution"], body_bytes_max=20),
    }

    async def chunks(size: int) -> AsyncIterator[bytes]:
        for _ in range(size):
            yield b"x"

    async with serve_gateway(senders=senders) as gateway:
        for path, size, status in (
            (CHATWOOT, 10, 200),
            (CHATWOOT, 11, 413),
            (EVOLUTION, 20, 200),
            (EVOLUTION, 21, 413),
        ):
            async with gateway.http.post(path, data=b"x" * size) as response:
                assert response.status == status
            async with gateway.http.post(path, data=chunks(size)) as response:
                assert response.status == status
                assert status == 200 or (await response.json())["reason"] == "BODY_TOO_LARGE"
        async with gateway.http.post(LEGACY, data=b"x" * 11, headers=SIGNED) as response:
            assert (response.status, await response.json()) == (413, {"error": "Payload too large"})


async def test_a_body_of_eight_mebibytes_arrives_whole(gateway: World) -> None:
    body = bytes(range(256)) * (8 * 1024 * 1024 // 256)
    async with gateway.http.post(CHATWOOT, data=BytesIO(body)) as response:
        assert response.status == 200
    assert _webhooks(gateway)[0].body == body


async def test_webhooks_that_arrive_together_travel_together(gateway: World) -> None:
    release = asyncio.Event()

    async def held(request: pb.AcceptWebhooksRequest) -> pb.AcceptWebhooksResponse:
        await release.wait()
        return await accept_all(request)

    gateway.fakes.answers[ACCEPT] = held

    async def post(index: int) -> str:
        async with gateway.http.post(f"/webhooks/chatwoot/key-{index}", data=b"{}") as response:
            assert response.status == 200
            return str((await response.json())["webhook_event_id"])

    posts = [asyncio.create_task(post(index)) for index in range(40)]
    await gateway.fakes.wait_for_calls(1)
    release.set()
    assert await asyncio.gather(*posts) == [f"event-key-{index}" for index in range(40)]
    assert len(gateway.fakes.called(ACCEPT)) < 20


@pytest.mark.parametrize("path", [CHATWOOT, EVOLUTION, LEGACY])
@pytest.mark.parametrize("limits", [IMPATIENT, WebhookLimits(deadline_seconds=0.2, call_timeout_seconds=60)])
async def test_a_service_that_hangs_is_told_as_503_in_time(path: str, limits: WebhookLimits) -> None:
    async def hang(_: object) -> pb.AcceptWebhooksResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with serve_gateway(webhook_limits=limits) as gateway:
        gateway.fakes.answers[ACCEPT] = hang
        started = time.monotonic()
        async with gateway.http.post(path, data=b"{}", headers=SIGNED) as response:
            assert response.status == 503
            assert response.headers["Retry-After"] == "1"
        assert time.monotonic() - started < FOUR_SECONDS


def test_the_limits_leave_time_within_four_seconds() -> None:
    limits = WebhookLimits()
    assert limits.call_timeout_seconds < limits.deadline_seconds < FOUR_SECONDS


async def test_a_body_that_does_not_come_is_told_as_503_in_time() -> None:
    async with serve_gateway(webhook_limits=IMPATIENT) as gateway:
        url = urlsplit(gateway.url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(f"POST {CHATWOOT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
        async with asyncio.timeout(FOUR_SECONDS):
            assert (await reader.readline()).startswith(b"HTTP/1.1 503")
        writer.close()
        await writer.wait_closed()
        assert gateway.fakes.called(ACCEPT) == []


async def test_a_client_that_leaves_in_the_middle_of_its_body_leaves_nothing_behind(gateway: World) -> None:
    url = urlsplit(gateway.url)
    _, writer = await asyncio.open_connection(url.hostname, url.port)
    writer.write(f"POST {CHATWOOT} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{{".encode())
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with gateway.http.post(CHATWOOT, data=b"{}") as response:
        assert response.status == 200
    assert [webhook.body for webhook in _webhooks(gateway)] == [b"{}"]


async def test_a_store_that_is_away_is_503(gateway: World) -> None:
    async def away(_: object) -> pb.AcceptWebhooksResponse:
        raise Unavailable("STORE_AWAY", "Soon.")

    gateway.fakes.answers[ACCEPT] = away
    async with gateway.http.post(CHATWOOT, data=b"{}") as response:
        assert (response.status, (await response.json())["reason"]) == (503, "NOT_STORED")
        assert "Retry-After" in response.headers


async def test_even_a_refused_batch_is_503_for_it_stored_nothing(gateway: World) -> None:
    async def refuse(_: object) -> pb.AcceptWebhooksResponse:
        raise InvalidArgument("REQUEST_INVALID", "Odd.")

    gateway.fakes.answers[ACCEPT] = refuse
    async with gateway.http.post(CHATWOOT, data=b"{}") as response:
        assert response.status == 503


async def test_too_many_waiting_webhooks_are_refused_at_once() -> None:
    release = asyncio.Event()
    limits = WebhookLimits(queue_items_max=3)

    async def held(request: pb.AcceptWebhooksRequest) -> pb.AcceptWebhooksResponse:
        await release.wait()
        return await accept_all(request)

    async with serve_gateway(webhook_limits=limits) as gateway:
        gateway.fakes.answers[ACCEPT] = held

        async def post() -> int:
            async with gateway.http.post(CHATWOOT, data=b"{}") as response:
                status = response.status
                if status == 503:
                    assert (await response.json())["reason"] == "OVERLOADED"
                    release.set()
                return status

        statuses = await asyncio.gather(*(post() for _ in range(30)))
    assert set(statuses) == {200, 503}


async def test_too_many_bytes_in_flight_are_refused() -> None:
    async with serve_gateway(webhook_limits=WebhookLimits(bytes_in_flight_max=10)) as gateway:
        async with gateway.http.post(CHATWOOT, data=b"x" * 11) as response:
            assert (response.status, (await response.json())["reason"]) == (503, "OVERLOADED")
        async with gateway.http.post(CHATWOOT, data=b"x" * 10) as response:
            assert response.status == 200


@pytest.mark.parametrize(
    ("outcome", "reason", "status", "answer"),
    [
        (pb.ACCEPT_OUTCOME_ACCEPTED, "", 200, {"success": True}),
        (pb.ACCEPT_OUTCOME_DUPLICATE, "", 200, {"success": True}),
        (pb.ACCEPT_OUTCOME_IGNORED, "foreign_inbox", 200, {"success": True, "ignored": "foreign_inbox"}),
        (pb.ACCEPT_OUTCOME_IGNORED, "no_inbox_context", 200, {"success": True, "ignored": "no_inbox_context"}),
        (pb.ACCEPT_OUTCOME_NOT_FOUND, "", 200, {"success": True, "ignored": "no_matching_tenant"}),
        (pb.ACCEPT_OUTCOME_UNAUTHENTICATED, "SIGNATURE_MISMATCH", 401, {"error": "Invalid signature"}),
        (pb.ACCEPT_OUTCOME_INVALID, "JSON_MALFORMED", 400, {"error": "Invalid JSON payload"}),
        (
            pb.ACCEPT_OUTCOME_INVALID,
            "CONNECTION_AMBIGUOUS",
            400,
            {"error": "Ambiguous organization mapping for account"},
        ),
    ],
)
async def test_the_legacy_address_answers_as_it_always_did(
    gateway: World, outcome: pb.AcceptOutcome.ValueType, reason: str, status: int, answer: dict[str, object]
) -> None:
    _answer_all(gateway, outcome, reason)
    headers = {"X-Organization-Id": "org-1", "X-Chatwoot-Signature": "s"}
    async with gateway.http.post(LEGACY, data=b"{}", headers=headers) as response:
        assert (response.status, await response.json()) == (status, answer)
    (webhook,) = _webhooks(gateway)
    assert (webhook.connection_key, webhook.headers["x-organization-id"]) == ("", "org-1")


async def test_the_legacy_address_says_that_it_lives(gateway: World) -> None:
    async with gateway.http.get(LEGACY) as response:
        assert response.status == 200
        answer = await response.json()
    assert answer["status"] == "ok"
    assert set(answer) == {"status", "message", "secret_configured"}


async def test_a_service_that_restarts_is_waited_for(gateway: World) -> None:
    await gateway.grpc_server.stop(None)

    async def post() -> int:
        async with gateway.http.post(CHATWOOT, data=b"{}") as response:
            return response.status

    waiting = asyncio.create_task(post())
    # Without waiting the answer would be a 503 at once.
    done, _ = await asyncio.wait({waiting}, timeout=0.3)
    assert not done
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((gateway.fakes,))
    server.add_insecure_port(gateway.grpc_address)
    await server.start()
    assert await waiting == 200
    await server.stop(None)
