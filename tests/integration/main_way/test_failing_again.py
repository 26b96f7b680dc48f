"""An event that fails every time: how often it is tried, what waits for it meanwhile, and what becomes of it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from chassis.queues.items import Attempts
from prosa.ingest.v1 import events_pb2
from services.ingest.processing.worker import ATTEMPTS
from tests.harness import Harness, changed, sample

INCOMING = "message_created.whatsapp_cloud.incoming"
LONG_SECONDS = 3_600
REFUSED = "MESSAGE_OF_OTHER_CONVERSATION"
STANDING = "select state, reason, attempt_count, detail from ingest.webhook_events where id = %s"
TRIED = "select attempt_count from ingest.webhook_events where id = %s and attempt_count = %s"
DUE_NOW = "update ingest.webhook_queue set next_attempt_time = '-infinity' where webhook_event_id = %s returning 1"


async def test_an_event_is_tried_five_times_holds_back_its_own_conversation_and_is_then_a_dead_letter(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits = tuple(timedelta(seconds=LONG_SECONDS * turn) for turn in range(1, ATTEMPTS.maximum))
    failed = Attempts.failed
    monkeypatch.setattr(Attempts, "failed", lambda _, *failure: failed(Attempts(waits), *failure))
    body = sample(INCOMING)
    await harness.deliver(body)
    # The very same message, told of another conversation: no second look makes that true.
    elsewhere = changed(body, conversation__id=950)
    _, bad = await harness.post(elsewhere)
    event_id = bad["webhook_event_id"]
    behind = changed(elsewhere, id=9_500_001, source_id="wamid.ATRAS01", content="Ainda espero")
    beside = changed(body, id=9_500_002, source_id="wamid.AOLADO1", content="Não espero")
    await harness.world.until(TRIED, event_id, 1)
    _, waiting = await harness.post(behind)
    # What is of another conversation goes on: once that is done, the worker has passed by what waits.
    assert (await harness.deliver(beside))["state"] == "PROCESSED"

    for attempt in range(1, ATTEMPTS.maximum):
        [row] = await harness.world.until(TRIED, event_id, attempt)
        [standing] = await harness.world.rows(STANDING, event_id)
        assert (standing["state"], standing["reason"]) == ("PENDING", "")
        assert REFUSED in standing["detail"]
        [held] = await harness.world.rows(STANDING, waiting["webhook_event_id"])
        assert (held["state"], held["attempt_count"]) == ("PENDING", 0)
        [row] = await harness.world.rows(
            "select next_attempt_time from ingest.webhook_queue where webhook_event_id = %s", event_id
        )
        wait = row["next_attempt_time"] - harness.world.clock.now()
        assert timedelta(seconds=LONG_SECONDS * (attempt - 1)) < wait <= timedelta(seconds=LONG_SECONDS * attempt)
        assert await harness.world.rows(DUE_NOW, event_id)

    row = await harness.done(event_id)
    assert (row["state"], row["reason"], row["attempt_count"]) == ("DEAD_LETTER", REFUSED, ATTEMPTS.maximum)
    [fact] = await harness.world.announced(events_pb2.WebhookEventDeadLettered, harness.organization_id)
    assert (fact.webhook_event_id, fact.reason, fact.attempt_count) == (event_id, REFUSED, ATTEMPTS.maximum)
    _, listed = await harness.get("/api/v1/webhook-events", state="DEAD_LETTER")
    assert [(event["webhook_event_id"], event["reason"]) for event in listed["webhook_events"]] == [(event_id, REFUSED)]
    # Now what waited behind it has its turn, as if nothing had been before it.
    done = await harness.done(waiting["webhook_event_id"])
    assert (done["state"], done["attempt_count"]) == ("PROCESSED", 1)
    assert await harness.count("ingest.webhook_queue") == 0


async def test_what_is_wrong_with_the_event_itself_is_tried_once(harness: Harness) -> None:
    event = await harness.deliver(changed(sample(INCOMING), conversation__id="391x"))
    assert (event["state"], event["attempt_count"]) == ("DEAD_LETTER", 1)
