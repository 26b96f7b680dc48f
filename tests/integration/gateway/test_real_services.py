"""The gateway before the real services: who may do what over HTTP, and facts from a webhook to a browser."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from uuid import UUID, uuid4

import aiohttp
import orjson
import pytest

from chassis.clock import SystemClock
from chassis.streams import StreamMessage
from chassis.transcoding.plans import Plans
from gateway.transcoding.bindings import Binding, bindings
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from prosa.identity.v1.events_pb2 import ContactCreated
from prosa.v1 import options_pb2
from services.ingest.feed import store as feed_store
from tests.harness import Harness, open_harness, sample
from tests.integration.identity.cast import given_organization
from tests.world import PATIENCE_SECONDS, VIEWER, World

FACTS, BATCH = 10_000, 500

GUARDED = [
    binding
    for binding in bindings(Plans())
    if not binding.rpc.GetOptions().Extensions[options_pb2.permission].anonymous
]


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """HTTP as a client speaks it."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_SECONDS)) as session:
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
        async with asyncio.timeout(PATIENCE_SECONDS):
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
        async with asyncio.timeout(PATIENCE_SECONDS):
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


def fact_of(organization_id: UUID, number: int) -> StreamMessage:
    """A fact as the feed's one writer takes it out of a stream."""
    contact = contact_pb.Contact(contact_id=str(uuid4()), organization_id=str(organization_id), name=f"{number}")
    payload = ContactCreated(organization_id=str(organization_id), contact=contact).SerializeToString()
    kind = ContactCreated.DESCRIPTOR.full_name
    return StreamMessage(1, 1, 1, uuid4(), organization_id, kind, payload, SystemClock().now(), "", "", None)


@pytest.mark.req("IN-22")
async def test_two_readers_pull_ten_thousand_facts_over_http_and_miss_none(world: World, harness: Harness) -> None:
    organization_id = await given_organization(world)
    token, _ = world.host.signer("identity").person_token(
        kind="key", principal=f"key:{uuid4()}", organization_id=organization_id, scopes=["events.read"]
    )

    async def pull(page_size: int) -> list[int]:
        """Reads from the oldest on, asking again from where each answer ended, until all is there."""
        position = 0
        seen: list[int] = []
        async with asyncio.timeout(PATIENCE_SECONDS):
            while len(seen) < FACTS:
                query = {
                    "after_position": str(position),
                    "wait_seconds": "20",
                    "page_size": str(page_size),
                }
                url, headers = f"{harness.url}/api/v1/feed", {"Authorization": f"Bearer {token}"}
                async with harness.session.get(url, params=query, headers=headers) as response:
                    answer = await response.json()
                    assert response.status == 200, answer
                seen += [event["position"] for event in answer["events"]]
                position = answer["next_position"]
        return seen

    # Both ask before there is anything, and are answered while it is written.
    readers = [asyncio.ensure_future(pull(page_size)) for page_size in (250, 99)]
    for batch in range(FACTS // BATCH):
        async with world.database("ingest").transaction(organization_id) as tx:
            await feed_store.append(tx, [fact_of(organization_id, batch) for _ in range(BATCH)], world.clock.now())
    first, second = await asyncio.gather(*readers)
    kept = await world.rows(
        "select position from ingest.feed where organization_id = %s order by position", organization_id
    )
    assert first == second == [row["position"] for row in kept]
    assert len(kept) == FACTS


async def test_who_waits_for_a_fact_is_answered_at_once_when_there_is_one(harness: Harness) -> None:
    _, now = await harness.get("/api/v1/feed", after_position="0", page_size="250")
    # Of one type: what the organization was made with may still be coming.
    wanted = {"types": "ContactCreated", "after_position": str(now["next_position"])}
    status, nothing = await harness.get("/api/v1/feed", **wanted, wait_seconds="1")
    assert (status, nothing["events"]) == (200, [])
    waiting = asyncio.ensure_future(harness.get("/api/v1/feed", **wanted, wait_seconds="20"))
    status, made = await harness.send("/api/v1/contacts", {"name": "Ana"})
    assert status == 200, made
    # Long before the time is over that it would have waited without one.
    async with asyncio.timeout(10):
        status, told = await waiting
    assert [event["type"] for event in told["events"]] == ["prosa.identity.v1.ContactCreated"]
    status, refused = await harness.get("/api/v1/feed", wait_seconds="21")
    assert (status, refused["reason"]) == (400, "REQUEST_INVALID")
