"""What outreach says is due: a delivery of each, in the conversation with the contact; and what it takes back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from chassis import wire
from chassis.clock import Clock
from chassis.db import Tx
from chassis.enums import enum_text
from chassis.errors import FailedPrecondition, ProsaError
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
        newest = await _newest(tx, events)
        wanted: list[tuple[ConsumedEvent[SendDue], Conversation]] = []
        failed: list[Fact] = []
        for event in events:
            conversation = newest.get(_place(event))
            if conversation is None:
                failed.append(_failed(event, _no_conversation()))
            else:
                wanted.append((event, conversation))
        drafts = [(conversation, _draft(event.message, now + DUE_FOR)) for event, conversation in wanted]
        outcomes = await self._deliveries.put_all(tx, drafts, now)
        for (event, _), outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, ProsaError):
                failed.append(_failed(event, outcome))
        await self._outbox.add(tx, failed, now)

    async def on_send_withdrawn(self, tx: Tx, events: Sequence[ConsumedEvent[SendWithdrawn]]) -> None:
        """Takes back what still waits."""
        wanted = {
            (event.organization_id, wire.to_uuid("send_id", event.message.send_id)): WITHDRAWN.get(
                event.message.reason, "It is not wanted any more."
            )
            for event in events
        }
        await self._deliveries.cancel_all(tx, wanted, "WITHDRAWN", self._clock.now())


def _place(event: ConsumedEvent[SendDue]) -> tuple[str, str, str]:
    return str(event.organization_id), event.message.conversation_key, event.message.channel_id


async def _newest(tx: Tx, events: Sequence[ConsumedEvent[SendDue]]) -> dict[tuple[str, str, str], Conversation]:
    """The newest conversation with each contact on each channel, all held until commit in the order of recording."""
    keys = {(str(event.organization_id), event.message.conversation_key) for event in events}
    newest: dict[tuple[str, str, str], Conversation] = {}
    held = await store.lock_conversations_by_key(tx, keys)
    for conversation in sorted(held, key=lambda held: (held.update_time, held.conversation_id)):
        newest[conversation.organization_id, conversation.conversation_key, conversation.channel_id] = conversation
    return newest


def _no_conversation() -> FailedPrecondition:
    return FailedPrecondition(
        "CHANNEL_CANNOT_SEND", "The contact has no conversation on this number, and none can be begun there."
    )


def cause_of(due: SendDue) -> str:
    """What the delivery is for, as its facts tell outreach."""
    return f"touch:{due.touch_id}" if due.touch_id else f"opt_out:{due.suppression_id}"


def _draft(due: SendDue, latest: datetime) -> Draft:
    return Draft(
        delivery_id=wire.to_uuid("send_id", due.send_id),
        text=due.text,
        send_class=SendClass(enum_text(options_pb2.SendClass, due.send_class)),
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
