"""What the tests of connections share: short ways to make and ask for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from prosa.ingest.v1 import connection_service_pb2 as pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.v1 import options_pb2
from tests.world import World

if TYPE_CHECKING:
    from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceAsyncStub

WHATSAPP, INSTAGRAM = options_pb2.SOURCE_WHATSAPP, options_pb2.SOURCE_INSTAGRAM


def connections(world: World, organization_id: UUID) -> ConnectionServiceAsyncStub:
    """The service as an owner of the organization calls it."""
    return world.as_user(organization_id).stub(ConnectionServiceStub)


async def given_connection(world: World, organization_id: UUID, name: str = "", **fields: Any) -> pb.Connection:
    """A connection; by default to account 7, without a secret."""
    values: dict[str, Any] = {"name": name or f"Chatwoot {uuid4()}", "account_id": 7} | fields
    return await connections(world, organization_id).CreateConnection(pb.CreateConnectionRequest(**values))


async def given_channel(
    world: World, connection: pb.Connection, inbox_id: int, source: Any = WHATSAPP, name: str = ""
) -> pb.Channel:
    """A channel of the connection."""
    return await connections(world, UUID(connection.organization_id)).CreateChannel(
        pb.CreateChannelRequest(
            connection_id=connection.connection_id,
            name=name or f"Caixa {inbox_id}",
            source=source,
            inbox_id=inbox_id,
        )
    )
