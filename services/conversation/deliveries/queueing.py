"""Putting messages to be sent, and taking them back, in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.db import Tx
from chassis.errors import FailedPrecondition, ProsaError, ResourceExhausted
from chassis.outbox import Fact, Outbox
from chassis.queues.items import Place
from chassis.queues.queue import Queue
from services.conversation.deliveries import account_store
from services.conversation.deliveries.account_store import SealedAccount
from services.conversation.limits import CONVERSATION_QUEUE_MAX
from services.conversation.messages import delivery_store, store
from services.conversation.messages.domain.conversation import Conversation, make_last
from services.conversation.messages.domain.delivery import Delivery, SendClass, Sent
from services.conversation.messages.domain.message import Author, Direction, Message, MessageState
from services.conversation.messages.translation import delivery_fact, queued_fact
from services.conversation.providers import SENDERS

DELIVERIES = Queue("delivery_queue", "conversation", timed=True, shared=True)
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

    def in_conversation(self, conversation: Conversation, now: datetime) -> Sent:
        """What comes of it, once it is queued."""
        message = Message(
            message_id=str(self.delivery_id),
            organization_id=conversation.organization_id,
            conversation_id=conversation.conversation_id,
            channel_id=conversation.channel_id,
            provider_message_id="",
            create_time=now,
            record_time=now,
            cause_id="",
            direction=Direction.OUTBOUND,
            author=self.author,
            state=MessageState.QUEUED,
            text=self.text,
            content_type="text",
            author_name=self.author_name,
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
            send_class=self.send_class,
            cause=self.cause,
            actor_principal=self.actor_principal,
            actor_name=self.actor_name,
            state=MessageState.QUEUED,
            create_time=now,
            end_time=self.end_time,
            suppression_id=None if self.suppression_id is None else str(self.suppression_id),
            internal=self.internal,
            answers_message_id=self.answers_message_id,
        )
        return Sent(message, delivery)


class Deliveries:
    """What is to be sent, and what is not to be any more."""

    def __init__(self, queue: Queue, outbox: Outbox) -> None:
        self.queue, self._outbox = queue, outbox

    async def put(self, tx: Tx, conversation: Conversation, draft: Draft, now: datetime) -> Sent:
        """Queues a message in a conversation that the transaction holds; put before, it is answered as it is.

        Raises FailedPrecondition CHANNEL_CANNOT_SEND and ResourceExhausted CONVERSATION_QUEUE_FULL.
        """
        [outcome] = await self.put_all(tx, [(conversation, draft)], now)
        if isinstance(outcome, ProsaError):
            raise outcome
        return outcome

    async def put_all(
        self, tx: Tx, drafts: Sequence[tuple[Conversation, Draft]], now: datetime
    ) -> list[Sent | ProsaError]:
        """Queues messages in conversations that the transaction holds, each conversation one object.

        Answers in their order what ``put`` answers or raises. All is written at once, so that whoever locked the
        conversations in one order waits for nobody who waits for it.
        """
        if not drafts:
            return []
        ids = [(UUID(conversation.organization_id), draft.delivery_id) for conversation, draft in drafts]
        found = await delivery_store.find_all(tx, ids)
        known = {(UUID(sent.delivery.organization_id), UUID(sent.delivery.delivery_id)): sent for sent in found}
        wanted = [conversation for place, (conversation, _) in zip(ids, drafts, strict=True) if place not in known]
        outcomes: list[Sent | ProsaError] = []
        if not wanted:
            return [known[place] for place in ids]
        capacity = await _Capacity.read(tx, wanted)
        changed: dict[str, Conversation] = {}
        added: list[tuple[Sent, Place]] = []
        facts: list[Fact] = []
        for place, (conversation, draft) in zip(ids, drafts, strict=True):
            if place in known:
                outcomes.append(known[place])
                continue
            try:
                capacity.take(conversation)
            except ProsaError as error:
                outcomes.append(error)
                continue
            sent = known[place] = draft.in_conversation(conversation, now)
            outcomes.append(sent)
            conversation.last_send_time = now
            make_last(conversation, sent.message)
            conversation.version += 1
            conversation.update_time = now
            changed[conversation.conversation_id] = conversation
            added.append((sent, Place(draft.delivery_id, place[0], conversation.channel_id, draft.due_time)))
            facts.append(queued_fact(conversation, sent))
        await store.update_conversations(tx, list(changed.values()))
        await delivery_store.insert(tx, [sent.delivery for sent, _ in added])
        await self.queue.put(tx, [place for _, place in added], now)
        await store.insert_messages(tx, [sent.message for sent, _ in added], [])
        await self._outbox.add(tx, facts, now)
        return outcomes

    async def cancel(
        self, tx: Tx, organization_id: UUID, wanted: Mapping[str, object], reason: str, explanation: str, now: datetime
    ) -> list[Sent]:
        """Takes back what still waits of those whose columns (``cause``, ``conversation_id`` …) have these values."""
        conversation_ids = await delivery_store.conversations_of_queued(tx, organization_id, wanted)
        if not conversation_ids:
            return []
        places = [(str(organization_id), str(conversation_id)) for conversation_id in conversation_ids]
        held = await store.lock_conversations_by_id(tx, places)
        waiting = await delivery_store.find_queued(tx, organization_id, wanted)
        return await self._take_back(tx, held, [(sent, explanation) for sent in waiting], reason, now)

    async def cancel_all(
        self, tx: Tx, wanted: Mapping[tuple[UUID, UUID], str], reason: str, now: datetime
    ) -> list[Sent]:
        """Takes back what still waits of these organizations' deliveries, each with its explanation."""
        named = await delivery_store.find_all(tx, wanted)
        places = {
            (sent.delivery.organization_id, sent.delivery.conversation_id)
            for sent in named
            if sent.delivery.state is MessageState.QUEUED
        }
        if not places:
            return []
        held = await store.lock_conversations_by_id(tx, places)
        waiting = [
            (sent, wanted[UUID(sent.delivery.organization_id), UUID(sent.delivery.delivery_id)])
            for sent in await delivery_store.find_all(tx, wanted)
            if sent.delivery.state is MessageState.QUEUED
        ]
        return await self._take_back(tx, held, waiting, reason, now)

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
        waiting = await delivery_store.find_queued(tx, UUID(conversation.organization_id), wanted)
        return await self._take_back(tx, [conversation], [(sent, explanation) for sent in waiting], reason, now)

    async def _take_back(
        self,
        tx: Tx,
        held: Sequence[Conversation],
        waiting: Sequence[tuple[Sent, str]],
        reason: str,
        now: datetime,
    ) -> list[Sent]:
        """Cancels what waits in conversations that the transaction holds; what was put elsewhere since stays."""
        conversations = {conversation.conversation_id: conversation for conversation in held}
        taken = [
            (conversations[sent.delivery.conversation_id], sent, explanation)
            for sent, explanation in waiting
            if sent.delivery.conversation_id in conversations
        ]
        for _, sent, explanation in taken:
            sent.delivery.settle(MessageState.CANCELLED, now, reason, explanation)
        await self._write_all(tx, [(conversation, sent) for conversation, sent, _ in taken], now)
        await self.queue.remove(tx, [UUID(sent.delivery.delivery_id) for _, sent, _ in taken])
        return [sent for _, sent, _ in taken]

    async def write(
        self, tx: Tx, conversation: Conversation, sent: Sent, now: datetime, *, first: bool = False, told: bool = True
    ) -> None:
        """Writes a delivery that changed, with its message, under the conversation that the transaction holds.

        ``first``: it is known to have left, for the first time. ``told`` is False for what nobody needs to know.
        """
        await self._write_all(tx, [(conversation, sent)], now, first=first, told=told)

    async def _write_all(
        self,
        tx: Tx,
        changed: Sequence[tuple[Conversation, Sent]],
        now: datetime,
        *,
        first: bool = False,
        told: bool = True,
    ) -> None:
        facts: list[Fact] = []
        failures: list[tuple[Message, int]] = []
        for conversation, sent in changed:
            message, delivery = sent.message, sent.delivery
            failed_before = message.state is MessageState.FAILED
            message.state = delivery.state
            message.error_message = delivery.explanation if delivery.state is MessageState.FAILED else ""
            delivery.version += 1
            failed = message.state is MessageState.FAILED
            if failed is not failed_before:
                failures.append((message, 1 if failed else -1))
            if told:
                conversation.version += 1
                conversation.update_time = now
                facts.append(delivery_fact(conversation, sent, first=first))
        conversations = {conversation.conversation_id: conversation for conversation, _ in changed}
        await store.update_conversations(tx, list(conversations.values()))
        await delivery_store.update(tx, [sent.delivery for _, sent in changed])
        await store.update_messages(tx, [sent.message for _, sent in changed])
        await store.insert_messages(tx, [], [], failures)
        await self._outbox.add(tx, facts, now)


class _Capacity:
    """Where messages may be queued, and how many more."""

    def __init__(self, accounts: Mapping[UUID, SealedAccount], waiting: dict[str, int]) -> None:
        self._accounts, self._waiting = accounts, waiting

    @classmethod
    async def read(cls, tx: Tx, conversations: Sequence[Conversation]) -> _Capacity:
        connections = {
            (UUID(conversation.organization_id), UUID(conversation.connection_id)) for conversation in conversations
        }
        accounts = await account_store.find_all(tx, connections)
        organization_ids = {conversation.organization_id for conversation in conversations}
        conversation_ids = {conversation.conversation_id for conversation in conversations}
        return cls(accounts, await delivery_store.count_queued(tx, organization_ids, conversation_ids))

    def take(self, conversation: Conversation) -> None:
        """Counts one message more. Raises as ``Deliveries.put`` does."""
        if not _sends(self._accounts.get(UUID(conversation.connection_id))):
            raise cannot_send()
        if not conversation.conversation_key:
            raise FailedPrecondition(
                "CHANNEL_CANNOT_SEND", "Nothing is known yet of whom the conversation is with, so nothing can be sent."
            )
        waiting = self._waiting.get(conversation.conversation_id, 0)
        if waiting >= CONVERSATION_QUEUE_MAX:
            raise ResourceExhausted(
                "CONVERSATION_QUEUE_FULL",
                f"{CONVERSATION_QUEUE_MAX} messages of the conversation wait to be sent already. Wait until they are, "
                "or cancel some.",
            )
        self._waiting[conversation.conversation_id] = waiting + 1


def _sends(account: SealedAccount | None) -> bool:
    return account is not None and account.complete and account.provider in SENDERS


async def able_to_send(tx: Tx, connections: Collection[tuple[UUID, UUID]]) -> set[UUID]:
    """Which of organizations' connections have something to send with; at least one is asked about."""
    accounts = await account_store.find_all(tx, connections)
    return {connection_id for connection_id, account in accounts.items() if _sends(account)}


def cannot_send() -> FailedPrecondition:
    """What is answered where a channel's connection has nothing to send with."""
    return FailedPrecondition(
        "CHANNEL_CANNOT_SEND",
        "The channel has nothing to send with. Give its connection a base_url and an access_token.",
    )
