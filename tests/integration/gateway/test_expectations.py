"""What a caller expects before it sends its body, odd versions of HTTP, and callers who leave."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.integration.gateway.fake_services import ACCEPT, World, accept_all
from tests.integration.gateway.test_strangers import SECONDS, answer_of, dialled, until

pytestmark = pytest.mark.case("S13")
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def asking(path: str, expected: str = "100-continue", *more: str, version: str = "1.1") -> bytes:
    """The headers of a request whose body of two bytes has not come yet."""
    lines = [f"POST {path} HTTP/{version}", "Host: here", "Content-Length: 2", f"Expect: {expected}", *more]
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/webhooks/chatwoot/guess", 404),
        ("/nowhere", 404),
        ("/healthz", 405),
        ("/api/chatwoot/webhook", 401),
        ("/api/v1/stream", 405),
    ],
)
async def test_nobody_is_told_to_go_on_who_is_refused(gateway: World, path: str, status: int) -> None:
    async with dialled(gateway, asking(path)) as (reader, _):
        assert (await answer_of(reader))[0] == status


async def test_a_caller_without_credentials_is_refused_before_he_sends(gateway: World) -> None:
    request = asking("/api/v1/contacts", "100-continue", "Authorization: Bearer forged")
    async with dialled(gateway, request) as (reader, _):
        assert (await answer_of(reader))[0] == 401


@pytest.mark.parametrize("path", ["/webhooks/chatwoot/a-key", "/api/v1/contacts"])
async def test_who_may_send_is_told_so_and_answered(gateway: World, path: str) -> None:
    async with dialled(gateway, asking(path, "100-Continue", "X-Api-Key: ncrm_good")) as (reader, writer):
        async with asyncio.timeout(SECONDS):
            assert await reader.readexactly(len(CONTINUE)) == CONTINUE
        writer.write(b"{}")
        assert (await answer_of(reader))[0] == 200


async def test_a_body_that_came_along_needs_no_word_more(gateway: World) -> None:
    async with dialled(gateway, asking("/webhooks/chatwoot/a-key") + b"{}") as (reader, _):
        assert (await answer_of(reader))[0] == 200


@pytest.mark.parametrize("path", ["/webhooks/chatwoot/a-key", "/nowhere"])
async def test_another_expectation_is_a_problem_like_every_other(gateway: World, path: str) -> None:
    async with dialled(gateway, asking(path, "bananas")) as (reader, _):
        status, headers, body = await answer_of(reader)
    assert (status, json.loads(body)["reason"]) == (417, "EXPECTATION_UNKNOWN")
    assert headers["content-type"].startswith("application/problem+json")


@pytest.mark.parametrize("line", [b"GET /healthz HTTP/0.9", b"GET /healthz", b"GET /healthz HTTP/2.0"])
async def test_other_versions_of_http_are_refused(gateway: World, line: bytes) -> None:
    async with dialled(gateway, line + b"\r\nHost: here\r\n\r\n") as (reader, _):
        status, headers, body = await answer_of(reader)
    assert status in (400, 505)
    assert json.loads(body)["reason"] in ("REQUEST_MALFORMED", "HTTP_VERSION_UNSUPPORTED")
    assert headers["server"] == "prosa"


async def test_a_caller_who_leaves_before_his_answer_is_no_error(gateway: World) -> None:
    asked, go_on = asyncio.Event(), asyncio.Event()

    async def held(request: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await accept_all(request)

    gateway.fakes.answers[ACCEPT] = held
    with capture_logs() as logged:
        for expected in ("", "Expect: 100-continue\r\n"):
            asked.clear()
            go_on.clear()
            request = f"POST /webhooks/chatwoot/a-key HTTP/1.1\r\nHost: h\r\n{expected}Content-Length: 2\r\n\r\n{{}}"
            async with dialled(gateway, request.encode()) as (_, writer):
                await asked.wait()
                own = writer.get_extra_info("socket")
                # With a reset, as a program that is killed leaves.
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            go_on.set()
            await until(lambda: len(gateway.connections) == 0)
    assert [line for line in logged if line["log_level"] in ("error", "critical")] == []
