"""Ids of other services that a request names: whoever stores one makes sure first that its organization has it.

Such ids are plain values without foreign keys, so nothing else would notice a stranger's. Asked outside of any
transaction, for what an RPC of people and programs names; batches of our own are made of ids that were just answered.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from uuid import UUID

import grpc.aio

from chassis import rpc
from chassis.process import Process
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.identity.v1 import contact_service_pb2 as contact_pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub

Check = Callable[[UUID, UUID], Awaitable[None]]
"""Takes an organization and an id. Raises NotFound where the organization has no such thing, as its service does."""


def contact_check(process: Process) -> Check:
    """Asks identity for a contact: NOT_FOUND CONTACT_NOT_FOUND."""
    stub = process.stub(ContactServiceStub, "identity")

    async def check(organization_id: UUID, contact_id: UUID) -> None:
        request = contact_pb.GetContactRequest(contact_id=str(contact_id))
        try:
            await stub.GetContact(request, metadata=rpc.for_organization(organization_id))
        except grpc.aio.AioRpcError as error:
            raise rpc.error_of(error) from error

    return check


def deal_check(process: Process) -> Check:
    """Asks CRM for a deal: NOT_FOUND DEAL_NOT_FOUND."""
    stub = process.stub(CrmServiceStub, "crm")

    async def check(organization_id: UUID, deal_id: UUID) -> None:
        request = crm_pb.GetDealRequest(deal_id=str(deal_id))
        try:
            await stub.GetDeal(request, metadata=rpc.for_organization(organization_id))
        except grpc.aio.AioRpcError as error:
            raise rpc.error_of(error) from error

    return check


def board_check(process: Process) -> Check:
    """Asks CRM for a board: NOT_FOUND BOARD_NOT_FOUND."""
    stub = process.stub(CrmServiceStub, "crm")

    async def check(organization_id: UUID, board_id: UUID) -> None:
        request = crm_pb.GetBoardRequest(board=str(board_id))
        try:
            await stub.GetBoard(request, metadata=rpc.for_organization(organization_id))
        except grpc.aio.AioRpcError as error:
            raise rpc.error_of(error) from error

    return check
