"""What arrived can be processed again: the same rows, or those that were missing, and none twice."""

from __future__ import annotations

from datetime import timedelta

import pytest

from prosa.conversation.v1.events_pb2 import MessageReceived
from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.v1 import options_pb2
from tests.harness import Harness, changed, sample

MESSAGE = "message_created.whatsapp_cloud.incoming"
LATE_INBOX = 77
RESULTS = ("contact_id", "conversation_id", "deal_id", "message_id")
TABLES = ("identity.contacts", "crm.deals", "conversation.conversations", "conversation.messages")


@pytest.mark.req("IN-10")
async def test_an_event_that_is_replayed_ends_in_the_same_rows(harness: Harness) -> None:
    first = await harness.deliver(sample(MESSAGE))
    assert first["state"] == "PROCESSED", first
    counts = [await harness.count(table) for table in TABLES]
    status, answer = await harness.send(f"/api/v1/webhook-events/{first['id']}:replay", {})
    assert (status, answer["state"]) == (200, "PENDING")
    again = await harness.done(str(first["id"]))
    assert again["state"] == "PROCESSED", again
    assert again["process_time"] > first["process_time"]
    assert [again[name] for name in RESULTS] == [first[name] for name in RESULTS]
    assert all(first[name] is not None for name in RESULTS)
    assert [await harness.count(table) for table in TABLES] == counts
    status, shown = await harness.get(f"/api/v1/webhook-events/{first['id']}")
    assert (status, shown["deal_id"]) == (200, str(first["deal_id"]))


async def test_what_was_ignored_before_its_inbox_was_declared_is_replayed_in_order(harness: Harness) -> None:
    message = changed(sample(MESSAGE), inbox__id=LATE_INBOX, conversation__inbox_id=LATE_INBOX)
    texts = [f"Mensagem {number}" for number in range(20)]
    for number, text in enumerate(texts):
        row = await harness.deliver(changed(message, id=5_000_000 + number, content=text))
        assert (row["state"], row["reason"]) == ("IGNORED", "FOREIGN_INBOX"), row
    await (
        harness.world.as_service("cli", harness.organization_id)
        .stub(ConnectionServiceStub)
        .CreateChannel(
            connection_pb.CreateChannelRequest(
                connection_id=harness.connection.connection_id,
                name="Caixa tardia",
                source=options_pb2.SOURCE_WHATSAPP,
                inbox_id=LATE_INBOX,
            )
        )
    )
    since = (harness.world.clock.now() - timedelta(minutes=10)).isoformat().replace("+00:00", "Z")
    wanted = {"start_time": since, "state": "IGNORED", "reason": "FOREIGN_INBOX"}
    status, dry = await harness.send("/api/v1/webhook-events:replay", wanted | {"dry_run": True})
    assert (status, dry["matched_count"], dry["replayed_count"]) == (200, 20, 0)
    assert dry["groups"] == [{"state": "IGNORED", "reason": "FOREIGN_INBOX", "count": 20}]
    assert await harness.count("conversation.messages") == 0
    status, done = await harness.send("/api/v1/webhook-events:replay", wanted)
    assert (status, done["matched_count"], done["replayed_count"]) == (200, 20, 20)
    await harness.world.until(
        "select 1 where 20 = (select count(*) from ingest.webhook_events"
        " where organization_id = %s and state = 'PROCESSED')",
        harness.organization_id,
    )
    heard = await harness.world.announced(MessageReceived, harness.organization_id)
    assert [fact.message.text for fact in heard] == texts
    assert await harness.count("conversation.conversations") == await harness.count("crm.deals") == 1
