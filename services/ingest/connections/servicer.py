"""ConnectionService: translate, call, translate."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

import grpc

from chassis import auth, wire
from chassis.canonical import Source
from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Database, Tx
from chassis.errors import InvalidArgument, NotFound, ProsaError
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.outgoing import Outgoing
from chassis.paging import read_page
from chassis.references import Check
from prosa.ingest.v1 import connection_service_pb2 as pb
from prosa.ingest.v1 import connection_service_pb2_grpc as pb_grpc
from prosa.ingest.v1 import ingest_service_pb2
from services.ingest.connections import channels, messages, rules, store
from services.ingest.connections.accounts import Accounts
from services.ingest.connections.addresses import number_address
from services.ingest.connections.cache import SECRET_COLUMN
from services.ingest.connections.check import Checked, Checks, Declared, Kept
from services.ingest.connections.numbers import number_item
from services.ingest.connections.secrets import open_secrets, readable_secrets
from services.ingest.connections.store import ACCESS_TOKEN_COLUMN, Channel, ChannelFilter, Connection, SealedSecret
from services.ingest.providers import PROVIDERS, by_number
from services.ingest.providers.provider import Provider

if TYPE_CHECKING:
    from prosa.conversation.v1.instance_service_pb2_grpc import InstanceServiceAsyncStub

CONNECTION_KEY_BYTES = 24
"""Of randomness; 32 characters in the webhook's path."""
# What an update may change, as rows and requests call it, and what the contract calls the token that is sealed.
CONNECTION_FIELDS: Final = (
    *("name", "account_id", "base_url", "access_token_sealed"),
    *("legacy_static_secret_end_time", "unsigned_end_time"),
)
CHANNEL_FIELDS: Final = ("name", "source", "inbox_id", "board_id", "evolution_instance", "active")


def draw_connection_key() -> str:
    """32 URL-safe characters that nobody guesses."""
    return secrets.token_urlsafe(CONNECTION_KEY_BYTES)


class ConnectionServicer(pb_grpc.ConnectionServiceServicer):
    """Connections with their secrets, and the channels behind them, of one organization."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        vault: Vault,
        clock: Clock,
        ids: Ids,
        changed: Callable[[], None],
        outgoing: Outgoing,
        check_board: Check,
        accounts: Accounts,
        begin: Callable[[pb.CreateInstanceRequest], Awaitable[pb.CreateInstanceResponse]],
        instances: InstanceServiceAsyncStub,
        draw_key: Callable[[], str] = draw_connection_key,
    ) -> None:
        """``changed`` is called after the commit of anything that alters which webhooks are accepted, and how."""
        self._db, self._outbox, self._idempotency, self._vault = db, outbox, idempotency, vault
        self._clock, self._ids, self._changed = clock, ids, changed
        self._outgoing, self._check_board, self._draw_key = outgoing, check_board, draw_key
        self._accounts = accounts
        self._begin, self._instances = begin, instances
        self._checks = Checks()

    async def CreateConnection(
        self,
        request: pb.CreateConnectionRequest,
        context: grpc.aio.ServicerContext[pb.CreateConnectionRequest, pb.Connection],
    ) -> pb.Connection:
        organization_id, now = auth.organization_id(), self._clock.now()
        secret, provider = rules.webhook_secret(request.webhook_secret), _provider(request.provider)
        connection = Connection(
            id=self._ids.new(),
            organization_id=organization_id,
            provider=provider.name,
            name=rules.readable_name(request.name),
            connection_key=self._draw_key(),
            account_id=provider.connection_rules.account_id(request.account_id),
            base_url=rules.base_url(request.base_url),
            access_token_sealed=self._seal(organization_id, ACCESS_TOKEN_COLUMN, request.access_token.strip()),
            legacy_static_secret_end_time=_time(request, "legacy_static_secret_end_time"),
            unsigned_end_time=rules.unsigned_end_time(_time(request, "unsigned_end_time"), None, now),
            create_time=now,
            secret_count=1 if secret else 0,
        )

        async def create(tx: Tx) -> pb.Connection:
            await store.insert_connection(tx, connection)
            sealed = self._seal(organization_id, SECRET_COLUMN, secret)
            if sealed is not None:
                await store.insert_secret(
                    tx, organization_id, connection.id, SealedSecret(self._ids.new(), sealed), now
                )
            answer = messages.connection_message(connection, [])
            await self._outbox.add(tx, [messages.connection_created(connection)], now)
            await self._accounts.put(tx, connection, now)
            tx.after_commit(self._changed)
            return answer

        return await self._idempotency.once(self._db, organization_id, request, pb.Connection, now, create)

    async def GetConnection(
        self,
        request: pb.GetConnectionRequest,
        context: grpc.aio.ServicerContext[pb.GetConnectionRequest, pb.Connection],
    ) -> pb.Connection:
        organization_id = auth.organization_id()
        connection_id = wire.to_uuid("connection_id", request.connection_id)
        async with self._db.transaction(organization_id) as tx:
            return await self._read(tx, organization_id, connection_id)

    async def ListConnections(
        self,
        request: pb.ListConnectionsRequest,
        context: grpc.aio.ServicerContext[pb.ListConnectionsRequest, pb.ListConnectionsResponse],
    ) -> pb.ListConnectionsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        before = page.after_id()
        async with self._db.transaction(organization_id) as tx:
            connections = await store.list_connections(tx, organization_id, before, page.size + 1)
            shown, token = page.cut(connections, lambda connection: (connection.id,))
            behind = await store.channels_of(tx, organization_id, [connection.id for connection in shown])
        return pb.ListConnectionsResponse(
            connections=[
                messages.connection_message(connection, behind.get(connection.id, ())) for connection in shown
            ],
            next_page_token=token,
        )

    async def UpdateConnection(
        self,
        request: pb.UpdateConnectionRequest,
        context: grpc.aio.ServicerContext[pb.UpdateConnectionRequest, pb.Connection],
    ) -> pb.Connection:
        organization_id, now = auth.organization_id(), self._clock.now()
        connection_id = wire.to_uuid("connection_id", request.connection_id)
        rules.something_named([field.name for field, _ in request.ListFields()])

        async def update(tx: Tx) -> pb.Connection:
            before = await store.find_connection(tx, organization_id, connection_id, lock=True)
            if before is None:
                raise _no_connection()
            rules.etag_fresh(request.etag, before.version)
            after = self._changed_connection(before, request, now)
            fields = rules.changed_fields(before, after, CONNECTION_FIELDS)
            if fields:
                if "account_id" in fields:
                    await self._leave_account(tx, before)
                await store.update_connection(tx, after)
                named = [field.removesuffix("_sealed") for field in fields]
                await self._outbox.add(tx, [messages.connection_updated(after, named)], now)
                await self._accounts.put(tx, after, now)
                tx.after_commit(self._changed)
            return await self._read(tx, organization_id, connection_id)

        return await self._idempotency.once(self._db, organization_id, request, pb.Connection, now, update)

    async def AddWebhookSecret(
        self,
        request: pb.AddWebhookSecretRequest,
        context: grpc.aio.ServicerContext[pb.AddWebhookSecretRequest, pb.Connection],
    ) -> pb.Connection:
        organization_id, now = auth.organization_id(), self._clock.now()
        connection_id = wire.to_uuid("connection_id", request.connection_id)
        added = rules.webhook_secret(request.webhook_secret)

        async def add(tx: Tx) -> pb.Connection:
            # The lock makes two that add at the same moment see each other's secret.
            if await store.find_connection(tx, organization_id, connection_id, lock=True) is None:
                raise _no_connection()
            # One that cannot be opened proves nothing, and as long as it is there nothing else is refused: it goes.
            live, broken = await readable_secrets(tx, self._vault, organization_id, connection_id)
            superseded = rules.superseded_secrets(live, added, only=request.only)
            await store.delete_secrets(tx, organization_id, [*superseded, *broken])
            sealed = self._vault.seal(added.encode(), organization_id=organization_id, column=SECRET_COLUMN)
            await store.insert_secret(tx, organization_id, connection_id, SealedSecret(self._ids.new(), sealed), now)
            answer = await self._read(tx, organization_id, connection_id)
            tx.after_commit(self._changed)
            return answer

        return await self._idempotency.once(self._db, organization_id, request, pb.Connection, now, add)

    async def CreateInstance(
        self,
        request: pb.CreateInstanceRequest,
        context: grpc.aio.ServicerContext[pb.CreateInstanceRequest, pb.CreateInstanceResponse],
    ) -> pb.CreateInstanceResponse:
        return await self._begin(request)

    async def CreateChannel(
        self, request: pb.CreateChannelRequest, context: grpc.aio.ServicerContext[pb.CreateChannelRequest, pb.Channel]
    ) -> pb.Channel:
        organization_id, now = auth.organization_id(), self._clock.now()
        channel = Channel(
            id=self._ids.new(),
            organization_id=organization_id,
            connection_id=wire.to_uuid("connection_id", request.connection_id),
            name=rules.readable_name(request.name),
            source=channels.source_name(request.source),
            provider_channel_id=str(request.inbox_id),
            inbox_id=request.inbox_id,
            board_id=wire.to_optional_uuid("board_id", request.board_id),
            active=True,
            evolution_instance=channels.instance_name(request.evolution_instance),
            create_time=now,
        )
        if channel.board_id is not None:
            await self._check_board(organization_id, channel.board_id)

        async def create(tx: Tx) -> pb.Channel:
            # The lock keeps the count of channels true, and each inbox with one of them.
            if await store.find_connection(tx, organization_id, channel.connection_id, lock=True) is None:
                raise _no_connection()
            await channels.insert(tx, channel)
            answer = messages.channel_message(channel)
            await self._outbox.add(tx, [messages.channel_created(channel)], now)
            tx.after_commit(self._changed)
            return answer

        return await self._idempotency.once(self._db, organization_id, request, pb.Channel, now, create)

    async def UpdateChannel(
        self, request: pb.UpdateChannelRequest, context: grpc.aio.ServicerContext[pb.UpdateChannelRequest, pb.Channel]
    ) -> pb.Channel:
        organization_id, now = auth.organization_id(), self._clock.now()
        connection_id = wire.to_uuid("connection_id", request.connection_id)
        channel_id = wire.to_uuid("channel_id", request.channel_id)
        rules.something_named([field.name for field, _ in request.ListFields()])
        board_id = wire.to_optional_uuid("board_id", request.board_id)
        if board_id is not None:
            await self._check_board(organization_id, board_id)

        async def update(tx: Tx) -> pb.Channel:
            # The lock lets nobody else take the inbox meanwhile.
            if await store.find_connection(tx, organization_id, connection_id, lock=True) is None:
                raise _no_connection()
            before = await store.find_channel(tx, organization_id, connection_id, channel_id)
            if before is None:
                raise NotFound("CHANNEL_NOT_FOUND", "The connection has no such channel. List its channels.")
            rules.etag_fresh(request.etag, before.version)
            after = channels.changed(before, request)
            fields = rules.changed_fields(before, after, CHANNEL_FIELDS)
            if fields:
                if "inbox_id" in fields and (holder := await channels.of_inbox(tx, after)) is not None:
                    raise channels.inbox_taken(holder)
                await store.update_channel(tx, after)
                await self._outbox.add(tx, [messages.channel_updated(after, fields)], now)
                tx.after_commit(self._changed)
            else:
                after = before
            return messages.channel_message(after)

        return await self._idempotency.once(self._db, organization_id, request, pb.Channel, now, update)

    async def ListChannels(
        self,
        request: pb.ListChannelsRequest,
        context: grpc.aio.ServicerContext[pb.ListChannelsRequest, pb.ListChannelsResponse],
    ) -> pb.ListChannelsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        wanted = ChannelFilter(
            connection_id=wire.to_optional_uuid("connection_id", request.connection_id),
            source=channels.source_name(request.source) if request.source else None,
            provider_channel_id=str(request.inbox_id) if request.inbox_id else None,
            active_only=request.find_one,
        )
        async with self._db.transaction(organization_id) as tx:
            if request.find_one:
                return pb.ListChannelsResponse(channels=[await channels.find_one(tx, organization_id, wanted)])
            after = page.after_id()
            found = await store.list_channels(tx, organization_id, wanted, after, page.size + 1)
            if not found and wanted.connection_id is not None:
                await self._read(tx, organization_id, wanted.connection_id)
        shown, token = page.cut(found, lambda channel: (channel.id,))
        return pb.ListChannelsResponse(
            channels=[messages.channel_message(channel) for channel in shown], next_page_token=token
        )

    async def CheckConnection(
        self,
        request: pb.CheckConnectionRequest,
        context: grpc.aio.ServicerContext[pb.CheckConnectionRequest, pb.CheckConnectionResponse],
    ) -> pb.CheckConnectionResponse:
        connection_id = wire.to_uuid("connection_id", request.connection_id)
        return messages.check_message((await self.check(auth.organization_id(), connection_id)).items)

    async def check(self, organization_id: UUID, connection_id: UUID) -> Checked:
        """What the provider of a connection says to what is kept. Raises NotFound and ResourceExhausted."""
        async with self._db.transaction(organization_id) as tx:
            connection = await store.find_connection(tx, organization_id, connection_id)
            if connection is None:
                raise _no_connection()
            live = await open_secrets(tx, self._vault, organization_id, connection_id)
            declared = await store.channels_of(tx, organization_id, [connection_id])
            last_event_time = await store.last_event_time(tx, organization_id, connection_id)
        kept = Kept(
            account_id=connection.account_id,
            base_url=connection.base_url,
            access_token=self._access_token(connection),
            webhook_path=messages.webhook_path(connection),
            secrets=tuple(live.values()),
            unsigned_end_time=messages.unsigned_end_time(connection),
            channels=tuple(
                Declared(channel.name, Source[channel.source], channel.provider_channel_id)
                for channel in declared.get(connection_id, ())
                if channel.active
            ),
            last_event_time=last_event_time,
        )
        # The provider is asked outside of the transaction: it may take seconds.
        with self._checks.begun(organization_id):
            checked = await _provider_of(connection).check(self._outgoing, kept)
            if _provider_of(connection).connection_rules.by_instance:
                number = await number_item(self._instances, organization_id, connection_id)
                checked = replace(checked, items=[number, *checked.items])
        if checked.account_proved:
            await self._prove_account(connection)
        return checked

    async def _prove_account(self, connection: Connection) -> None:
        """Keeps that the connection's server answered for its account."""
        async with self._db.transaction(connection.organization_id) as tx:
            proved = await store.prove_account(tx, connection, rules.server_of(connection.base_url))
            if proved:
                tx.after_commit(self._changed)

    async def _read(self, tx: Tx, organization_id: UUID, connection_id: UUID) -> pb.Connection:
        connection = await store.find_connection(tx, organization_id, connection_id)
        if connection is None:
            raise _no_connection()
        behind = await store.channels_of(tx, organization_id, [connection_id])
        return messages.connection_message(connection, behind.get(connection_id, ()))

    def _changed_connection(self, before: Connection, request: pb.UpdateConnectionRequest, now: datetime) -> Connection:
        """The connection as the request wants it, one version on."""
        after = replace(before, version=before.version + 1)
        token = request.access_token.strip()
        if request.HasField("name"):
            after = replace(after, name=rules.readable_name(request.name))
        if request.HasField("account_id"):
            after = replace(after, account_id=_provider_of(before).connection_rules.account_id(request.account_id))
        if request.HasField("base_url"):
            by_instance = _provider_of(before).connection_rules.by_instance
            wanted = number_address(request.base_url, self._outgoing) if by_instance else None
            after = replace(after, base_url=wanted or rules.base_url(request.base_url))
            if before.access_token_sealed is not None and not token:
                rules.token_stays_home(before.base_url, after.base_url)
        # The same token sealed anew would look like another one.
        if token and token != self._access_token(before):
            sealed = self._seal(before.organization_id, ACCESS_TOKEN_COLUMN, token)
            after = replace(after, access_token_sealed=sealed)
        if (end_time := _time(request, "legacy_static_secret_end_time")) is not None:
            after = replace(after, legacy_static_secret_end_time=end_time)
        if (end_time := _time(request, "unsigned_end_time")) is not None:
            end_time = rules.unsigned_end_time(end_time, before.unsigned_end_time, now)
            after = replace(after, unsigned_end_time=end_time)
        if (after.account_id, after.base_url) != (before.account_id, before.base_url):
            after = replace(after, proved_server=None)
        return after

    async def _leave_account(self, tx: Tx, connection: Connection) -> None:
        if connection.account_id is not None and await store.messages_taken_in(
            tx, connection.organization_id, connection.id, _provider_of(connection).connection_rules.message_event
        ):
            raise rules.account_in_use(connection.account_id)

    def _access_token(self, connection: Connection) -> str:
        if connection.access_token_sealed is None:
            return ""
        return self._vault.open(
            connection.access_token_sealed, organization_id=connection.organization_id, column=ACCESS_TOKEN_COLUMN
        ).decode()

    def _seal(self, organization_id: UUID, column: str, value: str) -> bytes | None:
        return self._vault.seal(value.encode(), organization_id=organization_id, column=column) if value else None


def _time(request: pb.CreateConnectionRequest | pb.UpdateConnectionRequest, name: str) -> datetime | None:
    """The time in a field, None where it was not sent."""
    return wire.from_timestamp(getattr(request, name)) if request.HasField(name) else None  # type: ignore[arg-type]


def _no_connection() -> ProsaError:
    return NotFound("CONNECTION_NOT_FOUND", "The organization has no such connection.")


def _provider(number: ingest_service_pb2.Provider.ValueType) -> Provider:
    """The provider of a new connection: the one that is named, Chatwoot where none is."""
    provider = by_number(number or ingest_service_pb2.PROVIDER_CHATWOOT)
    if provider is None:
        supported = [known.name for known in PROVIDERS.values() if not known.connection_rules.unsupported]
        raise InvalidArgument("PROVIDER_UNKNOWN", f"provider must be {' or '.join(supported)}.")
    if provider.connection_rules.unsupported:
        raise InvalidArgument("PROVIDER_UNSUPPORTED", provider.connection_rules.unsupported)
    return provider


def _provider_of(connection: Connection) -> Provider:
    provider = PROVIDERS.get(connection.provider)
    if provider is None:
        raise InvalidArgument("PROVIDER_UNKNOWN", f"This release knows no provider {connection.provider}.")
    return provider
