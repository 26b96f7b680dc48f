"""Everything outreach needs, serves and runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import grpc.aio

from chassis import rpc
from chassis.process import Process
from chassis.references import contact_check
from prosa.identity.v1.access_service_pb2 import GetOrganizationRequest
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.outreach.v1.outreach_service_pb2 import DESCRIPTOR
from prosa.outreach.v1.outreach_service_pb2_grpc import add_OutreachServiceServicer_to_server
from services.outreach.servicer import OutreachServicer


async def start(process: Process) -> None:
    """Serves OutreachService and relays its facts."""
    servicer = OutreachServicer(
        process.database(),
        process.outbox(),
        process.idempotency(),
        process.clock,
        process.ids,
        region_of(process.channel("identity")),
        contact_check(process),
    )
    process.serve(
        add_OutreachServiceServicer_to_server, servicer, DESCRIPTOR.services_by_name["OutreachService"].full_name
    )
    process.maintain()


def region_of(channel: grpc.aio.Channel) -> Callable[[UUID], Awaitable[str]]:
    """Answers how an organization's region is asked of identity; asking raises what identity raises."""
    stub = AccessServiceStub(channel)

    async def ask(organization_id: UUID) -> str:
        try:
            organization = await stub.GetOrganization(
                GetOrganizationRequest(), metadata=rpc.for_organization(organization_id)
            )
        except grpc.aio.AioRpcError as error:
            raise rpc.error_of(error) from error
        return organization.region

    return ask
