"""How the number behind a connection is, as conversation knows it, which alone asks Evolution."""

from __future__ import annotations

from typing import TYPE_CHECKING
from uuid import UUID

from chassis import rpc
from prosa.conversation.v1 import instance_service_pb2 as pb
from services.ingest.connections.check import CheckItem
from services.ingest.limits import INSTANCES_MAX

if TYPE_CHECKING:
    from prosa.conversation.v1.instance_service_pb2_grpc import InstanceServiceAsyncStub

NAME = "number_connected"


async def number_item(instances: InstanceServiceAsyncStub, organization_id: UUID, connection_id: UUID) -> CheckItem:
    """Whether the number is connected, and what to do where it is not. Raises AioRpcError where nobody answers."""
    found = await instances.ListInstances(
        pb.ListInstancesRequest(page_size=INSTANCES_MAX), metadata=rpc.for_organization(organization_id)
    )
    for instance in found.instances:
        if instance.connection_id == str(connection_id):
            return _judged(instance)
    return CheckItem(NAME, False, "The number is being made. Check again in some seconds.")


def _judged(instance: pb.Instance) -> CheckItem:
    if instance.state == pb.INSTANCE_STATE_OPEN:
        return CheckItem(NAME, True, f"The number is connected: {instance.phone or instance.name}.")
    return CheckItem(
        NAME, False, " ".join(filter(None, ["The number is not connected.", instance.cause, instance.advice]))
    )
