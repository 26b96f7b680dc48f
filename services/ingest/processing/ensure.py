"""``contacts:ensure``: the webhook path with one item, gathered with its neighbours like a webhook."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import grpc.aio

from chassis import auth, canonical, rpc
from chassis.batcher import Batcher
from chassis.clock import Clock
from chassis.enums import enum_text
from chassis.errors import InvalidArgument, NotFound
from chassis.ids import Ids
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.identity.v1 import contact_service_pb2 as identity_pb
from prosa.ingest.v1 import ingest_service_pb2 as pb
from prosa.v1 import options_pb2
from services.ingest.connections.cache import Connection, ConnectionCache
from services.ingest.normal_form import (
    Alias,
    AliasKind,
    ChannelInfo,
    ConversationState,
    EventKind,
    NormalEvent,
    Person,
)
from services.ingest.processing.item import PipelineItem
from services.ingest.processing.pipeline import Pipeline

BATCH_MAX = 100
FLUSHERS = 2
QUEUE_MAX = 2_000
ITEM_BYTES = 1_024


@dataclass(frozen=True, slots=True)
class Place:
    """The conversation that a caller names, found among the organization's channels."""

    connection: Connection
    channel: ChannelInfo


class Ensurer:
    """Ensures contacts, deals and conversations for programs that got the webhook themselves."""

    def __init__(
        self, pipeline: Pipeline, cache: ConnectionCache, boards: grpc.aio.Channel, clock: Clock, ids: Ids
    ) -> None:
        self._pipeline = pipeline
        self._cache = cache
        self._boards = CrmServiceStub(boards)
        self._clock = clock
        self._ids = ids
        self._batcher: Batcher[PipelineItem, PipelineItem] = Batcher(
            self._flush,
            size_of=lambda _item: ITEM_BYTES,
            flushers=FLUSHERS,
            items_max=BATCH_MAX,
            bytes_max=BATCH_MAX * ITEM_BYTES,
            queue_items_max=QUEUE_MAX,
            queue_bytes_max=QUEUE_MAX * ITEM_BYTES,
        )

    async def ensure(self, request: pb.EnsureContactRequest) -> pb.EnsuredContact:
        """The contact, its open deal and its conversation, found or made."""
        organization_id = auth.organization_id()
        place = await self._place(organization_id, request)
        board_id = await self._board(organization_id, request.board_key) if request.board_key else ""
        item = await self._batcher.submit(self._item(organization_id, request, place, board_id))
        if item.error is not None:
            raise item.error
        contact, deal, recorded = item.contact, item.deal, item.recorded
        assert contact is not None
        assert deal is not None
        human = recorded is not None and recorded.handoff == conversation_pb.HANDOFF_MODE_HUMAN
        return pb.EnsuredContact(
            contact_id=contact.contact_id,
            deal_id=deal.deal_id,
            conversation_key=contact.conversation_key,
            handoff="HUMAN" if human else "AI",
            outcome=enum_text(identity_pb.ResolutionOutcome, contact.outcome).lower(),
            stage_id=deal.stage_id,
            stage_label=deal.stage_label,
            conversation_id=recorded.conversation_id if recorded is not None else "",
            deal_created=deal.created,
            ignored_fields=[
                pb.IgnoredField(field=ignored.field, reason=ignored.reason, message=ignored.message)
                for ignored in contact.ignored_fields
            ],
        )

    async def _flush(self, items: list[PipelineItem]) -> list[PipelineItem]:
        await self._pipeline.run(items)
        return items

    async def _place(self, organization_id: UUID, request: pb.EnsureContactRequest) -> Place | None:
        named = request.conversation
        if not named.conversation_id:
            return None
        matches = await self._cache.channel_holders(organization_id, named.account_id, named.inbox_id)
        if len(matches) != 1:
            raise NotFound(
                "CHANNEL_NOT_FOUND" if not matches else "CHANNEL_AMBIGUOUS",
                f"Inbox {named.inbox_id} of account {named.account_id} is"
                f" {'no' if not matches else 'more than one'} channel of this organization.",
            )
        return Place(matches[0], matches[0].context.channels[str(named.inbox_id)])

    async def _board(self, organization_id: UUID, board_key: str) -> str:
        try:
            board = await self._boards.GetBoard(
                crm_pb.GetBoardRequest(board=board_key), metadata=rpc.for_organization(organization_id)
            )
        except grpc.aio.AioRpcError as error:
            raise rpc.error_of(error) from error
        return board.board_id

    def _item(
        self, organization_id: UUID, request: pb.EnsureContactRequest, place: Place | None, board_id: str
    ) -> PipelineItem:
        source = canonical.Source(enum_text(options_pb2.Source, request.source))
        if place is not None and place.channel.source is not source:
            raise InvalidArgument(
                "SOURCE_MISMATCH", f"The inbox is of {place.channel.source.value}, not {source.value}."
            )
        now = self._clock.now()
        named = request.conversation
        aliases = (
            (Alias(AliasKind.CHATWOOT_CONTACT, str(named.contact_id)),)
            if place is not None and named.contact_id
            else ()
        )
        person = Person(identity=None, aliases=aliases, name=request.name or None, email=request.email or None)
        event = NormalEvent(
            # A conversation that is only named: it ensures a deal, and says nothing of the conversation's state.
            kind=EventKind.CONVERSATION_CREATED,
            person=person,
            channel=place.channel if place is not None else None,
            conversation=_named_conversation(named) if place is not None else None,
            message=None,
        )
        event_id = str(self._ids.new())
        return PipelineItem(
            event_id=event_id,
            organization_id=str(organization_id),
            connection_id=str(place.connection.id) if place is not None else event_id,
            receive_time=now,
            event=event,
            ordering_key=event_id,
            board_id=board_id,
            title=request.title,
            phone=request.phone,
            source=source,
            # Read by identity, which knows the organization's region: a number may come without its country.
            typed_id=request.external_id,
            wants_deal=True,
        )


def _named_conversation(named: pb.EnsureConversation) -> ConversationState:
    return ConversationState(
        conversation_id=str(named.conversation_id),
        inbox_id=str(named.inbox_id),
        account_id=str(named.account_id),
        contact_id=str(named.contact_id) if named.contact_id else None,
        status=None,
        labels=(),
        assignee_name=None,
        unread_count=0,
        updated_at=None,
    )
