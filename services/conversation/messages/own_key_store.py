"""Which conversations are with organizations' own numbers, in SQL."""

from __future__ import annotations

from collections.abc import Collection
from uuid import UUID

from chassis.db import Tx


async def own_keys(tx: Tx, organization_ids: Collection[UUID]) -> set[tuple[UUID, str]]:
    """The keys under which conversations with organizations' own numbers are kept: of scripts, rounds and instances."""
    found = await tx.execute(
        """
        select organization_id, 'whatsapp:' || (one ->> 2) as key
        from conversation.scripts, jsonb_array_elements(participants) one
        where organization_id = any (%(organization_ids)b)
        union
        select organization_id, 'whatsapp:' || phone from conversation.instances
        where organization_id = any (%(organization_ids)b) and phone <> ''
        """,
        {"organization_ids": sorted(organization_ids)},
    )
    return {(row.organization_id, row.key) for row in found}
