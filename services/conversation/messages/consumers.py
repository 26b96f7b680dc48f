"""What other services announce and this one follows."""

from __future__ import annotations

from collections.abc import Sequence

from chassis.clock import Clock
from chassis.db import Tx
from chassis.outbox import Fact, Outbox
from chassis.subscriptions import ConsumedEvent
from prosa.identity.v1.events_pb2 import ContactIdentityPromoted
from services.conversation.messages import store
from services.conversation.messages.domain.record import Change
from services.conversation.messages.translation import facts_of


class PromotedKeys:
    """Follows identities that became known by their phone: their conversations carry the new key from then on."""

    def __init__(self, outbox: Outbox, clock: Clock) -> None:
        self._outbox = outbox
        self._clock = clock

    async def handle(self, tx: Tx, events: Sequence[ConsumedEvent[ContactIdentityPromoted]]) -> None:
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


def promotions(events: Sequence[ConsumedEvent[ContactIdentityPromoted]]) -> dict[tuple[str, str], tuple[str, str]]:
    """By organization and former key, the key that holds after all events, and the correlation id to tell it under."""
    renamed: dict[tuple[str, str], tuple[str, str]] = {}
    for event in events:
        organization_id = str(event.organization_id)
        former, present = event.message.previous_conversation_key, event.message.identity.conversation_key
        if not former or not present or former == present:
            continue
        for place, (key, _) in renamed.items():
            if place[0] == organization_id and key == former:
                renamed[place] = present, event.correlation_id
        renamed[organization_id, former] = present, event.correlation_id
    return renamed
