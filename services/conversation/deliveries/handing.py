"""Handing a conversation to a person, or back: automatic replies that wait are taken back in the same transaction."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chassis import auth, wire
from chassis.auth import Caller
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import Aborted, NotFound
from chassis.idempotency import IdempotencyStore
from chassis.outbox import Outbox
from chassis.queues.items import Place
from chassis.queues.queue import Queue
from prosa.conversation.v1 import conversation_service_pb2 as pb
from services.conversation.deliveries.queueing import Deliveries
from services.conversation.messages import store
from services.conversation.messages.domain.conversation import Conversation, HandoffMode, HandoffSource, hand_over
from services.conversation.messages.domain.delivery import SendClass
from services.conversation.messages.translation import conversation_to_pb, handoff_fact

PROVIDER_WRITES = Queue("provider_write_queue", "conversation", shared=True)
"""One item for each conversation whose label at the provider may not be as it should, whose id it has."""
MODES = {pb.HANDOFF_MODE_AI: HandoffMode.AI, pb.HANDOFF_MODE_HUMAN: HandoffMode.HUMAN}
TAKEN = "A person has the conversation, so no automatic reply is sent."


class Handoffs:
    """Who answers, as people and programs decide it."""

    def __init__(
        self,
        db: Database,
        deliveries: Deliveries,
        writes: Queue,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
    ) -> None:
        self._db, self._deliveries, self.writes, self._outbox = db, deliveries, writes, outbox
        self._idempotency, self._clock = idempotency, clock

    async def set(self, request: pb.SetHandoffRequest) -> pb.Conversation:
        """Hands a conversation over. Raises what ``SetHandoff`` says."""
        organization_id, caller, now = auth.organization_id(), auth.caller(), self._clock.now()
        conversation_id = wire.to_uuid("conversation_id", request.conversation_id)

        async def hand(tx: Tx) -> pb.Conversation:
            conversation = await store.find_conversation(tx, organization_id, conversation_id, lock=True)
            if conversation is None:
                raise NotFound("CONVERSATION_NOT_FOUND", "There is no such conversation.")
            if request.etag and request.etag != str(conversation.version):
                raise Aborted("ETAG_STALE", "The conversation was changed since you read it. Read it again.")
            await self.move(
                tx, conversation, MODES[request.mode], caller, request.reason, now, skip_provider=request.skip_provider
            )
            return conversation_to_pb(conversation)

        return await self._idempotency.once(self._db, organization_id, request, pb.Conversation, now, hand)

    async def move(
        self,
        tx: Tx,
        conversation: Conversation,
        mode: HandoffMode,
        caller: Caller,
        reason: str,
        now: datetime,
        *,
        skip_provider: bool = False,
    ) -> None:
        """Moves a conversation that the transaction holds, with all that follows; one that is so already stays."""
        if conversation.handoff_mode is mode:
            return
        source = HandoffSource.UI if caller.kind == "user" else HandoffSource.API
        hand_over(conversation, mode, source, now, reason)
        conversation.handoff_actor_principal, conversation.handoff_actor_name = caller.principal, caller.name
        conversation.version += 1
        conversation.update_time = now
        organization_id, conversation_id = UUID(conversation.organization_id), UUID(conversation.conversation_id)
        await store.update_conversations(tx, [conversation])
        await self._outbox.add(tx, [handoff_fact(conversation)], now)
        if mode is HandoffMode.HUMAN:
            await self._deliveries.cancel_in(
                tx,
                conversation,
                {"conversation_id": conversation_id, "send_class": str(SendClass.REPLY)},
                *("HANDOFF_HUMAN", TAKEN, now),
            )
        if not skip_provider:
            # One that is being written just now may be written as it was: it takes a place anew.
            await self.writes.remove(tx, [conversation_id])
            await self.writes.put(tx, [Place(conversation_id, organization_id, conversation.conversation_id)], now)
