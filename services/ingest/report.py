"""What an event says of a conversation and a message, in the words of conversation's contract."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from chassis import wire
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.v1 import options_pb2
from services.ingest.normal_form import (
    Author,
    ConversationState,
    ConversationStatus,
    Direction,
    MessageRecord,
    MessageStatus,
)

if TYPE_CHECKING:
    from services.ingest.path import Journey

_STATES = {
    ConversationStatus.OPEN: pb.CONVERSATION_STATE_OPEN,
    ConversationStatus.PENDING: pb.CONVERSATION_STATE_PENDING,
    ConversationStatus.SNOOZED: pb.CONVERSATION_STATE_SNOOZED,
    ConversationStatus.RESOLVED: pb.CONVERSATION_STATE_RESOLVED,
}
_AUTHORS = {
    Author.CONTACT: pb.MESSAGE_AUTHOR_CONTACT,
    Author.AGENT: pb.MESSAGE_AUTHOR_AGENT,
    Author.BOT: pb.MESSAGE_AUTHOR_BOT,
    Author.AUTOMATION: pb.MESSAGE_AUTHOR_AUTOMATION,
    Author.TEMPLATE: pb.MESSAGE_AUTHOR_AUTOMATION,
    Author.CAMPAIGN: pb.MESSAGE_AUTHOR_AUTOMATION,
    Author.NATIVE_APP: pb.MESSAGE_AUTHOR_NATIVE_APP,
}
_DIRECTIONS = {
    Direction.INBOUND: pb.MESSAGE_DIRECTION_INBOUND,
    Direction.OUTBOUND: pb.MESSAGE_DIRECTION_OUTBOUND,
}
_MESSAGE_STATES = {
    MessageStatus.SENT: pb.MESSAGE_STATE_SENT,
    MessageStatus.DELIVERED: pb.MESSAGE_STATE_DELIVERED,
    MessageStatus.READ: pb.MESSAGE_STATE_READ,
    MessageStatus.FAILED: pb.MESSAGE_STATE_FAILED,
}


def record_item(journey: Journey) -> pb.RecordItem:
    """The item of one event for ``BatchRecordMessages``; the event has a conversation and a channel."""
    event = journey.event
    state, channel, contact = event.conversation, event.channel, journey.contact
    assert state is not None
    assert channel is not None
    item = pb.RecordItem(
        organization_id=str(journey.organization_id),
        connection_id=str(journey.connection_id),
        channel_id=channel.channel_id,
        source=options_pb2.Source.Value(f"SOURCE_{channel.source}"),
        provider_conversation_id=state.conversation_id,
        account_id=int(state.account_id or 0),
        inbox_id=int(state.inbox_id),
        provider_contact_id=state.contact_id or "",
        contact_id=contact.contact_id if contact else "",
        deal_id=journey.deal.deal_id if journey.deal else "",
        conversation_key=(contact.conversation_key if contact else "") or event.person.key or "",
        contact_name=event.person.name or "",
        contact_phone=event.person.phone or "",
        conversation=_conversation_report(state),
        cause_id=str(journey.event_id),
        receive_time=wire.to_timestamp(journey.receive_time),
    )
    if event.message is not None:
        item.message.CopyFrom(_message_report(event.message, journey.receive_time))
    return item


def _conversation_report(state: ConversationState) -> pb.ConversationReport | None:
    if state.status is None:
        return None
    return pb.ConversationReport(
        state=_STATES[state.status],
        labels=state.labels,
        unread_count=state.unread_count,
        assignee_name=state.assignee_name or "",
        update_time_us=0 if state.updated_at is None else round(state.updated_at * 1_000_000),
    )


def _message_report(message: MessageRecord, receive_time: datetime) -> pb.MessageReport:
    return pb.MessageReport(
        provider_message_id=message.message_id,
        provider_source_id=message.source_id or "",
        direction=_DIRECTIONS[message.direction],
        author=_AUTHORS[message.author],
        text=message.text or "",
        content_type=message.content_type,
        attachments=[
            pb.Attachment(
                type=attachment.type,
                url=attachment.url or "",
                name=attachment.name or "",
                size=attachment.size_bytes or 0,
            )
            for attachment in message.attachments
        ],
        state=pb.MESSAGE_STATE_UNSPECIFIED if message.status is None else _MESSAGE_STATES[message.status],
        error_message=message.external_error or "",
        deleted=message.deleted,
        in_reply_to=message.in_reply_to or "",
        author_name=message.author_name or "",
        create_time=wire.to_timestamp(message.create_time or receive_time),
        author_settled=message.author_settled,
    )
