"""When a message was written, as its body says it, and when the body is not believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.harness import Harness, changed, sample

INCOMING = "message_created.whatsapp_cloud.incoming"
RESOLVED = "conversation_status_changed.whatsapp_cloud.resolved"
TEN = datetime(2026, 7, 20, 10, tzinfo=UTC)
SECONDS = int(TEN.timestamp())

pytestmark = pytest.mark.case("F22")


async def written_at(harness: Harness, created_at: Any) -> tuple[datetime, dict[str, Any]]:
    """When the message was written as the list of messages shows it, and its event's row."""
    event = await harness.deliver(changed(sample(INCOMING), created_at=created_at))
    assert event["state"] == "PROCESSED", event
    _, listed = await harness.get(f"/api/v1/conversations/{event['conversation_id']}/messages")
    [message] = listed["messages"]
    return datetime.fromisoformat(message["create_time"]), event


@pytest.mark.parametrize(
    "created_at",
    ["2026-07-20 10:00:00 UTC", SECONDS * 1000, str(SECONDS), f"{SECONDS}000", "Mon, 20 Jul 2026 10:00:00 GMT"],
)
async def test_a_message_shows_the_time_that_was_written(harness: Harness, created_at: Any) -> None:
    shown, _ = await written_at(harness, created_at)
    assert shown == TEN


@pytest.mark.parametrize("days", [2, 4_000])
async def test_a_time_far_ahead_is_not_believed(harness: Harness, days: int) -> None:
    ahead = harness.world.clock.now() + timedelta(days=days)
    shown, event = await written_at(harness, ahead.isoformat())
    assert shown == event["receive_time"]


@pytest.mark.parametrize("created_at", ["2008-12-31T00:00:00Z", "1970-01-01 00:00:00 UTC", 1_000_000_000])
async def test_a_time_from_before_whatsapp_is_not_believed(harness: Harness, created_at: Any) -> None:
    shown, event = await written_at(harness, created_at)
    assert shown == event["receive_time"]


@pytest.mark.parametrize(
    "updated_at",
    [
        *(
            lambda moment: moment.timestamp(),
            lambda moment: moment.timestamp() * 1000,
            lambda moment: moment.isoformat(),
        ),
        lambda moment: moment.strftime("%Y-%m-%d %H:%M:%S UTC"),
    ],
)
async def test_a_state_counts_whatever_form_its_time_has(harness: Harness, updated_at: Any) -> None:
    before = harness.world.clock.now() - timedelta(hours=2)
    await harness.deliver(changed(sample(INCOMING), conversation__updated_at=before.timestamp()))
    later = before + timedelta(hours=1)
    event = await harness.deliver(changed(sample(RESOLVED), updated_at=updated_at(later)))
    _, conversation = await harness.get(f"/api/v1/conversations/{event['conversation_id']}")
    assert conversation["state"] == "RESOLVED"


async def test_a_state_far_ahead_does_not_make_stale_what_comes_after_it(harness: Harness) -> None:
    ahead = (harness.world.clock.now() + timedelta(days=400)).timestamp()
    await harness.deliver(changed(sample(INCOMING), conversation__updated_at=ahead))
    now = harness.world.clock.now().timestamp()
    event = await harness.deliver(changed(sample(RESOLVED), updated_at=now))
    _, conversation = await harness.get(f"/api/v1/conversations/{event['conversation_id']}")
    assert conversation["state"] == "RESOLVED"
