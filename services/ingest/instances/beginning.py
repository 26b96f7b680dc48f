"""Beginning a number: its connection, secret and channel are made here, and conversation is told until it took it."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import grpc.aio
import structlog

from chassis import auth, rpc, wire
from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Database, Tx
from chassis.errors import InvalidArgument, ResourceExhausted
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.outgoing import Outgoing
from chassis.queues.items import Done, Item, Outcome, Place, Retry
from chassis.queues.queue import Queue
from chassis.queues.worker import Fence, Handler
from chassis.references import Check
from prosa.conversation.v1 import instance_service_pb2 as instance_pb
from prosa.ingest.v1 import connection_service_pb2 as pb
from services.ingest.connections import messages, rules
from services.ingest.connections import store as connection_store
from services.ingest.connections.addresses import number_address
from services.ingest.connections.cache import SECRET_COLUMN
from services.ingest.connections.secrets import open_secrets
from services.ingest.connections.store import ACCESS_TOKEN_COLUMN, Channel, Connection, SealedSecret
from services.ingest.instances import store
from services.ingest.instances.store import NewInstance
from services.ingest.limits import INSTANCES_MAX
from services.ingest.providers import PROVIDERS

if TYPE_CHECKING:
    from prosa.conversation.v1.instance_service_pb2_grpc import InstanceServiceAsyncStub

PROVIDER = "EVOLUTION"
SECRET_BYTES = 32
CALL_SECONDS = 10.0
RETRY_EVERY = timedelta(seconds=5)

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Draws:
    """What is drawn by lot; tests draw what they know."""

    key: Callable[[], str]
    secret: Callable[[], str] = lambda: secrets.token_urlsafe(SECRET_BYTES)


class Beginner:
    """Makes what ingest keeps of a new number."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        vault: Vault,
        clock: Clock,
        ids: Ids,
        *,
        changed: Callable[[], None],
        check_board: Check,
        queue: Queue,
        public_url: str,
        draws: Draws,
        outgoing: Outgoing,
    ) -> None:
        self._db, self._outbox, self._idempotency, self._vault = db, outbox, idempotency, vault
        self._clock, self._ids, self._changed, self._check_board = clock, ids, changed, check_board
        self._queue, self._public_url, self._draws = queue, public_url.rstrip("/"), draws
        self._outgoing = outgoing

    async def begin(self, request: pb.CreateInstanceRequest) -> pb.CreateInstanceResponse:
        """The number's connection and channel; conversation is told of it once they are committed."""
        organization_id, now = auth.organization_id(), self._clock.now()
        if not self._public_url:
            raise InvalidArgument(
                "PUBLIC_URL_MISSING",
                "Prosa does not know its own address, to which Evolution is to send webhooks. Set PROSA_PUBLIC_URL.",
            )
        board_id = wire.to_optional_uuid("board_id", request.board_id)
        if board_id is not None:
            await self._check_board(organization_id, board_id)
        instance_id, name = self._ids.new(), rules.readable_name(request.name)
        # Evolution's names are of all who share it. The end of an id is its random part.
        provider_name = f"prosa-{instance_id.hex[-16:]}"
        connection = Connection(
            id=self._ids.new(),
            organization_id=organization_id,
            provider=PROVIDER,
            name=name,
            connection_key=self._draws.key(),
            account_id=PROVIDERS[PROVIDER].connection_rules.account_id(0),
            base_url=number_address(request.base_url, self._outgoing),
            access_token_sealed=self._seal(organization_id, ACCESS_TOKEN_COLUMN, request.access_token.strip()),
            legacy_static_secret_end_time=None,
            unsigned_end_time=now,
            create_time=now,
            secret_count=1,
        )
        channel = Channel(
            id=self._ids.new(),
            organization_id=organization_id,
            connection_id=connection.id,
            name=name,
            source="WHATSAPP",
            provider_channel_id=provider_name,
            inbox_id=None,
            board_id=board_id,
            active=True,
            evolution_instance=provider_name,
            create_time=now,
        )
        new = NewInstance(
            organization_id=organization_id,
            instance_id=instance_id,
            connection_id=connection.id,
            channel_id=channel.id,
            name=name,
            webhook_url=self._public_url + messages.webhook_path(connection),
            phone="".join(sign for sign in request.phone if sign.isdigit()),
            provider_instance_name=provider_name,
            create_time=now,
        )

        async def create(tx: Tx) -> pb.CreateInstanceResponse:
            if await store.lock_count(tx, organization_id) >= INSTANCES_MAX:
                raise ResourceExhausted(
                    "INSTANCES_TOO_MANY", f"An organization has at most {INSTANCES_MAX} numbers through Evolution."
                )
            await connection_store.insert_connection(tx, connection)
            sealed = self._seal(organization_id, SECRET_COLUMN, self._draws.secret())
            secret = SealedSecret(self._ids.new(), sealed)
            await connection_store.insert_secret(tx, organization_id, connection.id, secret, now)
            await connection_store.insert_channel(tx, channel)
            await store.insert(tx, new)
            await self._queue.put(tx, [Place(instance_id, organization_id, str(instance_id))], now)
            facts = [messages.connection_created(connection), messages.channel_created(channel)]
            await self._outbox.add(tx, facts, now)
            tx.after_commit(self._changed)
            return pb.CreateInstanceResponse(
                instance_id=str(instance_id),
                connection=messages.connection_message(connection, [channel]),
                channel=messages.channel_message(channel),
            )

        return await self._idempotency.once(self._db, organization_id, request, pb.CreateInstanceResponse, now, create)

    def _seal(self, organization_id: UUID, column: str, value: str) -> bytes:
        return self._vault.seal(value.encode(), organization_id=organization_id, column=column)


class Teller(Handler[Item]):
    """Tells conversation of numbers that were begun, until it has taken each."""

    def __init__(self, db: Database, vault: Vault, clock: Clock, instances: InstanceServiceAsyncStub) -> None:
        self._db, self._vault, self._clock, self._instances = db, vault, clock, instances

    async def work(self, items: Sequence[Item], fence: Fence) -> Sequence[Outcome[Item]]:
        """Tells of each; told twice, conversation takes it once."""
        return [await self._work(item) for item in items]

    async def record(self, tx: Tx, outcomes: Sequence[Outcome[Item]]) -> None:
        """Forgets those that were taken."""
        for outcome in outcomes:
            if isinstance(outcome, Done):
                await store.delete(tx, outcome.item.organization_id, outcome.item.item_id)

    async def _work(self, item: Item) -> Outcome[Item]:
        organization_id = item.organization_id
        async with self._db.transaction(organization_id) as tx:
            new = await store.find(tx, organization_id, item.item_id)
            connection = None
            if new is not None:
                connection = await connection_store.find_connection(tx, organization_id, new.connection_id)
                live = await open_secrets(tx, self._vault, organization_id, new.connection_id)
        if new is None or connection is None or connection.access_token_sealed is None:
            return Done(item)
        key = self._vault.open(
            connection.access_token_sealed, organization_id=organization_id, column=ACCESS_TOKEN_COLUMN
        )
        request = instance_pb.CreateInstanceRequest(
            instance_id=str(new.instance_id),
            connection_id=str(new.connection_id),
            channel_id=str(new.channel_id),
            name=new.name,
            base_url=connection.base_url,
            access_token=key.decode(),
            webhook_url=new.webhook_url,
            webhook_secret=next(iter(live.values())),
            phone=new.phone,
            provider_instance_name=new.provider_instance_name,
        )
        try:
            await self._instances.CreateInstance(
                request, timeout=CALL_SECONDS, metadata=rpc.for_organization(organization_id)
            )
        except grpc.aio.AioRpcError as error:
            found = rpc.error_of(error)
            logger.warning("instance_not_begun", instance_id=str(new.instance_id), reason=found.reason)
            return Retry(item, self._clock.now() + RETRY_EVERY, found.message, counted=False)
        return Done(item)
