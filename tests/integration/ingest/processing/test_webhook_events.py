"""Looking at webhook events and putting them back, through the stub, with no worker to take them away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import grpc
import grpc.aio
import pytest
import pytest_asyncio

from chassis import wire
from chassis.clock import SystemClock
from chassis.enums import enum_number
from chassis.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from chassis.process import Host
from chassis.queues.queue import LANE_COUNT, lane_of
from embedded.servers import EmbeddedServers
from prosa.ingest.v1 import webhook_event_service_pb2 as pb
from prosa.ingest.v1.webhook_event_service_pb2_grpc import WebhookEventServiceStub
from services.ingest.processing import outcome_store
from services.ingest.processing.queue import WEBHOOKS
from tests.integration.ingest.processing.quiet import (
    REPLAY_CHUNK_EVENTS,
    REPLAY_EVENTS_MAX,
    QuietIngest,
    StoredEvents,
    events,
)
from tests.world import ADMIN, AGENT, World, error_info, settings_for

PENDING, PROCESSED, IGNORED, DEAD_LETTER = (
    pb.WEBHOOK_EVENT_STATE_PENDING,
    pb.WEBHOOK_EVENT_STATE_PROCESSED,
    pb.WEBHOOK_EVENT_STATE_IGNORED,
    pb.WEBHOOK_EVENT_STATE_DEAD_LETTER,
)
STATES = ("PENDING", "PROCESSED", "IGNORED", "DEAD_LETTER")
MINUTE = timedelta(minutes=1)
NOW = SystemClock().now()
QUIET = QuietIngest()
CLAIM_MAX = 1_000


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> AsyncIterator[World]:
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    host = Host(settings)
    await host.start({"ingest": QUIET.start})
    host.revocations.update([], complete=True)
    running = World(database_url, settings, host, host.clock)
    yield running
    await running.close()
    await host.stop()


@pytest.fixture
def stored_events(world: World, organization_id: UUID) -> StoredEvents:
    return StoredEvents(world, organization_id)


async def listed(stored_events: StoredEvents, **wanted: Any) -> list[UUID]:
    """The ids of the events that match, walked in pages of two."""
    found: list[UUID] = []
    token = ""
    while True:
        request = pb.ListWebhookEventsRequest(page_size=2, page_token=token, **wanted)
        answer = await events(stored_events.world, stored_events.organization_id).ListWebhookEvents(request)
        assert all(not item.body and not item.body_text for item in answer.webhook_events)
        found += [UUID(item.webhook_event_id) for item in answer.webhook_events]
        token = answer.next_page_token
        if not token:
            return found


async def replay(stored_events: StoredEvents, **wanted: Any) -> pb.ReplayWebhookEventsResponse:
    """Replays the last hour, unless said otherwise."""
    fields = {"start_time": wire.to_timestamp(NOW - 60 * MINUTE)} | wanted
    return await events(stored_events.world, stored_events.organization_id).ReplayWebhookEvents(
        pb.ReplayWebhookEventsRequest(**fields)
    )


async def test_events_are_listed_newest_first_in_pages(stored_events: StoredEvents) -> None:
    made = [await stored_events.put(state, NOW, queued=state == "PENDING") for state in (*STATES, "PROCESSED")]
    assert await listed(stored_events) == made[::-1]


@pytest.mark.parametrize("state", STATES)
async def test_events_are_listed_by_state(stored_events: StoredEvents, state: str) -> None:
    made = {
        (name, number): await stored_events.put(name, NOW, queued=name == "PENDING")
        for number in range(3)
        for name in STATES
    }
    wanted = enum_number(pb.WebhookEventState, state)
    assert await listed(stored_events, state=wanted) == [made[state, number] for number in (2, 1, 0)]


@pytest.mark.parametrize("state", ["UNSPECIFIED", "DEAD_LETTER", "PROCESSED"])
async def test_events_are_listed_by_connection_reason_contact_and_time(stored_events: StoredEvents, state: str) -> None:
    number = enum_number(pb.WebhookEventState, state)
    stored = "DEAD_LETTER" if state == "UNSPECIFIED" else state
    contact_id, other_connection = uuid4(), uuid4()
    plain = await stored_events.put(stored, NOW - 3 * MINUTE)
    reasoned = await stored_events.put(stored, NOW - 2 * MINUTE, reason="NO_VALID_IDENTITY")
    of_contact = await stored_events.put(stored, NOW - MINUTE, contact_id=contact_id)
    elsewhere = await stored_events.put(stored, NOW, connection_id=other_connection)
    assert await listed(stored_events, state=number, reason="NO_VALID_IDENTITY") == [reasoned]
    assert await listed(stored_events, state=number, contact_id=str(contact_id)) == [of_contact]
    assert await listed(stored_events, state=number, connection_id=str(other_connection)) == [elsewhere]
    start, end = wire.to_timestamp(NOW - 2 * MINUTE), wire.to_timestamp(NOW)
    assert await listed(stored_events, state=number, start_time=start, end_time=end) == [of_contact, reasoned]
    assert await listed(stored_events, state=number, end_time=start) == [plain]


async def test_an_event_is_answered_with_its_body_as_text_where_it_is_one(stored_events: StoredEvents) -> None:
    stub = events(stored_events.world, stored_events.organization_id)
    readable = await stored_events.put("PROCESSED", NOW, body='{"content":"Olá"}'.encode(), deal_id=uuid4(), reason="X")
    answer = await stub.GetWebhookEvent(pb.GetWebhookEventRequest(webhook_event_id=str(readable)))
    assert (answer.body_text, answer.body) == ('{"content":"Olá"}', '{"content":"Olá"}'.encode())
    assert (answer.state, answer.event, answer.reason) == (PROCESSED, "message_created", "X")
    assert answer.receive_time == wire.to_timestamp(NOW)
    assert UUID(answer.deal_id) == (await stored_events.row(readable))["deal_id"]
    unreadable = await stored_events.put("DEAD_LETTER", NOW, body=b"\xff\x00{")
    answer = await stub.GetWebhookEvent(pb.GetWebhookEventRequest(webhook_event_id=str(unreadable)))
    assert (answer.body_text, answer.body) == ("", b"\xff\x00{")


async def test_another_organization_s_events_are_not_there(stored_events: StoredEvents) -> None:
    mine = await stored_events.put("DEAD_LETTER", NOW)
    stranger = StoredEvents(stored_events.world, uuid4())
    stub = events(stored_events.world, stranger.organization_id)
    for call in (
        stub.GetWebhookEvent(pb.GetWebhookEventRequest(webhook_event_id=str(mine))),
        stub.ReplayWebhookEvent(pb.ReplayWebhookEventRequest(webhook_event_id=str(mine))),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        error = error_info(refused.value)
        assert isinstance(error, NotFound)
        assert error.reason == "WEBHOOK_EVENT_NOT_FOUND"
    assert await listed(stranger) == await listed(stranger, state=DEAD_LETTER) == []
    assert (await replay(stranger)).matched_count == 0
    assert await stored_events.dead() == {mine}


async def test_a_replayed_event_is_pending_anew_in_its_own_lane(stored_events: StoredEvents) -> None:
    deal_id = uuid4()
    event_id = await stored_events.put(
        "DEAD_LETTER",
        NOW,
        reason="ATTEMPTS_EXHAUSTED",
        detail="crm is away",
        attempt_count=5,
        process_time=NOW,
        ordering_key=f"{stored_events.connection_id}/c:9",
        deal_id=deal_id,
    )
    woken = QUIET.wakes.count
    stub = events(stored_events.world, stored_events.organization_id)
    answer = await stub.ReplayWebhookEvent(pb.ReplayWebhookEventRequest(webhook_event_id=str(event_id)))
    assert (answer.state, answer.reason, answer.detail, answer.attempt_count) == (PENDING, "", "", 0)
    assert not answer.HasField("process_time")
    assert not answer.body
    assert UUID(answer.deal_id) == deal_id
    (place,) = await stored_events.queue()
    assert (place["webhook_event_id"], place["receive_time"], place["attempt_count"]) == (event_id, NOW, 0)
    assert place["ordering_key"] == f"{stored_events.connection_id}/c:9"
    assert place["lane"] == lane_of(f"{stored_events.connection_id}/c:9")
    assert place["next_attempt_time"] is None
    assert await stored_events.dead() == set()
    assert QUIET.wakes.count == woken + 1


async def test_an_event_that_waits_is_not_replayed(stored_events: StoredEvents) -> None:
    event_id = await stored_events.put("PENDING", NOW, queued=True, attempt_count=2)
    stub = events(stored_events.world, stored_events.organization_id)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub.ReplayWebhookEvent(pb.ReplayWebhookEventRequest(webhook_event_id=str(event_id)))
    error = error_info(refused.value)
    assert isinstance(error, FailedPrecondition)
    assert error.reason == "WEBHOOK_EVENT_PENDING"
    assert (await stored_events.row(event_id))["attempt_count"] == 2
    assert len(await stored_events.queue()) == 1


async def test_of_replays_at_the_same_moment_one_puts_the_event_back(stored_events: StoredEvents) -> None:
    event_id = await stored_events.put("PROCESSED", NOW)
    stub = events(stored_events.world, stored_events.organization_id)
    request = pb.ReplayWebhookEventRequest(webhook_event_id=str(event_id))
    async with await stored_events.world.admin() as holder, holder.transaction():
        await holder.execute("select from ingest.webhook_events where id = %s for update", [event_id])
        calls = [asyncio.ensure_future(_outcome(stub, request)) for _ in range(4)]
        await stored_events.world.until_waiting_on_locks(4)
    assert sorted(await asyncio.gather(*calls)) == ["", *["WEBHOOK_EVENT_PENDING"] * 3]
    assert len(await stored_events.queue()) == 1


async def _outcome(stub: Any, request: pb.ReplayWebhookEventRequest) -> str:
    try:
        await stub.ReplayWebhookEvent(request)
    except grpc.aio.AioRpcError as error:
        return error_info(error).reason
    return ""


async def test_a_dry_run_counts_by_reason_and_changes_nothing(stored_events: StoredEvents) -> None:
    dead = [
        await stored_events.put("DEAD_LETTER", NOW - MINUTE, reason=reason)
        for reason in ("UNKNOWN_SHAPE", "NO_VALID_IDENTITY", "UNKNOWN_SHAPE")
    ]
    await stored_events.put("PROCESSED", NOW - MINUTE)
    woken = QUIET.wakes.count
    answer = await replay(stored_events, dry_run=True)
    assert (answer.matched_count, answer.replayed_count) == (3, 0)
    assert [(group.state, group.reason, group.count) for group in answer.groups] == [
        (DEAD_LETTER, "UNKNOWN_SHAPE", 2),
        (DEAD_LETTER, "NO_VALID_IDENTITY", 1),
    ]
    assert await stored_events.queue() == []
    assert await stored_events.dead() == set(dead)
    assert QUIET.wakes.count == woken


async def test_a_range_is_replayed_in_order_over_many_chunks(stored_events: StoredEvents) -> None:
    made = [
        await stored_events.put(
            "DEAD_LETTER", NOW - MINUTE, reason="UNKNOWN_SHAPE", ordering_key=f"conversation/{number % 3}"
        )
        for number in range(2 * REPLAY_CHUNK_EVENTS + 1)
    ]
    answer = await replay(stored_events)
    assert (answer.matched_count, answer.replayed_count) == (len(made), len(made))
    queue = await stored_events.queue()
    assert [place["webhook_event_id"] for place in queue] == made
    assert [place["lane"] for place in queue] == [lane_of(f"conversation/{number % 3}") for number in range(len(made))]
    assert await stored_events.dead() == set()
    assert {(await stored_events.row(event_id))["state"] for event_id in made} == {"PENDING"}
    assert (await replay(stored_events)).matched_count == 0


async def test_a_range_is_narrowed_by_time_state_connection_and_reason(stored_events: StoredEvents) -> None:
    other_connection = uuid4()
    early = await stored_events.put("IGNORED", NOW - 5 * MINUTE, reason="FOREIGN_INBOX")
    wanted = await stored_events.put("IGNORED", NOW - 3 * MINUTE, reason="FOREIGN_INBOX")
    late = await stored_events.put("IGNORED", NOW - 2 * MINUTE, reason="FOREIGN_INBOX")
    note = await stored_events.put("IGNORED", NOW - 3 * MINUTE, reason="PRIVATE_NOTE")
    elsewhere = await stored_events.put(
        "IGNORED", NOW - 3 * MINUTE, reason="FOREIGN_INBOX", connection_id=other_connection
    )
    answer = await replay(
        stored_events,
        start_time=wire.to_timestamp(NOW - 3 * MINUTE),
        end_time=wire.to_timestamp(NOW - 2 * MINUTE),
        state=IGNORED,
        reason="FOREIGN_INBOX",
        connection_id=str(stored_events.connection_id),
    )
    assert (answer.matched_count, answer.replayed_count) == (1, 1)
    assert [place["webhook_event_id"] for place in await stored_events.queue()] == [wanted]
    for untouched in (early, late, note, elsewhere):
        assert (await stored_events.row(untouched))["state"] == "IGNORED"


async def test_too_large_a_range_is_counted_and_not_replayed(stored_events: StoredEvents) -> None:
    for _ in range(REPLAY_EVENTS_MAX + 1):
        await stored_events.put("DEAD_LETTER", NOW - MINUTE)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await replay(stored_events)
    error = error_info(refused.value)
    assert isinstance(error, InvalidArgument)
    assert error.reason == "REPLAY_RANGE_TOO_LARGE"
    assert "Choose a shorter range" in error.message
    assert error.metadata["matched_count"] == str(REPLAY_EVENTS_MAX + 1)
    assert await stored_events.queue() == []
    assert (await replay(stored_events, dry_run=True)).matched_count == REPLAY_EVENTS_MAX + 1


@pytest.mark.parametrize(
    "fields",
    [
        {"end_time": wire.to_timestamp(NOW - 61 * MINUTE)},
        {"start_time": wire.to_timestamp(NOW + 61 * MINUTE)},
        {"state": PENDING},
    ],
)
async def test_a_range_in_which_nothing_can_lie_is_refused(stored_events: StoredEvents, fields: dict[str, Any]) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await replay(stored_events, **fields)
    error = error_info(refused.value)
    assert isinstance(error, InvalidArgument)
    assert error.reason == "REPLAY_RANGE_INVALID"


async def test_agents_list_and_administrators_replay(stored_events: StoredEvents) -> None:
    event_id = str(await stored_events.put("DEAD_LETTER", NOW))
    stub = stored_events.world.as_user(stored_events.organization_id, AGENT).stub(WebhookEventServiceStub)
    assert len((await stub.ListWebhookEvents(pb.ListWebhookEventsRequest())).webhook_events) == 1
    for call in (
        stub.GetWebhookEvent(pb.GetWebhookEventRequest(webhook_event_id=event_id)),
        stub.ReplayWebhookEvent(pb.ReplayWebhookEventRequest(webhook_event_id=event_id)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await call
        assert isinstance(error_info(refused.value), PermissionDenied)
    stub = stored_events.world.as_user(stored_events.organization_id, ADMIN).stub(WebhookEventServiceStub)
    assert (await stub.ReplayWebhookEvent(pb.ReplayWebhookEventRequest(webhook_event_id=event_id))).state == PENDING


async def claimed(stored_events: StoredEvents, **limits: int) -> list[UUID]:
    """What a worker gets to see of the organization's queue."""
    places = {place["sequence"] for place in await stored_events.queue()}
    async with stored_events.world.database("ingest").transaction() as tx:
        found = await WEBHOOKS.claim(tx, range(LANE_COUNT), [], stored_events.world.clock.now(), CLAIM_MAX)
        own = [item for item in found if item.sequence in places]
        return [pending.item_id for pending in await outcome_store.load(tx, own, **limits)]


async def test_large_events_travel_a_few_at_a_time_and_in_order(stored_events: StoredEvents) -> None:
    made = [await stored_events.put("PENDING", NOW, queued=True, body=b"x" * 4_000) for _ in range(3)]
    assert await claimed(stored_events, bytes_max=4_001) == made[:2]
    assert await claimed(stored_events, bytes_max=1) == made[:1]
    assert await claimed(stored_events) == made
    assert len(await stored_events.queue()) == 3


async def test_the_place_of_an_event_that_has_expired_is_given_up(stored_events: StoredEvents) -> None:
    made = [await stored_events.put("PENDING", NOW, queued=True) for _ in range(3)]
    async with await stored_events.world.admin() as connection:
        await connection.execute("delete from ingest.webhook_events where id = any (%s)", [made[:2]])
    assert await claimed(stored_events) == made[2:]
    assert [place["webhook_event_id"] for place in await stored_events.queue()] == made[2:]


async def test_one_claim_takes_the_events_of_several_organizations_and_sees_them_all(world: World) -> None:
    stored_events_of = [StoredEvents(world, uuid4()) for _ in range(2)]
    made = {await stored_events.put("PENDING", NOW, queued=True) for stored_events in stored_events_of}
    (lane,) = {place["lane"] for stored_events in stored_events_of for place in await stored_events.queue()}
    async with world.database("ingest").transaction() as tx:
        # What other tests have left in the lane comes first.
        found = await WEBHOOKS.claim(tx, [lane], [], world.clock.now(), CLAIM_MAX)
        assert made <= {pending.item_id for pending in await outcome_store.load(tx, found)}
    assert all([await stored_events.queue() for stored_events in stored_events_of])
