"""One id finds a message in every service's log, and the logs keep what must not be in them out."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from chassis import telemetry
from chassis.outbox import stream_name
from chassis.streams import read_batch
from chassis.system import SERVICES
from tests.harness import SECRET, Harness, sample

INCOMING = "message_created.whatsapp_cloud.incoming"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
LOGGING_SERVICES = {"gateway", "ingest", "identity", "crm", "conversation"}


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """What all services log, at the most talkative level."""
    stream = io.StringIO()
    telemetry.configure_logging("debug", stream=stream)
    yield stream
    telemetry.configure_logging("error", stream=io.StringIO())


def _lines(logs: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logs.getvalue().splitlines()]


def _service(line: dict[str, Any]) -> str:
    parts = str(line["logger"]).split(".")
    return parts[1] if parts[0] == "services" else parts[0]


@pytest.mark.req("OP-17", "OP-19")
async def test_the_events_id_finds_its_message_in_every_services_log(harness: Harness, logs: io.StringIO) -> None:
    event = await harness.deliver(sample(INCOMING))
    await harness.world.until(
        "select 1 from ingest.feed where organization_id = %s and type = 'prosa.conversation.v1.MessageReceived'",
        harness.organization_id,
    )
    lines = _lines(logs)
    assert all({"time", "level", "event", "logger"} <= line.keys() for line in lines)
    assert {_service(line) for line in lines if str(event["id"]) in json.dumps(line)} >= LOGGING_SERVICES


@pytest.mark.req("OP-19")
async def test_the_callers_trace_reaches_the_facts_and_the_feed(harness: Harness) -> None:
    body = harness.encoded(sample(INCOMING))
    status, answer = await harness.post(body, traceparent=f"00-{TRACE_ID}-00f067aa0ba902b7-01")
    assert status == 200
    event = await harness.done(answer["webhook_event_id"])
    assert event["trace_parent"][3:35] == TRACE_ID
    for table in ("identity.outbox", "crm.outbox", "conversation.outbox", "ingest.feed"):
        heard = await harness.world.until(
            f"select * from {table} where organization_id = %s and correlation_id = %s",
            harness.organization_id,
            str(event["id"]),
        )
        assert {row["trace_parent"][3:35] for row in heard} == {TRACE_ID}, table


async def test_neither_logs_nor_streams_hold_secrets_and_logs_hold_no_texts(
    harness: Harness, logs: io.StringIO
) -> None:
    body = sample(INCOMING)
    await harness.deliver(body)
    await harness.post(body, secret="a-wrong-secret")
    await harness.world.until(
        "select 1 from ingest.feed where organization_id = %s and type = 'prosa.conversation.v1.MessageReceived'",
        harness.organization_id,
    )
    token = body["conversation"]["contact_inbox"]["pubsub_token"]
    written = logs.getvalue()
    for secret in (token, SECRET, harness.api_key, harness.connection.connection_key):
        assert secret not in written
    assert body["content"] not in written
    assert "bom dia" not in written
    facts = 0
    for service in SERVICES:
        messages = await read_batch(harness.world.host.nats, stream_name(service), 1, 500)
        facts += len(messages)
        assert not any(token.encode() in message.payload for message in messages)
    assert facts > 0
