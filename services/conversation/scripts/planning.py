"""Plans the rounds of the next two days, and again what changed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.outbox import Outbox
from chassis.queues.items import Dead, Done, Item, Outcome, Place, Retry
from chassis.queues.queue import Queue
from chassis.queues.worker import Fence, Handler
from services.conversation.limits import PLAN_AHEAD, PLAN_EVERY
from services.conversation.scripts import messages, round_store, store
from services.conversation.scripts.round import planned
from services.conversation.scripts.script import Script, ScriptState
from services.conversation.scripts.week import slots

SCRIPTS = Queue("script_queue", "conversation", timed=True)
"""One item for each script that is active, whose id it has: when it is to be planned further."""
ROUNDS = Queue("round_queue", "conversation", timed=True)
"""One item for each round that has not ended, whose id it has; its key are its two numbers."""


class Planner(Handler[Item]):
    """Keeps each active script planned ahead."""

    def __init__(self, db: Database, outbox: Outbox, clock: Clock, scripts: Queue, rounds: Queue) -> None:
        self._db, self._outbox, self._clock = db, outbox, clock
        self.scripts, self.rounds = scripts, rounds

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """Plans further; a script that is not active any more leaves the queue."""
        return [await self._work(item, fence) for item in items]

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[Item]]) -> Sequence[Outcome[Item]]:
        """A script is never given up: nobody would plan it any more. It waits for its next time."""
        again = self._clock.now() + PLAN_EVERY
        return [
            Retry(outcome.item, again, outcome.detail, counted=False, gives_way=True, reason=outcome.reason)
            if isinstance(outcome, Dead)
            else outcome
            for outcome in outcomes
        ]

    async def _work(self, item: Item, fence: Fence) -> Outcome[Item]:
        now = self._clock.now()
        async with self._db.transaction(item.organization_id) as tx:
            await fence(tx)
            script = await store.find(tx, item.organization_id, item.item_id, lock=True)
            if script is None or script.state is not ScriptState.ACTIVE:
                return Done(item)
            await self.plan(tx, script, now)
        return Retry(item, now + PLAN_EVERY, counted=False, gives_way=True)

    async def plan_anew(self, tx: Tx, script: Script, now: datetime) -> None:
        """Plans a script that was made or changed, in the transaction that holds it: what has begun stays."""
        gone = await round_store.forget_planned(tx, script.organization_id, script.script_id, now)
        await self.rounds.remove(tx, [*gone])
        await self.scripts.remove(tx, [script.script_id])
        if script.state is not ScriptState.ACTIVE:
            return
        await self.plan(tx, script, now)
        place = Place(script.script_id, script.organization_id, str(script.script_id), now + PLAN_EVERY)
        await self.scripts.put(tx, [place], now)

    async def plan(self, tx: Tx, script: Script, now: datetime) -> None:
        """Writes the rounds that are due within the time planned ahead and not there yet."""
        ahead = slots(script.script_id, script.windows, script.zone, script.round_length, now, now + PLAN_AHEAD)
        organization_id, facts, places = script.organization_id, [], []
        topic = ""
        for slot in ahead:
            topic = topic or await round_store.topic_before(tx, organization_id, script.script_id, slot.due_time)
            draft = planned(script, slot, topic)
            topic = draft.topic
            if await round_store.insert(tx, draft):
                facts.append(messages.round_changed(draft))
                places.append(Place(draft.round_id, organization_id, key_of(script), draft.due_time))
        await self.rounds.put(tx, places, now)
        await self._outbox.add(tx, facts, now)


def key_of(script: Script) -> str:
    """Its two numbers, whichever of them begins."""
    return "/".join(str(channel_id) for channel_id in channels_of(script))


def channels_of(script: Script) -> list[UUID]:
    """Its numbers, in the order in which they are taken."""
    return sorted(participant.channel_id for participant in script.participants)
