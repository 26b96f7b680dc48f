"""DeliveryService: translate, call, translate."""

from __future__ import annotations

from uuid import UUID

import grpc
from google.rpc import status_pb2

from chassis import auth, wire
from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Database
from chassis.enums import wanted_text
from chassis.errors import FailedPrecondition, NotFound, ProsaError, to_status
from chassis.paging import read_page
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1 import delivery_service_pb2 as pb
from prosa.conversation.v1 import delivery_service_pb2_grpc as pb_grpc
from prosa.v1 import options_pb2
from services.conversation.deliveries import account_store
from services.conversation.deliveries.account_store import ACCESS_TOKEN_COLUMN, SealedAccount
from services.conversation.deliveries.queueing import Deliveries
from services.conversation.deliveries.worker import AUTOMATIC, SWITCHED_OFF, Deliverer
from services.conversation.limits import CANCEL_BATCH_MAX
from services.conversation.messages import delivery_store
from services.conversation.messages.translation import delivery_to_pb
from services.conversation.settings import store as settings_store


class DeliveryServicer(pb_grpc.DeliveryServiceServicer):
    """What is to be sent, and what became of it."""

    def __init__(self, db: Database, deliveries: Deliveries, deliverer: Deliverer, vault: Vault, clock: Clock) -> None:
        self._db, self._deliveries, self._deliverer = db, deliveries, deliverer
        self._vault, self._clock = vault, clock

    async def GetDelivery(
        self,
        request: pb.GetDeliveryRequest,
        context: grpc.aio.ServicerContext[pb.GetDeliveryRequest, conversation_pb.Delivery],
    ) -> conversation_pb.Delivery:
        organization_id = auth.organization_id()
        return await self._read(organization_id, wire.to_uuid("delivery_id", request.delivery_id))

    async def ListDeliveries(
        self,
        request: pb.ListDeliveriesRequest,
        context: grpc.aio.ServicerContext[pb.ListDeliveriesRequest, pb.ListDeliveriesResponse],
    ) -> pb.ListDeliveriesResponse:
        organization_id, page = auth.organization_id(), read_page(request, key_length=2)
        wanted: dict[str, object] = {}
        if request.conversation_id:
            wanted["conversation_id"] = wire.to_uuid("conversation_id", request.conversation_id)
        if request.channel_id:
            wanted["channel_id"] = wire.to_uuid("channel_id", request.channel_id)
        if request.cause:
            wanted["cause"] = request.cause
        if state := wanted_text(conversation_pb.MessageState, request.state):
            wanted["state"] = state
        if send_class := wanted_text(options_pb2.SendClass, request.send_class):
            wanted["send_class"] = send_class
        async with self._db.transaction(organization_id) as tx:
            found = await delivery_store.list_deliveries(tx, organization_id, wanted, page.after_moment(), page)
        shown, token = page.cut(found, lambda last: (last.create_time.isoformat(), last.delivery_id))
        return pb.ListDeliveriesResponse(deliveries=map(delivery_to_pb, shown), next_page_token=token)

    async def CancelDelivery(
        self,
        request: pb.CancelDeliveryRequest,
        context: grpc.aio.ServicerContext[pb.CancelDeliveryRequest, conversation_pb.Delivery],
    ) -> conversation_pb.Delivery:
        organization_id, now = auth.organization_id(), self._clock.now()
        delivery_id = wire.to_uuid("delivery_id", request.delivery_id)
        async with self._db.transaction(organization_id) as tx:
            taken = await self._deliveries.cancel(
                tx,
                organization_id,
                {"delivery_id": delivery_id},
                "CANCELLED_BY_HAND",
                f"{auth.caller().name or auth.caller().principal} took it back.",
                now,
            )
        if taken:
            return delivery_to_pb(taken[0].delivery)
        delivery = await self._read(organization_id, delivery_id)
        if delivery.state != conversation_pb.MESSAGE_STATE_CANCELLED:
            raise FailedPrecondition("DELIVERY_UNDER_WAY", "The provider has been asked already, or it has ended.")
        return delivery

    async def CancelAutomaticDeliveries(
        self,
        request: pb.CancelAutomaticDeliveriesRequest,
        context: grpc.aio.ServicerContext[pb.CancelAutomaticDeliveriesRequest, pb.CancelAutomaticDeliveriesResponse],
    ) -> pb.CancelAutomaticDeliveriesResponse:
        organization_id, now = auth.organization_id(), self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            # Read as whoever sends reads it.
            enabled = (await settings_store.find(tx, organization_id)).automation_enabled
            limit = 0 if enabled else CANCEL_BATCH_MAX
            waiting = await delivery_store.ids_of_queued(tx, organization_id, AUTOMATIC, limit)
            wanted = {(organization_id, delivery_id): SWITCHED_OFF for delivery_id in waiting}
            taken = await self._deliveries.cancel_all(tx, wanted, "AUTOMATION_OFF", now)
            left = await delivery_store.count_queued_of(tx, organization_id, AUTOMATIC)
        return pb.CancelAutomaticDeliveriesResponse(
            organization_id=str(organization_id),
            cancelled_count=len(taken),
            waiting_count=left,
            automation_enabled=enabled,
        )

    async def CheckDelivery(
        self,
        request: pb.CheckDeliveryRequest,
        context: grpc.aio.ServicerContext[pb.CheckDeliveryRequest, conversation_pb.Delivery],
    ) -> conversation_pb.Delivery:
        organization_id = auth.organization_id()
        looked = await self._deliverer.look(organization_id, wire.to_uuid("delivery_id", request.delivery_id))
        if looked is None:
            raise _no_delivery()
        return delivery_to_pb(looked.delivery)

    async def BatchPutProviderAccounts(
        self,
        request: pb.BatchPutProviderAccountsRequest,
        context: grpc.aio.ServicerContext[pb.BatchPutProviderAccountsRequest, pb.BatchPutProviderAccountsResponse],
    ) -> pb.BatchPutProviderAccountsResponse:
        results: dict[int, ProsaError] = {}
        accounts: dict[int, SealedAccount] = {}
        for place, given in enumerate(request.provider_accounts):
            try:
                accounts[place] = self._sealed(given)
            except ProsaError as error:
                results[place] = error
        organization_ids = {account.organization_id for account in accounts.values()}
        async with self._db.transaction(*organization_ids) as tx:
            for account in sorted(accounts.values(), key=lambda account: (account.connection_id, account.version)):
                await account_store.put(tx, account)
        return pb.BatchPutProviderAccountsResponse(
            results=[
                to_status(results[place]) if place in results else status_pb2.Status()
                for place in range(len(request.provider_accounts))
            ]
        )

    def _sealed(self, given: pb.ProviderAccount) -> SealedAccount:
        organization_id = wire.to_uuid("organization_id", given.organization_id)
        sealed = None
        if given.access_token:
            sealed = self._vault.seal(
                given.access_token.encode(), organization_id=organization_id, column=ACCESS_TOKEN_COLUMN
            )
        return SealedAccount(
            organization_id=organization_id,
            connection_id=wire.to_uuid("connection_id", given.connection_id),
            provider=given.provider.upper(),
            base_url=given.base_url,
            provider_account_id=given.provider_account_id,
            access_token_sealed=sealed,
            version=given.version,
        )

    async def _read(self, organization_id: UUID, delivery_id: UUID) -> conversation_pb.Delivery:
        async with self._db.transaction(organization_id) as tx:
            found = await delivery_store.find(tx, organization_id, delivery_id)
        if found is None:
            raise _no_delivery()
        return delivery_to_pb(found.delivery)


def _no_delivery() -> NotFound:
    return NotFound("DELIVERY_NOT_FOUND", "There is no such delivery.")
