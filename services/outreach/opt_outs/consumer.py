"""Does what contacts ask for in what they write: suppresses once, confirms once, and lets them come back."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from chassis import wire
from chassis.canonical import split_key
from chassis.clock import Clock
from chassis.db import Tx
from chassis.ids import Ids
from chassis.outbox import Fact, Outbox
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1.events_pb2 import MessageReceived
from prosa.identity.v1.events_pb2 import ContactMergeUndone, ContactsMerged
from prosa.outreach.v1 import events_pb2
from prosa.v1 import options_pb2
from services.outreach import store
from services.outreach.campaigns.following import Touches
from services.outreach.domain import Lifting, Origin, Speaker, Suppression, readable
from services.outreach.messages import suppression_created, suppression_lifted
from services.outreach.opt_outs import merge_store
from services.outreach.opt_outs.words import Wish, read_wish

CONFIRM_WITHIN = timedelta(hours=24)
"""Who asked longer ago, as in a history that is told late, is left alone without a word."""
EVIDENCE_LENGTH_MAX = 200

# Sent once: it says that it was heard, and how to come back.
CONFIRMATIONS = {
    "pt": "Pronto, você não vai mais receber nossas mensagens. Se mudar de ideia, responda VOLTAR.",
    "en": "Done, you will get no more messages from us. If you change your mind, answer START.",
}


class OptOuts:
    """Reads what contacts write."""

    def __init__(self, outbox: Outbox, touches: Touches, clock: Clock, ids: Ids) -> None:
        self._outbox, self._touches, self._clock, self._ids = outbox, touches, clock, ids

    async def on_message_received(self, tx: Tx, events: Sequence[ConsumedEvent[MessageReceived]]) -> None:
        """The last word counts, by when it was written: what is told late ends nothing that is newer."""
        left: dict[UUID, set[UUID]] = {}
        wishes = [(event, *found) for event in events if (found := _wish(event.message)) is not None]
        await _lock(tx, [event for event, wish, _ in wishes if wish is Wish.LEAVE])
        for event, wish, words in wishes:
            named = wire.to_optional_uuid("contact_id", event.message.contact_id)
            speaker = await merge_store.find_speaker(tx, event.organization_id, event.message.conversation_key, named)
            if wish is Wish.LEAVE:
                await self._suppress(tx, event, speaker.contact_id, words)
                if speaker.contact_id is not None:
                    left.setdefault(event.organization_id, set()).add(speaker.contact_id)
            else:
                await self._lift(tx, event, speaker, words)
        # Campaigns are held in one order by everybody, however the messages came.
        for organization_id, contact_ids in sorted(left.items()):
            await self._touches.leave_alone(tx, organization_id, contact_ids)

    async def on_contacts_merged(self, tx: Tx, events: Sequence[ConsumedEvent[ContactsMerged]]) -> None:
        """Whose addresses became another contact's, and when."""
        for event in events:
            await merge_store.keep_merge(tx, event.organization_id, event.message.contact_merge, undone=False)

    async def on_contact_merge_undone(self, tx: Tx, events: Sequence[ConsumedEvent[ContactMergeUndone]]) -> None:
        """Who was one of two is left alone as if they had never been one."""
        now = self._clock.now()
        facts: list[Fact] = []
        for event in events:
            merge = event.message.contact_merge
            # First: what is heard from now on is whose it was before the merge, and the rest is given back below.
            await merge_store.keep_merge(tx, event.organization_id, merge, undone=True)
            again = await store.undo_merge(
                tx,
                event.organization_id,
                wire.to_uuid("surviving_contact_id", merge.surviving_contact_id),
                wire.to_uuid("losing_contact_id", merge.losing_contact_id),
                {identity.conversation_key for identity in merge.moved_identities},
            )
            facts.extend(suppression_created(kept, event.correlation_id) for kept in again)
        await self._outbox.add(tx, facts, now)

    async def _suppress(
        self, tx: Tx, event: ConsumedEvent[MessageReceived], contact_id: UUID | None, words: str
    ) -> None:
        message, now = event.message, self._clock.now()
        asked = _written(message, now)
        source, external_id = split_key(message.conversation_key)
        known = contact_id is not None and await store.contact_asked(tx, event.organization_id, contact_id)
        suppression = Suppression(
            organization_id=event.organization_id,
            id=self._ids.new(),
            source=source.value,
            external_id=external_id,
            contact_id=contact_id,
            reason=readable(message.message.text)[:EVIDENCE_LENGTH_MAX],
            create_time=now,
            origin=Origin.CONTACT,
            message_id=message.message.message_id,
            evidence=words[:EVIDENCE_LENGTH_MAX],
            ask_time=asked,
        )
        if await store.insert_suppression(tx, suppression) is not None:
            # They asked before: one answer was given, and nothing more is said.
            await store.ask_again(tx, suppression)
            return
        facts = [suppression_created(suppression, event.correlation_id)]
        if not known and now - asked < CONFIRM_WITHIN:
            facts.append(await self._confirmation(tx, event, suppression))
        await self._outbox.add(tx, facts, now)

    async def _confirmation(self, tx: Tx, event: ConsumedEvent[MessageReceived], suppression: Suppression) -> Fact:
        locale = await store.find_locale(tx, event.organization_id)
        message = event.message
        fact = events_pb2.SendDue(
            send_id=str(confirmation_id(suppression.id)),
            organization_id=str(event.organization_id),
            send_class=options_pb2.SEND_CLASS_CONFIRMATION,
            channel_id=message.channel_id,
            source=message.source,
            contact_id=str(suppression.contact_id or ""),
            conversation_key=message.conversation_key,
            text=CONFIRMATIONS["en" if locale.startswith("en") else "pt"],
            suppression_id=str(suppression.id),
            end_time=wire.to_timestamp(suppression.create_time + CONFIRM_WITHIN),
        )
        return Fact(event.organization_id, fact, event.correlation_id)

    async def _lift(self, tx: Tx, event: ConsumedEvent[MessageReceived], speaker: Speaker, words: str) -> None:
        message, now = event.message, self._clock.now()
        source, external_id = split_key(message.conversation_key)
        lifting = Lifting(now, words[:EVIDENCE_LENGTH_MAX], key=message.conversation_key)
        ended = await store.lift_own(
            tx, event.organization_id, source.value, external_id, speaker, _written(message, now), lifting
        )
        await self._outbox.add(tx, [suppression_lifted(kept, event.correlation_id) for kept in ended], now)


async def _lock(tx: Tx, events: Sequence[ConsumedEvent[MessageReceived]]) -> None:
    """Locks the addresses at which somebody wants to be left alone, the organizations in one order."""
    addresses: dict[UUID, set[tuple[str, str]]] = {}
    for event in events:
        source, external_id = split_key(event.message.conversation_key)
        addresses.setdefault(event.organization_id, set()).add((source.value, external_id))
    for organization_id, asked in sorted(addresses.items()):
        await store.lock_addresses(tx, organization_id, sorted(asked))


def confirmation_id(suppression_id: UUID) -> UUID:
    """The one message that confirms an opt-out, however often it is told to be due."""
    return uuid5(suppression_id, "confirm")


def _written(received: MessageReceived, now: datetime) -> datetime:
    """When it was written; of a clock that is ahead, now: or nothing that is written later would ever be newer."""
    return min(wire.from_timestamp(received.message.create_time), now)


def _wish(received: MessageReceived) -> tuple[Wish, str] | None:
    """What a person asks for in a message of text alone: what stands below a picture is said about the picture."""
    message = received.message
    if not received.conversation_key or message.attachments or message.deleted:
        return None
    if message.direction != conversation_pb.MESSAGE_DIRECTION_INBOUND:
        return None
    if message.author != conversation_pb.MESSAGE_AUTHOR_CONTACT:
        return None
    return read_wish(message.text)
