"""The label at the provider follows who answers: it is written until it is so, and its failure undoes nothing here."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import structlog

from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Database
from chassis.outgoing import Outgoing
from chassis.queues.items import Dead, Done, Item, Outcome, Retry
from chassis.queues.worker import Fence, Handler
from services.conversation.deliveries import account_store
from services.conversation.limits import WRITE_WAITS
from services.conversation.messages import store
from services.conversation.messages.domain.conversation import HandoffMode
from services.conversation.messages.domain.record import HANDOFF_LABEL
from services.conversation.providers import SENDERS
from services.conversation.providers.sender import Refused, Written

logger = structlog.get_logger(__name__)


class LabelHandler(Handler[Item]):
    """Writes the labels of conversations that were handed over."""

    def __init__(self, db: Database, outgoing: Outgoing, vault: Vault, clock: Clock) -> None:
        self._db, self._outgoing, self._vault, self._clock = db, outgoing, vault, clock

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """What became of each, which are of conversations of their own."""
        return [await self._work(item) for item in items]

    async def _work(self, item: Item) -> Outcome[Item]:
        organization_id = item.organization_id
        async with self._db.transaction(organization_id) as tx:
            conversation = await store.find_conversation(tx, organization_id, item.item_id)
            if conversation is None:
                return Done(item)
            sealed = await account_store.find(tx, organization_id, UUID(conversation.connection_id))
        if sealed is None or not sealed.complete:
            return Done(item)
        sender = SENDERS.get(sealed.provider)
        if sender is None or sender.set_label is None:
            return Done(item)
        written = await sender.set_label(
            self._outgoing,
            account_store.opened(sealed, self._vault),
            conversation.provider_conversation_id,
            HANDOFF_LABEL,
            conversation.handoff_mode is HandoffMode.HUMAN,
        )
        now = self._clock.now()
        if isinstance(written, Refused):
            logger.warning("label_refused", conversation_id=conversation.conversation_id, reason=written.reason)
            return Dead(item, written.reason, written.explanation)
        if not isinstance(written, Written):
            wait: timedelta = WRITE_WAITS[min(item.attempt_count, len(WRITE_WAITS) - 1)]
            return Retry(item, now + wait, written.detail, reason="PROVIDER_UNREACHABLE")
        async with self._db.transaction(organization_id) as tx:
            held = await store.find_conversation(tx, organization_id, item.item_id, lock=True)
            if held is not None:
                told = int((written.time or now).timestamp()) * 1_000_000
                # To the second, as the provider says it.
                held.label_write_us = max(held.label_write_us, told + 1_000_000)
                await store.update_conversations(tx, [held])
        return Done(item)
