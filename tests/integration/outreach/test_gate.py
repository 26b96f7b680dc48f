"""The gate on real PostgreSQL and Redis: who gets the last unit, what a loss of Redis does, what a reservation is."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import grpc
import pytest
import pytest_asyncio
from google.protobuf.timestamp_pb2 import Timestamp
from redis.asyncio import Redis as Client

from chassis.clock import SettableClock
from prosa.outreach.v1 import outreach_service_pb2, send_service_pb2
from prosa.outreach.v1 import send_service_pb2 as pb
from prosa.outreach.v1.outreach_service_pb2_grpc import OutreachServiceStub
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from prosa.v1 import options_pb2
from services.outreach.sending.terms import terms_text
from tests.conftest import clear_streams
from tests.contract.reasons import ROOT
from tests.integration.identity.cast import given_organization
from tests.world import PATIENCE_SECONDS, World, error_info, settings_for, start_world

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from embedded.servers import EmbeddedServers
    from prosa.outreach.v1.send_service_pb2_grpc import SendServiceAsyncStub

TARGETS = ("identity", "outreach")
NOON = datetime.now(UTC).replace(hour=15, minute=0, second=0, microsecond=0)
"""In São Paulo."""
WORKERS = 10
PHONE = "whatsapp:+5511900004821"
ALLOWED, DENIED, LATER = pb.SEND_OUTCOME_ALLOWED, pb.SEND_OUTCOME_DENIED, pb.SEND_OUTCOME_LATER
PERSON, REPLY, SCHEDULED, MARKETING, CONFIRMATION = (
    options_pb2.SEND_CLASS_PERSON,
    options_pb2.SEND_CLASS_REPLY,
    options_pb2.SEND_CLASS_SCHEDULED,
    options_pb2.SEND_CLASS_MARKETING,
    options_pb2.SEND_CLASS_CONFIRMATION,
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def world(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> AsyncIterator[World]:
    """Identity and outreach, at noon of a day that the test moves."""
    await clear_streams(servers.nats_url)
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir)
    running = await start_world(settings, database_url, TARGETS, SettableClock(NOON))
    try:
        yield running
    finally:
        await running.close()
        await running.host.stop()


@pytest_asyncio.fixture(loop_scope="session")
async def redis(servers: EmbeddedServers) -> AsyncIterator[Client]:
    client = Client.from_url(servers.redis_url)
    yield client
    await client.aclose()


class Sender:
    """Conversation, sending for one organization by one number."""

    def __init__(self, world: World, organization_id: UUID) -> None:
        self.world, self.organization_id, self.channel_id = world, organization_id, uuid4()
        self.stub: SendServiceAsyncStub = world.as_service("conversation").stub(SendServiceStub)
        self.owner: SendServiceAsyncStub = world.as_user(organization_id).stub(SendServiceStub)

    def message(self, **changes: Any) -> pb.SendRequest:
        """A reply to somebody who wrote a minute ago."""
        wrote = to_timestamp(self.world.clock.now() - timedelta(minutes=1))
        values: dict[str, Any] = {
            "organization_id": str(self.organization_id),
            "delivery_id": str(uuid4()),
            "attempt": 1,
            "send_class": REPLY,
            "channel_id": str(self.channel_id),
            "source": options_pb2.SOURCE_WHATSAPP,
            "conversation_keys": [PHONE],
            "last_inbound_time": wrote,
        }
        return pb.SendRequest(**(values | changes))

    async def ask(self, *messages: pb.SendRequest) -> list[pb.ReserveSendResult]:
        """What is decided, without waiting for counts. Where the machine is too slow for Redis, asked again."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                try:
                    return await self.ask_once(*messages)
                except grpc.aio.AioRpcError as error:
                    if error_info(error).reason != "REDIS_UNAVAILABLE":
                        raise
                await asyncio.sleep(0.1)

    async def ask_once(self, *messages: pb.SendRequest) -> list[pb.ReserveSendResult]:
        """What is decided, or what is raised."""
        answer = await self.stub.BatchReserveSends(pb.BatchReserveSendsRequest(sends=messages))
        return list(answer.results)

    async def reserve(self, message: pb.SendRequest) -> pb.SendDecision:
        """What is decided once everything is counted."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                (result,) = await self.ask(message)
                assert result.HasField("decision"), result
                if result.decision.reason != pb.SEND_REASON_QUOTAS_REBUILDING:
                    return result.decision
                await asyncio.sleep(0.02)

    async def counted(self) -> None:
        """Waits until the organization's counts are there; nothing is reserved."""
        assert (await self.reserve(self.message(dry_run=True))).outcome == ALLOWED

    async def policy(self, **changes: Any) -> None:
        """Changes the policy; without limits but those named."""
        free = {"number_gap_seconds": 0, "contact_gap_seconds": 0, "burst_limit": 1000, "number_hour_limit": 1000}
        await self.owner.UpdateSendPolicy(pb.UpdateSendPolicyRequest(**(free | changes)))

    async def settle(self, message: pb.SendRequest, *, used: bool) -> None:
        """Says what became of a message."""
        settlement = pb.Settlement(
            organization_id=message.organization_id,
            delivery_id=message.delivery_id,
            attempt=message.attempt,
            used=used,
        )
        answer = await self.stub.BatchSettleReservations(pb.BatchSettleReservationsRequest(settlements=[settlement]))
        assert [status.code for status in answer.results] == [0]

    async def suppress(self, external_id: str = "+5511900004821") -> outreach_service_pb2.Suppression:
        """Somebody asked not to be written to."""
        stub = self.world.as_user(self.organization_id).stub(OutreachServiceStub)
        return await stub.CreateSuppression(
            outreach_service_pb2.CreateSuppressionRequest(
                source=options_pb2.SOURCE_WHATSAPP, external_id=external_id, reason="PARE"
            )
        )

    async def ledger(self) -> list[str]:
        """The states of the organization's reservations."""
        found = await self.world.rows(
            "select state from outreach.reservations where organization_id = %s order by create_time, state",
            self.organization_id,
        )
        return [row["state"] for row in found]


@pytest_asyncio.fixture(loop_scope="session")
async def sender(world: World) -> Sender:
    """Of an organization that no other test knows, without limits."""
    assert isinstance(world.clock, SettableClock)
    world.clock.set(NOON)
    sender = Sender(world, await given_organization(world))
    await sender.policy()
    await sender.counted()
    return sender


def to_timestamp(moment: datetime) -> Timestamp:
    """A moment for the wire."""
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return stamp


def moved(world: World, by: timedelta) -> None:
    """Lets time go by."""
    assert isinstance(world.clock, SettableClock)
    world.clock.advance(by)


@pytest.mark.req("OU-05")
async def test_of_ten_workers_who_want_the_last_unit_one_gets_it(sender: Sender) -> None:
    await sender.policy(number_hour_limit=3)
    for _ in range(2):
        assert (await sender.reserve(sender.message())).outcome == ALLOWED
    answers = await asyncio.gather(*(sender.ask(sender.message()) for _ in range(WORKERS)))
    decisions = [result.decision for (result,) in answers]
    assert sorted(decision.outcome for decision in decisions) == [ALLOWED, *[LATER] * (WORKERS - 1)]
    refused = [decision for decision in decisions if decision.outcome == LATER]
    assert {decision.reason for decision in refused} == {pb.SEND_REASON_HOUR_LIMIT}
    hour_later = to_timestamp(sender.world.clock.now() + timedelta(hours=1))
    assert {decision.retry_time.ToJsonString() for decision in refused} == {hour_later.ToJsonString()}
    assert await sender.ledger() == ["OPEN"] * 3


async def test_a_batch_is_decided_in_its_order(sender: Sender) -> None:
    await sender.policy(burst_limit=2, burst_seconds=60)
    results = await sender.ask(*(sender.message() for _ in range(4)))
    assert [result.decision.outcome for result in results] == [ALLOWED, ALLOWED, LATER, LATER]
    assert results[2].decision.reason == pb.SEND_REASON_BURST_LIMIT
    assert results[0].decision.start_within_ms == 700
    moved(sender.world, timedelta(seconds=60))
    assert (await sender.reserve(sender.message())).outcome == ALLOWED


@pytest.mark.parametrize(
    ("policy", "reason", "wait"),
    [
        ({"number_gap_seconds": 3}, pb.SEND_REASON_GAP_NUMBER, timedelta(seconds=3)),
        ({"contact_gap_seconds": 86_400}, pb.SEND_REASON_GAP_CONTACT, timedelta(days=1)),
        # The organization's day ends at midnight in São Paulo, whatever 24 hours say.
        ({"number_day_limit": 1}, pb.SEND_REASON_DAY_LIMIT, timedelta(hours=12)),
        ({"number_gap_seconds": 3, "number_hour_limit": 1}, pb.SEND_REASON_HOUR_LIMIT, timedelta(hours=1)),
        # The gap of one contact must not look like one of the number, which would hold everybody back.
        ({"number_gap_seconds": 3, "contact_gap_seconds": 3_600}, pb.SEND_REASON_GAP_CONTACT, timedelta(hours=1)),
    ],
)
async def test_a_limit_says_when_all_of_them_would_let_it_pass(
    sender: Sender, policy: dict[str, int], reason: int, wait: timedelta
) -> None:
    await sender.policy(quiet_hours=pb.QuietHoursSet(), **policy)
    now = sender.world.clock.now()
    assert (await sender.reserve(sender.message())).outcome == ALLOWED
    later = await sender.reserve(sender.message())
    assert (later.outcome, later.reason) == (LATER, reason)
    assert later.retry_time.ToJsonString() == to_timestamp(now + wait).ToJsonString()
    moved(sender.world, wait - timedelta(milliseconds=1))
    assert (await sender.reserve(sender.message())).outcome == LATER
    moved(sender.world, timedelta(milliseconds=1))
    assert (await sender.reserve(sender.message())).outcome == ALLOWED


async def test_two_numbers_and_two_contacts_have_limits_of_their_own(sender: Sender) -> None:
    await sender.policy(number_hour_limit=1, contact_gap_seconds=60)
    assert (await sender.reserve(sender.message())).outcome == ALLOWED
    other_number = sender.message(channel_id=str(uuid4()))
    assert (await sender.reserve(other_number)).reason == pb.SEND_REASON_GAP_CONTACT
    both = sender.message(channel_id=str(uuid4()), conversation_keys=["whatsapp:+5511900004822"])
    assert (await sender.reserve(both)).outcome == ALLOWED


@pytest.mark.req("OU-05")
async def test_a_redis_that_lost_its_memory_lets_nothing_pass_until_the_ledger_is_counted_again(
    sender: Sender, redis: Client
) -> None:
    await sender.policy(number_hour_limit=3)
    used, given_back, still_open = sender.message(), sender.message(), sender.message()
    for message in (used, given_back, still_open):
        assert (await sender.reserve(message)).outcome == ALLOWED
    await sender.settle(used, used=True)
    await sender.settle(given_back, used=False)
    keys = [key async for key in redis.scan_iter(f"prosa:{{{sender.organization_id}}}:*")]
    assert len(keys) == 3
    async with await sender.world.admin() as blocker, blocker.transaction():
        # Whoever counts again waits for this row; so long nothing passes.
        await blocker.execute(
            "select from outreach.quota_epochs where organization_id = %s for update", [sender.organization_id]
        )
        await redis.delete(*keys)
        for _ in range(3):
            (result,) = await sender.ask(sender.message())
            assert result.decision.outcome == LATER
            assert result.decision.reason == pb.SEND_REASON_QUOTAS_REBUILDING
            assert result.decision.HasField("retry_time")
        await sender.world.until_waiting_on_locks(1)
    # Two of three count: what was used and what is open.
    assert (await sender.reserve(sender.message())).outcome == ALLOWED
    assert (await sender.reserve(sender.message())).reason == pb.SEND_REASON_HOUR_LIMIT


async def test_a_unit_that_was_taken_under_an_epoch_that_is_over_is_not_written_down(
    sender: Sender, redis: Client
) -> None:
    """Between the script and the ledger Redis was lost and rebuilt: the answer is no."""
    epoch_key = f"prosa:{{{sender.organization_id}}}:epoch"
    async with await sender.world.admin() as blocker:
        async with blocker.transaction():
            await blocker.execute(
                "update outreach.quota_epochs set epoch = epoch + 1 where organization_id = %s",
                [sender.organization_id],
            )
            asking = asyncio.ensure_future(sender.ask(sender.message()))
            await sender.world.until_waiting_on_locks(1)
            taken = [key async for key in redis.scan_iter(f"prosa:{{{sender.organization_id}}}:number:*")]
            assert len(taken) == 1
        (result,) = await asking
    assert (result.decision.outcome, result.decision.reason) == (LATER, pb.SEND_REASON_QUOTAS_REBUILDING)
    assert await sender.ledger() == []
    assert (await sender.reserve(sender.message())).outcome == ALLOWED
    assert int(await redis.get(epoch_key) or 0) == 3


async def test_a_redis_that_is_away_lets_nothing_pass(sender: Sender, servers: EmbeddedServers) -> None:
    await servers.redis.stop(graceful=False)
    try:
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await sender.ask_once(sender.message())
        assert error_info(refused.value).reason == "REDIS_UNAVAILABLE"
    finally:
        await servers.redis.start()
    assert await sender.ledger() == []

    assert (await sender.reserve(sender.message())).outcome == ALLOWED


async def test_asked_twice_it_is_one_reservation_and_used_it_is_none_any_more(sender: Sender) -> None:
    await sender.policy(number_hour_limit=1)
    message = sender.message()
    answers = await asyncio.gather(*(sender.ask(message, message) for _ in range(WORKERS)))
    decisions = [result.decision for results in answers for result in results]
    assert {decision.outcome for decision in decisions} == {ALLOWED}
    assert len({decision.reservation_id for decision in decisions}) == 1
    await sender.settle(message, used=True)
    await sender.settle(message, used=False)
    (again,) = await sender.ask(message)
    assert again.error.code == grpc.StatusCode.FAILED_PRECONDITION.value[0]
    assert "RESERVATION_USED" in str(again.error)
    # Twenty questions used one unit.
    await sender.policy(number_hour_limit=2)
    assert (await sender.reserve(sender.message())).outcome == ALLOWED
    assert (await sender.reserve(sender.message())).outcome == LATER


async def test_what_is_given_back_is_free_again_and_may_be_taken_again(sender: Sender) -> None:
    await sender.policy(number_hour_limit=1)
    message = sender.message()
    first = await sender.reserve(message)
    await sender.settle(message, used=False)
    assert await sender.ledger() == ["RELEASED"]
    second = await sender.reserve(message)
    assert (second.outcome, second.reservation_id != first.reservation_id) == (ALLOWED, True)
    assert (await sender.reserve(sender.message())).outcome == LATER
    # A settlement that comes late, of the first time, cannot free the second twice.
    await sender.settle(message, used=False)
    await sender.settle(message, used=False)
    assert (await sender.reserve(sender.message())).outcome == ALLOWED
    assert (await sender.reserve(sender.message())).outcome == LATER


async def test_a_dry_run_reserves_nothing(sender: Sender) -> None:
    await sender.policy(number_hour_limit=1)
    for _ in range(3):
        decision = await sender.reserve(sender.message(dry_run=True))
        assert (decision.outcome, decision.reservation_id) == (ALLOWED, "")
    assert await sender.ledger() == []


async def test_a_kill_switch_stops_every_class_and_gives_back_what_was_reserved(sender: Sender) -> None:
    await sender.policy(number_hour_limit=1)
    reserved = sender.message()
    assert (await sender.reserve(reserved)).outcome == ALLOWED
    await sender.owner.EngageKillSwitch(pb.EngageKillSwitchRequest(reason="incidente"))
    results = await sender.ask(
        reserved, *(sender.message(send_class=each) for each in (PERSON, REPLY, SCHEDULED, MARKETING))
    )
    assert {(result.decision.outcome, result.decision.reason) for result in results} == {(LATER, pb.SEND_REASON_KILLED)}
    assert not any(result.decision.HasField("retry_time") for result in results)
    assert await sender.ledger() == ["RELEASED"]
    await sender.owner.LiftKillSwitch(pb.LiftKillSwitchRequest())
    assert (await sender.reserve(reserved)).outcome == ALLOWED


async def test_a_suppression_holds_from_its_commit_for_every_key_of_the_recipient(sender: Sender) -> None:
    reserved = sender.message(conversation_keys=["instagram:17840000000001", PHONE])
    assert (await sender.reserve(reserved)).outcome == ALLOWED
    moved(sender.world, timedelta(minutes=5))
    await sender.suppress()
    old = to_timestamp(sender.world.clock.now() - timedelta(seconds=1))
    reserved.last_inbound_time.CopyFrom(old)
    assert (await sender.reserve(reserved)).reason == pb.SEND_REASON_SUPPRESSED
    assert await sender.ledger() == ["RELEASED"]
    moved(sender.world, timedelta(minutes=5))
    wrote = to_timestamp(sender.world.clock.now())
    assert (await sender.reserve(sender.message(last_inbound_time=wrote))).outcome == ALLOWED
    scheduled = sender.message(send_class=SCHEDULED, last_inbound_time=wrote)
    assert (await sender.reserve(scheduled)).outcome == DENIED
    stranger = sender.message(send_class=SCHEDULED, conversation_keys=["whatsapp:+5511900004822"])
    assert (await sender.reserve(stranger)).outcome == ALLOWED


async def test_of_ten_confirmations_of_one_opt_out_one_is_sent(sender: Sender) -> None:
    suppression = await sender.suppress()
    messages = [
        sender.message(send_class=CONFIRMATION, suppression_id=suppression.suppression_id) for _ in range(WORKERS)
    ]
    answers = await asyncio.gather(*(sender.ask(message) for message in messages))
    outcomes = [result.decision.outcome for (result,) in answers]
    assert sorted(outcomes) == [ALLOWED, *[DENIED] * (WORKERS - 1)]
    assert await sender.ledger() == ["OPEN"]
    # The one that was given leave may be tried again; no other ever.
    confirming = messages[outcomes.index(ALLOWED)]
    await sender.settle(confirming, used=False)
    confirming.attempt = 2
    assert (await sender.reserve(confirming)).outcome == ALLOWED
    another = sender.message(send_class=CONFIRMATION, suppression_id=suppression.suppression_id)
    assert (await sender.reserve(another)).reason == pb.SEND_REASON_CONFIRMED_ALREADY


@pytest.mark.req("OU-09")
async def test_nothing_to_many_before_an_owner_accepts_the_terms(sender: Sender) -> None:
    assert (await sender.reserve(sender.message(send_class=MARKETING))).reason == pb.SEND_REASON_TERMS_NOT_ACCEPTED
    terms = await sender.owner.GetTerms(pb.GetTermsRequest())
    assert terms.accepted_version == ""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await sender.owner.AcceptTerms(pb.AcceptTermsRequest(terms_version="1999-01"))
    assert error_info(refused.value).reason == "TERMS_CHANGED"
    accepted = await sender.owner.AcceptTerms(pb.AcceptTermsRequest(terms_version=terms.terms_version))
    assert (accepted.accepted_version, accepted.HasField("accept_time")) == (terms.terms_version, True)
    assert (await sender.reserve(sender.message(send_class=MARKETING))).outcome == ALLOWED
    [kept] = await sender.world.rows(
        "select * from outreach.terms_acceptances where organization_id = %s", sender.organization_id
    )
    assert kept["principal"].startswith("user:")
    assert (kept["terms_version"], kept["accept_time"]) == (terms.terms_version, accepted.accept_time.ToDatetime(UTC))
    # What was accepted is what the page about risks shows.
    page = (ROOT / "docs" / "compliance.md").read_text(encoding="utf-8")
    assert f"version {terms.terms_version}" in page
    assert terms_text("en").partition("\n\n")[2] in page


async def test_one_message_that_cannot_be_read_spoils_no_other(sender: Sender) -> None:
    results = await sender.ask(sender.message(conversation_keys=["nobody"]), sender.message())
    assert [result.WhichOneof("result") for result in results] == ["error", "decision"]
    assert results[1].decision.outcome == ALLOWED


async def test_what_nobody_settles_is_listed_after_a_minute(sender: Sender) -> None:
    messages = [sender.message() for _ in range(3)]
    for message in messages:
        assert (await sender.reserve(message)).outcome == ALLOWED
    await sender.settle(messages[1], used=True)

    async def listed() -> list[str]:
        found, token = [], ""
        while True:
            page = await sender.stub.ListOpenReservations(
                send_service_pb2.ListOpenReservationsRequest(page_size=1, page_token=token)
            )
            found += [
                line.delivery_id for line in page.reservations if line.organization_id == str(sender.organization_id)
            ]
            token = page.next_page_token
            if not token:
                return found

    assert await listed() == []
    moved(sender.world, timedelta(seconds=61))
    assert await listed() == [messages[0].delivery_id, messages[2].delivery_id]
