"""Which connection an address means before a body is read: copies with something around them, strangers, and shares."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry
from yarl import URL

from chassis.errors import Unavailable
from gateway.limits import LARGE_BODY_BYTES, WEBHOOK_SEGMENT_LENGTH_MAX
from gateway.listening.peers import Peers
from gateway.routes.webhooks import WebhookLimits
from gateway.webhook_addresses import Address, read_address, read_key
from prosa.ingest.v1 import ingest_service_pb2 as pb
from tests.integration.gateway.fake_services import ACCEPT, NOW, RESOLVE, World, accept_all, serve_gateway
from tests.world import PATIENCE_SECONDS

KEY = "k3y-ABC_123"
LEGACY = "/api/chatwoot/webhook"
SIGNED = {"X-Chatwoot-Signature": "sha256=abc"}


async def post(gateway: World, path: str, body: bytes = b"{}") -> int:
    """The status that is answered at a path which is sent as it stands."""
    url = URL(gateway.url + path, encoded=True)
    async with gateway.http.post(url, data=body, headers=SIGNED) as response:
        await response.read()
        return response.status


def keys(gateway: World) -> list[str]:
    """The keys under which webhooks reached ingest."""
    return [webhook.connection_key for call in gateway.fakes.called(ACCEPT) for webhook in call.request.webhooks]


@pytest.mark.case("F13")
@pytest.mark.parametrize(
    "path",
    [
        f"/webhooks/chatwoot/{KEY}/",
        f"//webhooks/chatwoot/{KEY}",
        f"/webhooks//chatwoot//{KEY}//",
        f"/webhooks/chatwoot/{KEY}%20",
        f"/webhooks/chatwoot/%20{KEY}",
        f"/webhooks/chatwoot/{KEY}%2520",
        f"/webhooks/chatwoot/{KEY}%0D%0A/",
        f"/webhooks/chatwoot/{KEY}%C2%A0",
        f"/webhooks/chatwoot/{KEY}%E2%80%8B",
        f"/webhooks/chatwoot/%22{KEY}%22",
        f"/webhooks/chatwoot/{KEY}%2F",
        f"/webhooks/chatwoot/{KEY}.",
        f"/%20webhooks/chatwoot/{KEY}",
        f"/webhooks/chatwoot/{KEY}/webhooks/chatwoot/{KEY}",
        f"/webhooks/chatwoot/{KEY}https://prosa.example/webhooks/chatwoot/{KEY}",
        f"/webhooks/evolution/{KEY}%20",
        f"//webhooks/evolution/{KEY}/messages-upsert",
        f"/webhooks/evolution/%20{KEY}//messages-upsert",
    ],
)
async def test_an_address_that_was_copied_with_something_around_it_is_taken(gateway: World, path: str) -> None:
    assert await post(gateway, path) == 200
    assert keys(gateway) == [KEY]


@pytest.mark.case("F13")
@pytest.mark.parametrize("path", [f"{LEGACY}/", f"/{LEGACY}", f"{LEGACY}%20", "/api/chatwoot//webhook//"])
async def test_so_is_the_legacy_one(gateway: World, path: str) -> None:
    assert await post(gateway, path) == 200
    assert keys(gateway) == [""]


@pytest.mark.case("F13", "S4")
def test_of_a_part_that_is_longer_than_any_pasted_address_nothing_is_read() -> None:
    """To look through it would take the longer the more odd characters it has, and anybody may send it."""
    around = "%20" * (WEBHOOK_SEGMENT_LENGTH_MAX // 3)
    assert read_key(f"{around[:-60]}{KEY}") == KEY
    nobodys = Address("/webhooks/chatwoot/{connection_key}", None, "chatwoot")
    for path in (f"{around}{around}{KEY}", KEY + "!" * 15_000, "a" + "!" * 15_000 + "a"):
        assert read_key(path) is None
        assert read_address(f"/webhooks/chatwoot/{path}") == nobodys


@pytest.mark.case("S9")
async def test_a_callers_network_is_what_the_proxy_says_whatever_the_caller_wrote() -> None:
    async with serve_gateway(peers=Peers.trusting("127.0.0.1")) as gateway:
        headers = CIMultiDict([("X-Forwarded-For", "203.0.113.7"), ("X-Forwarded-For", "198.51.100.9")])
        body = {"email": "ana@example.com", "password": "x"}
        async with gateway.http.post(f"{gateway.url}/api/v1/sessions", json=body, headers=headers) as answer:
            await answer.read()
    (call,) = gateway.fakes.called("/prosa.identity.v1.AccessService/CreateSession")
    assert call.metadata["x-client-network"] == "198.51.100.0/24"


@pytest.mark.case("F13")
async def test_what_can_be_no_key_any_more_and_what_is_none_are_counted() -> None:
    registry = CollectorRegistry()
    async with serve_gateway(registry=registry) as gateway:
        for path in ("a%20b", "", "%C3%A9", "a" * 129, "guess-1", "guess-2"):
            assert await post(gateway, f"/webhooks/chatwoot/{path}") == 404
        assert await post(gateway, "/webhooks/nobody/x") == 404
    counted = {
        reason: registry.get_sample_value("prosa_webhook_addresses_unknown_total", {"reason": reason})
        for reason in ("not_a_key", "unknown_key")
    }
    assert counted == {"not_a_key": 4.0, "unknown_key": 2.0}
    seen = registry.get_sample_value(
        "prosa_http_seconds_count",
        {"method": "POST", "route": "/webhooks/chatwoot/{connection_key}", "status": "404"},
    )
    assert seen == 6.0


@pytest.mark.case("S5")
@pytest.mark.parametrize("path", ["/webhooks/chatwoot/guess", "/webhooks/evolution/guess/x", LEGACY])
async def test_a_stranger_is_answered_before_the_body(gateway: World, path: str) -> None:
    url = urlsplit(gateway.url)
    for _ in range(3):
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        writer.write(f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 8000000\r\n\r\n".encode())
        async with asyncio.timeout(PATIENCE_SECONDS):
            assert (await reader.readline()).split()[1] == (b"401" if path == LEGACY else b"404")
        writer.close()
        await writer.wait_closed()
    assert gateway.fakes.called(ACCEPT) == []
    assert len(gateway.fakes.called(RESOLVE)) == (0 if path == LEGACY else 1)


@pytest.mark.case("S5")
async def test_a_known_key_is_asked_for_once_and_guesses_travel_apart(gateway: World) -> None:
    for _ in range(5):
        assert await post(gateway, f"/webhooks/chatwoot/{KEY}") == 200
    guesses = [post(gateway, f"/webhooks/chatwoot/guess-{number}") for number in range(200)]
    assert set(await asyncio.gather(*guesses)) == {404}
    assert keys(gateway) == [KEY] * 5
    asked = [item.key for call in gateway.fakes.called(RESOLVE) for item in call.request.connection_keys]
    assert sorted(asked) == sorted([KEY, *(f"guess-{number}" for number in range(200))])
    assert len(gateway.fakes.called(RESOLVE)) < 100


async def test_a_key_that_ingest_no_longer_knows_is_asked_for_no_more(gateway: World) -> None:
    assert await post(gateway, f"/webhooks/chatwoot/{KEY}") == 200

    async def gone(request: pb.AcceptWebhooksRequest) -> pb.AcceptWebhooksResponse:
        result = pb.AcceptResult(outcome=pb.ACCEPT_OUTCOME_NOT_FOUND)
        return pb.AcceptWebhooksResponse(results=[result] * len(request.webhooks))

    gateway.fakes.answers[ACCEPT] = gone
    assert [await post(gateway, f"/webhooks/chatwoot/{KEY}") for _ in range(3)] == [404] * 3
    assert keys(gateway) == [KEY, KEY]


@pytest.mark.case("S5")
async def test_who_sends_more_than_its_share_keeps_no_other_connection_waiting() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"x" * 600

    limits = WebhookLimits(connection_burst_bytes=1000, connection_bytes_per_second=0)
    async with serve_gateway(webhook_limits=limits) as gateway:
        gateway_path = "/webhooks/chatwoot/large"
        assert await post(gateway, gateway_path, b"x" * 600) == 200
        assert await post(gateway, gateway_path, b"x" * 500_000) == 503
        async with gateway.http.post("/webhooks/chatwoot/chunked", data=chunks()) as response:
            assert response.status == 200
        assert await post(gateway, "/webhooks/chatwoot/chunked", b"x" * 500_000) == 503
        assert await post(gateway, f"/webhooks/chatwoot/{KEY}", b"x" * 600) == 200


@pytest.mark.case("S5")
async def test_small_webhooks_do_not_wait_for_large_ones(gateway: World) -> None:
    release = asyncio.Event()

    async def held(request: pb.AcceptWebhooksRequest) -> pb.AcceptWebhooksResponse:
        if any(len(webhook.body) > LARGE_BODY_BYTES for webhook in request.webhooks):
            await release.wait()
        return await accept_all(request)

    gateway.fakes.answers[ACCEPT] = held
    large = [
        asyncio.create_task(post(gateway, f"/webhooks/chatwoot/l-{number}", b"x" * (LARGE_BODY_BYTES + 1)))
        for number in range(3)
    ]
    await gateway.fakes.wait_for_calls(2)
    assert [await post(gateway, f"/webhooks/chatwoot/s-{number}") for number in range(5)] == [200] * 5
    release.set()
    assert await asyncio.gather(*large) == [200] * 3


@pytest.mark.case("O5")
async def test_what_was_answered_503_is_counted_by_connection_with_since_when() -> None:
    registry = CollectorRegistry()

    async def away(_: object) -> pb.AcceptWebhooksResponse:
        raise Unavailable("STORE_AWAY", "Soon.")

    def seen(connection_id: str) -> tuple[float | None, float | None]:
        labels = {"connection_id": connection_id}
        return (
            registry.get_sample_value("prosa_webhooks_not_stored_total", labels),
            registry.get_sample_value("prosa_webhooks_not_stored_since_seconds", labels),
        )

    async with serve_gateway(registry=registry) as gateway:
        assert await post(gateway, f"/webhooks/chatwoot/{KEY}") == 200
        gateway.fakes.answers[ACCEPT] = away
        for minutes in range(2):
            gateway.clock.advance(timedelta(minutes=minutes))
            assert await post(gateway, f"/webhooks/chatwoot/{KEY}") == 503
            assert await post(gateway, LEGACY) == 503
        since = NOW.timestamp()
        assert [seen(f"of-{KEY}"), seen("legacy")] == [(2.0, since), (2.0, since)]
        gateway.fakes.answers[ACCEPT] = accept_all
        assert await post(gateway, f"/webhooks/chatwoot/{KEY}") == 200
        assert [seen(f"of-{KEY}"), seen("legacy")] == [(2.0, 0.0), (2.0, since)]
        gateway.fakes.answers[RESOLVE] = away
        assert await post(gateway, "/webhooks/chatwoot/never-heard-of") == 503
        assert seen("unknown")[0] == 1.0
