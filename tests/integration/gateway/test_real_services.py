"""The gateway before the real services: who may do what over HTTP, and facts from a webhook to a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import aiohttp
import orjson
import pytest

from chassis.transcoding.plans import Plans
from gateway.transcoding.bindings import Binding, bindings
from prosa.v1 import options_pb2
from tests.harness import Harness, open_harness, sample
from tests.world import VIEWER, World

GUARDED = [
    binding
    for binding in bindings(Plans())
    if not binding.rpc.GetOptions().Extensions[options_pb2.permission].anonymous
]


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP as a client speaks it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=20)) as session:
        yield session


@pytest.fixture(scope="module")
async def harness(world: World, http: aiohttp.ClientSession) -> Harness:
    """An organization of these tests."""
    return await open_harness(world, http)


@pytest.mark.parametrize("binding", GUARDED, ids=lambda item: f"{item.rpc.name}-{item.template}")
async def test_nobody_gets_in_without_credentials_nor_as_the_gateway(harness: Harness, binding: Binding) -> None:
    path = re.sub(r"\{\w+\}", "x", binding.template)
    body: dict[str, str] | None = {} if binding.body else None
    async with harness.session.request(binding.http_method, harness.url + path, json=body) as response:
        assert (response.status, (await response.json())["reason"]) == (401, "TOKEN_MISSING")


async def test_a_key_lists_what_a_webhook_made_and_the_stream_tells_it(harness: Harness) -> None:
    headers = {"X-Api-Key": harness.api_key}
    async with harness.session.get(f"{harness.url}/api/v1/stream", headers=headers) as stream:
        assert stream.status == 200
        # The stream's first id: from here on nothing is missed.
        await stream.content.readuntil(b"id: ")
        await harness.deliver(sample("message_created.whatsapp_cloud.incoming"))
        async with asyncio.timeout(15):
            await stream.content.readuntil(b"event: prosa.conversation.v1.MessageReceived\n")
            line = await stream.content.readline()
    fact = orjson.loads(line.removeprefix(b"data: "))
    assert fact["organization_id"] == str(harness.organization_id)
    status, listed = await harness.get("/api/v1/contacts")
    assert status == 200
    assert [contact["contact_id"] for contact in listed["contacts"]] == [fact["data"]["contact_id"]]
    async with harness.session.get(
        f"{harness.url}/api/v1/stream", headers={**headers, "Last-Event-ID": str(fact["position"] - 1)}
    ) as resumed:
        async with asyncio.timeout(15):
            await resumed.content.readuntil(b"data: ")
            again = await resumed.content.readline()
    assert orjson.loads(again) == fact


async def test_a_person_may_watch_and_a_service_of_another_name_may_not(world: World, harness: Harness) -> None:
    token, _ = world.host.signer("identity").person_token(
        kind="user", principal="user:1", organization_id=harness.organization_id, role=VIEWER
    )
    strangers = world.host.signer("crm").service_token("ingest", harness.organization_id)
    for bearer, status in ((token, 200), (strangers, 403), ("forged", 401)):
        headers = {"Authorization": f"Bearer {bearer}"}
        async with harness.session.get(f"{harness.url}/api/v1/stream", headers=headers) as stream:
            assert stream.status == status


@pytest.mark.req("GW-01")
async def test_the_real_process_is_ready_and_says_of_what(harness: Harness) -> None:
    async with harness.session.get(f"{harness.url}/readyz") as ready:
        answer = await ready.json()
        assert ready.status == 200, answer
    assert {"nats", "service.identity", "service.ingest", "service.crm"} <= set(answer["dependencies"])
