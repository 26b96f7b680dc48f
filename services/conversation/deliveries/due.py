"""What outreach says is due: a delivery of each, in the conversation with the contact; and what it takes back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID

from chassis import wire
from chassis.clock import Clock
from chassis.db import Tx
from chassis.errors import FailedPrecondition, ProsaError, ResourceExhausted
from chassis.outbox import Fact, Outbox
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1 import events_pb2
from prosa.outreach.v1.events_pb2 import SendDue, SendWithdrawn
from prosa.v1 import options_pb2
from services.conversation.deliveries.queueing import Deliveries, Draft
from services.conversation.messages import store
from services.conversation.messages.domain.conversation import Conversation
from services.conversation.messages.domain.delivery import SendClass
from services.conversation.messages.domain.message import Author

DUE_FOR = timedelta(days=2)
"""What sets no end is not sent any more after so long."""
ACTOR = "service:outreach"
WITHDRAWN = {
    "CAMPAIGN_CANCELLED": "Its campaign was cancelled.",
    "CAMPAIGN_PAUSED": "Its campaign was paused.",
    "CONTACT_REPLIED": "The contact has written meanwhile.",
    "SUPPRESSED": "The contact asked for no more messages.",
}


class DueSends:
    """Follows outreach."""

    def __init__(self, deliveries: Deliveries, outbox: Outbox, clock: Clock) -> None:
        self._deliveries, self._outbox, self._clock = deliveries, outbox, clock

    async def on_send_due(self, tx: Tx, events: Sequence[ConsumedEvent[SendDue]]) -> None:
        """Queues each once: its id is drawn by outreach. What cannot be queued has failed, and outreach is told."""
        now = self._clock.now()
        failed: list[Fact] = []
        for event in events:
            due = event.message
            try:
                conversation = await self._conversation(tx, event.organization_id, due)
                await self._deliveries.put(tx, conversation, _draft(due, now + DUE_FOR), now)
            except (FailedPrecondition, ResourceExhausted) as error:
                failed.append(_failed(event, error))
        await self._outbox.add(tx, failed, now)

    async def on_send_withdrawn(self, tx: Tx, events: Sequence[ConsumedEvent[SendWithdrawn]]) -> None:
        """Takes back what still waits."""
        now = self._clock.now()
        for event in events:
            wanted = {"delivery_id": wire.to_uuid("send_id", event.message.send_id)}
            explanation = WITHDRAWN.get(event.message.reason, "It is not wanted any more.")
            await self._deliveries.cancel(tx, event.organization_id, wanted, "WITHDRAWN", explanation, now)

    async def _conversation(self, tx: Tx, organization_id: UUID, due: SendDue) -> Conversation:
        """The newest conversation with the contact on the channel, held until commit. Raises CHANNEL_CANNOT_SEND."""
        found = await store.lock_conversations_by_key(tx, [(str(organization_id), due.conversation_key)])
        on_channel = [conversation for conversation in found if conversation.channel_id == due.channel_id]
        if not on_channel:
            raise FailedPrecondition(
                "CHANNEL_CANNOT_SEND", "The contact has no conversation on this number, and none can be begun there."
            )
        return max(on_channel, key=lambda conversation: (conversation.update_time, conversation.conversation_id))


def cause_of(due: SendDue) -> str:
    """What the delivery is for, as its facts tell outreach."""
    return f"touch:{due.touch_id}" if due.touch_id else f"opt_out:{due.suppression_id}"


def _draft(due: SendDue, latest: datetime) -> Draft:
    return Draft(
        delivery_id=wire.to_uuid("send_id", due.send_id),
        text=due.text,
        send_class=SendClass(options_pb2.SendClass.Name(due.send_class).removeprefix("SEND_CLASS_")),
        cause=cause_of(due),
        author=Author.AUTOMATION,
        author_name="",
        actor_principal=ACTOR,
        actor_name="outreach",
        end_time=wire.from_timestamp(due.end_time) if due.HasField("end_time") else latest,
        suppression_id=wire.to_optional_uuid("suppression_id", due.suppression_id),
    )


def _failed(event: ConsumedEvent[SendDue], error: ProsaError) -> Fact:
    """That it failed before there was a message: of the delivery, what outreach knows it by."""
    due = event.message
    delivery = pb.Delivery(
        delivery_id=due.send_id,
        organization_id=due.organization_id,
        channel_id=due.channel_id,
        contact_id=due.contact_id,
        send_class=due.send_class,
        state=pb.MESSAGE_STATE_FAILED,
        reason=error.reason,
        explanation=error.message,
        cause=cause_of(due),
        version=1,
    )
    message = pb.Message(
        message_id=due.send_id,
        organization_id=due.organization_id,
        direction=pb.MESSAGE_DIRECTION_OUTBOUND,
        author=pb.MESSAGE_AUTHOR_AUTOMATION,
        text=due.text,
        state=pb.MESSAGE_STATE_FAILED,
        delivery=delivery,
    )
    fact = events_pb2.MessageUpdated(
        organization_id=due.organization_id, conversation_key=due.conversation_key, message=message
    )
    return Fact(event.organization_id, fact, event.correlation_id)
