"""The organization's channels in SQL, as ingest tells of them; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from uuid import UUID

from chassis.db import Tx

_KEEP = """
insert into outreach.channels as kept (organization_id, id, source, begins_conversations, version)
select * from unnest(%(organization_ids)b::uuid[], %(ids)b::uuid[], %(sources)b::text[], %(begins)b::boolean[],
  %(versions)b::bigint[])
on conflict (organization_id, id) do update
  set source = excluded.source, begins_conversations = excluded.begins_conversations, version = excluded.version
  where kept.version < excluded.version
"""


@dataclass(frozen=True, slots=True)
class Channel:
    """A row of ``channels``."""

    organization_id: UUID
    id: UUID
    source: str
    begins_conversations: bool
    """Whether a message to an address begins a conversation; else only who wrote before can be written to."""
    version: int


async def keep(tx: Tx, channels: Collection[Channel]) -> None:
    """Keeps channels, each id once, unless something newer is kept."""
    if not channels:
        return
    ordered = sorted(channels, key=lambda channel: (channel.organization_id, channel.id))
    await tx.execute(
        _KEEP,
        {
            "organization_ids": [channel.organization_id for channel in ordered],
            "ids": [channel.id for channel in ordered],
            "sources": [channel.source for channel in ordered],
            "begins": [channel.begins_conversations for channel in ordered],
            "versions": [channel.version for channel in ordered],
        },
    )


async def keep_threads(tx: Tx, threads: Collection[tuple[UUID, UUID, str]]) -> None:
    """Keeps that channels (organization, channel) have a conversation with whom a key is of."""
    if not threads:
        return
    organization_ids, channel_ids, keys = zip(*sorted(set(threads)), strict=True)
    await tx.execute(
        "insert into outreach.channel_threads (organization_id, channel_id, conversation_key)"
        " select * from unnest(%(organization_ids)b::uuid[], %(channel_ids)b::uuid[], %(keys)b::text[])"
        " on conflict do nothing",
        {"organization_ids": list(organization_ids), "channel_ids": list(channel_ids), "keys": list(keys)},
    )


async def with_thread(tx: Tx, channel: Channel, keys: Collection[str]) -> set[str]:
    """Those of the conversation keys with whom the channel has a conversation."""
    found = await tx.execute(
        "select conversation_key from outreach.channel_threads where organization_id = %(organization_id)s"
        " and channel_id = %(channel_id)s and conversation_key = any (%(keys)b::text[])",
        {"organization_id": channel.organization_id, "channel_id": channel.id, "keys": list(keys)},
    )
    return {row.conversation_key for row in found}


async def find(tx: Tx, organization_id: UUID, channel_id: UUID) -> Channel | None:
    """One of the organization's channels."""
    found = await tx.execute(
        "select organization_id, id, source, begins_conversations, version from outreach.channels"
        " where organization_id = %(organization_id)s and id = %(id)s",
        {"organization_id": organization_id, "id": channel_id},
    )
    row = found.one_or_none()
    return None if row is None else Channel(*row)
