"""Runs rounds: one message after the other, each fixed and queued in one transaction.

What is queued is in ``round_messages``, so whoever takes a round over after a crash sees how far it is and says nothing
twice; whether a message left, its delivery says.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import FailedPrecondition, ResourceExhausted
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.queues.items import Dead, Done, Item, Outcome, Retry
from chassis.queues.worker import Fence, Handler
from services.conversation.deliveries.queueing import Deliveries, Draft
from services.conversation.limits import NUMBER_BUSY_WAIT, ROUND_LOOK_WAIT, ROUND_UNCERTAIN_WAIT
from services.conversation.messages import delivery_store
from services.conversation.messages.domain.delivery import Delivery, SendClass
from services.conversation.messages.domain.message import Author, MessageState
from services.conversation.messages.recording import Recorder
from services.conversation.personas import store as persona_store
from services.conversation.scripts import messages, round_store, store
from services.conversation.scripts.between import connected, hold_conversation
from services.conversation.scripts.planning import channels_of
from services.conversation.scripts.round import (
    UNENDED,
    Round,
    RoundMessage,
    RoundState,
    drawing,
    missed,
    pause,
)
from services.conversation.scripts.rounds import cause_of
from services.conversation.scripts.script import Script, ScriptState
from services.conversation.settings import store as settings_store
from services.conversation.speaking import scripted

LEFT = frozenset({MessageState.SENT, MessageState.DELIVERED, MessageState.READ})
OVER = frozenset({MessageState.FAILED, MessageState.SUPPRESSED, MessageState.CANCELLED})


class Runner(Handler[Item]):
    """Begins rounds that are due, and says what comes next in those that run."""

    def __init__(self, db: Database, outbox: Outbox, clock: Clock, ids: Ids, deliveries: Deliveries) -> None:
        self._db, self._outbox, self._clock, self._ids, self._deliveries = db, outbox, clock, ids, deliveries
        self._recorder = Recorder(db, outbox, clock, ids)

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """What became of each."""
        return [await self._work(item, fence) for item in items]

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[Item]]) -> None:
        """A round that is given up ends where it stands, and leaves its numbers to others."""
        now = self._clock.now()
        for outcome in outcomes:
            if isinstance(outcome, Dead):
                await self._give_up(tx, outcome, now)

    async def _give_up(self, tx: Tx, dead: Dead[Item], now: datetime) -> None:
        organization_id = dead.item.organization_id
        current = await round_store.find(tx, organization_id, dead.item.item_id, lock=True)
        if current is None or current.state not in UNENDED:
            return
        current.ends(RoundState.BROKEN_OFF, now, dead.reason)
        current.version += 1
        await round_store.update(tx, current)
        await round_store.leave_numbers(tx, current)
        await self._deliveries.cancel(
            tx, organization_id, {"cause": cause_of(current.round_id)}, "ROUND_ENDED", "Its round broke off.", now
        )
        await self._outbox.add(tx, [messages.round_changed(current)], now)

    async def _work(self, item: Item, fence: Fence) -> Outcome[Item]:
        organization_id, now = item.organization_id, self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            await fence(tx)
            current = await round_store.find(tx, organization_id, item.item_id, lock=True)
            if current is None or current.state not in UNENDED:
                return Done(item)
            version, again = current.version, None
            script = await store.find(tx, organization_id, current.script_id)
            assert script is not None, "a script is never deleted"
            if current.state is RoundState.PLANNED:
                again = await self._begin(tx, script, current, now)
            if current.state is RoundState.RUNNING:
                again = await self._go_on(tx, script, current, now)
            if current.state not in UNENDED:
                await round_store.leave_numbers(tx, current)
            if current.version != version or current.state not in UNENDED:
                current.version = version + 1
                await round_store.update(tx, current)
                await self._outbox.add(tx, [messages.round_changed(current)], now)
        if again is None:
            return Done(item)
        # What is looked at again before anybody else's turn keeps its place; the numbers are its own meanwhile.
        return Retry(item, again, counted=False, gives_way=current.state is RoundState.PLANNED)

    async def _begin(self, tx: Tx, script: Script, due: Round, now: datetime) -> datetime | None:
        """Begins it, or skips it; when to look again where it can do neither yet."""
        settings = await settings_store.find(tx, due.organization_id)
        later_due = await round_store.later_due(tx, due, now)
        reason = missed(script, due, now, later_due=later_due)
        if reason:
            # What it waited for meanwhile is why it was missed.
            reason = due.reason or reason
        if script.state is not ScriptState.ACTIVE:
            reason = "SCRIPT_PAUSED"
        elif not settings.automation_enabled:
            reason = "AUTOMATION_OFF"
        if reason:
            due.ends(RoundState.SKIPPED, now, reason)
            return None
        if not await connected(tx, script):
            return self._wait(due, now, "NUMBER_NOT_CONNECTED")
        if not await round_store.take_numbers(tx, due, channels_of(script)):
            return self._wait(due, now, "NUMBER_BUSY")
        due.state, due.reason, due.start_time = RoundState.RUNNING, "", now
        due.version += 1
        return None

    def _wait(self, due: Round, now: datetime, reason: str) -> datetime:
        """Leaves it planned, and says why; when to look again."""
        if due.reason != reason:
            due.reason = reason
            due.version += 1
        return min(now + NUMBER_BUSY_WAIT, due.window_end_time)

    async def _go_on(self, tx: Tx, script: Script, running: Round, now: datetime) -> datetime | None:
        """Says what comes next, if its time has come; when to look again."""
        free_from = now
        if running.messages:
            last = running.messages[-1]
            delivery = await self._delivery(tx, running, last)
            if delivery.state in OVER:
                self._break_off(running, now, _why(delivery))
                return None
            if delivery.state not in LEFT:
                if now >= running.window_end_time:
                    # What may have left is looked for without it; what waits is too late to be sent by then.
                    waits = delivery.state is MessageState.QUEUED
                    self._break_off(running, now, "WINDOW_OVER", begun=not waits)
                    return None
                if running.reason != delivery.reason:
                    running.reason = delivery.reason
                    running.version += 1
                wait = ROUND_UNCERTAIN_WAIT if delivery.state is MessageState.UNCERTAIN else ROUND_LOOK_WAIT
                return min(max(now + wait, delivery.retry_time or now), running.window_end_time)
            if running.sent_count < len(running.messages):
                running.sent_count, running.reason = len(running.messages), ""
                running.version += 1
            if len(running.messages) == running.message_count:
                running.ends(RoundState.DONE, now)
                return None
            left = delivery.settle_time or now
            free_from = left + pause(script, running.round_id, len(running.messages))
        if max(free_from, now) >= running.window_end_time:
            self._break_off(running, now, "WINDOW_OVER")
            return None
        if now < free_from:
            return free_from
        await self._say(tx, script, running, now)
        return now + ROUND_LOOK_WAIT if running.state is RoundState.RUNNING else None

    async def _say(self, tx: Tx, script: Script, running: Round, now: datetime) -> None:
        """Fixes the next message and queues it."""
        organization_id, position = running.organization_id, len(running.messages)
        speaker = script.participants[position % 2]
        other = script.participants[1 - position % 2]
        conversation = await hold_conversation(tx, self._recorder, organization_id, speaker, other, now)
        persona = await persona_store.find(tx, organization_id, speaker.persona_id)
        if conversation is None or persona is None:
            self._break_off(running, now, "CHANNEL_CANNOT_SEND" if conversation is None else "PERSONA_NOT_FOUND")
            return
        greeted = scripted.greeting(persona, now.astimezone(script.zone)) if position < 2 else ""
        if position == 0:
            text = scripted.cut(persona, " ".join(filter(None, [greeted, running.topic])))
        else:
            said = [message.text for message in running.messages]
            own = said[position % 2 :: 2]
            draw = drawing(running.round_id, f"text/{position}")
            text = scripted.answer(persona, said[-1], own, draw, greeted=greeted)
        if not text.strip():
            self._break_off(running, now, "NOTHING_TO_SAY")
            return
        message = RoundMessage(position, speaker.channel_id, text, now, self._ids.new())
        draft = Draft(
            delivery_id=message.message_id,
            text=text,
            send_class=SendClass.SCHEDULED,
            cause=cause_of(running.round_id),
            author=Author.AUTOMATION,
            author_name=persona.name,
            actor_principal="service:conversation",
            actor_name="conversation",
            end_time=running.window_end_time,
            internal=True,
        )
        try:
            await self._deliveries.put(tx, conversation, draft, now)
        except (FailedPrecondition, ResourceExhausted) as error:
            self._break_off(running, now, error.reason)
            return
        await round_store.insert_message(tx, running, message)
        running.messages.append(message)
        if running.conversation_id is None:
            running.conversation_id = UUID(conversation.conversation_id)
        running.version += 1

    async def _delivery(self, tx: Tx, running: Round, message: RoundMessage) -> Delivery:
        sent = await delivery_store.find(tx, running.organization_id, message.message_id)
        assert sent is not None, "a message is fixed together with its delivery, which is never deleted"
        return sent.delivery

    def _break_off(self, running: Round, now: datetime, reason: str, *, begun: bool = False) -> None:
        state = RoundState.BROKEN_OFF if begun or running.sent_count else RoundState.SKIPPED
        running.ends(state, now, reason)


def _why(delivery: Delivery) -> str:
    return "WINDOW_OVER" if delivery.reason == "TOO_LATE" else delivery.reason or delivery.state.value
