"""SQL of instances; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import fields
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.conversation.instances.domain import Instance, State

_COLUMNS = tuple(field.name for field in fields(Instance))
_FIXED = ("organization_id", "instance_id", "connection_id", "channel_id", "provider_instance_name", "create_time")
_READ = f"select {', '.join(_COLUMNS)} from conversation.instances"


async def insert(tx: Tx, instance: Instance) -> bool:
    """Writes a new one; False where it is there already."""
    inserted = await tx.execute(
        f"insert into conversation.instances ({', '.join(_COLUMNS)})"
        f" values ({', '.join(f'%({column})s' for column in _COLUMNS)}) on conflict do nothing",
        _values(instance),
    )
    return bool(inserted.rowcount)


async def update(tx: Tx, instance: Instance) -> None:
    """Writes what may change of one."""
    changing = [column for column in _COLUMNS if column not in _FIXED]
    await tx.execute(
        f"update conversation.instances set {', '.join(f'{column} = %({column})s' for column in changing)}"
        " where organization_id = %(organization_id)s and instance_id = %(instance_id)s",
        _values(instance),
    )


async def find(tx: Tx, organization_id: UUID, instance_id: UUID, *, lock: bool = False) -> Instance | None:
    """One of the organization's instances; with ``lock`` its row is held until commit."""
    rows = await tx.execute(
        f"{_READ} where organization_id = %(organization_id)s and instance_id = %(instance_id)s"
        f"{' for update' if lock else ''}",
        {"organization_id": organization_id, "instance_id": instance_id},
    )
    row = rows.first()
    return None if row is None else _instance(row)


async def lock_of_connections(tx: Tx, connection_ids: Collection[UUID]) -> dict[UUID, Instance]:
    """The instance behind each connection, of organizations that the transaction sees."""
    rows = await tx.execute(
        f"{_READ} where connection_id = any (%(ids)b) order by instance_id for update",
        {"ids": sorted(set(connection_ids))},
    )
    return {instance.connection_id: instance for instance in map(_instance, rows)}


async def of_channels(tx: Tx, organization_id: UUID, channel_ids: Collection[UUID]) -> dict[UUID, Instance]:
    """The organization's instances by channel; a channel that is none is left out."""
    rows = await tx.execute(
        f"{_READ} where organization_id = %(organization_id)s and channel_id = any (%(ids)b)",
        {"organization_id": organization_id, "ids": sorted(set(channel_ids))},
    )
    return {instance.channel_id: instance for instance in map(_instance, rows)}


async def behind_channels(tx: Tx, channels: Collection[tuple[str, str]]) -> dict[tuple[str, str], Instance]:
    """The instance behind each channel (organization, channel) that has one."""
    organization_ids, channel_ids = zip(*channels, strict=True)
    rows = await tx.execute(
        f"{_READ} where (organization_id, channel_id) in"
        " (select * from unnest(%(organization_ids)b::text[]::uuid[], %(channel_ids)b::text[]::uuid[]))",
        {"organization_ids": list(organization_ids), "channel_ids": list(channel_ids)},
    )
    return {(str(instance.organization_id), str(instance.channel_id)): instance for instance in map(_instance, rows)}


async def list_instances(
    tx: Tx, organization_id: UUID, state: str | None, after: tuple[str, str] | None, limit: int
) -> list[Instance]:
    """The organization's instances by name."""
    rows = await tx.execute(
        f"{_READ} where organization_id = %(organization_id)s"
        f"{' and state = %(state)s' if state else ''}"
        f"{' and (name, instance_id) > (%(name)s, %(id)s)' if after else ''}"
        " order by name, instance_id limit %(limit)s",
        {
            "organization_id": organization_id,
            "limit": limit,
            **({"state": state} if state else {}),
            **({"name": after[0], "id": UUID(after[1])} if after else {}),
        },
    )
    return [_instance(row) for row in rows]


def _values(instance: Instance) -> dict[str, Any]:
    return {column: getattr(instance, column) for column in _COLUMNS} | {"state": instance.state.value}


def _instance(row: Any) -> Instance:
    instance = Instance(*row)
    instance.state = State(instance.state)
    return instance
