"""Between the wire and the domain: items in, conversations, messages and facts out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from uuid import UUID

from google.protobuf.message import Message as ProtobufMessage
from google.protobuf.timestamp_pb2 import Timestamp

from chassis import wire
from chassis.enums import enum_number
from chassis.errors import InvalidArgument
from chassis.outbox import Fact
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1 import events_pb2
from prosa.v1 import options_pb2
from services.conversation.messages.domain.conversation import (
    Conversation,
    ConversationReport,
    ConversationState,
    HandoffMode,
    Source,
)
from services.conversation.messages.domain.delivery import Delivery, Sent
from services.conversation.messages.domain.message import (
    TOLD_STATES,
    Attachment,
    Author,
    Direction,
    ExpiringAttachment,
    Message,
    MessageReport,
    MessageState,
    ReactionReport,
    SubmittedValue,
)
from services.conversation.messages.domain.reaction import Reaction
from services.conversation.messages.domain.record import Change, Item

KNOWN_IDS_MAX = 10_000
_TIME_MAX = datetime(9999, 1, 1, tzinfo=UTC)
_TIME_SECONDS_MAX = int((_TIME_MAX - wire.EPOCH) / timedelta(seconds=1))
_TIME_SECONDS_MIN = -_TIME_SECONDS_MAX // 10
_TIME_US_MAX = _TIME_SECONDS_MAX * 1_000_000

SOURCES: dict[int, Source] = {
    options_pb2.SOURCE_WHATSAPP: Source.WHATSAPP,
    options_pb2.SOURCE_INSTAGRAM: Source.INSTAGRAM,
}
_SOURCE_NUMBERS = {
    Source.WHATSAPP: options_pb2.SOURCE_WHATSAPP,
    Source.INSTAGRAM: options_pb2.SOURCE_INSTAGRAM,
}
_CONVERSATION_STATE_NUMBERS = {
    ConversationState.OPEN: pb.CONVERSATION_STATE_OPEN,
    ConversationState.PENDING: pb.CONVERSATION_STATE_PENDING,
    ConversationState.SNOOZED: pb.CONVERSATION_STATE_SNOOZED,
    ConversationState.RESOLVED: pb.CONVERSATION_STATE_RESOLVED,
}
CONVERSATION_STATES: dict[int, ConversationState] = {
    number: state for state, number in _CONVERSATION_STATE_NUMBERS.items()
}
_HANDOFF_NUMBERS = {HandoffMode.AI: pb.HANDOFF_MODE_AI, HandoffMode.HUMAN: pb.HANDOFF_MODE_HUMAN}
_DIRECTION_NUMBERS = {direction: enum_number(pb.MessageDirection, direction) for direction in Direction}
_DIRECTIONS: dict[int, Direction] = {number: direction for direction, number in _DIRECTION_NUMBERS.items()}
_AUTHOR_NUMBERS = {author: enum_number(pb.MessageAuthor, author) for author in Author}
_AUTHORS: dict[int, Author] = {number: author for author, number in _AUTHOR_NUMBERS.items()}
_MESSAGE_STATE_NUMBERS = {state: enum_number(pb.MessageState, state) for state in MessageState}
_MESSAGE_STATES: dict[int, MessageState] = {number: state for state, number in _MESSAGE_STATE_NUMBERS.items()}
_TOLD = {number: state for number, state in _MESSAGE_STATES.items() if state in TOLD_STATES}


@lru_cache(maxsize=KNOWN_IDS_MAX)
def to_uuid(organization_id: str) -> UUID:
    """An organization's id as an object; batches name the same few over and over."""
    return UUID(organization_id)


_to_known_id = lru_cache(maxsize=KNOWN_IDS_MAX)(wire.to_id)
"""For the ids of organizations, connections and channels too."""


def read_item(given: pb.RecordItem, now: datetime) -> Item:
    """An item of a batch. Raises InvalidArgument where a field cannot be what it should be."""
    receive_time = min(_moment(given.receive_time), now) if given.HasField("receive_time") else now
    return Item(
        organization_id=_to_known_id("organization_id", given.organization_id),
        connection_id=_to_known_id("connection_id", given.connection_id),
        channel_id=_to_known_id("channel_id", given.channel_id),
        source=_source(given.source),
        provider_conversation_id=conversation_id_of(given),
        account_id=given.account_id,
        inbox_id=given.inbox_id,
        provider_contact_id=given.provider_contact_id,
        contact_id=wire.to_optional_id("contact_id", given.contact_id),
        deal_id=wire.to_optional_id("deal_id", given.deal_id),
        conversation_key=given.conversation_key,
        contact_name=given.contact_name,
        contact_phone=given.contact_phone,
        provider_url=given.provider_url,
        inbox_name=given.inbox_name,
        report=_read_report(given.conversation) if given.HasField("conversation") else None,
        message=_read_message(given.message, receive_time) if given.HasField("message") else None,
        cause_id=given.cause_id,
        receive_time=receive_time,
        provider_create_time=_moment(given.provider_create_time) if given.HasField("provider_create_time") else None,
        provider_contact_source_id=given.provider_contact_source_id,
        known_conversation_only=given.known_conversation_only,
        unplaced=not given.provider_conversation_id,
    )


def conversation_id_of(given: pb.RecordItem) -> str:
    """The provider's id of an item's conversation, or what stands for it until its place is found."""
    if given.provider_conversation_id:
        return given.provider_conversation_id
    return given.contact_id.lower() or f"message:{given.message.provider_message_id}"


def _read_report(given: pb.ConversationReport) -> ConversationReport:
    if not 0 <= given.update_time_us <= _TIME_US_MAX or given.unread_count < 0:
        raise InvalidArgument("REPORT_INVALID", "update_time_us and unread_count must be a time and a count.")
    labels = given.labels
    return ConversationReport(
        state=CONVERSATION_STATES.get(given.state),
        labels=sorted(set(labels)) if labels else [],
        unread_count=given.unread_count,
        assignee_name=given.assignee_name,
        update_time_us=given.update_time_us,
    )


def _read_message(given: pb.MessageReport, receive_time: datetime) -> MessageReport:
    # No message is reported before it is written: a provider whose clock is ahead must not stay on top for ever.
    create_time = min(_moment(given.create_time), receive_time) if given.HasField("create_time") else receive_time
    return MessageReport(
        provider_message_id=given.provider_message_id,
        provider_source_id=given.provider_source_id,
        direction=_DIRECTIONS.get(given.direction, Direction.UNSPECIFIED),
        author=_AUTHORS.get(given.author, Author.UNSPECIFIED),
        text=given.text,
        content_type=given.content_type,
        attachments=[_read_attachment(file) for file in given.attachments],
        state=_TOLD.get(given.state, MessageState.UNSPECIFIED),
        error_message=given.error_message,
        deleted=given.deleted,
        in_reply_to=given.in_reply_to,
        author_name=given.author_name,
        create_time=create_time,
        author_settled=given.author_settled,
        told_time_us=_us(given.create_time) if given.HasField("create_time") else 0,
        network_message_id=given.network_message_id,
        edits_keep_network_id=given.edits_keep_network_id,
        deleted_by_contact=given.deleted_by_contact,
        submitted_values=[SubmittedValue(answer.name, answer.title, answer.value) for answer in given.submitted_values],
        reaction=_read_reaction(given.reaction) if given.HasField("reaction") else None,
        delivery_id=given.delivery_id.lower(),
    )


def _read_attachment(file: pb.Attachment) -> Attachment:
    if not file.expiring:
        return Attachment(file.type, file.url, file.name, file.size)
    moment = _moment(file.expire_time) if file.HasField("expire_time") else None
    return ExpiringAttachment(file.type, file.url, file.name, file.size, moment)


def _read_reaction(given: pb.ReactionReport) -> ReactionReport:
    return ReactionReport(given.target_provider_message_id, given.target_source_id, given.removed)


def _us(stamp: Timestamp) -> int:
    return stamp.seconds * 1_000_000 + stamp.nanos // 1_000


def _source(number: int) -> Source:
    source = SOURCES.get(number)
    if source is None:
        raise InvalidArgument("SOURCE_MISSING", "source must be WHATSAPP or INSTAGRAM.")
    return source


def _moment(stamp: Timestamp) -> datetime:
    if not _TIME_SECONDS_MIN <= stamp.seconds < _TIME_SECONDS_MAX:
        raise InvalidArgument("TIME_INVALID", "A time of the item lies outside of what a calendar knows.")
    return wire.from_timestamp(stamp)


def conversation_to_pb(conversation: Conversation) -> pb.Conversation:
    """A conversation for the wire."""
    return pb.Conversation(
        conversation_id=conversation.conversation_id,
        organization_id=conversation.organization_id,
        connection_id=conversation.connection_id,
        channel_id=conversation.channel_id,
        source=_SOURCE_NUMBERS[conversation.source],
        provider_conversation_id=conversation.provider_conversation_id,
        contact_id=conversation.contact_id or "",
        deal_id=conversation.deal_id or "",
        conversation_key=conversation.conversation_key,
        state=_CONVERSATION_STATE_NUMBERS[conversation.state],
        handoff=_handoff_to_pb(conversation),
        unread_count=conversation.unread_count,
        labels=conversation.labels,
        assignee_name=conversation.assignee_name,
        last_message_time=wire.to_timestamp(conversation.last_message_time),
        last_message_preview=conversation.last_message_preview,
        last_message_direction=_DIRECTION_NUMBERS[conversation.last_message_direction],
        contact_name=conversation.contact_name,
        create_time=wire.to_timestamp(conversation.create_time),
        update_time=wire.to_timestamp(conversation.update_time),
        etag=str(conversation.version),
    )


def message_to_pb(message: Message, delivery: Delivery | None = None) -> pb.Message:
    """A message for the wire."""
    target = pb.Message()
    _write_message(target, message, delivery)
    return target


def delivery_to_pb(delivery: Delivery) -> pb.Delivery:
    """A delivery for the wire."""
    return pb.Delivery(
        delivery_id=delivery.delivery_id,
        organization_id=delivery.organization_id,
        conversation_id=delivery.conversation_id,
        channel_id=delivery.channel_id,
        contact_id=delivery.contact_id or "",
        send_class=enum_number(options_pb2.SendClass, delivery.send_class),
        state=_MESSAGE_STATE_NUMBERS[delivery.state],
        reason=delivery.reason,
        explanation=delivery.explanation,
        retry_time=wire.to_timestamp(delivery.retry_time),
        attempt_count=delivery.attempt_count,
        reservation_id=delivery.reservation_id or "",
        cause=delivery.cause,
        actor=options_pb2.Actor(principal=delivery.actor_principal, name=delivery.actor_name),
        create_time=wire.to_timestamp(delivery.create_time),
        send_time=wire.to_timestamp(delivery.send_time),
        settle_time=wire.to_timestamp(delivery.settle_time),
        version=delivery.version,
        end_time=wire.to_timestamp(delivery.end_time),
    )


def _write_message(target: pb.Message, message: Message, delivery: Delivery | None = None) -> None:
    if delivery is not None:
        target.delivery.CopyFrom(delivery_to_pb(delivery))
    target.message_id = message.message_id
    target.conversation_id = message.conversation_id
    target.organization_id = message.organization_id
    target.provider_message_id = message.provider_message_id
    target.provider_source_id = message.provider_source_id
    target.direction = _DIRECTION_NUMBERS[message.direction]
    target.author = _AUTHOR_NUMBERS[message.author]
    target.text = message.text
    target.original_text = message.original_text or ""
    target.content_type = message.content_type
    for file in message.attachments:
        written = target.attachments.add(type=file.type, url=file.url, name=file.name, size=file.size)
        if isinstance(file, ExpiringAttachment):
            written.expiring = True
            if file.expire_time is not None:
                wire.write_timestamp(written.expire_time, file.expire_time)
    target.state = _MESSAGE_STATE_NUMBERS[message.state]
    target.error_message = message.error_message
    target.deleted = message.deleted
    target.in_reply_to = message.in_reply_to
    target.author_name = message.author_name
    wire.write_timestamp(target.create_time, message.create_time)
    target.deleted_by_contact = message.deleted_by_contact
    target.copy_count = message.copy_count
    for answer in message.submitted_values:
        target.submitted_values.add(name=answer.name, title=answer.title, value=answer.value)


def write_reaction(target: pb.Reaction, reaction: Reaction) -> None:
    """A reaction for the wire, in its place."""
    target.provider_message_id = reaction.provider_message_id
    target.text = reaction.text
    target.direction = _DIRECTION_NUMBERS[reaction.direction]
    target.author = _AUTHOR_NUMBERS[reaction.author]
    target.author_name = reaction.author_name
    target.removed = reaction.removed
    wire.write_timestamp(target.create_time, reaction.create_time)


def reaction_fact(conversation: Conversation, reaction: Reaction, message_id: str, cause_id: str) -> Fact:
    """What a reaction makes known."""
    target = events_pb2.MessageReactionChanged(
        organization_id=conversation.organization_id,
        contact_id=conversation.contact_id or "",
        conversation_id=conversation.conversation_id,
        conversation_key=conversation.conversation_key,
        message_id=message_id,
        provider_message_id=reaction.target_provider_message_id,
        version=conversation.version,
        cause_id=cause_id,
    )
    write_reaction(target.reaction, reaction)
    return Fact(to_uuid(conversation.organization_id), target, cause_id)


def recorded_to_pb(
    conversation: Conversation, change: Change, message_id: str | None, *, copied: bool = False
) -> pb.RecordedItem:
    """What became of an item."""
    return pb.RecordedItem(
        conversation_id=conversation.conversation_id,
        message_id=message_id or "",
        conversation_created=change.conversation_created,
        message_created=change.message_created,
        unchanged=not change.visible,
        deal_id=conversation.deal_id or "",
        handoff=_HANDOFF_NUMBERS[conversation.handoff_mode],
        message_copied=copied,
        contact_id=conversation.contact_id or "",
    )


def facts_of(conversation: Conversation, change: Change, cause_id: str, delivery: Delivery | None = None) -> list[Fact]:
    """The facts of an item, the message's last: whoever consumes that one can read everything else already."""
    target: list[ProtobufMessage] = []
    if change.conversation_created:
        target.append(
            events_pb2.ConversationCreated(
                organization_id=conversation.organization_id,
                conversation=conversation_to_pb(conversation),
                version=conversation.version,
            )
        )
    if change.conversation_updated:
        target.append(
            events_pb2.ConversationUpdated(
                organization_id=conversation.organization_id,
                conversation=conversation_to_pb(conversation),
                version=conversation.version,
            )
        )
    if change.handoff_changed:
        target.append(_handoff_changed(conversation))
    message = change.message
    if message is not None and (change.message_created or change.message_sent) and not message.deleted:
        target.append(_written(conversation, message, cause_id, delivery))
    elif message is not None and (change.message_created or change.message_updated):
        # One that was deleted before it was ever heard of is told as changed: there is nothing in it to answer.
        target.append(
            events_pb2.MessageUpdated(
                organization_id=conversation.organization_id,
                conversation_id=message.conversation_id,
                conversation_key=conversation.conversation_key,
                message=message_to_pb(message, delivery),
                version=conversation.version,
            )
        )
    organization_id = to_uuid(conversation.organization_id)
    return [Fact(organization_id, message, cause_id) for message in target]


def _handoff_changed(conversation: Conversation) -> events_pb2.HandoffChanged:
    return events_pb2.HandoffChanged(
        organization_id=conversation.organization_id,
        conversation_id=conversation.conversation_id,
        conversation_key=conversation.conversation_key,
        handoff=_handoff_to_pb(conversation),
        version=conversation.version,
        contact_id=conversation.contact_id or "",
        deal_id=conversation.deal_id or "",
    )


def handoff_fact(conversation: Conversation) -> Fact:
    """That somebody else answers a conversation now."""
    return Fact(to_uuid(conversation.organization_id), _handoff_changed(conversation))


def queued_fact(conversation: Conversation, sent: Sent) -> Fact:
    """That a message was accepted to be sent."""
    fact = events_pb2.MessageQueued(
        organization_id=conversation.organization_id,
        contact_id=conversation.contact_id or "",
        deal_id=conversation.deal_id or "",
        conversation_id=conversation.conversation_id,
        conversation_key=conversation.conversation_key,
        source=_SOURCE_NUMBERS[conversation.source],
        message=message_to_pb(sent.message, sent.delivery),
        version=conversation.version,
    )
    return Fact(to_uuid(conversation.organization_id), fact)


def delivery_fact(conversation: Conversation, sent: Sent, *, first: bool) -> Fact:
    """That a delivery is in another state; ``first``: that it left."""
    change = Change(message=sent.message, message_updated=True, message_sent=first)
    (fact,) = facts_of(conversation, change, sent.delivery.delivery_id, sent.delivery)
    return fact


def _written(
    conversation: Conversation, message: Message, cause_id: str, delivery: Delivery | None
) -> events_pb2.MessageReceived | events_pb2.MessageSent:
    """The most frequent fact of all: it is written in place, for parts that are made apart are copied into it."""
    target: events_pb2.MessageReceived | events_pb2.MessageSent
    if message.direction is Direction.INBOUND:
        target = events_pb2.MessageReceived(
            provider_conversation_id=conversation.provider_conversation_id,
            connection_id=conversation.connection_id,
            channel_id=conversation.channel_id,
        )
    else:
        target = events_pb2.MessageSent()
    target.organization_id = conversation.organization_id
    target.contact_id = conversation.contact_id or ""
    target.deal_id = conversation.deal_id or ""
    target.conversation_id = conversation.conversation_id
    target.conversation_key = conversation.conversation_key
    target.source = _SOURCE_NUMBERS[conversation.source]
    _write_handoff(target.handoff, conversation)
    _write_message(target.message, message, delivery)
    target.version = conversation.version
    target.cause_id = cause_id
    return target


def _handoff_to_pb(conversation: Conversation) -> pb.Handoff:
    target = pb.Handoff()
    _write_handoff(target, conversation)
    return target


def _write_handoff(target: pb.Handoff, conversation: Conversation) -> None:
    target.mode = _HANDOFF_NUMBERS[conversation.handoff_mode]
    target.source = conversation.handoff_source
    target.reason = conversation.handoff_reason
    if conversation.handoff_time is not None:
        wire.write_timestamp(target.time, conversation.handoff_time)
    if conversation.handoff_actor_principal:
        target.actor.principal = conversation.handoff_actor_principal
        target.actor.name = conversation.handoff_actor_name
