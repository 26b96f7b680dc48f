"""One id finds a message in every room's log, and the logs keep what must not be in them out."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest

from chassis import telemetry
from chassis.migrations import SERVICES
from chassis.outbox import stream_name
from chassis.streams import read_batch
from tests.office import SECRET, Office, sample

INCOMING = "message_created.whatsapp_cloud.incoming"
TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
ROOMS = {"gateway", "ingest", "identity", "crm", "conversation"}


@pytest.fixture
def logs() -> Iterator[io.StringIO]:
    """What all rooms log, at the most talkative level."""
    stream = io.StringIO()
    telemetry.configure_logging("debug", stream=stream)
    yield stream
    telemetry.configure_logging("error", stream=io.StringIO())


def _lines(logs: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in logs.getvalue().splitlines()]


def _room(line: dict[str, Any]) -> str:
    parts = str(line["logger"]).split(".")
    return parts[1] if parts[0] == "services" else parts[0]


@pytest.mark.req("OP-17", "OP-19")
async def test_the_events_id_finds_its_message_in_every_rooms_log(office: Office, logs: io.StringIO) -> None:
    event = await office.deliver(sample(INCOMING))
    await office.world.until(
        "select 1 from ingest.feed where organization_id = %s and type = 'prosa.conversation.v1.MessageReceived'",
        office.organization_id,
    )
    lines = _lines(logs)
    assert all({"time", "level", "event", "logger"} <= line.keys() for line in lines)
    assert {_room(line) for line in lines if str(event["id"]) in json.dumps(line)} >= ROOMS


@pytest.mark.req("OP-19")
async def test_the_callers_trace_reaches_the_facts_and_the_feed(office: Office) -> None:
    body = office.encoded(sample(INCOMING))
    status, answer = await office.post(body, traceparent=f"00-{TRACE_ID}-00f067aa0ba902b7-01")
    assert status == 200
    event = await office.done(answer["webhook_event_id"])
    assert event["trace_parent"][3:35] == TRACE_ID
    for table in ("identity.outbox", "crm.outbox", "conversation.outbox", "ingest.feed"):
        heard = await office.world.until(
            f"select * from {table} where organization_id = %s and correlation_id = %s",
            office.organization_id,
            str(event["id"]),
        )
        assert {row["trace_parent"][3:35] for row in heard} == {TRACE_ID}, table


async def test_neither_logs_nor_streams_hold_secrets_and_logs_hold_no_texts(office: Office, logs: io.StringIO) -> None:
    body = sample(INCOMING)
    await office.deliver(body)
    await office.post(body, secret="a-wrong-secret")
    await office.world.until(
        "select 1 from ingest.feed where organization_id = %s and type = 'prosa.conversation.v1.MessageReceived'",
        office.organization_id,
    )
    token = body["conversation"]["contact_inbox"]["pubsub_token"]
    written = logs.getvalue()
    for secret in (token, SECRET, office.api_key, office.connection.connection_key):
        assert secret not in written
    assert body["content"] not in written
    assert "bom dia" not in written
    facts = 0
    for service in SERVICES:
        messages = await read_batch(office.world.host.nats, stream_name(service), 1, 500)
        facts += len(messages)
        assert not any(token.encode() in message.payload for message in messages)
    assert facts > 0
