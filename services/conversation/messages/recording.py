"""Recording a batch: load what is kept, fold the items into it in their order, write what changed. One transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from chassis.bisect import held_back
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import FailedPrecondition, InvalidArgument, NotFound, ProsaError
from chassis.ids import Ids
from chassis.outbox import Fact, Outbox
from prosa.conversation.v1 import conversation_service_pb2 as pb
from services.conversation.messages import delivery_store, reaction_store, store
from services.conversation.messages.domain.conversation import Conversation, ConversationKey, is_last
from services.conversation.messages.domain.delivery import ECHO_LOOKED_FOR, Delivery, Sent, echoed, plain
from services.conversation.messages.domain.message import (
    STATE_RANK,
    Author,
    Direction,
    Message,
    MessageKey,
    MessageReport,
    MessageState,
    ReactionReport,
    is_copy,
)
from services.conversation.messages.domain.message import is_other as is_other_message
from services.conversation.messages.domain.reaction import Reaction, change_reaction, new_reaction
from services.conversation.messages.domain.reaction import is_other as is_other_reaction
from services.conversation.messages.domain.record import (
    Change,
    Item,
    is_other,
    new_conversation,
    new_message,
    record,
)
from services.conversation.messages.place_store import REDIRECTS, find_places
from services.conversation.messages.store import KnownMessage, MessageKeyRow, SourceKey, week_of
from services.conversation.messages.translation import facts_of, reaction_fact, recorded_to_pb, to_uuid


@dataclass(slots=True)
class Fold:
    """What a batch makes of the rows that were loaded for it."""

    conversations: dict[ConversationKey, list[Conversation]]
    """The last that had each key first."""
    messages: dict[MessageKey, list[KnownMessage]]
    """By the provider's id, the last that had it first."""
    sources: dict[SourceKey, list[KnownMessage]]
    """By the network's id, as heard of lately."""
    reactions: dict[MessageKey, list[Reaction]]
    """By the provider's id, the last that had it first."""
    survivors: dict[str, str] = field(default_factory=dict)
    """By contact that was merged, who stands for it; of those only that differ from their conversation's."""
    facts: list[Fact] = field(default_factory=list)
    made: dict[str, Conversation] = field(default_factory=dict)
    changed: dict[str, Conversation] = field(default_factory=dict)
    advanced: dict[str, Conversation] = field(default_factory=dict)
    """Changed by nothing but messages; ``changed`` holds those of which more is to be written."""
    added: dict[str, Message] = field(default_factory=dict)
    keys: list[MessageKeyRow] = field(default_factory=list)
    amended: dict[str, Message] = field(default_factory=dict)
    failed_before: dict[str, bool] = field(default_factory=dict)
    """Of messages that were kept before the batch: whether they were failed ones then."""
    awaiting: dict[str, list[Sent]] = field(default_factory=dict)
    """By conversation, what may have left without its id at the provider being known."""
    deliveries: dict[str, Delivery] = field(default_factory=dict)
    """Of the messages that are sent here."""
    delivered: dict[str, Delivery] = field(default_factory=dict)
    """Those in another state than before."""
    copies: dict[str, tuple[Message, int]] = field(default_factory=dict)
    reacted: dict[tuple[MessageKey, int], Reaction] = field(default_factory=dict)

    def take(self, item: Item, new_id: Callable[[], str], now: datetime) -> pb.RecordedItem:
        """Folds one item in. Raises what is wrong with it; the batch is then to be given up and halved."""
        conversation = self.conversation_of(item)
        created = conversation is None
        if conversation is None:
            conversation = new_conversation(item, new_id(), now, self._next_generation(item.key))
        if item.message is not None and item.message.reaction is not None:
            return self._take_reaction(conversation, item, item.message, item.message.reaction, created, now)
        known, copied = self._known(item, conversation.conversation_id)
        key, reported = item.message_key, item.message
        fresh, sent = None, False
        if known is None and key is not None and reported is not None and reported.direction is Direction.OUTBOUND:
            known = self._echoed(key, conversation, reported, now)
            sent = known is not None
        if known is not None and reported is not None and known.message is not None and known.message.sent_here:
            # Ours: who wrote it is known, and its text as it was typed.
            reported = replace(
                reported,
                author=Author.UNSPECIFIED,
                author_settled=False,
                author_name="",
                text=plain(reported.text),
                state=max(reported.state, MessageState.SENT, key=STATE_RANK.__getitem__),
            )
            item = replace(item, message=reported)
        if key is not None and reported is not None:
            if known is None:
                if reported.direction is Direction.UNSPECIFIED:
                    raise InvalidArgument("DIRECTION_MISSING", "A message not heard of before must have a direction.")
                fresh = new_message(item, reported, conversation.conversation_id, new_id(), now)
            elif copied:
                self._copy(key, known, reported)
            elif known.conversation_id != conversation.conversation_id and not _is_alias(known, reported):
                raise FailedPrecondition(
                    "MESSAGE_OF_OTHER_CONVERSATION",
                    "The channel's message of this id belongs to another conversation.",
                    conversation_id=str(known.conversation_id),
                )
        if known is not None and known.conversation_id != conversation.conversation_id:
            # A copy that came into another conversation of the same person: that one's row is not ours to change.
            item = replace(item, message=None)
            kept = None
        else:
            kept = None if known is None else known.message
        if kept is not None and kept.message_id not in self.added:
            self.failed_before.setdefault(kept.message_id, kept.state is MessageState.FAILED)
        change = record(conversation, item, kept, fresh, created=created, now=now, sent=sent)
        message_id = None if known is None else known.message_id
        if fresh is not None and key is not None and reported is not None:
            message_id = fresh.message_id
            self._add(key, fresh, reported, conversation, now)
        elif kept is not None and change.message_noted and kept.message_id not in self.added:
            self.amended[kept.message_id] = kept
        delivery = None if kept is None else self._follow(kept, change, now)
        self._note(conversation, change, created=created)
        self.facts.extend(facts_of(conversation, change, item.cause_id, delivery))
        alias = known is not None and reported is not None and _is_alias(known, reported)
        return recorded_to_pb(conversation, change, message_id, copied=copied or alias)

    def conversation_of(self, item: Item) -> Conversation | None:
        """The conversation that an item is of: under one id the provider may have had several, one after the other."""
        candidates = [
            conversation
            for conversation in self.conversations.get(item.key, ())
            if not is_other(conversation, item, self._kept_in(conversation, item), self.survivors)
        ]
        for conversation in candidates:
            if item.provider_create_time is not None and conversation.provider_create_time == item.provider_create_time:
                return conversation
        return candidates[0] if candidates else None

    def _kept_in(self, conversation: Conversation, item: Item) -> Message | None:
        """What is kept in a conversation under the id of the item's message."""
        if item.message_key is None:
            return None
        for known in self.messages.get(item.message_key, ()):
            if known.conversation_id == conversation.conversation_id:
                return known.message
        return None

    def knows(self, item: Item) -> bool:
        """Whether what an item tells of was recorded before: its message, or where it has none, its conversation."""
        conversation = self.conversation_of(item)
        if item.message is None:
            return conversation is not None
        # A copy may come into a conversation that is new: the person's next one.
        return self._known(item, "" if conversation is None else conversation.conversation_id)[0] is not None

    def _known(self, item: Item, conversation_id: str) -> tuple[KnownMessage | None, bool]:
        """The message that an item tells of, if it was heard of before, and whether under no such id until now."""
        key, reported = item.message_key, item.message
        if key is None or reported is None:
            return None, False
        for known in self.messages.get(key, ()):
            if known.message is None or not is_other_message(known.message, reported):
                return known, False
        if reported.network_message_id:
            for known in self.sources.get((key[0], key[1], reported.network_message_id), ()):
                here = known.conversation_id == conversation_id
                same_person = here or (item.contact_id is not None and known.contact_id == item.contact_id)
                if same_person and known.message is not None and is_copy(known.message, reported):
                    return known, True
        return None, False

    def _echoed(
        self, key: MessageKey, conversation: Conversation, reported: MessageReport, now: datetime
    ) -> KnownMessage | None:
        """The message sent here that an unknown one is the echo of; the provider's id leads to it from now on."""
        awaiting = self.awaiting.get(conversation.conversation_id, [])
        sent = echoed(awaiting, reported)
        if sent is None:
            return None
        awaiting.remove(sent)
        message = sent.message
        last = is_last(conversation, message)
        message.provider_message_id, message.told_time_us = reported.provider_message_id, reported.told_time_us
        message.record_time = now
        if last:
            conversation.last_provider_message_id = message.provider_message_id
        if message.state is MessageState.FAILED:
            # Nobody knew that it had left.
            self.failed_before[message.message_id] = True
            message.state = MessageState.UNCERTAIN
        generation = self._next_message_generation(key)
        network_id = reported.network_message_id
        week = week_of(now) if network_id else 0
        place = message.conversation_id, message.message_id, message.create_time
        self.keys.append(MessageKeyRow(*key, *place, generation, network_id, week))
        known = KnownMessage(
            message.conversation_id, message.message_id, message, generation, contact_id=conversation.contact_id
        )
        self.messages.setdefault(key, []).insert(0, known)
        self.deliveries[message.message_id] = sent.delivery
        return known

    def _follow(self, message: Message, change: Change, now: datetime) -> Delivery | None:
        """The delivery of a message that is sent here, in the message's state."""
        delivery = self.deliveries.get(message.message_id)
        if delivery is not None and change.message_noted and delivery.state is not message.state:
            delivery.settle(message.state, now, "PROVIDER_REFUSED" if message.state is MessageState.FAILED else "")
            delivery.explanation = message.error_message
            delivery.version += 1
            self.delivered[message.message_id] = delivery
        return delivery

    def _copy(self, key: MessageKey, known: KnownMessage, reported: MessageReport) -> None:
        """Lets one more id lead to a known message. Another text is an edit, the same one is counted."""
        message = known.message
        assert message is not None
        generation = self._next_message_generation(key)
        row = MessageKeyRow(*key, message.conversation_id, message.message_id, message.create_time, generation, "", 0)
        self.keys.append(row)
        under_key = KnownMessage(message.conversation_id, message.message_id, message, generation)
        self.messages.setdefault(key, []).insert(0, under_key)
        if message.deleted or reported.text in ("", message.text, message.original_text):
            counted = self.copies.get(message.message_id, (message, 0))[1] + 1
            self.copies[message.message_id] = message, counted
            message.copy_count += 1

    def _add(
        self, key: MessageKey, fresh: Message, reported: MessageReport, conversation: Conversation, now: datetime
    ) -> None:
        generation = self._next_message_generation(key)
        network_id = reported.network_message_id
        self.keys.append(
            MessageKeyRow(
                *key,
                fresh.conversation_id,
                fresh.message_id,
                fresh.create_time,
                generation,
                network_id,
                week_of(now) if network_id else 0,
            )
        )
        known = KnownMessage(
            fresh.conversation_id, fresh.message_id, fresh, generation, contact_id=conversation.contact_id
        )
        self.messages.setdefault(key, []).insert(0, known)
        if network_id:
            self.sources.setdefault((key[0], key[1], network_id), []).append(known)
        self.added[fresh.message_id] = fresh

    def _take_reaction(
        self,
        conversation: Conversation,
        item: Item,
        reported: MessageReport,
        report: ReactionReport,
        created: bool,
        now: datetime,
    ) -> pb.RecordedItem:
        key = item.organization_id, item.channel_id, reported.provider_message_id
        target = self._target(conversation, item, report)
        target_id = "" if target is None or target.message is None else target.message.provider_message_id
        place, same_id = conversation.conversation_id, self.reactions.setdefault(key, [])
        reaction = next((known for known in same_id if not is_other_reaction(known, reported, place)), None)
        if reaction is None:
            generation = max((known.generation + 1 for known in same_id), default=0)
            reaction = new_reaction(key, reported, report, place, target_id, item.cause_id, generation)
            same_id.insert(0, reaction)
            news = True
        else:
            news = change_reaction(reaction, reported, report)
        if news:
            self.reacted[key, reaction.generation] = reaction
        change = record(
            conversation, replace(item, message=None), None, None, created=created, now=now, reaction_changed=news
        )
        self._note(conversation, change, created=created)
        self.facts.extend(facts_of(conversation, change, item.cause_id))
        message_id = "" if target is None else target.message_id
        if news:
            self.facts.append(reaction_fact(conversation, reaction, message_id, item.cause_id))
        return recorded_to_pb(conversation, change, message_id)

    def _target(self, conversation: Conversation, item: Item, report: ReactionReport) -> KnownMessage | None:
        """The message that a reaction is on: one of its own conversation, or of the same person's other one."""
        by_key = self.messages.get((item.organization_id, item.channel_id, report.target_provider_message_id), [])
        by_source = self.sources.get((item.organization_id, item.channel_id, report.target_source_id), [])
        place, found = conversation.conversation_id, [*by_key, *by_source]
        here = (known for known in found if known.conversation_id == place)
        theirs = (known for known in by_source if item.contact_id is not None and known.contact_id == item.contact_id)
        return next(here, None) or next(theirs, None)

    def failures(self) -> list[tuple[Message, int]]:
        """The messages kept before that became failed ones, 1, and those that ceased to be, -1."""
        return [
            (message, 1 if message.state is MessageState.FAILED else -1)
            for place, message in self.amended.items()
            if self.failed_before[place] is not (message.state is MessageState.FAILED)
        ]

    def _note(self, conversation: Conversation, change: Change, *, created: bool) -> None:
        place = conversation.conversation_id
        if created:
            self.conversations.setdefault(conversation.key, []).insert(0, conversation)
            self.made[place] = conversation
        elif change.noted and place not in self.made:
            more = change.conversation_updated or change.handoff_changed or change.evidence_learnt
            (self.changed if more else self.advanced)[place] = conversation

    def _next_generation(self, key: ConversationKey) -> int:
        return max((conversation.generation + 1 for conversation in self.conversations.get(key, ())), default=0)

    def _next_message_generation(self, key: MessageKey) -> int:
        return max((known.generation + 1 for known in self.messages.get(key, ())), default=0)


def _is_alias(known: KnownMessage, reported: MessageReport) -> bool:
    return known.message is not None and known.message.provider_message_id != reported.provider_message_id


class Recorder:
    """Records items in the order given, as one transaction or not at all."""

    def __init__(self, db: Database, outbox: Outbox, clock: Clock, ids: Ids) -> None:
        self._db = db
        self._outbox = outbox
        self._clock = clock
        self._ids = ids
        self._months: set[tuple[int, int]] = set()

    async def record(self, items: Sequence[Item]) -> list[pb.RecordedItem | ProsaError]:
        """What was recorded for each item. Raises what is wrong with any of them.

        Where only a known conversation would do and there is none, nothing is wrong with the batch: the item answers
        so, what comes after it for the same conversation waits, and all the others are recorded.
        """
        now = self._clock.now()
        await self._ensure_months(item.message.create_time for item in items if item.message is not None)
        async with self._db.transaction(*map(to_uuid, {item.organization_id for item in items})) as tx:
            items = await find_places(tx, items)
            fold = await _load(tx, items, now)
            recorded: list[pb.RecordedItem | ProsaError] = []
            nowhere: set[ConversationKey] = set()
            for item in items:
                if item.key in nowhere:
                    recorded.append(held_back())
                elif item.known_conversation_only and fold.conversation_of(item) is None:
                    nowhere.add(item.key)
                    recorded.append(
                        NotFound(
                            "CONVERSATION_NOT_FOUND", "Nobody was found for the event, nor is its conversation known."
                        )
                    )
                else:
                    recorded.append(fold.take(item, self._new_id, now))
            await self._write(tx, fold, now)
        return recorded

    async def find_recorded(self, items: Sequence[Item]) -> list[bool]:
        """Of each item, whether what it tells of was recorded before."""
        now = self._clock.now()
        async with self._db.transaction(*map(to_uuid, {item.organization_id for item in items})) as tx:
            items = await find_places(tx, items)
            fold = await _load(tx, items, now)
            return [fold.knows(item) for item in items]

    async def link(self, tx: Tx, item: Item, now: datetime) -> Conversation:
        """The conversation of an item without a message, in the caller's transaction; what is new is filled in.

        Raises Aborted where somebody else made it at the same moment: the caller tries again.
        """
        fold = await _load(tx, [item], now)
        fold.take(item, self._new_id, now)
        await self._write(tx, fold, now)
        conversation = fold.conversation_of(item)
        assert conversation is not None, "an item leaves its conversation behind"
        return conversation

    def _new_id(self) -> str:
        return str(self._ids.new())

    async def _write(self, tx: Tx, fold: Fold, now: datetime) -> None:
        await store.insert_conversations(tx, list(fold.made.values()))
        await store.update_conversations(tx, list(fold.changed.values()))
        await store.advance_conversations(
            tx, [conversation for place, conversation in fold.advanced.items() if place not in fold.changed]
        )
        await store.update_messages(tx, list(fold.amended.values()))
        await delivery_store.update(tx, list(fold.delivered.values()))
        # Those that were added just now hold their count already.
        await store.count_copies(tx, [copied for place, copied in fold.copies.items() if place not in fold.added])
        await reaction_store.write_reactions(tx, list(fold.reacted.values()))
        await store.insert_messages(tx, list(fold.added.values()), fold.keys, fold.failures())
        await self._outbox.add(tx, fold.facts, now)

    async def _ensure_months(self, moments: Iterable[datetime]) -> None:
        """Makes sure of the partitions, in a transaction of its own: a new one locks the whole table."""
        recent = {(moment.year, moment.month): moment for moment in moments if moment >= store.EARLIEST_MONTH}
        for month in sorted(recent.keys() - self._months):
            async with self._db.transaction() as tx:
                await store.ensure_message_month(tx, recent[month])
            self._months.add(month)


async def _load(tx: Tx, items: Sequence[Item], now: datetime) -> Fold:
    conversations = await store.lock_conversations(tx, {item.key for item in items})
    keys: set[MessageKey] = set()
    sources: set[SourceKey] = set()
    reactions: set[MessageKey] = set()
    for item in items:
        reported = item.message
        if reported is None:
            continue
        place = item.organization_id, item.channel_id
        if reported.reaction is None:
            keys.add((*place, reported.provider_message_id))
            sources.add((*place, reported.network_message_id))
        else:
            reactions.add((*place, reported.provider_message_id))
            keys.add((*place, reported.reaction.target_provider_message_id))
            sources.add((*place, reported.reaction.target_source_id))
    by_key, by_source = await store.load_messages(
        tx, [key for key in keys if key[2]], [key for key in sources if key[2]], now
    )
    fold = Fold(conversations, by_key, by_source, await reaction_store.load_reactions(tx, reactions))
    await _load_survivors(tx, fold, items)
    await _load_sent(tx, fold, items, now)
    return fold


async def _load_survivors(tx: Tx, fold: Fold, items: Sequence[Item]) -> None:
    """Who stands for contacts that are another's than their conversation's; where none is, nothing is asked."""
    differing = {
        UUID(contact_id)
        for item in items
        for conversation in fold.conversations.get(item.key, ())
        if item.contact_id and conversation.contact_id and item.contact_id != conversation.contact_id
        for contact_id in (item.contact_id, conversation.contact_id)
    }
    if differing:
        found = await REDIRECTS.resolve(tx, differing)
        fold.survivors = {str(contact_id): str(survivor) for contact_id, survivor in found.items()}


async def _load_sent(tx: Tx, fold: Fold, items: Sequence[Item], now: datetime) -> None:
    """What is sent here and may be told of; where nothing is, nothing is asked."""
    known = {
        found.message_id
        for same in (*fold.messages.values(), *fold.sources.values())
        for found in same
        if found.message is not None and found.message.sent_here
    }
    sending = {
        conversation.conversation_id
        for item in items
        if item.message is not None and item.message.direction is Direction.OUTBOUND
        for conversation in fold.conversations.get(item.key, ())
        if conversation.last_send_time is not None and conversation.last_send_time > now - ECHO_LOOKED_FOR
    }
    # By our own mark what is told is known however late it is.
    known |= {
        item.message.delivery_id for item in items if item.message is not None and _is_id(item.message.delivery_id)
    }
    if not known and not sending:
        return
    organization_ids, since = {item.organization_id for item in items}, now - ECHO_LOOKED_FOR
    for sent in await delivery_store.load(tx, organization_ids, sending, known, since):
        if sent.message.provider_message_id:
            fold.deliveries[sent.message.message_id] = sent.delivery
        else:
            fold.awaiting.setdefault(sent.message.conversation_id, []).append(sent)


def _is_id(mark: str) -> bool:
    try:
        UUID(mark)
    except ValueError:
        return False
    return True
