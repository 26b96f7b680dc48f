"""SQL of the look-ups by which a webhook finds its connection."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.ingest.limits import LEGACY_CANDIDATES_PER_ACCOUNT_MAX, LEGACY_CANDIDATES_PER_ORGANIZATION_MAX


async def find_by_keys(tx: Tx, keys: Collection[str]) -> dict[str, tuple[UUID, UUID]]:
    """By key, the ids of connection and organization; a key that nobody has is left out."""
    rows = await tx.execute(
        "select key, found_connection_id as id, found_organization_id as organization_id"
        " from unnest(%(keys)b::text[]) as wanted (key), ingest.connection_by_key(key)",
        {"keys": sorted(keys)},
    )
    return {row.key: (row.id, row.organization_id) for row in rows}


async def find_of_accounts(tx: Tx, account_ids: Sequence[int]) -> list[tuple[int, UUID, UUID]]:
    """Account, connection and organization of the Chatwoot connections that claim accounts, oldest first, bounded."""
    rows = await tx.execute(
        "select * from ingest.connections_of_accounts(%(ids)b::bigint[], %(each)s, %(all)s)",
        {
            "ids": list(account_ids),
            "each": LEGACY_CANDIDATES_PER_ORGANIZATION_MAX,
            "all": LEGACY_CANDIDATES_PER_ACCOUNT_MAX,
        },
    )
    return [(row.found_account_id, row.found_connection_id, row.found_organization_id) for row in rows]


async def find_of_organizations(tx: Tx, organization_ids: Sequence[UUID]) -> list[tuple[UUID, UUID]]:
    """Organization and id of each one's Chatwoot connections, oldest first, bounded."""
    rows = await tx.execute(
        "select organization_id, candidate.id from unnest(%(ids)b::uuid[]) as wanted (organization_id),"
        " lateral (select id from ingest.connections connection where provider = 'CHATWOOT'"
        " and connection.organization_id = wanted.organization_id order by id limit %(each)s) candidate",
        {"ids": list(organization_ids), "each": LEGACY_CANDIDATES_PER_ORGANIZATION_MAX},
    )
    return [(row.organization_id, row.id) for row in rows]


async def find_channel_holders(tx: Tx, organization_id: UUID, account_id: int, inbox_id: int) -> list[UUID]:
    """The ids of the organization's connections to a Chatwoot account that have an active channel for the inbox."""
    rows = await tx.execute(
        "select connection.id from ingest.connections connection join ingest.channels channel"
        " on channel.connection_id = connection.id and channel.organization_id = connection.organization_id"
        " where connection.organization_id = %(organization_id)s and connection.provider = 'CHATWOOT'"
        " and connection.account_id = %(account_id)s and channel.provider_channel_id = %(inbox_id)s"
        " and channel.active",
        {"organization_id": organization_id, "account_id": account_id, "inbox_id": str(inbox_id)},
    )
    return [connection_id for (connection_id,) in rows]


async def read_connections(tx: Tx, ids: Sequence[UUID]) -> Sequence[Any]:
    """The rows of connections, of organizations that the transaction sees."""
    return (await tx.execute("select * from ingest.connections where id = any (%(ids)b)", {"ids": ids})).all()


async def read_secrets(tx: Tx, connection_ids: Sequence[UUID]) -> Sequence[Any]:
    """The sealed webhook secrets of connections, the newest first."""
    rows = await tx.execute(
        "select connection_id, organization_id, secret_sealed from ingest.connection_secrets"
        " where connection_id = any (%(ids)b) order by id desc",
        {"ids": connection_ids},
    )
    return rows.all()


async def read_active_channels(tx: Tx, connection_ids: Sequence[UUID]) -> Sequence[Any]:
    """The active channels of connections."""
    rows = await tx.execute(
        "select id, connection_id, source, provider_channel_id, board_id, evolution_instance from ingest.channels"
        " where connection_id = any (%(ids)b) and active",
        {"ids": connection_ids},
    )
    return rows.all()


async def find_sharing(tx: Tx, servers: Mapping[UUID, str]) -> set[UUID]:
    """Of connections given with their servers, those whose account another organization has proved to have there."""
    rows = await tx.execute(
        "select found_connection_id from ingest.connections_sharing(%(ids)b::uuid[], %(servers)b::text[])",
        {"ids": list(servers), "servers": list(servers.values())},
    )
    return {connection_id for (connection_id,) in rows}


async def read_own_numbers(tx: Tx, organization_ids: Collection[UUID]) -> list[tuple[UUID, str]]:
    """The phones that organizations have connected themselves, each with its organization."""
    rows = await tx.execute(
        "select organization_id, phone from ingest.own_numbers where organization_id = any (%(ids)b)",
        {"ids": sorted(organization_ids)},
    )
    return [(organization_id, phone) for organization_id, phone in rows]
