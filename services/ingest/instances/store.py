"""SQL of numbers that are to be begun, and of those that are the organization's own."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from datetime import datetime
from uuid import UUID

from chassis.db import Tx


@dataclass(frozen=True, slots=True)
class NewInstance:
    """A row of ``new_instances``: there until conversation has taken it."""

    organization_id: UUID
    instance_id: UUID
    connection_id: UUID
    channel_id: UUID
    name: str
    webhook_url: str
    phone: str
    provider_instance_name: str
    create_time: datetime


async def insert(tx: Tx, instance: NewInstance) -> None:
    """Writes one."""
    await tx.execute(
        "insert into ingest.new_instances (organization_id, instance_id, connection_id, channel_id, name, webhook_url,"
        " phone, provider_instance_name, create_time) values (%(organization_id)s, %(instance_id)s, %(connection_id)s,"
        " %(channel_id)s, %(name)s, %(webhook_url)s, %(phone)s, %(provider_instance_name)s, %(create_time)s)",
        asdict(instance),
    )


async def find(tx: Tx, organization_id: UUID, instance_id: UUID) -> NewInstance | None:
    """One that conversation has not taken yet, None where it has."""
    rows = await tx.execute(
        "select organization_id, instance_id, connection_id, channel_id, name, webhook_url, phone,"
        " provider_instance_name, create_time from ingest.new_instances"
        " where organization_id = %(organization_id)s and instance_id = %(instance_id)s",
        {"organization_id": organization_id, "instance_id": instance_id},
    )
    row = rows.first()
    return None if row is None else NewInstance(*row)


async def delete(tx: Tx, organization_id: UUID, instance_id: UUID) -> None:
    """Forgets one that was taken."""
    await tx.execute(
        "delete from ingest.new_instances"
        " where organization_id = %(organization_id)s and instance_id = %(instance_id)s",
        {"organization_id": organization_id, "instance_id": instance_id},
    )


async def lock_count(tx: Tx, organization_id: UUID) -> int:
    """How many connections to Evolution the organization has; whoever else asks waits for this transaction's end."""
    await tx.execute(
        "select pg_advisory_xact_lock(hashtextextended('ingest.instances:' || %(id)s::text, 0))",
        {"id": organization_id},
    )
    rows = await tx.execute(
        "select count(*) from ingest.connections where organization_id = %(id)s and provider = 'EVOLUTION'",
        {"id": organization_id},
    )
    return int(rows.scalar_one())


async def keep_numbers(tx: Tx, told: list[tuple[UUID, UUID, str, int]]) -> int:
    """Keeps the phones of numbers, given as organization, instance, phone and version, unless something newer is kept.

    Answers how many are others now; an empty phone is none.
    """
    kept = await tx.execute(
        """
        insert into ingest.own_numbers as kept (organization_id, instance_id, phone, version)
        select * from unnest(%(organizations)b::uuid[], %(instances)b::uuid[], %(phones)b::text[],
          %(versions)b::bigint[])
        on conflict (organization_id, instance_id) do update set phone = excluded.phone, version = excluded.version
          where kept.version < excluded.version
        """,
        {
            "organizations": [row[0] for row in told],
            "instances": [row[1] for row in told],
            "phones": [row[2] for row in told],
            "versions": [row[3] for row in told],
        },
    )
    return kept.rowcount
