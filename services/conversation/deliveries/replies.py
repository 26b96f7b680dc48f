"""What people and programs say in a conversation: checked at once, then queued."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

import structlog

from chassis import auth, wire
from chassis.auth import Caller
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import FailedPrecondition, InvalidArgument, NotFound, ProsaError, Unavailable
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from prosa.conversation.v1 import conversation_service_pb2 as pb
from services.conversation.deliveries.handing import Handoffs
from services.conversation.deliveries.queueing import Deliveries, Draft
from services.conversation.deliveries.reserving import Decision, Denied, Later, Reserver
from services.conversation.limits import PERSON_WAITS, REPLY_WAITS, TEXT_LENGTH_MAX
from services.conversation.messages import delivery_store, store
from services.conversation.messages.domain.conversation import (
    Conversation,
    HandoffMode,
)
from services.conversation.messages.domain.delivery import SendClass
from services.conversation.messages.domain.message import Author, Direction
from services.conversation.messages.translation import message_to_pb

KILLED = frozenset({"KILLED", "KILLED_GLOBALLY"})
ANSWERED_REASON = "A person answered through Prosa."

logger = structlog.get_logger(__name__)


class Replies:
    """Takes messages of people and programs."""

    def __init__(
        self,
        db: Database,
        deliveries: Deliveries,
        reserver: Reserver,
        handoffs: Handoffs,
        idempotency: IdempotencyStore,
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._db, self._deliveries, self._reserver, self._handoffs = db, deliveries, reserver, handoffs
        self._idempotency, self._clock, self._ids = idempotency, clock, ids

    async def send(self, request: pb.SendMessageRequest) -> pb.Message:
        """Queues a message. Raises what ``SendMessage`` says."""
        organization_id, caller, now = auth.organization_id(), auth.caller(), self._clock.now()
        conversation_id = wire.to_uuid("conversation_id", request.conversation_id)
        answered_id = wire.to_optional_id("answered_message_id", request.answered_message_id)
        text = _text(request.text)
        draft = self._draft(caller, text, answered_id, now)
        taken = await self._ask_first(request, organization_id, conversation_id, draft, now)
        if taken is not None:
            return taken

        async def queue(tx: Tx) -> pb.Message:
            conversation = await _find(tx, organization_id, conversation_id)
            if answered_id is not None:
                await _answerable(tx, organization_id, conversation_id, answered_id, draft.send_class)
            if draft.send_class is SendClass.PERSON:
                await self._handoffs.move(tx, conversation, HandoffMode.HUMAN, caller, ANSWERED_REASON, now)
            elif conversation.handoff_mode is HandoffMode.HUMAN:
                raise FailedPrecondition(
                    "HANDOFF_HUMAN", "A person has the conversation. Nothing automatic is said until it is given back."
                )
            sent = await self._deliveries.put(tx, conversation, draft, now)
            return message_to_pb(sent.message, sent.delivery)

        return await self._idempotency.once(self._db, organization_id, request, pb.Message, now, queue)

    async def _ask_first(
        self, request: pb.SendMessageRequest, organization_id: UUID, conversation_id: UUID, draft: Draft, now: datetime
    ) -> pb.Message | None:
        """Refuses at once what could not leave: whoever sends asks again, and that alone decides.

        What was taken before is answered, whatever would be said of it now.
        """
        async with self._db.transaction(organization_id) as tx:
            taken = await self._idempotency.recall(tx, organization_id, "SendMessage", request, pb.Message)
            if taken is not None:
                return taken
            conversation = await store.find_conversation(tx, organization_id, conversation_id)
            if conversation is None:
                raise _no_conversation()
            last_inbound = await delivery_store.last_inbound(tx, organization_id, conversation_id)
        if not conversation.conversation_key:
            return None
        try:
            decision = await self._reserver.ask(
                conversation,
                draft.in_conversation(conversation, now).delivery,
                None if last_inbound is None else last_inbound[1],
                dry=True,
            )
        except ProsaError as error:
            logger.info("outreach_not_asked_first", reason=error.reason)
            return None
        _refuse(decision)
        return None

    def _draft(self, caller: Caller, text: str, answered_id: str | None, now: datetime) -> Draft:
        person = caller.kind != "key"
        return Draft(
            delivery_id=self._ids.new(),
            text=text,
            send_class=SendClass.PERSON if person else SendClass.REPLY,
            cause="person" if person else f"reply:{answered_id}" if answered_id else "reply",
            author=Author.AGENT if person else Author.API,
            author_name=caller.name,
            actor_principal=caller.principal,
            actor_name=caller.name,
            end_time=now + (PERSON_WAITS if person else REPLY_WAITS),
            answers_message_id=answered_id,
        )


def _text(given: str) -> str:
    text = given.replace("\x00", "")
    if not text.strip():
        raise InvalidArgument("MESSAGE_EMPTY", f"Give a text of 1 to {TEXT_LENGTH_MAX} letters.")
    return text


def _refuse(decision: Decision) -> None:
    if isinstance(decision, Later) and decision.reason in KILLED:
        raise Unavailable("SENDING_KILLED", f"{decision.explanation} Nothing is sent until the kill switch is lifted.")
    if isinstance(decision, Denied) and decision.reason == "SUPPRESSED":
        raise FailedPrecondition("SUPPRESSED", decision.explanation)


async def _answerable(
    tx: Tx, organization_id: UUID, conversation_id: UUID, answered_id: str, send_class: SendClass
) -> None:
    answered = await delivery_store.find_message(tx, organization_id, conversation_id, UUID(answered_id))
    if answered is None or answered.direction is not Direction.INBOUND:
        raise NotFound("MESSAGE_NOT_FOUND", "The contact wrote no message of this id in the conversation.")
    newest = await delivery_store.last_inbound(tx, organization_id, conversation_id)
    if send_class is SendClass.REPLY and newest is not None and newest[0] != answered_id:
        raise FailedPrecondition(
            "NEWER_MESSAGE", "The contact wrote again since. Answer the newest message.", message_id=newest[0]
        )


async def _find(tx: Tx, organization_id: UUID, conversation_id: UUID) -> Conversation:
    conversation = await store.find_conversation(tx, organization_id, conversation_id, lock=True)
    if conversation is None:
        raise _no_conversation()
    return conversation


def _no_conversation() -> NotFound:
    return NotFound("CONVERSATION_NOT_FOUND", "There is no such conversation.")
