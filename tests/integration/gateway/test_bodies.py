"""Whose body is read, how much of it and for how long: decided by the headers, before a byte of it."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import Any
from uuid import uuid4

import pytest

from gateway.limits import API_BODY_BYTES_MAX, STRANGER_BODY_BYTES_MAX
from gateway.routes import api
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from tests.integration.gateway.fake_services import World, serve_gateway
from tests.integration.gateway.test_strangers import SECONDS, answer_of, dialled

ENSURE = "/api/v1/contacts:ensure"
CREATE_CONTACT = "/prosa.identity.v1.ContactService/CreateContact"


def begun(path: str, size: int | None, sent: int, **headers: str) -> bytes:
    """A request of which only so much of the body has been sent."""
    length = "Transfer-Encoding: chunked" if size is None else f"Content-Length: {size}"
    lines = [f"POST {path} HTTP/1.1", "Host: here", length, *(f"{name}: {value}" for name, value in headers.items())]
    body = b" " * sent if size is not None else b"%x\r\n" % sent + b" " * sent + b"\r\n"
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@pytest.mark.case("S8")
async def test_bodies_without_credentials_keep_no_key_out() -> None:
    # A quarter of what is there for all would be taken by each of them.
    async with serve_gateway(api_bytes_in_flight_max=4 * API_BODY_BYTES_MAX) as world, AsyncExitStack() as strangers:
        size = API_BODY_BYTES_MAX - 1
        for _ in range(64):
            reader, _ = await strangers.enter_async_context(dialled(world, begun(ENSURE, size, 200_000)))
            status, _, body = await answer_of(reader)
            assert (status, json.loads(body)["reason"]) == (401, "TOKEN_MISSING")
        headers = {"X-Api-Key": "ncrm_good"}
        async with world.http.post(ENSURE, json={"name": "x" * 500_000}, headers=headers) as response:
            assert response.status == 200


@pytest.mark.case("S8")
@pytest.mark.parametrize("headers", [{"Authorization": "Bearer forged"}, {"X-Api-Key": "ncrm_wrong"}, {}])
@pytest.mark.parametrize("size", [API_BODY_BYTES_MAX - 1, None], ids=["sized", "chunked"])
async def test_credentials_are_looked_at_before_the_body(
    gateway: World, headers: dict[str, str], size: int | None
) -> None:
    async with dialled(gateway, begun(ENSURE, size, 1_000, **headers)) as (reader, _):
        assert (await answer_of(reader))[0] == 401
    assert not [call for call in gateway.fakes.calls if call.method.endswith("EnsureContact")]


@pytest.mark.case("S8")
@pytest.mark.parametrize("path", ["/api/v1/sessions", "/api/v1/token", ENSURE])
async def test_a_stranger_has_little_and_not_for_long(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert api.STRANGERS.seconds == 2.0
    hurried = api.Allowance("", STRANGER_BODY_BYTES_MAX, 0.05)
    monkeypatch.setattr(api, "STRANGERS", hurried)
    async with serve_gateway() as world:
        async with dialled(world, begun(path, STRANGER_BODY_BYTES_MAX, 10)) as (reader, _):
            status, _, body = await answer_of(reader)
            assert (status, json.loads(body)["reason"]) == (408, "BODY_SLOW")
        async with dialled(world, begun(path, STRANGER_BODY_BYTES_MAX + 1, 10)) as (reader, _):
            assert (await answer_of(reader))[0] in (401, 413)


@pytest.mark.case("S8")
async def test_a_caller_uses_up_his_own_part_and_nobody_elses() -> None:
    async with serve_gateway(api_bytes_per_caller_max=100) as world, asyncio.timeout(SECONDS):
        go_on = asyncio.Event()

        async def hang(_: Any) -> contact_pb.Contact:
            await go_on.wait()
            return contact_pb.Contact()

        world.fakes.answers[CREATE_CONTACT] = hang
        mine, other = world.token(), world.token(uuid4())
        post = world.http.post
        first = asyncio.create_task(post("/api/v1/contacts", json={"name": "x" * 60}, headers=mine).__aenter__())
        await world.fakes.wait_for_calls(1)
        async with post("/api/v1/contacts", json={"name": "x" * 60}, headers=mine) as response:
            assert (response.status, (await response.json())["reason"]) == (503, "OVERLOADED")
        second = asyncio.create_task(post("/api/v1/contacts", json={"name": "x" * 60}, headers=other).__aenter__())
        await world.fakes.wait_for_calls(2)
        go_on.set()
        for answered in (await first, await second):
            assert answered.status == 200
            answered.release()
        async with post("/api/v1/contacts", json={"name": "x" * 60}, headers=mine) as response:
            assert response.status == 200, "what was let go is there again"


@pytest.mark.case("S8")
async def test_strangers_bodies_take_nothing_of_what_is_there_for_callers() -> None:
    async with (
        serve_gateway(api_bytes_in_flight_max=20_000, api_bytes_of_strangers_max=20_000) as world,
        AsyncExitStack() as strangers,
    ):
        for _ in range(3):
            await strangers.enter_async_context(dialled(world, begun("/api/v1/sessions", 8_000, 7_000)))
        async with asyncio.timeout(SECONDS):
            while True:
                # Whoever comes once theirs is full is told so.
                async with world.http.post("/api/v1/sessions", json={"email": "x" * 7_000}) as response:
                    if response.status == 503:
                        assert (await response.json())["reason"] == "OVERLOADED"
                        break
        headers = {"X-Api-Key": "ncrm_good"}
        async with world.http.post(ENSURE, json={"name": "x" * 19_000}, headers=headers) as response:
            assert response.status == 200
