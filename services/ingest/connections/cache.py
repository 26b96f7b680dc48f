"""Which connection a webhook belongs to: by key, or, on the legacy path, which ones it could belong to.

Kept in memory for a few seconds, because every webhook asks; a change is announced over NATS and forgets it at once.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from chassis import streams
from chassis.canonical import Source
from chassis.crypto import KEY_FILE, SealBroken, Vault
from chassis.db import Database, Tx, scope
from services.ingest.connections import lookup_store
from services.ingest.connections.rules import server_of, unsigned_end_time
from services.ingest.normal_form import ChannelInfo, ConnectionContext

KEEP_SECONDS = 5.0
"""How old what is kept may be when the announcement of a change was lost."""
KEPT_MAX = 10_000
UNKNOWN_KEEP_SECONDS = 1.0
"""How long an unknown key stays unknown: whoever guesses keys does not reach the database each time."""
CHANGED_SUBJECT = "prosa.wake.ingest.connections"
SECRET_COLUMN = "connection_secrets.secret"  # noqa: S105 - the name of a column

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Connection:
    """All that accepting and parsing a webhook must know of its connection."""

    id: UUID
    organization_id: UUID
    provider: str
    key: str
    secrets: tuple[str, ...]
    """Live webhook secrets that can be opened, the newest first; at most two."""
    legacy_static_secret_end_time: datetime | None
    unsigned_end_time: datetime
    """Until when unsigned webhooks are accepted on its own address, as long as it has no secret."""
    context: ConnectionContext
    unreadable: bool = False
    """Whether a live secret cannot be opened: what the others do not prove cannot be judged then."""


class ConnectionCache:
    """Finds connections, and forgets them when they change."""

    def __init__(
        self,
        db: Database,
        vault: Vault,
        nats: streams.Client,
        *,
        kept_max: int = KEPT_MAX,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._kept_max, self._monotonic = kept_max, monotonic
        self._db = db
        self._vault = vault
        self._nats = nats
        self._changed = streams.Waker(nats, CHANGED_SUBJECT)
        self._by_key: OrderedDict[str, tuple[float, Connection]] = OrderedDict()
        # What nobody has stands apart: whoever guesses pushes out no genuine key.
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._by_id: OrderedDict[UUID, tuple[float, Connection]] = OrderedDict()
        # By account or organization: the ids of connections with their organizations'.
        self._candidates: OrderedDict[int | UUID, tuple[float, dict[UUID, UUID]]] = OrderedDict()
        self._no_candidates: OrderedDict[int | UUID, tuple[float, dict[UUID, UUID]]] = OrderedDict()

    async def watch(self) -> None:
        """Forgets everything whenever somebody announces a change."""

        async def forget(_message: Any) -> None:
            self._forget()

        await self._nats.listen(CHANGED_SUBJECT, forget)

    def announce_change(self) -> None:
        """Tells every process that connections, secrets or channels have changed; best effort, see KEEP_SECONDS."""
        self._forget()
        self._changed.wake()

    def _forget(self) -> None:
        self._by_key.clear()
        self._unknown.clear()
        self._by_id.clear()
        self._candidates.clear()
        self._no_candidates.clear()

    async def by_keys(self, keys: Collection[str]) -> dict[str, Connection | None]:
        """The connection of each key, or None where there is none."""
        now = self._monotonic()
        found: dict[str, Connection | None] = {}
        missing = []
        for key in set(keys):
            kept = self._by_key.get(key)
            if kept is not None and kept[0] > now:
                found[key] = kept[1]
            elif self._unknown.get(key, now) > now:
                found[key] = None
            else:
                missing.append(key)
        if missing:
            async with self._db.transaction() as tx:
                ids = await lookup_store.find_by_keys(tx, missing)
                loaded = await self._load(tx, dict(ids.values()))
            for key in missing:
                connection = loaded.get(ids[key][0]) if key in ids else None
                found[key] = connection
                self._keep(key, connection)
        return found

    async def by_ids(self, wanted: dict[UUID, UUID]) -> dict[UUID, Connection]:
        """The connections with these ids, given with their organizations."""
        now = self._monotonic()
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

    async def candidates(
        self, account_ids: Collection[int], organization_ids: Collection[UUID]
    ) -> tuple[Mapping[int | None, list[Connection]], Mapping[UUID | None, list[Connection]]]:
        """The Chatwoot connections that each account and each organization could mean, oldest first, within bounds."""
        wanted: set[int | UUID] = {*account_ids, *organization_ids}
        now = self._monotonic()
        found = {
            name: kept[1]
            for kept_of in (self._candidates, self._no_candidates)
            for name in wanted
            if (kept := kept_of.get(name)) is not None and kept[0] > now
        }
        if missing := wanted - found.keys():
            found |= await self._find_candidates(missing)
        connections = await self.by_ids({key: value for ids in found.values() for key, value in ids.items()})
        named = {
            name: [connections[connection_id] for connection_id in ids if connection_id in connections]
            for name, ids in found.items()
        }
        return {name: named[name] for name in account_ids}, {name: named[name] for name in organization_ids}

    async def _find_candidates(self, missing: Collection[int | UUID]) -> dict[int | UUID, dict[UUID, UUID]]:
        found: dict[int | UUID, dict[UUID, UUID]] = {name: {} for name in missing}
        account_ids = sorted(name for name in missing if isinstance(name, int))
        organization_ids = sorted(name for name in missing if isinstance(name, UUID))
        async with self._db.transaction(*organization_ids) as tx:
            if account_ids:
                for account_id, connection_id, holder in await lookup_store.find_of_accounts(tx, account_ids):
                    found[account_id][connection_id] = holder
            if organization_ids:
                for holder, connection_id in await lookup_store.find_of_organizations(tx, organization_ids):
                    found[holder][connection_id] = holder
        now = self._monotonic()
        for name, ids in found.items():
            self._no_candidates.pop(name, None)
            self._keep_last(self._candidates if ids else self._no_candidates, name, (now + _seconds(ids), ids))
        return found

    async def channel_holders(self, organization_id: UUID, account_id: int, inbox_id: int) -> list[Connection]:
        """The organization's connections to an account that have an active channel for the inbox."""
        async with self._db.transaction(organization_id) as tx:
            ids = await lookup_store.find_channel_holders(tx, organization_id, account_id, inbox_id)
        return list((await self.by_ids(dict.fromkeys(ids, organization_id))).values())

    def _keep(self, key: str, connection: Connection | None) -> None:
        until = self._monotonic() + _seconds(connection)
        if connection is None:
            self._by_key.pop(key, None)
            self._keep_last(self._unknown, key, until)
        else:
            self._keep_last(self._by_key, key, (until, connection))
            self._keep_last(self._by_id, connection.id, (until, connection))

    def _keep_last(self, kept: OrderedDict[Any, Any], name: Any, value: Any) -> None:
        """Keeps what was found last; what was found first makes space for it."""
        kept[name] = value
        kept.move_to_end(name)
        if len(kept) > self._kept_max:
            kept.popitem(last=False)

    async def _load(self, tx: Tx, organizations: dict[UUID, UUID]) -> dict[UUID, Connection]:
        if not organizations:
            return {}
        await scope(tx, organizations.values())
        ids = sorted(organizations)
        connections = await lookup_store.read_connections(tx, ids)
        secrets: dict[UUID, list[str]] = {}
        unreadable: set[UUID] = set()
        for row in await lookup_store.read_secrets(tx, ids):
            opened = self._opened(row)
            if opened is None:
                unreadable.add(row.connection_id)
            else:
                secrets.setdefault(row.connection_id, []).append(opened)
        channels: dict[UUID, dict[str, ChannelInfo]] = {}
        for row in await lookup_store.read_active_channels(tx, ids):
            channels.setdefault(row.connection_id, {})[row.provider_channel_id] = ChannelInfo(
                channel_id=str(row.id),
                source=Source[row.source],
                board_id=None if row.board_id is None else str(row.board_id),
                evolution_inbox=bool(row.evolution_instance),
            )
        own_numbers: dict[UUID, set[str]] = {}
        for holder, phone in await lookup_store.read_own_numbers(tx, {row.organization_id for row in connections}):
            own_numbers.setdefault(holder, set()).add(phone)
        shared = await self._sharing(tx, {row.id: server_of(row.base_url) for row in connections if row.account_id})
        return {
            row.id: Connection(
                id=row.id,
                organization_id=row.organization_id,
                provider=row.provider,
                key=row.connection_key,
                secrets=tuple(secrets.get(row.id, ())),
                unreadable=row.id in unreadable,
                legacy_static_secret_end_time=row.legacy_static_secret_end_time,
                unsigned_end_time=unsigned_end_time(None, row.unsigned_end_time, row.create_time),
                context=ConnectionContext(
                    connection_id=str(row.id),
                    channels=channels.get(row.id, {}),
                    account_id=None if row.account_id is None else str(row.account_id),
                    account_shared=row.id in shared,
                    own_numbers=frozenset(own_numbers.get(row.organization_id, ())),
                ),
            )
            for row in connections
        }

    def _opened(self, row: Any) -> str | None:
        """A webhook secret, or None where it cannot be opened: the others that are looked up with it go on."""
        try:
            opened = self._vault.open(row.secret_sealed, organization_id=row.organization_id, column=SECRET_COLUMN)
        except SealBroken as error:
            # Of this connection alone: its webhooks are answered 503, and all the others go on. A process whose keys
            # are not those of its installation does not start at all, see chassis.keys.
            logger.warning(
                "connection_secret_unreadable",
                connection_id=str(row.connection_id),
                organization_id=str(row.organization_id),
                error=str(error),
                advice=(
                    f"Put the {KEY_FILE} back that it was sealed with, or add the webhook's secret anew:"
                    " prosa connection add-secret"
                ),
            )
            return None
        return opened.decode()

    async def _sharing(self, tx: Tx, servers: dict[UUID, str]) -> set[UUID]:
        """The connections whose account another organization has proved to have on the same server.

        What is only claimed counts for nothing: whoever types in a number and an address must not change what becomes
        of another organization's contacts.
        """
        named = {connection_id: server for connection_id, server in servers.items() if server}
        return await lookup_store.find_sharing(tx, named) if named else set()


def _seconds(found: object) -> float:
    return KEEP_SECONDS if found else UNKNOWN_KEEP_SECONDS
