"""What outreach says is due: a delivery of each, in the conversation with the contact; and what it takes back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from chassis import wire
from chassis.clock import Clock
from chassis.db import Tx
from chassis.enums import enum_text
from chassis.errors import ProsaError
from chassis.outbox import Fact, Outbox
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1 import events_pb2
from prosa.outreach.v1.events_pb2 import SendDue, SendWithdrawn
from prosa.v1 import options_pb2
from services.conversation.deliveries.queueing import Deliveries, Draft
from services.conversation.due.beginning import Beginner, Recipient
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

    def __init__(self, deliveries: Deliveries, beginner: Beginner, outbox: Outbox, clock: Clock) -> None:
        self._deliveries, self._beginner, self._outbox, self._clock = deliveries, beginner, outbox, clock

    async def on_send_due(self, tx: Tx, events: Sequence[ConsumedEvent[SendDue]]) -> None:
        """Queues each once: its id is drawn by outreach. What cannot be queued is refused, and outreach is told."""
        now = self._clock.now()
        recipients = [_recipient(event) for event in events]
        held = await self._beginner.hold(tx, dict.fromkeys(recipients), now)
        wanted: list[tuple[ConsumedEvent[SendDue], Conversation]] = []
        refused: list[Fact] = []
        for event, recipient in zip(events, recipients, strict=True):
            found = held[recipient]
            if isinstance(found, ProsaError):
                refused.append(_refused(event, found))
            else:
                wanted.append((event, found))
        drafts = [(conversation, _draft(event.message, now + DUE_FOR)) for event, conversation in wanted]
        outcomes = await self._deliveries.put_all(tx, drafts, now)
        for (event, _), outcome in zip(wanted, outcomes, strict=True):
            if isinstance(outcome, ProsaError):
                refused.append(_refused(event, outcome))
        await self._outbox.add(tx, refused, now)

    async def on_send_withdrawn(self, tx: Tx, events: Sequence[ConsumedEvent[SendWithdrawn]]) -> None:
        """Takes back what still waits."""
        wanted = {
            (event.organization_id, wire.to_uuid("send_id", event.message.send_id)): WITHDRAWN.get(
                event.message.reason, "It is not wanted any more."
            )
            for event in events
        }
        await self._deliveries.cancel_all(tx, wanted, "WITHDRAWN", self._clock.now())


def _recipient(event: ConsumedEvent[SendDue]) -> Recipient:
    due = event.message
    return Recipient(str(event.organization_id), due.conversation_key, due.channel_id, due.contact_id)


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


def _refused(event: ConsumedEvent[SendDue], error: ProsaError) -> Fact:
    """That nothing was queued: there is no message that anything could be told of."""
    due = event.message
    fact = events_pb2.SendRefused(
        organization_id=due.organization_id,
        send_id=due.send_id,
        channel_id=due.channel_id,
        contact_id=due.contact_id,
        conversation_key=due.conversation_key,
        cause=cause_of(due),
        reason=error.reason,
        explanation=error.message,
    )
    return Fact(event.organization_id, fact, event.correlation_id)
