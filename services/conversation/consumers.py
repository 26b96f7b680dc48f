"""What other services announce and this one follows."""

from __future__ import annotations

from collections.abc import Sequence

from chassis.clock import Clock
from chassis.consumer import ConsumedEvent
from chassis.db import Tx
from chassis.outbox import Fact, Outbox
from prosa.identity.v1 import events_pb2 as identity_events_pb2
from services.conversation import store
from services.conversation.domain.record import Change
from services.conversation.translation import facts_of

CONTACT_IDENTITY_PROMOTED: str = identity_events_pb2.ContactIdentityPromoted.DESCRIPTOR.full_name


class PromotedKeys:
    """Follows identities that became known by their phone: their conversations carry the new key from then on."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock

    async def handle(self, tx: Tx, events: Sequence[ConsumedEvent]) -> None:
        """Rewrites the keys of all conversations that carry a former one, and announces each."""
        renamed = promotions(events)
        if not renamed:
            return
        now = self._clock.now()
        # By key alone: it names one identity of the organization, whichever contact a merge has left.
        conversations = await store.lock_conversations_by_key(tx, renamed)
        facts: list[Fact] = []
        change = Change(conversation_updated=True)
        for conversation in conversations:
            former = conversation.organization_id, conversation.conversation_key
            conversation.conversation_key, cause_id = renamed[former]
            conversation.version += 1
            conversation.update_time = now
            facts.extend(facts_of(conversation, change, cause_id))
        await store.update_conversations(tx, conversations)
        await self._outbox.add(tx, facts, now)


def promotions(events: Sequence[ConsumedEvent]) -> dict[tuple[str, str], tuple[str, str]]:
    """By organization and former key, the key that holds after all events, and the correlation id to tell it under."""
    renamed: dict[tuple[str, str], tuple[str, str]] = {}
    for event in events:
        organization_id = str(event.organization_id)
        if event.type != CONTACT_IDENTITY_PROMOTED:
            continue
        promoted = identity_events_pb2.ContactIdentityPromoted.FromString(event.payload)
        former, present = promoted.previous_conversation_key, promoted.identity.conversation_key
        if not former or not present or former == present:
            continue
        for place, (key, _) in renamed.items():
            if place[0] == organization_id and key == former:
                renamed[place] = present, event.correlation_id
        renamed[organization_id, former] = present, event.correlation_id
    return renamed
