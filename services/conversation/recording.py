"""Recording a batch: load what is kept, fold the items into it in their order, write what changed. One transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import FailedPrecondition, InvalidArgument
from chassis.ids import Ids
from chassis.outbox import Fact, Outbox
from prosa.conversation.v1 import conversation_service_pb2 as pb
from services.conversation import store
from services.conversation.domain.conversation import Conversation, ConversationKey
from services.conversation.domain.message import Direction, Message, MessageKey
from services.conversation.domain.record import Item, new_conversation, new_message, record
from services.conversation.store import KnownMessage
from services.conversation.translation import facts_of, recorded_to_pb, to_uuid


@dataclass(slots=True)
class Fold:
    """What a batch makes of the rows that were loaded for it."""

    conversations: dict[ConversationKey, Conversation]
    messages: dict[MessageKey, KnownMessage]
    facts: list[Fact] = field(default_factory=list)
    made: dict[ConversationKey, Conversation] = field(default_factory=dict)
    changed: dict[str, Conversation] = field(default_factory=dict)
    advanced: dict[str, Conversation] = field(default_factory=dict)
    """Changed by nothing but messages; ``changed`` holds those of which more is to be written."""
    added: dict[str, Message] = field(default_factory=dict)
    amended: dict[str, Message] = field(default_factory=dict)

    def take(self, item: Item, new_id: Callable[[], str], now: datetime) -> pb.RecordedItem:
        """Folds one item in. Raises what is wrong with it; the batch is then to be given up and halved."""
        place = item.key
        conversation = self.conversations.get(place)
        created = conversation is None
        if conversation is None:
            conversation = new_conversation(item, new_id(), now)
        known = fresh = None
        key = item.message_key
        if key is not None and item.message is not None:
            known = self.messages.get(key)
            if known is None:
                if item.message.direction is Direction.UNSPECIFIED:
                    raise InvalidArgument("DIRECTION_MISSING", "A message not heard of before must have a direction.")
                fresh = new_message(item, item.message, conversation.conversation_id, new_id(), now)
            elif known.conversation_id != conversation.conversation_id:
                raise FailedPrecondition(
                    "MESSAGE_OF_OTHER_CONVERSATION",
                    "The channel's message of this id belongs to another conversation.",
                    conversation_id=str(known.conversation_id),
                )
        kept = None if known is None else known.message
        change = record(conversation, item, kept, fresh, created=created, now=now)
        message_id = None if known is None else known.message_id
        if fresh is not None and key is not None:
            message_id = fresh.message_id
            self.messages[key] = KnownMessage(conversation.conversation_id, message_id, fresh)
            self.added[message_id] = fresh
        elif kept is not None and change.message_noted and kept.message_id not in self.added:
            self.amended[kept.message_id] = kept
        if created:
            self.conversations[place] = self.made[place] = conversation
        elif change.noted and place not in self.made:
            more = change.conversation_updated or change.handoff_changed
            (self.changed if more else self.advanced)[conversation.conversation_id] = conversation
        self.facts.extend(facts_of(conversation, change, item.cause_id))
        return recorded_to_pb(conversation, change, message_id)


class Recorder:
    """Records items in the order given, as one transaction or not at all."""

    def __init__(self, db: Database, outbox: Outbox, clock: Clock, ids: Ids, wake: Callable[[], None]) -> None:
        self._db = db
        self._outbox = outbox
        self._clock = clock
        self._ids = ids
        self._wake = wake
        self._months: set[tuple[int, int]] = set()

    async def record(self, items: Sequence[Item]) -> list[pb.RecordedItem]:
        """What was recorded for each item. Raises what is wrong with any of them."""
        now = self._clock.now()
        await self._ensure_months(item.message.create_time for item in items if item.message is not None)
        async with self._db.transaction(*map(to_uuid, {item.organization_id for item in items})) as tx:
            fold = await _load(tx, items)
            recorded = [fold.take(item, self._new_id, now) for item in items]
            await self._write(tx, fold, now)
        if fold.facts:
            self._wake()
        return recorded

    async def link(self, tx: Tx, item: Item, now: datetime) -> Conversation:
        """The conversation of an item without a message, in the caller's transaction; what is new is filled in.

        Raises Aborted where somebody else made it at the same moment: the caller tries again.
        """
        fold = await _load(tx, [item])
        fold.take(item, self._new_id, now)
        await self._write(tx, fold, now)
        return fold.conversations[item.key]

    def _new_id(self) -> str:
        return str(self._ids.new())

    async def _write(self, tx: Tx, fold: Fold, now: datetime) -> None:
        await store.insert_conversations(tx, list(fold.made.values()))
        await store.update_conversations(tx, list(fold.changed.values()))
        await store.advance_conversations(
            tx, [conversation for place, conversation in fold.advanced.items() if place not in fold.changed]
        )
        await store.insert_messages(tx, list(fold.added.values()))
        await store.update_messages(tx, list(fold.amended.values()))
        await self._outbox.add(tx, fold.facts, now)

    async def _ensure_months(self, moments: Iterable[datetime]) -> None:
        """Makes sure of the partitions, in a transaction of its own: a new one locks the whole table."""
        recent = {(moment.year, moment.month): moment for moment in moments if moment >= store.EARLIEST_MONTH}
        for month in sorted(recent.keys() - self._months):
            async with self._db.transaction() as tx:
                await store.ensure_message_month(tx, recent[month])
            self._months.add(month)


async def _load(tx: Tx, items: Sequence[Item]) -> Fold:
    conversations = await store.lock_conversations(tx, {item.key for item in items})
    keys = {key for item in items if (key := item.message_key) is not None}
    return Fold(conversations, await store.load_messages(tx, keys))
