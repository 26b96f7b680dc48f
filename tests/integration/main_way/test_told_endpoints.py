"""Facts are posted to the endpoints that an organization names: signed, in order, until they are taken."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import grpc.aio
import pytest
import pytest_asyncio

from prosa.ingest.v1 import events_pb2
from prosa.ingest.v1 import outbound_service_pb2 as pb
from prosa.ingest.v1.outbound_service_pb2_grpc import OutboundServiceStub
from sandbox.n8n.app import Fault, Receiver
from tests.harness import Harness, changed, sample
from tests.integration.main_way.receiving import (
    MESSAGE_RECEIVED,
    create_endpoint,
    receiving,
    until,
    until_taken,
)
from tests.world import OWNER, error_info

WHATSAPP, INSTAGRAM = "message_created.whatsapp_cloud.incoming", "message_created.instagram_login.incoming_image"
SERVER_ERROR, GONE = 500, 410
TRACE_ID = "5bf92f3577b34da6a3ce929d0e0e4736"


@pytest_asyncio.fixture(loop_scope="session")
async def n8n(harness: Harness) -> AsyncIterator[tuple[Receiver, str]]:
    """A fake n8n, and the address of its webhook."""
    async with receiving(harness.world) as opened:
        yield opened


async def say(harness: Harness, name: str, text: str, **options: Any) -> None:
    """A customer writes, and it is processed."""
    body = changed(sample(name), id=uuid4().int % 10**9, content=text)
    status, answer = await harness.post(body, **options)
    assert status == 200, answer
    await harness.done(answer["webhook_event_id"])


def bearer(harness: Harness) -> dict[str, str]:
    """The headers of the organization's owner, who has just shown a second factor."""
    token, _ = harness.world.host.signer("identity").person_token(
        kind="user",
        principal=f"user:{uuid4()}",
        organization_id=harness.organization_id,
        role=OWNER,
        mfa_time=harness.world.clock.now(),
        mfa_set_up=True,
    )
    return {"Authorization": f"Bearer {token}"}


def text_of(body: str) -> str:
    """What the customer said in a post."""
    return str(json.loads(body)["data"]["message"]["text"])


async def test_what_a_customer_writes_is_posted_signed_and_taken_once_after_a_failure(
    harness: Harness, n8n: tuple[Receiver, str]
) -> None:
    receiver, url = n8n
    receiver.faults.append(Fault(status=503, only="primeira"))
    async with harness.session.post(
        harness.url + "/api/v1/outbound-endpoints",
        json={"name": "n8n", "url": url, "types": ["MessageReceived"]},
        headers=bearer(harness),
    ) as response:
        made = await response.json()
        assert response.status == 200, made
    receiver.secret = made["secret"]
    endpoint_id = made["outbound_endpoint"]["outbound_endpoint_id"]

    await say(harness, WHATSAPP, "primeira", traceparent=f"00-{TRACE_ID}-00f067aa0ba902b7-01")
    await until(lambda: len(receiver.received) == 1)
    # What comes after it in its conversation waits for it, another conversation does not.
    await say(harness, WHATSAPP, "segunda")
    await say(harness, INSTAGRAM, "outra conversa")
    taken = await until_taken(receiver, 3)
    assert [text_of(post.body) for post in taken] == ["outra conversa", "primeira", "segunda"]
    assert [post.status for post in receiver.received] == [503, 200, 200, 200]
    first, again = receiver.received[0], taken[1]
    assert (first.webhook_id, first.body) == (again.webhook_id, again.body)
    assert first.verified
    assert again.headers["traceparent"][3:35] == TRACE_ID

    # The post is the feed's own JSON.
    status, feed = await harness.get("/api/v1/feed", types=MESSAGE_RECEIVED)
    assert status == 200, feed
    told = {event["event_id"]: event for event in feed["events"]}
    for post in taken:
        body = json.loads(post.body)
        assert body == {name: told[post.webhook_id][name] for name in body}
        assert body["organization_id"] == str(harness.organization_id)

    status, listed = await harness.get(f"/api/v1/outbound-endpoints/{endpoint_id}/deliveries")
    assert status == 200, listed
    attempts = {item["event_id"]: item["attempt_count"] for item in listed["outbound_deliveries"]}
    assert {item["state"] for item in listed["outbound_deliveries"]} == {"SUCCEEDED"}
    assert [attempts[post.webhook_id] for post in taken] == [1, 2, 1]
    status, shown = await harness.get(f"/api/v1/outbound-endpoints/{endpoint_id}")
    assert status == 200, shown
    assert made["secret"] not in json.dumps([shown, listed])


@pytest.mark.parametrize("status", [302, 307])
async def test_a_redirect_is_not_followed(harness: Harness, n8n: tuple[Receiver, str], status: int) -> None:
    receiver, url = n8n
    receiver.paths.add("elsewhere")
    receiver.faults.append(Fault(status=status, location=url.replace("prosa", "elsewhere")))
    made = await create_endpoint(harness.world, harness.organization_id, url, MESSAGE_RECEIVED)
    receiver.secret = made.secret
    await say(harness, WHATSAPP, "oi")
    (row,) = await harness.world.until(
        "select * from ingest.outbound_deliveries where organization_id = %s", harness.organization_id
    )
    assert (row["state"], row["attempt_count"]) == ("PENDING", 1)
    assert {post.path for post in receiver.received} == {"prosa"}


@pytest.mark.parametrize(
    "url", ["http://10.0.0.5/webhook", "http://[::ffff:10.0.0.5]/webhook", "http://169.254.169.254/x", "http://redis/x"]
)
async def test_what_leads_into_a_private_network_is_refused(harness: Harness, url: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create_endpoint(harness.world, harness.organization_id, url)
    assert error_info(refused.value).reason == "ADDRESS_PRIVATE"
    assert await harness.count("ingest.outbound_endpoints") == 0


@pytest.mark.parametrize(
    "url", ["n8n.example.com/webhook", "ftp://n8n.example.com/x", "https://me:secret@example.com/"]
)
async def test_what_is_no_address_is_refused(harness: Harness, url: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create_endpoint(harness.world, harness.organization_id, url)
    assert error_info(refused.value).reason == "URL_INVALID"


async def test_a_type_that_is_no_fact_is_refused(harness: Harness, n8n: tuple[Receiver, str]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create_endpoint(harness.world, harness.organization_id, n8n[1], "message.received")
    assert error_info(refused.value).reason == "TYPE_UNKNOWN"


async def test_an_endpoint_that_is_gone_is_disabled_and_told_nothing_more(
    harness: Harness, n8n: tuple[Receiver, str]
) -> None:
    receiver, url = n8n
    receiver.faults += [Fault(status=SERVER_ERROR, only="antes"), Fault(status=GONE, only="depois")]
    made = await create_endpoint(harness.world, harness.organization_id, url, MESSAGE_RECEIVED)
    receiver.secret = made.secret
    await say(harness, WHATSAPP, "antes")
    await until(lambda: len(receiver.received) == 1)
    await say(harness, INSTAGRAM, "depois")
    (row,) = await harness.world.until(
        "select * from ingest.outbound_endpoints where organization_id = %s and not enabled", harness.organization_id
    )
    assert row["disabled_reason"] == "GONE"
    states = await harness.world.rows(
        "select state from ingest.outbound_deliveries where organization_id = %s", harness.organization_id
    )
    assert [found["state"] for found in states] == ["CANCELLED", "CANCELLED"]
    facts = await harness.world.announced(events_pb2.OutboundEndpointChanged, harness.organization_id)
    assert [fact.outbound_endpoint.enabled for fact in facts] == [True, False]
    assert await harness.count("ingest.outbound_queue") == 0


async def test_the_secret_is_shown_again_only_until_it_signed_what_was_taken(
    harness: Harness, n8n: tuple[Receiver, str]
) -> None:
    receiver, url = n8n
    stub = harness.world.as_user(harness.organization_id).stub(OutboundServiceStub)
    request = pb.CreateOutboundEndpointRequest(name="n8n", url=url, types=[MESSAGE_RECEIVED], request_id=str(uuid4()))
    first, again = await stub.CreateOutboundEndpoint(request), await stub.CreateOutboundEndpoint(request)
    assert first == again
    assert await harness.count("ingest.outbound_endpoints") == 1
    (sealed,) = await harness.world.rows(
        "select secret_sealed from ingest.outbound_secrets where organization_id = %s", harness.organization_id
    )
    assert first.secret.encode() not in bytes(sealed["secret_sealed"])
    receiver.secret = first.secret
    await say(harness, WHATSAPP, "oi")
    await until_taken(receiver, 1)
    await harness.world.until(
        "select 1 from ingest.outbound_endpoints where organization_id = %s and last_success_time is not null",
        harness.organization_id,
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.CreateOutboundEndpoint(request)
    assert error_info(refused.value).reason == "SECRET_ALREADY_USED"


async def test_what_was_taken_is_posted_once_more_when_asked_for(harness: Harness, n8n: tuple[Receiver, str]) -> None:
    receiver, url = n8n
    made = await create_endpoint(harness.world, harness.organization_id, url, MESSAGE_RECEIVED)
    receiver.secret = made.secret
    await say(harness, WHATSAPP, "oi")
    (first,) = await until_taken(receiver, 1)
    (row,) = await harness.world.until(
        "select * from ingest.outbound_deliveries where organization_id = %s and state = 'SUCCEEDED'",
        harness.organization_id,
    )
    request_id = str(uuid4())
    for _ in range(2):
        status, again = await harness.send(
            f"/api/v1/outbound-deliveries/{row['id']}:redeliver", {"request_id": request_id}
        )
        assert (status, again["state"]) == (200, "PENDING"), again
    _, second = await until_taken(receiver, 2)
    assert (second.webhook_id, second.body, second.verified) == (first.webhook_id, first.body, True)
    await harness.world.until(
        "select 1 from ingest.outbound_deliveries where id = %s and state = 'SUCCEEDED' and attempt_count = 1",
        row["id"],
    )
    assert len(receiver.received) == 2

    await harness.world.rows("delete from ingest.feed where organization_id = %s returning 1", harness.organization_id)
    status, refused = await harness.send(f"/api/v1/outbound-deliveries/{row['id']}:redeliver", {})
    assert (status, refused["reason"]) == (400, "POSITION_EXPIRED"), refused
    await harness.world.rows(
        "update ingest.outbound_endpoints set enabled = false where organization_id = %s returning 1",
        harness.organization_id,
    )
    status, refused = await harness.send(f"/api/v1/outbound-deliveries/{row['id']}:redeliver", {})
    assert (status, refused["reason"]) == (400, "OUTBOUND_ENDPOINT_DISABLED"), refused
    status, refused = await harness.send(f"/api/v1/outbound-deliveries/{uuid4()}:redeliver", {})
    assert (status, refused["reason"]) == (404, "OUTBOUND_DELIVERY_NOT_FOUND"), refused


async def test_a_deleted_endpoint_leaves_nothing(harness: Harness, n8n: tuple[Receiver, str]) -> None:
    receiver, url = n8n
    receiver.faults.append(Fault(status=SERVER_ERROR))
    made = await create_endpoint(harness.world, harness.organization_id, url, MESSAGE_RECEIVED)
    await say(harness, WHATSAPP, "oi")
    await harness.world.until(
        "select 1 from ingest.outbound_deliveries where organization_id = %s", harness.organization_id
    )
    stub = harness.world.as_user(harness.organization_id).stub(OutboundServiceStub)
    await stub.DeleteOutboundEndpoint(
        pb.DeleteOutboundEndpointRequest(outbound_endpoint_id=made.outbound_endpoint.outbound_endpoint_id)
    )
    for table in ("outbound_endpoints", "outbound_secrets", "outbound_deliveries", "outbound_queue"):
        assert await harness.count(f"ingest.{table}") == 0, table


async def test_two_that_make_the_last_endpoint_at_once_make_one(
    harness: Harness, n8n: tuple[Receiver, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.ingest.outbound.servicer.OUTBOUND_ENDPOINTS_MAX", 1)
    answers = await asyncio.gather(
        *(create_endpoint(harness.world, harness.organization_id, n8n[1]) for _ in range(2)), return_exceptions=True
    )
    refused = [answer for answer in answers if isinstance(answer, grpc.aio.AioRpcError)]
    assert [error_info(error).reason for error in refused] == ["ENDPOINTS_TOO_MANY"]
    assert await harness.count("ingest.outbound_endpoints") == 1
