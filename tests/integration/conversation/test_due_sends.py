"""What outreach says is due, in batches: a few statements for however many, and in the way of nobody who records."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import pytest_asyncio

from chassis.db import Effect, Result, Tx
from chassis.outbox import Outbox
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1 import delivery_service_pb2 as delivery_pb
from prosa.conversation.v1 import events_pb2
from prosa.conversation.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from prosa.outreach.v1.events_pb2 import SendDue, SendWithdrawn
from prosa.v1 import options_pb2
from services.conversation.deliveries.queueing import DELIVERIES, Deliveries
from services.conversation.due.beginning import Beginner
from services.conversation.due.sends import DueSends
from services.conversation.limits import CONVERSATION_QUEUE_MAX
from services.conversation.messages import store
from tests.integration.conversation.messages.reports import Reported, batch, written
from tests.world import World, unheard

TARGETS = ("conversation",)
STATEMENTS_MAX = 12
MANY = 50


@dataclass
class Counting:
    """A transaction, and how many statements it ran."""

    tx: Tx
    count: int = 0

    async def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Result:
        """As of a transaction."""
        self.count += 1
        return await self.tx.execute(statement, parameters)

    def after_commit(self, effect: Effect) -> None:
        """As of a transaction."""
        self.tx.after_commit(effect)


@dataclass
class Number:
    """A number that may send, with whom it has talked."""

    world: World
    organization_id: UUID
    threads: Sequence[Reported]

    def due(self, thread: Reported) -> ConsumedEvent[SendDue]:
        """That a message to somebody is due."""
        event = SendDue(
            send_id=str(uuid4()),
            organization_id=str(self.organization_id),
            send_class=options_pb2.SEND_CLASS_MARKETING,
            channel_id=thread.channel_id,
            contact_id=thread.contact_id,
            conversation_key=thread.conversation_key,
            text="Oi!",
            touch_id=str(uuid4()),
        )
        return ConsumedEvent(event, uuid4(), self.organization_id, self.world.clock.now(), "")

    def withdrawn(self, due: ConsumedEvent[SendDue]) -> ConsumedEvent[SendWithdrawn]:
        """That it is not wanted any more."""
        event = SendWithdrawn(
            send_id=due.message.send_id, organization_id=str(self.organization_id), reason="CONTACT_REPLIED"
        )
        return ConsumedEvent(event, uuid4(), self.organization_id, self.world.clock.now(), "")

    async def take(self, *events: ConsumedEvent[SendDue] | ConsumedEvent[SendWithdrawn]) -> int:
        """Handles events of one class as one batch; answers how many statements that took."""
        outbox = Outbox("conversation", self.world.host.ids, unheard)
        due = DueSends(Deliveries(DELIVERIES, outbox), Beginner(outbox, self.world.host.ids), outbox, self.world.clock)
        handle: Any = due.on_send_due if isinstance(events[0].message, SendDue) else due.on_send_withdrawn
        async with self.world.database("conversation").transaction(self.organization_id) as tx:
            counting = Counting(tx)
            await handle(cast("Tx", counting), events)
        return counting.count

    async def states(self) -> dict[tuple[str, str], int]:
        """How many deliveries are in which state, for which reason."""
        found = await self.world.rows(
            "select state, reason, count(*) as count from conversation.deliveries where organization_id = %s"
            " group by state, reason",
            self.organization_id,
        )
        return {(row["state"], row["reason"]): row["count"] for row in found}


@pytest_asyncio.fixture(loop_scope="session")
async def number(world: World, organization_id: UUID) -> Number:
    """A number that has talked with many."""
    connection_id, channel_id = str(uuid4()), str(uuid4())
    threads = [
        Reported(
            organization_id,
            provider_conversation_id=f"{1000 + place}",
            connection_id=connection_id,
            channel_id=channel_id,
            contact_id=str(uuid4()),
            conversation_key=f"whatsapp:+55119000{place:05d}",
        )
        for place in range(MANY)
    ]
    await batch(world, *(thread.item(written(str(place))) for place, thread in enumerate(threads)))
    await (
        world.as_service("ingest")
        .stub(DeliveryServiceStub)
        .BatchPutProviderAccounts(
            delivery_pb.BatchPutProviderAccountsRequest(
                provider_accounts=[
                    delivery_pb.ProviderAccount(
                        organization_id=str(organization_id),
                        connection_id=connection_id,
                        provider="CHATWOOT",
                        base_url="http://127.0.0.1:9",
                        provider_account_id="7",
                        access_token="token",
                        version=1,
                    )
                ]
            )
        )
    )
    return Number(world, organization_id, threads)


async def test_a_batch_takes_as_many_statements_as_one_event(number: Number) -> None:
    strangers = Reported(
        number.organization_id, channel_id=number.threads[0].channel_id, conversation_key="whatsapp:+1"
    )
    many = [number.due(thread) for thread in number.threads[1:]]
    one = [number.due(number.threads[0])]
    assert await number.take(*one) <= STATEMENTS_MAX
    assert await number.take(*many, number.due(strangers)) <= STATEMENTS_MAX
    assert await number.states() == {("QUEUED", ""): MANY}
    queued = await number.world.announced(events_pb2.MessageQueued, number.organization_id)
    assert [fact.message.message_id for fact in queued] == [event.message.send_id for event in (*one, *many)]
    (refused,) = await number.world.announced(events_pb2.SendRefused, number.organization_id)
    assert (refused.cause.partition(":")[0], refused.reason) == ("touch", "CHANNEL_CANNOT_SEND")

    # Told twice, they are the same.
    assert await number.take(*many) <= STATEMENTS_MAX
    assert await number.states() == {("QUEUED", ""): MANY}

    assert await number.take(*(number.withdrawn(event) for event in many)) <= STATEMENTS_MAX
    assert await number.states() == {("QUEUED", ""): 1, ("CANCELLED", "WITHDRAWN"): MANY - 1}
    waiting = await number.world.rows(
        "select item_id::text from conversation.delivery_queue where organization_id = %s", number.organization_id
    )
    assert waiting == [{"item_id": one[0].message.send_id}]


async def test_of_a_batch_to_one_conversation_each_counts_and_what_is_too_much_has_failed(number: Number) -> None:
    thread = number.threads[0]
    events = [number.due(thread) for _ in range(CONVERSATION_QUEUE_MAX + 1)]
    await number.take(events[0], *events)
    assert await number.states() == {("QUEUED", ""): CONVERSATION_QUEUE_MAX}
    (refused,) = await number.world.announced(events_pb2.SendRefused, number.organization_id)
    assert (refused.send_id, refused.reason) == (events[-1].message.send_id, "CONVERSATION_QUEUE_FULL")
    # There is no message that could have been updated.
    assert await number.world.announced(events_pb2.MessageUpdated, number.organization_id) == []
    queued = await number.world.announced(events_pb2.MessageQueued, number.organization_id)
    versions = [fact.version for fact in queued]
    assert versions == list(range(versions[0], versions[0] + CONVERSATION_QUEUE_MAX))


@pytest.mark.parametrize("withdrawn", [False, True])
async def test_a_batch_waits_beside_a_recorder_and_neither_is_in_the_others_way(
    number: Number, withdrawn: bool
) -> None:
    first, second = number.threads[:2]
    # In another order than conversations are locked in.
    due = [number.due(second), number.due(first)]
    events: list[Any] = due
    if withdrawn:
        await number.take(*due)
        events = [number.withdrawn(event) for event in due]
    keys = [
        (str(number.organization_id), thread.provider_conversation_id, thread.connection_id)
        for thread in (first, second)
    ]
    async with number.world.database("conversation").transaction(number.organization_id) as recorder:
        await store.lock_conversations(recorder, keys[:1])
        taking = asyncio.create_task(number.take(*events))
        await number.world.until_waiting_on_locks(1)
        # Not held by who waits: whoever records both has the second too.
        await store.lock_conversations(recorder, keys[1:])
    await taking
    assert await number.states() == {("CANCELLED", "WITHDRAWN") if withdrawn else ("QUEUED", ""): 2}
