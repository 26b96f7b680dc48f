"""Putting messages to be sent, and taking them back, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.db import Tx
from chassis.errors import FailedPrecondition, ResourceExhausted
from chassis.outbox import Outbox
from chassis.queues.items import Place
from chassis.queues.queue import Queue
from services.conversation.deliveries import account_store
from services.conversation.limits import CONVERSATION_QUEUE_MAX
from services.conversation.messages import delivery_store, store
from services.conversation.messages.domain.conversation import Conversation, make_last
from services.conversation.messages.domain.delivery import Delivery, SendClass, Sent
from services.conversation.messages.domain.message import Author, Direction, Message, MessageState
from services.conversation.messages.translation import delivery_fact, queued_fact
from services.conversation.providers import SENDERS

DELIVERIES = Queue("delivery_queue", "conversation", timed=True)
"""One item for each delivery that is not settled, whose id it has; its key is the channel."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A message that is to be sent."""

    delivery_id: UUID
    """Its message's id too. Where it follows from what it is for, a second put is the first one."""
    text: str
    send_class: SendClass
    cause: str
    """What it is for: "person", "reply", "touch:<id>" …"""
    author: Author
    author_name: str
    actor_principal: str
    actor_name: str
    end_time: datetime
    """Where it still waits then, it is not sent any more."""
    due_time: datetime | None = None
    """Not before; None: now."""
    suppression_id: UUID | None = None
    """The opt-out that it confirms."""
    internal: bool = False
    """Between the organization's own numbers."""
    answers_message_id: str | None = None
    """A newer one of the contact makes it out of date."""


class Deliveries:
    """What is to be sent, and what is not to be any more."""

    def __init__(self, queue: Queue, outbox: Outbox) -> None:
        self.queue, self._outbox = queue, outbox

    async def put(self, tx: Tx, conversation: Conversation, draft: Draft, now: datetime) -> Sent:
        """Queues a message in a conversation that the transaction holds; put before, it is answered as it is.

        Raises FailedPrecondition CHANNEL_CANNOT_SEND and ResourceExhausted CONVERSATION_QUEUE_FULL.
        """
        organization_id = UUID(conversation.organization_id)
        known = await delivery_store.find(tx, organization_id, draft.delivery_id)
        if known is not None:
            return known
        await self._check(tx, organization_id, conversation)
        sent = _sent(conversation, draft, now)
        conversation.last_send_time = now
        make_last(conversation, sent.message)
        conversation.version += 1
        conversation.update_time = now
        await store.update_conversations(tx, [conversation])
        await delivery_store.insert(tx, sent.delivery)
        place = Place(draft.delivery_id, organization_id, conversation.channel_id, draft.due_time)
        await self.queue.put(tx, [place], now)
        await store.insert_messages(tx, [sent.message], [])
        await self._outbox.add(tx, [queued_fact(conversation, sent)], now)
        return sent

    async def cancel(
        self, tx: Tx, organization_id: UUID, wanted: Mapping[str, object], reason: str, explanation: str, now: datetime
    ) -> list[Sent]:
        """Takes back what still waits of those whose columns (``cause``, ``conversation_id`` …) have these values."""
        taken: list[Sent] = []
        for conversation_id in await delivery_store.conversations_of_queued(tx, organization_id, wanted):
            conversation = await store.find_conversation(tx, organization_id, conversation_id, lock=True)
            assert conversation is not None, "a conversation is never deleted"
            of_conversation = {**wanted, "conversation_id": conversation_id}
            taken += await self.cancel_in(tx, conversation, of_conversation, reason, explanation, now)
        return taken

    async def cancel_in(
        self,
        tx: Tx,
        conversation: Conversation,
        wanted: Mapping[str, object],
        reason: str,
        explanation: str,
        now: datetime,
    ) -> list[Sent]:
        """The same of one conversation, which the transaction holds: whoever sends marks it under the same lock."""
        taken = await delivery_store.find_queued(tx, UUID(conversation.organization_id), wanted)
        for sent in taken:
            sent.delivery.settle(MessageState.CANCELLED, now, reason, explanation)
            await self.write(tx, conversation, sent, now)
        await self.queue.remove(tx, [UUID(sent.delivery.delivery_id) for sent in taken])
        return taken

    async def write(
        self, tx: Tx, conversation: Conversation, sent: Sent, now: datetime, *, first: bool = False, told: bool = True
    ) -> None:
        """Writes a delivery that changed, with its message, under the conversation that the transaction holds.

        ``first``: it is known to have left, for the first time. ``told`` is False for what nobody needs to know.
        """
        message, delivery = sent.message, sent.delivery
        failed_before = message.state is MessageState.FAILED
        message.state = delivery.state
        message.error_message = delivery.explanation if delivery.state is MessageState.FAILED else ""
        delivery.version += 1
        await delivery_store.update(tx, [delivery])
        await store.update_messages(tx, [message])
        failed = message.state is MessageState.FAILED
        if failed is not failed_before:
            await store.insert_messages(tx, [], [], [(message, 1 if failed else -1)])
        if told:
            conversation.version += 1
            conversation.update_time = now
            await self._outbox.add(tx, [delivery_fact(conversation, sent, first=first)], now)
        await store.update_conversations(tx, [conversation])

    async def _check(self, tx: Tx, organization_id: UUID, conversation: Conversation) -> None:
        account = await account_store.find(tx, organization_id, UUID(conversation.connection_id))
        if account is None or not account.complete or account.provider not in SENDERS:
            raise cannot_send()
        if not conversation.conversation_key:
            raise FailedPrecondition(
                "CHANNEL_CANNOT_SEND", "Nothing is known yet of whom the conversation is with, so nothing can be sent."
            )
        waiting = await delivery_store.count_queued(tx, organization_id, UUID(conversation.conversation_id))
        if waiting >= CONVERSATION_QUEUE_MAX:
            raise ResourceExhausted(
                "CONVERSATION_QUEUE_FULL",
                f"{CONVERSATION_QUEUE_MAX} messages of the conversation wait to be sent already. Wait until they are, "
                "or cancel some.",
            )


def cannot_send() -> FailedPrecondition:
    """What is answered where a channel's connection has nothing to send with."""
    return FailedPrecondition(
        "CHANNEL_CANNOT_SEND",
        "The channel has nothing to send with. Give its connection a base_url and an access_token.",
    )


def _sent(conversation: Conversation, draft: Draft, now: datetime) -> Sent:
    message = Message(
        message_id=str(draft.delivery_id),
        organization_id=conversation.organization_id,
        conversation_id=conversation.conversation_id,
        channel_id=conversation.channel_id,
        provider_message_id="",
        create_time=now,
        record_time=now,
        cause_id="",
        direction=Direction.OUTBOUND,
        author=draft.author,
        state=MessageState.QUEUED,
        text=draft.text,
        content_type="text",
        author_name=draft.author_name,
        sent_here=True,
    )
    delivery = Delivery(
        organization_id=conversation.organization_id,
        delivery_id=message.message_id,
        conversation_id=conversation.conversation_id,
        connection_id=conversation.connection_id,
        channel_id=conversation.channel_id,
        contact_id=conversation.contact_id,
        message_time=now,
        send_class=draft.send_class,
        cause=draft.cause,
        actor_principal=draft.actor_principal,
        actor_name=draft.actor_name,
        state=MessageState.QUEUED,
        create_time=now,
        end_time=draft.end_time,
        suppression_id=None if draft.suppression_id is None else str(draft.suppression_id),
        internal=draft.internal,
        answers_message_id=draft.answers_message_id,
    )
    return Sent(message, delivery)
