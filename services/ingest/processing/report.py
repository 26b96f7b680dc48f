"""What an event says of a conversation and a message, in the words of conversation's contract."""

from __future__ import annotations

from datetime import datetime, timedelta

from chassis import wire
from chassis.canonical import Source
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
from services.ingest.processing.item import PipelineItem

AHEAD_MAX = timedelta(days=1)
"""How far a provider's clock may run ahead of ours; what lies further ahead is not believed."""

SOURCES = {
    Source.WHATSAPP: options_pb2.SOURCE_WHATSAPP,
    Source.INSTAGRAM: options_pb2.SOURCE_INSTAGRAM,
}
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


def write_item(item: pb.RecordItem, pipeline_item: PipelineItem) -> None:
    """Writes one event into an item of ``BatchRecordMessages``; the event has a conversation and a channel."""
    event, person = pipeline_item.event, pipeline_item.event.person
    state, channel, contact = event.conversation, event.channel, pipeline_item.contact
    assert state is not None
    assert channel is not None
    item.organization_id = pipeline_item.organization_id
    item.connection_id = pipeline_item.connection_id
    item.channel_id = channel.channel_id
    item.source = SOURCES[channel.source]
    item.provider_conversation_id = state.conversation_id
    item.account_id = int(state.account_id or 0)
    item.inbox_id = int(state.inbox_id or 0)
    item.provider_contact_id = state.contact_id or ""
    item.contact_id = contact.contact_id if contact else ""
    item.deal_id = pipeline_item.deal.deal_id if pipeline_item.deal else ""
    item.conversation_key = (contact.conversation_key if contact else "") or person.key or ""
    item.contact_name = person.name or ""
    item.contact_phone = person.phone or (contact.phone if contact and person.needs_region else "")
    item.cause_id = pipeline_item.event_id
    item.known_conversation_only = pipeline_item.unnamed is not None
    item.provider_contact_source_id = state.contact_source_id or ""
    if state.created_at is not None and state.created_at <= _latest(pipeline_item.receive_time):
        wire.write_timestamp(item.provider_create_time, state.created_at)
    wire.write_timestamp(item.receive_time, pipeline_item.receive_time)
    if state.status is not None:
        _write_state(item.conversation, state, state.status, pipeline_item.receive_time)
    if event.message is not None:
        _write_message(item.message, event.message, pipeline_item.receive_time)


def _latest(receive_time: datetime) -> datetime:
    return receive_time + AHEAD_MAX


def _write_state(
    report: pb.ConversationReport, state: ConversationState, status: ConversationStatus, receive_time: datetime
) -> None:
    report.state = _STATES[status]
    report.labels.extend(state.labels)
    report.unread_count = state.unread_count
    report.assignee_name = state.assignee_name or ""
    if state.updated_at is not None:
        # One far ahead would make everything stale that comes until then.
        told = state.updated_at if state.updated_at <= _latest(receive_time).timestamp() else receive_time.timestamp()
        report.update_time_us = round(told * 1_000_000)


def _write_message(report: pb.MessageReport, message: MessageRecord, receive_time: datetime) -> None:
    report.provider_message_id = message.message_id
    report.provider_source_id = message.source_id or ""
    report.direction = _DIRECTIONS[message.direction]
    report.author = _AUTHORS[message.author]
    report.author_settled = message.author_settled
    report.author_name = message.author_name or ""
    report.text = message.text or ""
    report.content_type = message.content_type
    for attachment in message.attachments:
        written = report.attachments.add(
            type=attachment.type,
            url=attachment.url or "",
            name=attachment.name or "",
            size=attachment.size_bytes or 0,
            expiring=attachment.expiring,
        )
        if attachment.expire_time is not None:
            wire.write_timestamp(written.expire_time, attachment.expire_time)
    if message.status is not None:
        report.state = _MESSAGE_STATES[message.status]
    report.error_message = message.external_error or ""
    report.deleted = message.deleted
    report.in_reply_to = message.in_reply_to or ""
    report.network_message_id = message.network_id or ""
    report.edits_keep_network_id = message.edits_keep_network_id
    report.deleted_by_contact = message.deleted_by_contact
    report.delivery_id = message.delivery_id or ""
    for answer in message.submitted_values:
        report.submitted_values.add(name=answer.name, title=answer.title, value=answer.value)
    if message.reaction is not None:
        report.reaction.target_provider_message_id = message.reaction.target_message_id or ""
        report.reaction.target_source_id = message.reaction.target_source_id or ""
        report.reaction.removed = message.reaction.removed
    # Where nothing tells when it was written, it stays unsaid, and the time of arrival is taken for it.
    if message.create_time is not None and message.create_time <= _latest(receive_time):
        wire.write_timestamp(report.create_time, message.create_time)
