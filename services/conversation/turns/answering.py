"""Hands gathered turns on, and answers them where the organization wants that.

The reply is written with its delivery in the transaction that ends the turn: whoever takes a turn over after a crash
finds it answered, or answers it then; never twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from random import Random
from uuid import UUID

import structlog

from chassis.clock import Clock
from chassis.crypto import SealBroken, Vault
from chassis.db import Database, Tx
from chassis.errors import FailedPrecondition, ResourceExhausted
from chassis.ids import Ids
from chassis.outbox import Fact, Outbox
from chassis.profiles import Profiles
from chassis.queues.items import Dead, Done, Item, Outcome
from chassis.queues.worker import Fence, Handler
from prosa.conversation.v1 import events_pb2
from services.conversation.deliveries.queueing import Deliveries, Draft
from services.conversation.limits import HISTORY_MAX, REPLIES_MAX, REPLIES_PERIOD, REPLY_WAITS
from services.conversation.messages import delivery_store
from services.conversation.messages import store as message_store
from services.conversation.messages.domain.conversation import Conversation, HandoffMode
from services.conversation.messages.domain.delivery import SendClass
from services.conversation.messages.domain.message import Author, Message
from services.conversation.messages.translation import conversation_to_pb, message_to_pb
from services.conversation.personas import store as persona_store
from services.conversation.personas.persona import Persona
from services.conversation.settings import store as settings_store
from services.conversation.settings.choosing import MODEL_KEY_COLUMN
from services.conversation.settings.settings import ConversationSettings, ReplyMode
from services.conversation.speaking import scripted
from services.conversation.speaking.instructions import instructions
from services.conversation.speaking.model import Model, Prompt
from services.conversation.speaking.zones import local_time
from services.conversation.turns import store
from services.conversation.turns.turn import Turn, TurnState

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """A gathered turn with all that is to be known to answer it."""

    turn: Turn
    conversation: Conversation
    settings: ConversationSettings
    persona: Persona
    messages: Sequence[Message]
    history: Sequence[tuple[str, str]]
    tokens_used: int

    @property
    def said(self) -> str:
        """What the contact wrote in the turn."""
        return "\n".join(message.text for message in self.messages)

    @property
    def before(self) -> list[str]:
        """What was said to the contact, in its order."""
        return [text for direction, text in self.history if direction == "OUTBOUND"]


class Answerer(Handler[Item]):
    """Tells of turns that are gathered, and answers them."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        clock: Clock,
        ids: Ids,
        vault: Vault,
        profiles: Profiles,
        deliveries: Deliveries,
        model: Model,
    ) -> None:
        self._db, self._outbox, self._clock, self._ids = db, outbox, clock, ids
        self._vault, self._profiles, self._deliveries, self._model = vault, profiles, deliveries, model

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """What became of each; a turn is over when its reply is queued, or none is wanted."""
        for item in items:
            question = await self._gather(item, fence)
            if question is not None:
                await self._reply(item, question, await self._compose(question), fence)
        return [Done(item) for item in items]

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[Item]]) -> None:
        """A turn that is given up stays without an answer, and says why."""
        for outcome in outcomes:
            if not isinstance(outcome, Dead):
                continue
            turn = await store.lock(tx, outcome.item.organization_id, outcome.item.item_id)
            if turn is not None and turn.state in (TurnState.OPEN, TurnState.GATHERED):
                turn.ends(TurnState.DROPPED, outcome.reason)
                await store.write(tx, [turn])

    async def _gather(self, item: Item, fence: Fence) -> Question | None:
        """Ends the gathering and tells of it once; what is to be answered, None where nothing is."""
        organization_id, now = item.organization_id, self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            await fence(tx)
            turn = await store.lock(tx, organization_id, item.item_id)
            if turn is None or turn.state not in (TurnState.OPEN, TurnState.GATHERED):
                return None
            conversation = await message_store.find_conversation(tx, organization_id, turn.conversation_id)
            assert conversation is not None, "a conversation is never deleted"
            settings = await settings_store.find(tx, organization_id)
            reason = _silent(settings, conversation)
            if not reason and now - turn.due_time > REPLY_WAITS:
                # As after an outage: nobody waits for an answer any more.
                reason = "TOO_LATE"
            if reason:
                turn.ends(TurnState.DROPPED, reason)
                await store.write(tx, [turn])
                return None
            messages = await store.messages_of(tx, turn)
            if turn.state is TurnState.OPEN:
                turn.state = TurnState.GATHERED
                await self._outbox.add(tx, [_gathered(turn, conversation, messages)], now)
                await store.write(tx, [turn])
            persona = None
            if settings.reply_mode is not ReplyMode.OFF and settings.persona_id is not None:
                persona = await persona_store.find(tx, organization_id, settings.persona_id)
            if persona is None:
                return None
            history = await store.history(tx, organization_id, turn.conversation_id, HISTORY_MAX)
            used = await store.tokens_used(tx, organization_id, now.date())
            return Question(turn, conversation, settings, persona, messages, history, used)

    async def _compose(self, question: Question) -> str:
        """What is said to it; empty where the persona has nothing to say."""
        settings, persona, conversation = question.settings, question.persona, question.conversation
        profile = await self._profiles.of(question.turn.organization_id)
        local = local_time(self._clock.now(), conversation.conversation_key, profile.time_zone)
        greeted = scripted.greeting(persona, local)
        if settings.reply_mode is ReplyMode.MODEL:
            return await self._ask_model(question, greeted, local) or _fallback(question, greeted)
        return scripted.answer(
            persona, question.said, question.before, _draw(question), greeted=greeted, name=conversation.contact_name
        )

    async def _ask_model(self, question: Question, greeted: str, local: datetime) -> str:
        """What the model says; empty where it does not answer, or may not be asked."""
        settings, organization_id = question.settings, question.turn.organization_id
        if question.tokens_used >= settings.model_day_token_limit or settings.model_key_sealed is None:
            logger.info("model_not_asked", organization_id=str(organization_id), tokens=question.tokens_used)
            return ""
        try:
            key = self._vault.open(settings.model_key_sealed, organization_id=organization_id, column=MODEL_KEY_COLUMN)
        except SealBroken:
            logger.exception("model_key_unreadable", organization_id=str(organization_id))
            return ""
        said = await self._model.ask(
            Prompt(
                base_url=settings.model_base_url,
                key=key.decode(),
                model=settings.model_name,
                temperature=question.persona.temperature,
                system=instructions(question.persona, question.conversation.contact_name, greeted, local),
                history=[
                    ("user" if direction == "INBOUND" else "assistant", text) for direction, text in question.history
                ],
            )
        )
        if said is None:
            return ""
        async with self._db.transaction(organization_id) as tx:
            await store.add_tokens(tx, organization_id, self._clock.now().date(), said.token_count)
        return scripted.cut(question.persona, said.text)

    async def _reply(self, item: Item, question: Question, text: str, fence: Fence) -> None:
        """Queues the reply and ends the turn, unless it came too late."""
        organization_id, now = item.organization_id, self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            await fence(tx)
            turn = await store.lock(tx, organization_id, item.item_id)
            if turn is None or turn.state is not TurnState.GATHERED:
                return
            conversation = await message_store.find_conversation(tx, organization_id, turn.conversation_id, lock=True)
            assert conversation is not None, "a conversation is never deleted"
            settings = await settings_store.find(tx, organization_id)
            newest = await delivery_store.last_inbound(tx, organization_id, turn.conversation_id)
            reason = _silent(settings, conversation)
            if newest is None or newest[0] not in turn.message_ids:
                # Another turn answers that too.
                reason = reason or "NEWER_MESSAGE"
            elif newest.answered:
                reason = reason or "PERSON_ANSWERED"
            if not reason and await store.has_replies(tx, turn, now - REPLIES_PERIOD, REPLIES_MAX):
                # Two that answer by themselves would go on for ever.
                reason = "REPLIES_LIMITED"
            if not reason and not text:
                reason = "NOTHING_TO_SAY"
            if reason:
                turn.ends(TurnState.DROPPED, reason)
            else:
                assert newest is not None
                await self._queue(tx, turn, conversation, question.persona, text, newest[0], now)
            await store.write(tx, [turn])

    async def _queue(
        self,
        tx: Tx,
        turn: Turn,
        conversation: Conversation,
        persona: Persona,
        text: str,
        answered_id: str,
        now: datetime,
    ) -> None:
        delivery_id = self._ids.new()
        draft = Draft(
            delivery_id=delivery_id,
            text=text,
            send_class=SendClass.REPLY,
            cause=f"reply:{turn.turn_id}",
            author=Author.AUTOMATION,
            author_name=persona.name,
            actor_principal="service:conversation",
            actor_name="conversation",
            end_time=now + REPLY_WAITS,
            answers_message_id=answered_id,
        )
        try:
            await self._deliveries.put(tx, conversation, draft, now)
        except (FailedPrecondition, ResourceExhausted) as error:
            turn.ends(TurnState.DROPPED, error.reason)
            return
        turn.reply_message_id = UUID(str(delivery_id))
        turn.ends(TurnState.ANSWERED)


def _silent(settings: ConversationSettings, conversation: Conversation) -> str:
    """Why nothing automatic is said in a conversation; empty where it may be."""
    if not settings.automation_enabled:
        return "AUTOMATION_OFF"
    return "HANDOFF_HUMAN" if conversation.handoff_mode is HandoffMode.HUMAN else ""


def _fallback(question: Question, greeted: str) -> str:
    """What the persona says where no model answers."""
    persona, before = question.persona, question.before
    fills = {"greeting": greeted, "name": question.conversation.contact_name}
    texts = [scripted.fitted(persona, text, fills) for text in persona.fallback_texts]
    fresh = [text for text in texts if text not in before[-1:]]
    return _draw(question).choice(fresh or texts) if texts else ""


def _draw(question: Question) -> Random:
    return Random(str(question.turn.turn_id))  # noqa: S311 - nothing is kept secret by it


def _gathered(turn: Turn, conversation: Conversation, messages: Sequence[Message]) -> Fact:
    """The fact that a contact has finished writing, for now."""
    shown = conversation_to_pb(conversation)
    fact = events_pb2.TurnGathered(
        organization_id=conversation.organization_id,
        turn_id=str(turn.turn_id),
        contact_id=shown.contact_id,
        deal_id=shown.deal_id,
        conversation_id=conversation.conversation_id,
        conversation_key=conversation.conversation_key,
        source=shown.source,
        handoff=shown.handoff,
        messages=[message_to_pb(message) for message in messages],
        version=conversation.version,
    )
    return Fact(turn.organization_id, fact)
