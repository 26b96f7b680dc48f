"""Opening the webhook secrets that a connection has."""

from __future__ import annotations

from uuid import UUID

from chassis.crypto import SealBroken, Vault
from chassis.db import Tx
from services.ingest.connections import store
from services.ingest.connections.cache import SECRET_COLUMN


async def open_secrets(tx: Tx, vault: Vault, organization_id: UUID, connection_id: UUID) -> dict[UUID, str]:
    """The live secrets by id, newest first. Raises SealBroken where one cannot be opened."""
    return {
        sealed.id: vault.open(sealed.secret_sealed, organization_id=organization_id, column=SECRET_COLUMN).decode()
        for sealed in await store.list_secrets(tx, organization_id, connection_id)
    }


async def readable_secrets(
    tx: Tx, vault: Vault, organization_id: UUID, connection_id: UUID
) -> tuple[dict[UUID, str], list[UUID]]:
    """The live secrets by id, newest first, and the ids of those that cannot be opened."""
    live: dict[UUID, str] = {}
    broken: list[UUID] = []
    for sealed in await store.list_secrets(tx, organization_id, connection_id):
        try:
            opened = vault.open(sealed.secret_sealed, organization_id=organization_id, column=SECRET_COLUMN)
        except SealBroken:
            broken.append(sealed.id)
        else:
            live[sealed.id] = opened.decode()
    return live, broken
