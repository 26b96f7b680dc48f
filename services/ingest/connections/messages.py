"""Connections and channels as the contract's messages, and the facts about them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from chassis import wire
from chassis.enums import enum_number
from chassis.outbox import Fact
from prosa.ingest.v1 import connection_service_pb2 as pb
from prosa.ingest.v1 import events_pb2, ingest_service_pb2
from prosa.v1 import options_pb2
from services.ingest.connections import rules
from services.ingest.connections.check import CheckItem
from services.ingest.connections.store import Channel, Connection
from services.ingest.providers import number_of


def webhook_path(connection: Connection) -> str:
    """Where the provider is to send its webhooks: "/webhooks/chatwoot/<connection_key>"."""
    return f"/webhooks/{connection.provider.lower()}/{connection.connection_key}"


def unsigned_end_time(connection: Connection) -> datetime:
    """Until when the connection takes unsigned webhooks, as long as it has no secret."""
    return rules.unsigned_end_time(None, connection.unsigned_end_time, connection.create_time)


def connection_message(connection: Connection, channels: Sequence[Channel]) -> pb.Connection:
    """A connection with its channels and without its secrets."""
    return pb.Connection(
        connection_id=str(connection.id),
        organization_id=str(connection.organization_id),
        provider=ingest_service_pb2.Provider.ValueType(number_of(connection.provider)),
        name=connection.name,
        connection_key=connection.connection_key,
        webhook_path=webhook_path(connection),
        account_id=connection.account_id or 0,
        base_url=connection.base_url,
        secret_count=connection.secret_count,
        access_token_set=connection.access_token_sealed is not None,
        legacy_static_secret_end_time=wire.to_timestamp(connection.legacy_static_secret_end_time),
        create_time=wire.to_timestamp(connection.create_time),
        unsigned_end_time=None if connection.secret_count else wire.to_timestamp(unsigned_end_time(connection)),
        last_unsigned_time=wire.to_timestamp(connection.last_unsigned_time),
        channels=[channel_message(channel) for channel in channels],
        etag=str(connection.version),
    )


def channel_message(channel: Channel) -> pb.Channel:
    """A channel."""
    return pb.Channel(
        channel_id=str(channel.id),
        organization_id=str(channel.organization_id),
        connection_id=str(channel.connection_id),
        name=channel.name,
        source=enum_number(options_pb2.Source, channel.source),
        inbox_id=channel.inbox_id or 0,
        board_id=wire.text(channel.board_id),
        active=channel.active,
        evolution_instance=channel.evolution_instance,
        create_time=wire.to_timestamp(channel.create_time),
        etag=str(channel.version),
    )


def check_message(items: Sequence[CheckItem]) -> pb.CheckConnectionResponse:
    """What a check found."""
    return pb.CheckConnectionResponse(
        passed=all(item.passed for item in items),
        items=[pb.CheckItem(name=item.name, passed=item.passed, detail=item.detail) for item in items],
    )


def connection_created(connection: Connection) -> Fact:
    """The fact that a connection came to be."""
    return Fact(
        connection.organization_id,
        events_pb2.ConnectionCreated(
            organization_id=str(connection.organization_id), connection_id=str(connection.id), name=connection.name
        ),
    )


def channel_created(channel: Channel) -> Fact:
    """The fact that a channel came to be."""
    return Fact(
        channel.organization_id,
        events_pb2.ChannelCreated(organization_id=str(channel.organization_id), channel=channel_message(channel)),
    )


def connection_updated(connection: Connection, changed_fields: Sequence[str]) -> Fact:
    """The fact that something about a connection was changed."""
    return Fact(
        connection.organization_id,
        events_pb2.ConnectionUpdated(
            organization_id=str(connection.organization_id),
            connection_id=str(connection.id),
            name=connection.name,
            changed_fields=changed_fields,
            version=connection.version,
        ),
    )


def channel_updated(channel: Channel, changed_fields: Sequence[str]) -> Fact:
    """The fact that something about a channel was changed."""
    return Fact(
        channel.organization_id,
        events_pb2.ChannelUpdated(
            organization_id=str(channel.organization_id),
            channel=channel_message(channel),
            changed_fields=changed_fields,
            version=channel.version,
        ),
    )
