"""A service behind the receiver is blocked, events pile up and are seen to, the service comes back, a replay changes
nothing."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from chassis.queues.watch import QueueWatch
from chassis.telemetry import Metrics
from chassis.wire import to_timestamp
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import WebhookEventServiceStub
from services.ingest.processing.queue import WEBHOOKS
from tests.harness import Harness, changed, sample
from tests.integration.main_way.test_once_only import snapshot

INCOMING = "message_created.whatsapp_cloud.incoming"
EVENTS = 20


@pytest.mark.req("IN-07")
async def test_what_piled_up_is_seen_processed_and_replayed_without_duplicates(harness: Harness) -> None:
    world = harness.world
    metrics = Metrics()
    watch = QueueWatch(WEBHOOKS, world.database("ingest"), world.clock, metrics)

    def seen(name: str) -> float:
        value = metrics.registry.get_sample_value(name, {"queue": "ingest.webhook_queue"})
        assert value is not None
        return value

    blocked = await world.admin()
    async with blocked, blocked.transaction():
        await blocked.execute("lock table conversation.conversations in access exclusive mode")
        bodies = [
            changed(sample(INCOMING), id=910_000 + number, source_id=f"wamid.{number}", content=f"{number}")
            for number in range(EVENTS)
        ]
        answers = await asyncio.gather(*(harness.post(body) for body in bodies))
        assert {status for status, _ in answers} == {200}
        await watch.look()
        assert seen("prosa_queue_waiting") >= EVENTS
        assert seen("prosa_queue_oldest_seconds") > 0
        assert await harness.count("conversation.messages") == 0
    for _, answer in answers:
        assert (await harness.done(answer["webhook_event_id"]))["state"] == "PROCESSED"
    await watch.look()
    assert seen("prosa_queue_waiting") == 0
    assert seen("prosa_queue_oldest_seconds") == 0
    assert await harness.count("conversation.messages") == EVENTS

    before = await snapshot(harness)
    events = world.as_service("cli", harness.organization_id).stub(WebhookEventServiceStub)
    since = to_timestamp(world.clock.now() - timedelta(minutes=10))
    asked = pb.ReplayWebhookEventsRequest(start_time=since, state=pb.WEBHOOK_EVENT_STATE_PROCESSED, dry_run=True)
    counted = await events.ReplayWebhookEvents(asked)
    assert (counted.matched_count, counted.replayed_count) == (EVENTS, 0)
    asked.dry_run = False
    replayed = await events.ReplayWebhookEvents(asked)
    assert replayed.replayed_count == EVENTS
    for _, answer in answers:
        assert (await harness.done(answer["webhook_event_id"]))["state"] == "PROCESSED"
    assert await snapshot(harness) == before
