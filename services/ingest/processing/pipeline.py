"""The main way: who wrote, about which deal, and what was said, one batch RPC each, never one per event.

Each step is idempotent on the natural keys of what it writes, so a batch may be run again from its beginning.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import grpc.aio
from google.rpc import status_pb2

from chassis import wire
from chassis.canonical import Source
from chassis.errors import InvalidArgument, PermissionDenied, ProsaError, Unauthenticated, from_status
from chassis.rpc import error_of
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.identity.v1 import contact_service_pb2 as identity_pb
from services.ingest.normal_form import AliasKind, ChannelInfo, EventKind, InvalidReason, Person
from services.ingest.processing import report
from services.ingest.processing.item import PipelineItem

if TYPE_CHECKING:
    from prosa.conversation.v1.conversation_service_pb2_grpc import ConversationServiceAsyncStub
    from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceAsyncStub
    from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceAsyncStub

STEP_SECONDS = 10.0
"""The deadline of each step's RPC."""
TITLE_LENGTH_MAX = 500
OVERTAKEN_WITHIN = timedelta(minutes=1)
"""How long after a message was written its update may come before its creation."""
UNNAMED = "EXTERNAL_ID_INVALID"
"""What identity answers where nothing names the person."""
CONVERSATION_NOT_FOUND = "CONVERSATION_NOT_FOUND"
"""What conversation answers where an event that names nobody is of no conversation that is known."""
EARLIER_ITEM_FAILED = "EARLIER_ITEM_FAILED"
"""What conversation answers for what comes after a failed item of the same conversation."""


class Pipeline:
    """Takes batches of events along the main way."""

    def __init__(
        self, identity: ContactServiceAsyncStub, crm: CrmServiceAsyncStub, conversation: ConversationServiceAsyncStub
    ) -> None:
        self._identity = identity
        self._crm = crm
        self._conversation = conversation

    async def run(self, items: Sequence[PipelineItem]) -> None:
        """Takes all items as far as they go; each ends with what was found or with its own error.

        Raises the ProsaError of an RPC that failed as a whole: what it was asked for was then not done.
        """
        await self._resolve(items)
        await self._ensure_deals([item for item in _going(items) if _ensures_deal(item)])
        # Over all of them: what needs no deal waits too for the one before it whose deal failed.
        _hold_back(items)
        await self._record([item for item in _going(items) if item.event.conversation is not None])
        _hold_back(items)

    async def _resolve(self, items: Sequence[PipelineItem]) -> None:
        if not items:
            return
        request = identity_pb.BatchResolveContactsRequest()
        for item in items:
            write_person(request.people.add(), item)
        try:
            answer = await self._identity.BatchResolveContacts(request, timeout=STEP_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        for item, result in zip(items, answer.results, strict=True):
            if result.HasField("error"):
                _end_unresolved(item, _error(result.error))
            else:
                item.contact = result.contact
        _hold_back(items)

    async def _ensure_deals(self, items: Sequence[PipelineItem]) -> None:
        wanted = [item for item in items if item.contact is not None and item.contact.contact_id]
        if not wanted:
            return
        await self._ask_for_deals(wanted, told_again=_may_be_told_again)
        # Rare: of somebody known who has no open deal. What was told before opens none anew that was closed since.
        missing = [item for item in wanted if item.deal is None and item.error is None]
        if missing and (news := await self._never_recorded(missing)):
            await self._ask_for_deals(news, told_again=lambda _item: False)

    async def _ask_for_deals(
        self, items: Sequence[PipelineItem], *, told_again: Callable[[PipelineItem], bool]
    ) -> None:
        """Notes the deal of each; of those that may be told again, only one that is there."""
        request = crm_pb.BatchEnsureDealsRequest()
        for item in items:
            _write_deal(request.deals.add(existing_only=told_again(item)), item)
        try:
            answer = await self._crm.BatchEnsureDeals(request, timeout=STEP_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        for item, result in zip(items, answer.results, strict=True):
            if result.HasField("error"):
                item.error = _error(result.error)
            else:
                item.deal = result.deal if result.deal.deal_id else None

    async def _never_recorded(self, items: Sequence[PipelineItem]) -> list[PipelineItem]:
        """Those of which conversation has heard nothing yet: no copy, no edit, and nothing that is delivered again."""
        request = conversation_pb.BatchFindRecordedRequest()
        for item in items:
            report.write_item(request.items.add(), item)
        try:
            answer = await self._conversation.BatchFindRecorded(request, timeout=STEP_SECONDS)
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.UNIMPLEMENTED:
                # While services are updated one after the other: as the release before did.
                return list(items)
            raise error_of(error) from error
        return [item for item, known in zip(items, answer.recorded, strict=True) if not known]

    async def _record(self, items: Sequence[PipelineItem]) -> None:
        if not items:
            return
        request = conversation_pb.BatchRecordMessagesRequest()
        for item in items:
            report.write_item(request.items.add(), item)
        try:
            answer = await self._conversation.BatchRecordMessages(request, timeout=STEP_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        for item, result in zip(items, answer.results, strict=True):
            if result.HasField("error"):
                item.error = _error(result.error)
                # Where only the message could tell the conversation, it may still come.
                placed = item.event.conversation is not None and item.event.conversation.conversation_id
                if item.unnamed is not None and item.error.reason == CONVERSATION_NOT_FOUND and placed:
                    item.error = item.unnamed
            else:
                item.recorded = result.item


def _ensures_deal(item: PipelineItem) -> bool:
    """Whether the event is to find a deal; an update is, where it may be the first to tell of what the contact wrote.

    Chatwoot keeps no order, so an update may overtake its creation, and whoever comes first announces the message. An
    update of an older message finds none: it would open a deal anew that was closed since.
    """
    event, message = item.event, item.event.message
    if event.kind is not EventKind.MESSAGE_UPDATED or message is None or message.create_time is None:
        return event.ensures_deal
    # A provider's clock that runs ahead makes no old message a new one.
    return message.wants_answer and abs(item.receive_time - message.create_time) <= OVERTAKEN_WITHIN


def _may_be_told_again(item: PipelineItem) -> bool:
    """Whether the event may tell of what was recorded before; of somebody who is new here, nothing was."""
    assert item.contact is not None
    return not item.wants_deal and item.contact.outcome != identity_pb.RESOLUTION_OUTCOME_CREATED


def _going(items: Iterable[PipelineItem]) -> Iterable[PipelineItem]:
    return (item for item in items if item.error is None and not item.held_back)


def _hold_back(items: Sequence[PipelineItem]) -> None:
    """What comes after a failed event of its own key waits; other keys go on."""
    failed: set[str] = set()
    for item in items:
        # Who was held back on the way has no error of its own: it waits uncounted for the one before it.
        waits = item.error is None or item.error.reason == EARLIER_ITEM_FAILED
        if waits and item.ordering_key in failed:
            item.error, item.held_back = None, True
        elif item.error is not None:
            failed.add(item.ordering_key)


def _end_unresolved(item: PipelineItem, error: ProsaError) -> None:
    """What becomes of an event whose person identity could not name, nor any reference of the provider."""
    if error.reason != UNNAMED or item.typed_id:
        item.error = error
    elif item.event.conversation is None:
        # A contact event that names nobody: ignored, as those of everybody who never wrote.
        item.contact = identity_pb.ResolvedContact(outcome=identity_pb.RESOLUTION_OUTCOME_NOT_FOUND)
    else:
        # Its conversation is a reference too: where that is known, the event is recorded in it.
        item.unnamed = InvalidArgument(
            InvalidReason.NO_VALID_IDENTITY.value,
            "Neither a number nor an id of the source names the person, and no reference of the provider is known.",
        )


def _error(status: status_pb2.Status) -> ProsaError:
    """The error of one item. Raises one that says nothing of it: our own call was refused, so none of it counts."""
    error = from_status(status)
    if isinstance(error, Unauthenticated | PermissionDenied):
        raise error
    return error


_ALIAS_KINDS = {
    AliasKind.CHATWOOT_CONTACT: identity_pb.ALIAS_KIND_CHATWOOT_CONTACT,
    AliasKind.CHATWOOT_SOURCE: identity_pb.ALIAS_KIND_CHATWOOT_SOURCE,
    AliasKind.WHATSAPP_LID: identity_pb.ALIAS_KIND_WHATSAPP_LID,
    AliasKind.WHATSAPP_BSUID: identity_pb.ALIAS_KIND_WHATSAPP_BSUID,
}
_WITHIN_CONNECTION = frozenset({AliasKind.CHATWOOT_CONTACT, AliasKind.CHATWOOT_SOURCE})


# Messages are written where they stand, in their request: one that is made apart would be copied into it.


def write_person(message: identity_pb.Person, item: PipelineItem) -> None:
    event, person = item.event, item.event.person
    message.organization_id = item.organization_id
    if item.typed_id:
        message.external_id = message.address = item.typed_id
        message.external_id_typed = True
    elif person.own is not None:
        # The whole key says that the source itself named it: no plan of numbers judges it.
        message.external_id, message.address = person.own.key, person.own.address
    source = item.source or _source(person, event.channel)
    if source is not None:
        message.source = report.SOURCES[source]
    message.name = person.name or ""
    if source is Source.WHATSAPP:
        message.written_number = person.written or ""
    else:
        message.phone = person.written or ""
    if item.phone:
        message.phone = item.phone
    message.email = person.email or ""
    message.username = person.username or ""
    for alias in person.aliases:
        within = alias.kind in _WITHIN_CONNECTION
        value = f"{item.connection_id}:{alias.value}" if within else alias.value
        message.aliases.add(kind=_ALIAS_KINDS[alias.kind], value=value)
    message.create_missing = not event.requires_known_alias
    message.cause_id = item.event_id
    if event.kind is EventKind.CONTACT_UPDATED:
        message.update_profile = True
        message.removed_phone, message.removed_email = person.removed_phone or "", person.removed_email or ""
        message.removed_name = person.removed_name or ""
        # Never later than it came: a clock that runs ahead must not shut out what is sent after it was set right.
        profile_time = min(event.profile_time or item.receive_time, item.receive_time)
        wire.write_timestamp(message.profile_time, profile_time)


def _source(person: Person, channel: ChannelInfo | None) -> Source | None:
    """The channel's; a contact event names none, and only a number or a WhatsApp id says one in it."""
    if channel is not None:
        return channel.source
    if person.own is not None:
        return person.own.source
    return Source.WHATSAPP if person.written is not None else None


def _write_deal(message: crm_pb.DealWanted, item: PipelineItem) -> None:
    assert item.contact is not None
    channel = item.event.channel
    title = item.title or item.contact.name or item.event.person.name or item.contact.conversation_key
    message.organization_id = item.organization_id
    message.contact_id = item.contact.contact_id
    message.board_id = item.board_id or (channel.board_id if channel is not None and channel.board_id else "")
    message.title = title[:TITLE_LENGTH_MAX]
    message.cause_id = item.event_id
