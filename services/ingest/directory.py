"""Which connection a webhook belongs to: by key, or by account and inbox on the legacy path.

Kept in memory for a few seconds, because every webhook asks; a change is announced over NATS and forgets it at once.
"""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from chassis import streams
from chassis.canonical import Source
from chassis.crypto import SealBroken, Vault
from chassis.db import Database, Tx, scope
from services.ingest.normal_form import ChannelInfo, ConnectionContext

KEEP_SECONDS = 5.0
"""How old what is kept may be when the announcement of a change was lost."""
KEPT_MAX = 10_000
UNKNOWN_KEEP_SECONDS = 1.0
"""How long an unknown key stays unknown: whoever guesses keys does not reach the database each time."""
CHANGED_SUBJECT = "prosa.wake.ingest.connections"
SECRET_COLUMN = "connection_secrets.secret"  # noqa: S105 - the name of a column
UNKNOWN_SECRET_BYTES = 32

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """All that accepting and parsing a webhook must know of its connection."""

    id: UUID
    organization_id: UUID
    provider: str
    key: str
    secrets: tuple[str, ...]
    """Live webhook secrets, the newest first; at most two."""
    legacy_static_secret_end_time: datetime | None
    context: ConnectionContext


@dataclass(frozen=True, slots=True)
class AccountMatch:
    """A connection that a legacy webhook's account could mean."""

    connection_id: UUID
    organization_id: UUID
    inbox_known: bool


class Directory:
    """Finds connections, and forgets them when they change."""

    def __init__(self, db: Database, vault: Vault, nats: streams.Client) -> None:
        self._db = db
        self._vault = vault
        self._nats = nats
        self._by_key: OrderedDict[str, tuple[float, Connection | None]] = OrderedDict()
        self._by_id: OrderedDict[UUID, tuple[float, Connection]] = OrderedDict()

    async def watch(self) -> None:
        """Forgets everything whenever somebody announces a change."""

        async def forget(_message: Any) -> None:
            self._by_key.clear()
            self._by_id.clear()

        await self._nats.hear(CHANGED_SUBJECT, forget)

    async def announce_change(self) -> None:
        """Tells every process that connections, secrets or channels have changed; best effort, see KEEP_SECONDS."""
        self._by_key.clear()
        self._by_id.clear()
        if self._nats.is_connected:
            await self._nats.publish(CHANGED_SUBJECT, b"")

    async def by_keys(self, keys: Collection[str]) -> dict[str, Connection | None]:
        """The connection of each key, or None where there is none."""
        now = time.monotonic()
        found: dict[str, Connection | None] = {}
        missing = []
        for key in set(keys):
            kept = self._by_key.get(key)
            if kept is not None and kept[0] > now:
                found[key] = kept[1]
            else:
                missing.append(key)
        if missing:
            async with self._db.transaction() as tx:
                rows = await tx.exec_driver_sql(
                    "select key, found_connection_id as id, found_organization_id as organization_id"
                    " from unnest(%(keys)b::text[]) as wanted (key), ingest.connection_by_key(key)",
                    {"keys": sorted(missing)},
                )
                ids = {row.key: (row.id, row.organization_id) for row in rows}
                loaded = await self._load(tx, dict(ids.values()))
            for key in missing:
                connection = loaded.get(ids[key][0]) if key in ids else None
                found[key] = connection
                self._keep(key, connection)
        return found

    async def by_ids(self, wanted: dict[UUID, UUID]) -> dict[UUID, Connection]:
        """The connections with these ids, given with their organizations."""
        now = time.monotonic()
        found = {}
        missing = {}
        for connection_id, organization_id in wanted.items():
            kept = self._by_id.get(connection_id)
            if kept is not None and kept[0] > now:
                found[connection_id] = kept[1]
            else:
                missing[connection_id] = organization_id
        if missing:
            async with self._db.transaction() as tx:
                loaded = await self._load(tx, missing)
            for connection in loaded.values():
                self._keep(connection.key, connection)
            found |= loaded
        return found

    async def by_account(self, account_id: int, inbox_id: int | None) -> list[AccountMatch]:
        """Every Chatwoot connection of the account, and whether the inbox is one of its channels."""
        async with self._db.transaction() as tx:
            rows = await tx.exec_driver_sql(
                "select * from ingest.connections_by_account(%(account_id)s, %(inbox_id)s)",
                {"account_id": account_id, "inbox_id": inbox_id},
            )
            return [
                AccountMatch(row.found_connection_id, row.found_organization_id, row.found_channel_id is not None)
                for row in rows
            ]

    def _keep(self, key: str, connection: Connection | None) -> None:
        now = time.monotonic()
        self._by_key[key] = (now + (KEEP_SECONDS if connection else UNKNOWN_KEEP_SECONDS), connection)
        if len(self._by_key) > KEPT_MAX:
            self._by_key.popitem(last=False)
        if connection is not None:
            self._by_id[connection.id] = (now + KEEP_SECONDS, connection)
            if len(self._by_id) > KEPT_MAX:
                self._by_id.popitem(last=False)

    async def _load(self, tx: Tx, organizations: dict[UUID, UUID]) -> dict[UUID, Connection]:
        if not organizations:
            return {}
        await scope(tx, organizations.values())
        ids = {"ids": sorted(organizations)}
        connections = (await tx.exec_driver_sql("select * from ingest.connections where id = any (%(ids)b)", ids)).all()
        secrets: dict[UUID, list[str]] = {}
        for row in await tx.exec_driver_sql(
            "select connection_id, organization_id, secret_sealed from ingest.connection_secrets"
            " where connection_id = any (%(ids)b) order by id desc",
            ids,
        ):
            secrets.setdefault(row.connection_id, []).append(self._opened(row))
        channels: dict[UUID, dict[str, ChannelInfo]] = {}
        for row in await tx.exec_driver_sql(
            "select id, connection_id, source, inbox_id, board_id, evolution_instance from ingest.channels"
            " where connection_id = any (%(ids)b) and active",
            ids,
        ):
            channels.setdefault(row.connection_id, {})[str(row.inbox_id)] = ChannelInfo(
                channel_id=str(row.id),
                source=Source[row.source],
                board_id=None if row.board_id is None else str(row.board_id),
                evolution_inbox=bool(row.evolution_instance),
            )
        shared = await self._shared_accounts(tx, [row.account_id for row in connections if row.account_id])
        return {
            row.id: Connection(
                id=row.id,
                organization_id=row.organization_id,
                provider=row.provider,
                key=row.connection_key,
                secrets=tuple(secrets.get(row.id, ())),
                legacy_static_secret_end_time=row.legacy_static_secret_end_time,
                context=ConnectionContext(
                    connection_id=str(row.id),
                    channels=channels.get(row.id, {}),
                    account_id=None if row.account_id is None else str(row.account_id),
                    account_shared=row.account_id in shared,
                ),
            )
            for row in connections
        }

    def _opened(self, row: Any) -> str:
        """A webhook secret; where it cannot be opened, one that nobody knows: its connection then takes no webhook
        signed with it, and the others that are looked up with it go on."""
        try:
            opened = self._vault.open(row.secret_sealed, organization_id=row.organization_id, column=SECRET_COLUMN)
        except SealBroken as error:
            logger.warning("connection_secret_unreadable", connection_id=str(row.connection_id), error=str(error))
            return os.urandom(UNKNOWN_SECRET_BYTES).hex()
        return opened.decode()

    async def _shared_accounts(self, tx: Tx, account_ids: Sequence[int]) -> set[int]:
        """The accounts that more than one organization has a connection to."""
        if not account_ids:
            return set()
        rows = await tx.exec_driver_sql(
            "select account_id from unnest(%(ids)b::bigint[]) as wanted (account_id),"
            " ingest.connections_by_account(account_id, null)"
            " group by account_id having count(distinct found_organization_id) > 1",
            {"ids": sorted(set(account_ids))},
        )
        return {account_id for (account_id,) in rows}
