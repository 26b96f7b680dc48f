"""A worker that lost its lanes while it worked writes nothing of what it did."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from chassis.queues import worker as queue_worker
from services.ingest.processing import worker
from tests.harness import Harness, sample
from tests.world import PATIENCE_SECONDS

WAIT_SECONDS = PATIENCE_SECONDS
FREED = "update ingest.leases set expire_time = '-infinity' where name like 'lane.%%' returning name"
TAKEN = (
    "update ingest.leases set holder = %s, fence = fence + 1, expire_time = 'infinity' where name like 'lane.%%'"
    " returning name"
)


class GivenUp:
    """A logger that knows when a batch was given up."""

    def __init__(self) -> None:
        self.came = asyncio.Event()

    def warning(self, event: str, **_: object) -> None:
        if event == "batch_given_up":
            self.came.set()

    def info(self, event: str, **_: object) -> None:
        # With nobody to stop it, the batch would be written.
        if event == "events_done":
            self.came.set()


async def test_a_worker_whose_lanes_another_holds_by_now_writes_no_outcome(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = GivenUp()
    lock = await harness.world.admin()
    async with lock:
        async with lock.transaction():
            # Held while the batch is under way: it waits for identity.
            await lock.execute("lock table identity.contact_identities in access exclusive mode")
            status, answer = await harness.post(sample("message_created.whatsapp_cloud.incoming"))
            assert status == 200
            await harness.world.until_waiting_on_locks(1)
            monkeypatch.setattr(queue_worker, "logger", told)
            monkeypatch.setattr(worker, "logger", told)
            assert await harness.world.rows(TAKEN, uuid4())
        async with asyncio.timeout(WAIT_SECONDS):
            await told.came.wait()
    event_id = answer["webhook_event_id"]
    rows = await harness.world.rows("select state, attempt_count from ingest.webhook_events where id = %s", event_id)
    assert rows == [{"state": "PENDING", "attempt_count": 0}]
    assert await harness.count("ingest.webhook_queue") == 1
    # Who holds the lanes next does it, and once.
    await harness.world.rows(FREED)
    assert (await harness.done(event_id))["state"] == "PROCESSED"
    assert await harness.count("conversation.messages") == 1
