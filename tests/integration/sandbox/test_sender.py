"""Real HTTP from the sender to a receiver that checks every signature."""

import asyncio
import itertools
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import pytest

from sandbox.chatwoot.app import mark_failed, set_up_account
from sandbox.chatwoot.faults import Fault, Faults
from sandbox.chatwoot.people import Person, phone_of
from sandbox.chatwoot.records import API, EVENTS, Event
from sandbox.chatwoot.sender import Outcome, Pace, Sender
from sandbox.chatwoot.world import World
from tests.integration.sandbox.receiver import Receiver, receiving
from tests.world import PATIENCE_SECONDS

SECRET = "segredo-do-teste"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving(SECRET) as made:
        yield made


@pytest.fixture
def world(receiver: Receiver) -> World:
    made = World(now, seed=2)
    set_up_account(made)
    made.setup.add_webhook(receiver.url, secret=SECRET, subscriptions=EVENTS)
    return made


@asynccontextmanager
async def sending(world: World, faults: Faults | None = None, **options: Any) -> AsyncIterator[Sender]:
    sender = Sender(world.setup, faults or Faults(), now=now, **options)
    world.listen(sender.offer)
    await sender.start()
    try:
        yield sender
    finally:
        await sender.close(drain_seconds=0)


def write(world: World, number: int = 1, text: str = "Olá <b>&</b>") -> None:
    inbox = world.setup.inbox("whatsapp")
    assert inbox is not None
    world.incoming_message(inbox, Person(f"Pessoa {number}", phone=phone_of(number)), text)


async def test_every_event_arrives_once_signed_over_its_raw_bytes(world: World, receiver: Receiver) -> None:
    async with sending(world) as sender:
        write(world)
        await sender.drained()
    assert sorted(receiver.names()) == ["contact_created", "contact_updated", "conversation_created", "message_created"]
    assert all(item.authentic for item in receiver.received)
    assert len({item.delivery_id for item in receiver.received}) == 4
    assert any(b"\\u003cb\\u003e\\u0026" in item.raw for item in receiver.received)
    assert sender.statuses == {200: 4}


async def test_only_subscribed_events_are_sent(world: World, receiver: Receiver) -> None:
    world.setup.webhooks[1].subscriptions = ("message_created",)
    async with sending(world) as sender:
        write(world)
        await sender.drained()
    assert receiver.names() == ["message_created"]


async def test_a_refused_delivery_is_counted_and_never_repeated(world: World, receiver: Receiver) -> None:
    receiver.answers = [503, 500, 401, 200]
    async with sending(world) as sender:
        write(world)
        await sender.drained()
    assert len(receiver.received) == 4
    assert sender.statuses == {200: 1, 401: 1, 500: 1, 503: 1}


async def test_a_silent_receiver_is_given_up_after_the_timeout(world: World, receiver: Receiver) -> None:
    receiver.released.clear()
    async with sending(world, timeout_seconds=0.1) as sender:
        write(world)
        await sender.drained()
    assert sender.failures == {"timeout": 4}


async def test_a_receiver_that_is_away_is_counted_as_unreachable(world: World) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        world.setup.webhooks[1].url = f"http://127.0.0.1:{unused.getsockname()[1]}/hook"
        async with sending(world) as sender:
            write(world)
            await sender.drained()
    assert sender.failures == {"unreachable": 4}


@pytest.mark.parametrize(("kind", "different_ids"), [("webhook.duplicate", 1), ("webhook.redeliver", 2)])
async def test_a_duplicate_comes_under_the_same_or_a_new_delivery_id(
    world: World, receiver: Receiver, kind: str, different_ids: int
) -> None:
    faults = Faults()
    faults.set(Fault(kind, count=1, only="message_created"))
    async with sending(world, faults) as sender:
        write(world)
        await sender.drained()
    twice = [item for item in receiver.received if item.body["event"] == "message_created"]
    assert len(twice) == 2
    assert len({item.delivery_id for item in twice}) == different_ids
    assert twice[0].raw == twice[1].raw


async def test_a_lost_event_never_arrives(world: World, receiver: Receiver) -> None:
    faults = Faults()
    faults.set(Fault("webhook.lost", only="message"))
    async with sending(world, faults) as sender:
        write(world)
        await sender.drained()
    assert "message_created" not in receiver.names()
    assert sender.counts["lost"] == 1


async def test_a_reordered_event_comes_after_the_one_that_followed_it(world: World, receiver: Receiver) -> None:
    faults = Faults()
    faults.set(Fault("webhook.reorder", count=1, only="conversation_created"))
    async with sending(world, faults, in_flight_max=1) as sender:
        write(world)
        await sender.drained()
    assert receiver.names() == ["contact_created", "message_created", "conversation_created", "contact_updated"]


@pytest.mark.parametrize("kind", ["webhook.wrong_secret", "webhook.unsigned"])
async def test_a_wrong_or_missing_signature_does_not_check_out(world: World, receiver: Receiver, kind: str) -> None:
    faults = Faults()
    faults.set(Fault(kind, count=1))
    async with sending(world, faults, in_flight_max=1) as sender:
        write(world)
        await sender.drained()
    assert [item.authentic for item in receiver.received] == [False, True, True, True]


async def test_a_stale_delivery_is_signed_in_the_past(world: World, receiver: Receiver) -> None:
    faults = Faults()
    faults.set(Fault("webhook.stale", count=1, seconds=900))
    async with sending(world, faults, in_flight_max=1) as sender:
        write(world)
        await sender.drained()
    stale, fresh = (int(item.headers["X-Chatwoot-Timestamp"]) for item in receiver.received[:2])
    assert receiver.received[0].authentic
    assert 899 <= fresh - stale <= 905


async def test_a_delayed_delivery_comes_last(world: World, receiver: Receiver) -> None:
    faults = Faults()
    faults.set(Fault("webhook.delay", count=1, seconds=0.05))
    async with sending(world, faults, in_flight_max=1) as sender:
        write(world)
        await sender.drained()
    assert receiver.names()[-1] == "contact_created"


async def test_in_order_the_next_event_of_a_conversation_waits_for_the_answer(world: World, receiver: Receiver) -> None:
    receiver.released.clear()
    async with sending(world, ordered=True) as sender:
        write(world, 1)
        write(world, 2)
        # Each conversation and each contact has one event on the wire, and no more than that.
        await receiver.until(lambda items: len(items) >= 4)
        assert sorted(receiver.names()) == ["contact_created", "contact_created"] + ["conversation_created"] * 2
        receiver.released.set()
        await sender.drained()
    assert len(receiver.received) == 8


async def test_in_order_a_refused_event_is_tried_again_before_the_next_one(world: World, receiver: Receiver) -> None:
    world.setup.webhooks[1].subscriptions = ("conversation_created", "message_created")
    receiver.answers = [503, 503]
    async with sending(world, ordered=True, attempt_count_max=5) as sender:
        write(world)
        await sender.drained()
    assert receiver.names() == ["conversation_created"] * 3 + ["message_created"]
    assert len({item.delivery_id for item in receiver.received}) == 2
    assert sender.counts["retried"] == 2


async def test_an_open_loop_pace_sends_on_time_while_the_receiver_is_silent(world: World, receiver: Receiver) -> None:
    world.setup.webhooks[1].subscriptions = ("message_created",)
    receiver.released.clear()
    begin = time.monotonic()
    async with sending(world, pace=Pace(100), in_flight_max=50) as sender:
        for number in range(20):
            write(world, number)
        await receiver.until(lambda items: len(items) == 20)
        assert time.monotonic() - begin >= 0.19
        receiver.released.set()
        await sender.drained()
    assert sender.counts["held_back"] == 0


async def test_an_outcome_counts_from_the_time_it_was_due(world: World, receiver: Receiver) -> None:
    world.setup.webhooks[1].subscriptions = ("message_created",)
    outcomes: list[Outcome] = []
    async with sending(world, pace=Pace(200)) as sender:
        sender.watch(outcomes.append)
        for number in range(5):
            write(world, number)
        await sender.drained()
    assert all(outcome.accepted and outcome.seconds >= 0 for outcome in outcomes)
    due = sorted(outcome.due for outcome in outcomes)
    assert [round(later - earlier, 4) for earlier, later in itertools.pairwise(due)] == [0.005] * 4


async def test_a_failing_inbox_webhook_marks_the_message_failed_once(world: World, receiver: Receiver) -> None:
    inbox = world.setup.add_inbox(API, "whatsapp-vendas", webhook_url=receiver.url)
    del world.setup.webhooks[1]
    receiver.secret = inbox.secret
    receiver.answers = [200, 500, 500]
    async with sending(world, in_flight_max=1) as sender:
        sender.watch(lambda outcome: mark_failed(world, outcome))
        message = world.incoming_message(inbox, Person("Bia", phone=phone_of(5)), "Oi")
        await sender.drained()
    assert receiver.names() == ["conversation_created", "message_created", "message_updated"]
    assert all(item.authentic for item in receiver.received)
    assert (message.status, message.content_attributes) == ("failed", {"external_error": "HTTP 500"})


async def test_a_broken_sender_says_so_to_whoever_waits(world: World) -> None:
    def broken() -> bytes:
        raise RuntimeError("no body")

    async def scene() -> None:
        async with asyncio.timeout(PATIENCE_SECONDS), sending(world) as sender:
            sender.offer(Event("message_created", "conversation:1", broken))
            await sender.drained()

    with pytest.raises(RuntimeError, match="no body"):
        await scene()
