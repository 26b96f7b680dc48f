"""ConversationService: translate, call, translate."""

from __future__ import annotations

import contextlib
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc.aio
import structlog

from chassis import auth, canonical, errors, wire
from chassis.bisect import bisect, held_back, patiently
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.enums import wanted_text
from chassis.errors import InvalidArgument, NotFound, ProsaError
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.paging import Page, read_page
from chassis.redirects import Redirects
from chassis.references import Check
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1 import conversation_service_pb2_grpc as pb_grpc
from services.conversation.messages import delivery_store, reaction_store, store
from services.conversation.messages.domain.conversation import (
    Conversation,
    ConversationKey,
    Source,
    display_id,
)
from services.conversation.messages.domain.record import Item
from services.conversation.messages.own_key_store import own_keys
from services.conversation.messages.recording import Recorder
from services.conversation.messages.translation import (
    SOURCES,
    conversation_id_of,
    conversation_to_pb,
    message_to_pb,
    read_item,
    write_reaction,
)

Context = grpc.aio.ServicerContext[Any, Any]

REDIRECTS = Redirects("conversation")
logger = structlog.get_logger(__name__)


class ConversationServicer(pb_grpc.ConversationServiceServicer):
    """Records what is heard of conversations, and answers what is known of them."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
        ids: Ids,
        check_contact: Check,
        send: Callable[[pb.SendMessageRequest], Awaitable[pb.Message]],
        set_handoff: Callable[[pb.SetHandoffRequest], Awaitable[pb.Conversation]],
    ) -> None:
        self._db = db
        self._idempotency = idempotency
        self._clock = clock
        self._check_contact = check_contact
        self._send, self._set_handoff = send, set_handoff
        self._recorder = Recorder(db, outbox, clock, ids)

    async def BatchRecordMessages(
        self, request: pb.BatchRecordMessagesRequest, context: Context
    ) -> pb.BatchRecordMessagesResponse:
        now = self._clock.now()
        answers: list[pb.RecordedItem | ProsaError | None] = []
        items: list[Item] = []
        refused: set[ConversationKey] = set()
        for given in request.items:
            try:
                item = read_item(given, now)
            except ProsaError as error:
                refused.add(_key(given))
                answers.append(error)
                continue
            if refused and _key(given) in refused:
                answers.append(held_back())
            else:
                items.append(item)
                answers.append(None)
        recorded = iter(await bisect(items, patiently(self._recorder.record), lambda item: item.key))
        response = pb.BatchRecordMessagesResponse()
        for answer in answers:
            result = next(recorded) if answer is None else answer
            if isinstance(result, ProsaError):
                response.results.add(error=errors.to_status(result))
            else:
                response.results.add(item=result)
        logger.info("messages_recorded", correlation_ids=[given.cause_id for given in request.items])
        return response

    async def BatchFindRecorded(
        self, request: pb.BatchFindRecordedRequest, context: Context
    ) -> pb.BatchFindRecordedResponse:
        now = self._clock.now()
        # One that cannot be read was never recorded; what is wrong with it is said where it is to be.
        items: dict[int, Item] = {}
        for place, given in enumerate(request.items):
            with contextlib.suppress(ProsaError):
                items[place] = read_item(given, now)
        recorded = await self._recorder.find_recorded(list(items.values())) if items else []
        found = dict(zip(items, recorded, strict=True))
        return pb.BatchFindRecordedResponse(recorded=[found.get(place, False) for place in range(len(request.items))])

    async def CreateConversation(self, request: pb.CreateConversationRequest, context: Context) -> pb.Conversation:
        organization_id = auth.organization_id()
        now = self._clock.now()
        item = _by_hand(request, organization_id, now)
        if request.contact_id:
            await self._check_contact(organization_id, wire.to_uuid("contact_id", request.contact_id))

        async def link(items: Sequence[Item]) -> list[pb.Conversation]:
            async def create(tx: Tx) -> pb.Conversation:
                return conversation_to_pb(await self._recorder.link(tx, items[0], now))

            return [await self._idempotency.once(self._db, organization_id, request, pb.Conversation, now, create)]

        [answer] = await patiently(link)([item])
        return answer

    async def SetHandoff(self, request: pb.SetHandoffRequest, context: Context) -> pb.Conversation:
        return await self._set_handoff(request)

    async def SendMessage(self, request: pb.SendMessageRequest, context: Context) -> pb.Message:
        return await self._send(request)

    async def GetConversation(self, request: pb.GetConversationRequest, context: Context) -> pb.Conversation:
        organization_id = auth.organization_id()
        conversation_id = wire.to_uuid("conversation_id", request.conversation_id)
        async with self._db.transaction(organization_id) as tx:
            conversation = await _find(tx, organization_id, conversation_id)
            await _show_survivors(tx, [conversation])
            own = await _own_keys(tx, organization_id)
        return _shown(conversation, own)

    async def ListConversations(
        self, request: pb.ListConversationsRequest, context: Context
    ) -> pb.ListConversationsResponse:
        organization_id = auth.organization_id()
        page = _read_page(request)
        wanted: dict[str, object] = {}
        contact_id = wire.to_optional_uuid("contact_id", request.contact_id)
        if request.deal_id:
            wanted["deal_id"] = wire.to_uuid("deal_id", request.deal_id)
        if state := wanted_text(pb.ConversationState, request.state):
            wanted["state"] = state
        if request.conversation_key:
            wanted["conversation_key"] = request.conversation_key
        if request.provider_conversation_id:
            wanted["provider_conversation_id"] = request.provider_conversation_id
        async with self._db.transaction(organization_id) as tx:
            if contact_id is not None:
                wanted["contact_id"] = await REDIRECTS.one_with(tx, contact_id)
            own = await _own_keys(tx, organization_id)
            if request.internal_only:
                wanted["own_keys"] = sorted(own)
            found = await store.list_conversations(tx, organization_id, wanted, page)
            await _show_survivors(tx, found)
        shown, token = page.cut(found, lambda last: (last.activity_time.isoformat(), last.conversation_id))
        return pb.ListConversationsResponse(
            conversations=[_shown(conversation, own) for conversation in shown], next_page_token=token
        )

    async def ListMessages(self, request: pb.ListMessagesRequest, context: Context) -> pb.ListMessagesResponse:
        organization_id = auth.organization_id()
        conversation_id = wire.to_uuid("conversation_id", request.conversation_id)
        page = _read_page(request)
        async with self._db.transaction(organization_id) as tx:
            await _find(tx, organization_id, conversation_id)
            found = await store.list_messages(tx, organization_id, conversation_id, page)
            reactions = await reaction_store.reactions_of(
                tx, organization_id, conversation_id, [message.provider_message_id for message in found]
            )
            sent_here = [message.message_id for message in found if message.sent_here]
            deliveries = await delivery_store.of_messages(tx, organization_id, sent_here)
        shown, token = page.cut(found, lambda last: (last.create_time.isoformat(), last.message_id))
        response = pb.ListMessagesResponse(next_page_token=token)
        response.messages.extend(message_to_pb(message, deliveries.get(message.message_id)) for message in shown)
        for message in response.messages:
            for reaction in reactions.get(message.provider_message_id, ()):
                write_reaction(message.reactions.add(), reaction)
        return response


def _key(given: pb.RecordItem) -> ConversationKey:
    """The key of an item that may be unreadable; as given, so that the same id in capitals is another one."""
    return given.organization_id, conversation_id_of(given), given.connection_id


def _by_hand(request: pb.CreateConversationRequest, organization_id: UUID, now: datetime) -> Item:
    """What a person says of a conversation, in the form in which events say it."""
    _check_key(request.conversation_key, SOURCES[request.source])
    return Item(
        organization_id=str(organization_id),
        connection_id=wire.to_id("connection_id", request.connection_id),
        channel_id=wire.to_id("channel_id", request.channel_id),
        source=SOURCES[request.source],
        provider_conversation_id=display_id(request.provider_conversation_id),
        account_id=0,
        inbox_id=0,
        provider_contact_id="",
        contact_id=wire.to_optional_id("contact_id", request.contact_id),
        deal_id=wire.to_optional_id("deal_id", request.deal_id),
        conversation_key=request.conversation_key,
        contact_name="",
        contact_phone="",
        provider_url="",
        inbox_name="",
        report=None,
        message=None,
        cause_id="",
        receive_time=now,
    )


def _check_key(key: str, source: Source) -> None:
    """Raises InvalidArgument unless the key is empty or a canonical one of the source: never a name or "unknown"."""
    try:
        if not key or canonical.split_key(key)[0].value == source.value:
            return
    except InvalidArgument:
        pass  # told below, in the words of this field
    raise InvalidArgument(
        "CONVERSATION_KEY_INVALID",
        "conversation_key must be empty or a key of the conversation's source, such as whatsapp:+5511900004821.",
    )


async def _own_keys(tx: Tx, organization_id: UUID) -> set[str]:
    """The keys of the organization's own numbers: some hundreds at most."""
    return {key for _, key in await own_keys(tx, [organization_id])}


def _shown(conversation: Conversation, own: Collection[str]) -> pb.Conversation:
    """A conversation as it is answered; ``own`` are the keys of the organization's own numbers."""
    message = conversation_to_pb(conversation)
    message.internal = conversation.conversation_key in own
    return message


async def _show_survivors(tx: Tx, conversations: Sequence[Conversation]) -> None:
    """Whoever was merged is shown as who stands for them."""
    standing = await REDIRECTS.resolve(tx, {UUID(each.contact_id) for each in conversations if each.contact_id})
    for conversation in conversations:
        if conversation.contact_id:
            conversation.contact_id = str(standing[UUID(conversation.contact_id)])


async def _find(tx: Tx, organization_id: UUID, conversation_id: UUID) -> Conversation:
    conversation = await store.find_conversation(tx, organization_id, conversation_id)
    if conversation is None:
        raise NotFound("CONVERSATION_NOT_FOUND", "There is no such conversation.")
    return conversation


def _read_page(request: pb.ListConversationsRequest | pb.ListMessagesRequest) -> Page:
    """The page asked for; its token must hold a time and an id, whoever put it together."""
    page = read_page(request, key_length=2)
    if page.after is None:
        return page
    try:
        # Written anew: PostgreSQL reads fewer forms of a time and an id than Python does.
        moment = datetime.fromisoformat(page.after[0]).astimezone(UTC).isoformat()
        return replace(page, after=(moment, str(UUID(page.after[1]))))
    except (ValueError, OverflowError):
        raise InvalidArgument("PAGE_TOKEN_INVALID", "This page_token is not one of this list.") from None
