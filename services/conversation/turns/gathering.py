"""Gathers what contacts write into turns, after it was recorded: recording waits for none of this."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chassis import wire
from chassis.clock import Clock
from chassis.db import Tx
from chassis.ids import Ids
from chassis.queues.items import Place
from chassis.queues.queue import Queue
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1.events_pb2 import MessageReceived
from services.conversation.limits import REPLY_WAITS
from services.conversation.messages.own_key_store import own_keys
from services.conversation.settings import store as settings_store
from services.conversation.turns import store
from services.conversation.turns.turn import LATE, Turn

TURNS = Queue("turn_queue", "conversation", timed=True, shared=True)
"""One item for each turn that is open or being answered, whose id it has; its key is the conversation."""


class Gatherer:
    """Adds each message to its conversation's open turn."""

    def __init__(self, clock: Clock, ids: Ids, queue: Queue) -> None:
        self._clock, self._ids, self.queue = clock, ids, queue

    async def handle(self, tx: Tx, events: Sequence[ConsumedEvent[MessageReceived]]) -> None:
        """Takes what waits for an automatic answer; history, what people have, and own numbers' talk do not."""
        now = self._clock.now()
        candidates = [event for event in events if _awaits_answer(event, now)]
        if not candidates:
            return
        organizations = {event.organization_id for event in candidates}
        settings = await settings_store.find_all(tx, organizations)
        own = await own_keys(tx, organizations)
        wanted = [
            event
            for event in candidates
            if settings[event.organization_id].automation_enabled
            and (event.organization_id, event.message.conversation_key) not in own
        ]
        turns = await store.lock_open(tx, {UUID(event.message.conversation_id) for event in wanted})
        changed: dict[UUID, Turn] = {}
        for event in wanted:
            conversation_id = UUID(event.message.conversation_id)
            turn = turns.get(conversation_id)
            if turn is None:
                turn = Turn(event.organization_id, self._ids.new(), conversation_id, begin_time=now, due_time=now)
                turns[conversation_id] = turn
            turn.gathers(event.message.message.message_id, now, settings[event.organization_id])
            changed[conversation_id] = turn
        if not changed:
            return
        await store.write(tx, list(changed.values()))
        await self.queue.remove(tx, [turn.turn_id for turn in changed.values()])
        places = [
            Place(turn.turn_id, turn.organization_id, str(turn.conversation_id), turn.due_time)
            for turn in changed.values()
        ]
        await self.queue.put(tx, places, now)


def _awaits_answer(event: ConsumedEvent[MessageReceived], now: datetime) -> bool:
    message = event.message.message
    if event.message.handoff.mode == pb.HANDOFF_MODE_HUMAN or message.author != pb.MESSAGE_AUTHOR_CONTACT:
        return False
    written = wire.from_timestamp(message.create_time)
    # The second also where it was recorded in time and is only told of now, as after an outage.
    return event.event_time - written <= LATE and now - written <= REPLY_WAITS
