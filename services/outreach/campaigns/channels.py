"""Follows which channels an organization has, and whom each can write to."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from chassis import wire
from chassis.db import Tx
from chassis.enums import enum_text
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1.events_pb2 import ConversationCreated, ConversationUpdated
from prosa.ingest.v1.connection_service_pb2 import Channel as ChannelMessage
from prosa.ingest.v1.events_pb2 import ChannelCreated, ChannelUpdated
from prosa.v1 import options_pb2
from services.outreach.campaigns import channel_store
from services.outreach.campaigns.channel_store import Channel


async def on_channel_created(tx: Tx, events: Sequence[ConsumedEvent[ChannelCreated]]) -> None:
    """Keeps a channel as it was made."""
    await channel_store.keep(tx, [_channel(event.organization_id, event.message.channel, 1) for event in events])


async def on_channel_updated(tx: Tx, events: Sequence[ConsumedEvent[ChannelUpdated]]) -> None:
    """Keeps a channel as it is now."""
    newest: dict[UUID, Channel] = {}
    for event in events:
        channel = _channel(event.organization_id, event.message.channel, event.message.version)
        if channel.id not in newest or newest[channel.id].version < channel.version:
            newest[channel.id] = channel
    await channel_store.keep(tx, newest.values())


async def on_conversation(
    tx: Tx, events: Sequence[ConsumedEvent[ConversationCreated] | ConsumedEvent[ConversationUpdated]]
) -> None:
    """Keeps with whom a channel has a conversation."""
    threads = [
        (
            event.organization_id,
            wire.to_uuid("channel_id", event.message.conversation.channel_id),
            event.message.conversation.conversation_key,
        )
        for event in events
        if event.message.conversation.conversation_key
    ]
    await channel_store.keep_threads(tx, threads)


def _channel(organization_id: UUID, told: ChannelMessage, version: int) -> Channel:
    return Channel(
        organization_id=organization_id,
        id=wire.to_uuid("channel_id", told.channel_id),
        source=enum_text(options_pb2.Source, told.source),
        # Of Evolution itself: an inbox of Chatwoot that shows a number has conversations of Chatwoot's.
        begins_conversations=bool(told.evolution_instance) and not told.inbox_id,
        version=version,
    )
