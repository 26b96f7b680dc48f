"""Telling conversation what connections send with: it keeps their address and token, to send by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

import grpc

from chassis.crypto import Vault
from chassis.db import Database, Tx
from chassis.errors import from_status
from chassis.queues.items import Done, Item, Outcome, Place
from chassis.queues.queue import Queue
from chassis.queues.worker import Fence, Handler
from chassis.rpc import error_of, for_organization
from prosa.conversation.v1 import delivery_service_pb2 as pb
from prosa.conversation.v1 import instance_service_pb2 as instance_pb
from services.ingest.connections import store
from services.ingest.connections.store import ACCESS_TOKEN_COLUMN, Connection
from services.ingest.providers import PROVIDERS

if TYPE_CHECKING:
    from prosa.conversation.v1.delivery_service_pb2_grpc import DeliveryServiceAsyncStub
    from prosa.conversation.v1.instance_service_pb2_grpc import InstanceServiceAsyncStub

ACCOUNTS = Queue("account_queue", "ingest")
"""One item for each connection of which conversation is to be told, whose id it has."""
TELL_SECONDS = 10.0


class Accounts:
    """Which connections conversation is to be told of."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    async def put(self, tx: Tx, connection: Connection, now: datetime) -> None:
        """Has conversation told of a connection as it is when this is committed, in the transaction that changes it."""
        # One that is being told of just now may be told of as it was: it takes a place anew.
        await self._queue.remove(tx, [connection.id])
        await self._queue.put(tx, [Place(connection.id, connection.organization_id, str(connection.id))], now)


class AccountHandler(Handler[Item]):
    """Tells conversation."""

    def __init__(
        self, db: Database, vault: Vault, conversation: DeliveryServiceAsyncStub, instances: InstanceServiceAsyncStub
    ) -> None:
        self._db, self._vault, self._conversation, self._instances = db, vault, conversation, instances

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """Tells of each as it is now."""
        async with self._db.transaction(*{item.organization_id for item in items}) as tx:
            found = {
                item.item_id: await store.find_connection(tx, item.organization_id, item.item_id) for item in items
            }
        known = {place: connection for place, connection in found.items() if connection is not None}
        # A number's instance has a token of its own, which conversation drew itself: it keeps whom to ask apart.
        await self._tell({place: one for place, one in known.items() if not _by_instance(one)})
        for connection in known.values():
            if _by_instance(connection):
                await self._correct(connection)
        return [Done(item) for item in items]

    async def _correct(self, connection: Connection) -> None:
        request = instance_pb.ChangeInstanceAccessRequest(
            connection_id=str(connection.id),
            base_url=connection.base_url,
            access_token=self._token(connection),
            version=connection.version,
        )
        try:
            await self._instances.ChangeInstanceAccess(
                request, timeout=TELL_SECONDS, metadata=for_organization(connection.organization_id)
            )
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error

    async def _tell(self, connections: Mapping[UUID, Connection]) -> None:
        if not connections:
            return
        request = pb.BatchPutProviderAccountsRequest(provider_accounts=map(self._account, connections.values()))
        try:
            answer = await self._conversation.BatchPutProviderAccounts(request, timeout=TELL_SECONDS)
        except grpc.aio.AioRpcError as error:
            raise error_of(error) from error
        for status in answer.results:
            if status.code:
                raise from_status(status)

    def _account(self, connection: Connection) -> pb.ProviderAccount:
        return pb.ProviderAccount(
            organization_id=str(connection.organization_id),
            connection_id=str(connection.id),
            provider=connection.provider,
            base_url=connection.base_url,
            provider_account_id=str(connection.account_id or ""),
            access_token=self._token(connection),
            version=connection.version,
        )

    def _token(self, connection: Connection) -> str:
        if connection.access_token_sealed is None:
            return ""
        return self._vault.open(
            connection.access_token_sealed, organization_id=connection.organization_id, column=ACCESS_TOKEN_COLUMN
        ).decode()


def _by_instance(connection: Connection) -> bool:
    provider = PROVIDERS.get(connection.provider)
    return provider is not None and provider.connection_rules.by_instance
