"""Tables and SQL of connections, their secrets and channels; the transaction is the first argument."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx, refused_by
from chassis.errors import AlreadyExists
from services.ingest.limits import LAST_EVENT_SCAN_MAX, TAKEN_IN_SCAN_MAX

ACCESS_TOKEN_COLUMN = "connections.access_token"  # noqa: S105 - the name of a column


@dataclass(frozen=True, slots=True)
class Connection:
    """A row of ``connections`` with how many secrets are live."""

    id: UUID
    organization_id: UUID
    provider: str
    name: str
    connection_key: str
    account_id: int | None
    base_url: str
    access_token_sealed: bytes | None
    legacy_static_secret_end_time: datetime | None
    create_time: datetime
    proved_server: str | None = None
    """The server that said that the kept token is its account's administrator's."""
    unsigned_end_time: datetime | None = None
    """None where a process of an older release made the row."""
    last_unsigned_time: datetime | None = None
    secret_count: int = 0
    version: int = 1


@dataclass(frozen=True, slots=True)
class Channel:
    """A row of ``channels``."""

    id: UUID
    organization_id: UUID
    connection_id: UUID
    name: str
    source: str
    provider_channel_id: str
    """Its key at the provider; of Chatwoot, the inbox's number."""
    inbox_id: int | None
    """The same as a number, None where the provider's keys are none."""
    board_id: UUID | None
    active: bool
    evolution_instance: str
    create_time: datetime
    version: int = 1


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """A row of ``connection_secrets``."""

    id: UUID
    secret_sealed: bytes


@dataclass(frozen=True, slots=True)
class ChannelFilter:
    """Which channels a list is to answer; None leaves a condition out."""

    connection_id: UUID | None = None
    source: str | None = None
    provider_channel_id: str | None = None
    active_only: bool = False


_CONNECTION = (
    "select id, organization_id, provider, name, connection_key, account_id, base_url, access_token_sealed,"
    " legacy_static_secret_end_time, create_time, proved_server,"
    " unsigned_end_time, last_unsigned_time, version,"
    " (select count(*) from ingest.connection_secrets secret"
    " where secret.organization_id = connection.organization_id and secret.connection_id = connection.id)"
    " as secret_count from ingest.connections connection"
)
_CHANNEL = (
    "select id, organization_id, connection_id, name, source, provider_channel_id, inbox_id, board_id, active,"
    " evolution_instance, create_time, version from ingest.channels"
)


async def insert_connection(tx: Tx, connection: Connection) -> None:
    """Writes a new one. Raises AlreadyExists CONNECTION_NAME_TAKEN."""
    await _write(
        tx,
        "insert into ingest.connections (id, organization_id, provider, name, connection_key, account_id, base_url,"
        " access_token_sealed, legacy_static_secret_end_time, unsigned_end_time, create_time)"
        " values (%(id)s, %(organization_id)s, %(provider)s, %(name)s, %(connection_key)s, %(account_id)s,"
        " %(base_url)s, %(access_token_sealed)s, %(legacy_static_secret_end_time)s, %(unsigned_end_time)s,"
        " %(create_time)s)",
        connection,
    )


async def update_connection(tx: Tx, connection: Connection) -> None:
    """Writes what may change of one that is locked. Raises AlreadyExists CONNECTION_NAME_TAKEN."""
    await _write(
        tx,
        "update ingest.connections set name = %(name)s, account_id = %(account_id)s, base_url = %(base_url)s,"
        " access_token_sealed = %(access_token_sealed)s,"
        " legacy_static_secret_end_time = %(legacy_static_secret_end_time)s, proved_server = %(proved_server)s,"
        " unsigned_end_time = %(unsigned_end_time)s, version = %(version)s"
        " where organization_id = %(organization_id)s and id = %(id)s",
        connection,
    )


async def _write(tx: Tx, statement: str, connection: Connection) -> None:
    taken = AlreadyExists(
        "CONNECTION_NAME_TAKEN",
        f'The organization has another connection named "{connection.name}". Choose another name.',
    )
    with refused_by("connections_name", taken):
        await tx.execute(statement, {field.name: getattr(connection, field.name) for field in fields(connection)})


async def prove_account(tx: Tx, connection: Connection, server: str) -> bool:
    """Keeps that a server answered for the connection's account; False where it is kept, or the connection changed."""
    found = await tx.execute(
        "update ingest.connections set proved_server = %(server)s where organization_id = %(organization_id)s"
        " and id = %(id)s and version = %(version)s and proved_server is distinct from %(server)s returning 1",
        {
            "server": server,
            "organization_id": connection.organization_id,
            "id": connection.id,
            "version": connection.version,
        },
    )
    return found.first() is not None


async def find_connection(
    tx: Tx, organization_id: UUID, connection_id: UUID, *, lock: bool = False
) -> Connection | None:
    """One of the organization's connections; with ``lock`` its row is held until commit."""
    found = await tx.execute(
        f"{_CONNECTION} where organization_id = %(organization_id)s and id = %(id)s {'for update' if lock else ''}",
        {"organization_id": organization_id, "id": connection_id},
    )
    row = found.first()
    return None if row is None else _connection(row)


async def list_connections(tx: Tx, organization_id: UUID, before: UUID | None, limit: int) -> list[Connection]:
    """The organization's connections, newest first."""
    found = await tx.execute(
        f"{_CONNECTION} where organization_id = %(organization_id)s"
        f" {'' if before is None else 'and id < %(before)s'} order by id desc limit %(limit)s",
        {"organization_id": organization_id, "before": before, "limit": limit},
    )
    return [_connection(row) for row in found]


async def insert_secret(
    tx: Tx, organization_id: UUID, connection_id: UUID, secret: SealedSecret, create_time: datetime
) -> None:
    """Writes a webhook secret."""
    await tx.execute(
        "insert into ingest.connection_secrets (id, organization_id, connection_id, secret_sealed, create_time)"
        " values (%(id)s, %(organization_id)s, %(connection_id)s, %(secret_sealed)s, %(create_time)s)",
        {
            "id": secret.id,
            "organization_id": organization_id,
            "connection_id": connection_id,
            "secret_sealed": secret.secret_sealed,
            "create_time": create_time,
        },
    )


async def list_secrets(tx: Tx, organization_id: UUID, connection_id: UUID) -> list[SealedSecret]:
    """The connection's webhook secrets, newest first."""
    found = await tx.execute(
        "select id, secret_sealed from ingest.connection_secrets where organization_id = %(organization_id)s"
        " and connection_id = %(connection_id)s order by id desc",
        {"organization_id": organization_id, "connection_id": connection_id},
    )
    return [SealedSecret(row.id, bytes(row.secret_sealed)) for row in found]


async def delete_secrets(tx: Tx, organization_id: UUID, secret_ids: Sequence[UUID]) -> None:
    """Forgets webhook secrets."""
    await tx.execute(
        "delete from ingest.connection_secrets where organization_id = %(organization_id)s and id = any (%(ids)b)",
        {"organization_id": organization_id, "ids": list(secret_ids)},
    )


async def count_channels(tx: Tx, organization_id: UUID, connection_id: UUID) -> int:
    """How many channels the connection has."""
    found = await tx.execute(
        "select count(*) from ingest.channels where organization_id = %(organization_id)s"
        " and connection_id = %(connection_id)s",
        {"organization_id": organization_id, "connection_id": connection_id},
    )
    return int(found.scalar_one())


async def insert_channel(tx: Tx, channel: Channel) -> None:
    """Writes a channel; its connection may have no other of the same key."""
    await tx.execute(
        "insert into ingest.channels (id, organization_id, connection_id, name, source, provider_channel_id, inbox_id,"
        " board_id, active, evolution_instance, create_time) values (%(id)s, %(organization_id)s, %(connection_id)s,"
        " %(name)s, %(source)s, %(provider_channel_id)s, %(inbox_id)s, %(board_id)s, %(active)s,"
        " %(evolution_instance)s, %(create_time)s)",
        {
            "id": channel.id,
            "organization_id": channel.organization_id,
            "connection_id": channel.connection_id,
            "name": channel.name,
            "source": channel.source,
            "provider_channel_id": channel.provider_channel_id,
            "inbox_id": channel.inbox_id,
            "board_id": channel.board_id,
            "active": channel.active,
            "evolution_instance": channel.evolution_instance,
            "create_time": channel.create_time,
        },
    )


async def update_channel(tx: Tx, channel: Channel) -> None:
    """Writes what may change of a channel; no other one of its connection may have the key."""
    await tx.execute(
        "update ingest.channels set name = %(name)s, source = %(source)s,"
        " provider_channel_id = %(provider_channel_id)s, inbox_id = %(inbox_id)s, board_id = %(board_id)s,"
        " active = %(active)s, evolution_instance = %(evolution_instance)s, version = %(version)s"
        " where organization_id = %(organization_id)s and id = %(id)s",
        {
            "id": channel.id,
            "organization_id": channel.organization_id,
            "name": channel.name,
            "source": channel.source,
            "provider_channel_id": channel.provider_channel_id,
            "inbox_id": channel.inbox_id,
            "board_id": channel.board_id,
            "active": channel.active,
            "evolution_instance": channel.evolution_instance,
            "version": channel.version,
        },
    )


async def find_channel(tx: Tx, organization_id: UUID, connection_id: UUID, channel_id: UUID) -> Channel | None:
    """One of the connection's channels; who holds the connection's row holds it too."""
    found = await tx.execute(
        f"{_CHANNEL} where organization_id = %(organization_id)s and connection_id = %(connection_id)s and id = %(id)s",
        {"organization_id": organization_id, "connection_id": connection_id, "id": channel_id},
    )
    row = found.first()
    return None if row is None else _channel(row)


async def list_channels(
    tx: Tx, organization_id: UUID, wanted: ChannelFilter, after: UUID | None, limit: int
) -> list[Channel]:
    """The organization's channels that match, oldest first."""
    conditions = ["organization_id = %(organization_id)s"]
    if wanted.connection_id is not None:
        conditions.append("connection_id = %(connection_id)s")
    if wanted.source is not None:
        conditions.append("source = %(source)s")
    if wanted.provider_channel_id is not None:
        conditions.append("provider_channel_id = %(provider_channel_id)s")
    if wanted.active_only:
        conditions.append("active")
    if after is not None:
        conditions.append("id > %(after)s")
    found = await tx.execute(
        f"{_CHANNEL} where {' and '.join(conditions)} order by id limit %(limit)s",
        {
            "organization_id": organization_id,
            "connection_id": wanted.connection_id,
            "source": wanted.source,
            "provider_channel_id": wanted.provider_channel_id,
            "after": after,
            "limit": limit,
        },
    )
    return [_channel(row) for row in found]


async def channels_of(tx: Tx, organization_id: UUID, connection_ids: Sequence[UUID]) -> dict[UUID, list[Channel]]:
    """The channels of each connection, oldest first."""
    if not connection_ids:
        return {}
    found = await tx.execute(
        f"{_CHANNEL} where organization_id = %(organization_id)s and connection_id = any (%(ids)b) order by id",
        {"organization_id": organization_id, "ids": list(connection_ids)},
    )
    channels: dict[UUID, list[Channel]] = {}
    for row in found:
        channels.setdefault(row.connection_id, []).append(_channel(row))
    return channels


async def last_event_time(tx: Tx, organization_id: UUID, connection_id: UUID) -> datetime | None:
    """When the connection's last webhook event arrived.

    Looks through LAST_EVENT_SCAN_MAX of the organization's, and where it is not among them, through TAKEN_IN_SCAN_MAX
    of its own that are kept.
    """
    found = await tx.execute(
        "select coalesce((select max(receive_time) from (select connection_id, receive_time from ingest.webhook_events"
        " where organization_id = %(organization_id)s order by id desc limit %(limit)s) newest"
        " where connection_id = %(connection_id)s), (select max(receive_time) from (select receive_time"
        " from ingest.delivery_keys where organization_id = %(organization_id)s and connection_id = %(connection_id)s"
        " limit %(own_limit)s) own))",
        {
            "organization_id": organization_id,
            "connection_id": connection_id,
            "limit": LAST_EVENT_SCAN_MAX,
            "own_limit": TAKEN_IN_SCAN_MAX,
        },
    )
    moment: datetime | None = found.scalar_one()
    return moment


async def messages_taken_in(tx: Tx, organization_id: UUID, connection_id: UUID, message_event: str) -> bool:
    """Whether a message came in over the connection, among TAKEN_IN_SCAN_MAX of the events that are kept.

    Messages alone tell: they always name their account, and those of a foreign one are ignored. Conversations name it
    only since Chatwoot 4.14.2.
    """
    found = await tx.execute(
        "select exists (select from (select webhook_event_id, receive_time from ingest.delivery_keys"
        " where organization_id = %(organization_id)s and connection_id = %(connection_id)s limit %(limit)s) kept"
        " join ingest.webhook_events event"
        " on event.id = kept.webhook_event_id and event.receive_time = kept.receive_time"
        " where event.organization_id = %(organization_id)s and event.event = %(message_event)s"
        " and event.state = 'PROCESSED')",
        {
            "organization_id": organization_id,
            "connection_id": connection_id,
            "message_event": message_event,
            "limit": TAKEN_IN_SCAN_MAX,
        },
    )
    return bool(found.scalar_one())


def _connection(row: Any) -> Connection:
    sealed = row.access_token_sealed
    return Connection(
        id=row.id,
        organization_id=row.organization_id,
        provider=row.provider,
        name=row.name,
        connection_key=row.connection_key,
        account_id=row.account_id,
        base_url=row.base_url,
        access_token_sealed=None if sealed is None else bytes(sealed),
        legacy_static_secret_end_time=row.legacy_static_secret_end_time,
        create_time=row.create_time,
        proved_server=row.proved_server,
        unsigned_end_time=row.unsigned_end_time,
        last_unsigned_time=row.last_unsigned_time,
        secret_count=row.secret_count,
        version=row.version,
    )


def _channel(row: Any) -> Channel:
    return Channel(
        id=row.id,
        organization_id=row.organization_id,
        connection_id=row.connection_id,
        name=row.name,
        source=row.source,
        provider_channel_id=row.provider_channel_id,
        inbox_id=row.inbox_id,
        board_id=row.board_id,
        active=row.active,
        evolution_instance=row.evolution_instance,
        create_time=row.create_time,
        version=row.version,
    )


async def note_unsigned(tx: Tx, connection_ids: Sequence[UUID], now: datetime) -> None:
    """Notes that connections took an unsigned webhook."""
    await tx.execute(
        "update ingest.connections set last_unsigned_time = %(now)s where id = any (%(ids)b)",
        {"now": now, "ids": connection_ids},
    )
