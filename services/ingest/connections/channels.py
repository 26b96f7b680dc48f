"""The channels of a connection: as a request wants them, one for each inbox, and at most so many."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from chassis import wire
from chassis.db import Tx
from chassis.enums import enum_text
from chassis.errors import AlreadyExists, InvalidArgument, NotFound, ProsaError, ResourceExhausted
from prosa.ingest.v1 import connection_service_pb2 as pb
from prosa.v1 import options_pb2
from services.ingest.connections import messages, rules, store
from services.ingest.connections.store import Channel, ChannelFilter
from services.ingest.limits import CHANNELS_PER_CONNECTION_MAX

AMBIGUOUS_NAMED_MAX = 2
"""How many of the channels that match an ambiguous look-up are named."""


async def insert(tx: Tx, channel: Channel) -> None:
    """Writes a new channel. The connection is locked. Raises ResourceExhausted, and AlreadyExists of its inbox."""
    if await store.count_channels(tx, channel.organization_id, channel.connection_id) >= CHANNELS_PER_CONNECTION_MAX:
        raise ResourceExhausted(
            "CHANNELS_TOO_MANY",
            f"A connection has at most {CHANNELS_PER_CONNECTION_MAX} channels. Create a second connection to the "
            "same account.",
        )
    if (holder := await of_inbox(tx, channel)) is not None:
        raise inbox_taken(holder)
    await store.insert_channel(tx, channel)


async def of_inbox(tx: Tx, channel: Channel) -> Channel | None:
    """The channel that has this one's inbox already."""
    wanted = ChannelFilter(connection_id=channel.connection_id, provider_channel_id=channel.provider_channel_id)
    found = await store.list_channels(tx, channel.organization_id, wanted, None, 1)
    return found[0] if found else None


async def find_one(tx: Tx, organization_id: UUID, wanted: ChannelFilter) -> pb.Channel:
    """The one channel that matches. Raises NotFound where none does, and FailedPrecondition where several do."""
    found = await store.list_channels(tx, organization_id, wanted, None, AMBIGUOUS_NAMED_MAX)
    if not found:
        raise NotFound("CHANNEL_NOT_FOUND", "No active channel matches. List the channels to see what is declared.")
    if len(found) > 1:
        names: dict[UUID, str] = {}
        for channel in found:
            connection = await store.find_connection(tx, organization_id, channel.connection_id)
            names[channel.connection_id] = "" if connection is None else connection.name
        raise rules.ambiguous_channels(
            [
                (
                    *(channel.id, channel.name, channel.provider_channel_id),
                    *(channel.connection_id, names[channel.connection_id]),
                )
                for channel in found
            ]
        )
    return messages.channel_message(found[0])


def inbox_taken(holder: Channel) -> ProsaError:
    """An inbox is one channel at most."""
    return AlreadyExists(
        "INBOX_TAKEN",
        f'Inbox {holder.provider_channel_id} of this connection is the channel "{holder.name}" already.',
        channel_id=str(holder.id),
    )


def changed(before: Channel, request: pb.UpdateChannelRequest) -> Channel:
    """The channel as the request wants it, one version on."""
    after = replace(before, version=before.version + 1)
    if request.HasField("name"):
        after = replace(after, name=rules.readable_name(request.name))
    if request.HasField("source"):
        after = replace(after, source=source_name(request.source))
    if request.HasField("inbox_id"):
        after = replace(after, provider_channel_id=str(request.inbox_id), inbox_id=request.inbox_id)
    if request.HasField("board_id"):
        after = replace(after, board_id=wire.to_optional_uuid("board_id", request.board_id))
    if request.HasField("evolution_instance"):
        after = replace(after, evolution_instance=instance_name(request.evolution_instance))
    if request.HasField("active"):
        after = replace(after, active=request.active)
    return after


def instance_name(text: str) -> str:
    """Evolution's name of a number, as it is kept."""
    return text.replace("\x00", "").strip()


def source_name(source: options_pb2.Source.ValueType) -> str:
    """A source by its name in rows. Raises InvalidArgument."""
    if source not in options_pb2.Source.values():
        raise InvalidArgument("SOURCE_UNKNOWN", "source must be WHATSAPP or INSTAGRAM.")
    return enum_text(options_pb2.Source, source)
