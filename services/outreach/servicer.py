"""OutreachService: translate, call, translate."""

from __future__ import annotations

from uuid import UUID

import grpc

from chassis import auth, canonical, wire
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.enums import enum_text
from chassis.errors import NotFound
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.paging import read_page
from chassis.profiles import Profiles
from chassis.references import Check
from prosa.outreach.v1 import outreach_service_pb2 as pb
from prosa.outreach.v1 import outreach_service_pb2_grpc as pb_grpc
from prosa.v1 import options_pb2
from services.outreach import store
from services.outreach.domain import Lifting, Suppression, readable
from services.outreach.messages import suppression_created, suppression_lifted, suppression_message


class OutreachServicer(pb_grpc.OutreachServiceServicer):
    """The suppressions of one organization."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
        ids: Ids,
        profiles: Profiles,
        check_contact: Check,
    ) -> None:
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._clock, self._ids, self._profiles = clock, ids, profiles
        self._check_contact = check_contact

    async def CreateSuppression(
        self,
        request: pb.CreateSuppressionRequest,
        context: grpc.aio.ServicerContext[pb.CreateSuppressionRequest, pb.Suppression],
    ) -> pb.Suppression:
        organization_id, now = auth.organization_id(), self._clock.now()
        suppression = await self._read(request, organization_id)
        if suppression.contact_id is not None:
            await self._check_contact(organization_id, suppression.contact_id)

        async def create(tx: Tx) -> pb.Suppression:
            await store.lock_addresses(tx, organization_id, [(suppression.source, suppression.external_id)])
            # Whoever was first keeps their reason: it says since when and why nothing may be sent.
            first = await store.insert_suppression(tx, suppression)
            if first is None:
                await self._outbox.add(tx, [suppression_created(suppression)], now)
            return suppression_message(first or suppression)

        return await self._idempotency.once(self._db, organization_id, request, pb.Suppression, now, create)

    async def GetSuppression(
        self,
        request: pb.GetSuppressionRequest,
        context: grpc.aio.ServicerContext[pb.GetSuppressionRequest, pb.Suppression],
    ) -> pb.Suppression:
        organization_id = auth.organization_id()
        suppression_id = wire.to_uuid("suppression_id", request.suppression_id)
        async with self._db.transaction(organization_id) as tx:
            found = await store.find_suppression(tx, organization_id, suppression_id)
        if found is None:
            raise NotFound("SUPPRESSION_NOT_FOUND", "The organization has no such suppression.")
        return suppression_message(found)

    async def LiftSuppression(
        self,
        request: pb.LiftSuppressionRequest,
        context: grpc.aio.ServicerContext[pb.LiftSuppressionRequest, pb.Suppression],
    ) -> pb.Suppression:
        caller, organization_id, now = auth.caller(), auth.organization_id(), self._clock.now()
        suppression_id = wire.to_uuid("suppression_id", request.suppression_id)
        lifting = Lifting(now, readable(request.reason), caller.principal, caller.name)

        async with self._db.transaction(organization_id) as tx:
            ended = await store.lift_one(tx, organization_id, suppression_id, lifting)
            if ended is not None:
                await self._outbox.add(tx, [suppression_lifted(ended)], now)
            else:
                ended = await store.find_suppression(tx, organization_id, suppression_id)
        if ended is None:
            raise NotFound("SUPPRESSION_NOT_FOUND", "The organization has no such suppression.")
        return suppression_message(ended)

    async def ListSuppressions(
        self,
        request: pb.ListSuppressionsRequest,
        context: grpc.aio.ServicerContext[pb.ListSuppressionsRequest, pb.ListSuppressionsResponse],
    ) -> pb.ListSuppressionsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        contact_id = wire.to_optional_uuid("contact_id", request.contact_id)
        before = page.after_id()
        async with self._db.transaction(organization_id) as tx:
            found = await store.list_suppressions(
                tx, organization_id, contact_id, before, page.size + 1, include_lifted=request.include_lifted
            )
        shown, token = page.cut(found, lambda suppression: (suppression.id,))
        return pb.ListSuppressionsResponse(suppressions=map(suppression_message, shown), next_page_token=token)

    async def _read(self, request: pb.CreateSuppressionRequest, organization_id: UUID) -> Suppression:
        source = enum_text(options_pb2.Source, request.source)
        external_id, region = request.external_id, canonical.DEFAULT_REGION
        if source == canonical.Source.WHATSAPP and canonical.lacks_country(external_id):
            # Read in another region, it would be somebody else's number, and the one who is meant would be written to.
            region = (await self._profiles.of(organization_id)).region
        elif source == canonical.Source.WHATSAPP and (known := canonical.own_key(external_id.strip())) is not None:
            # Somebody may write with a number that the plan does not know: never refuse to leave them alone.
            external_id = known
        identity = canonical.identify(source, external_id, region)
        return Suppression(
            organization_id=organization_id,
            id=self._ids.new(),
            source=identity.source.value,
            external_id=identity.external_id,
            contact_id=wire.to_optional_uuid("contact_id", request.contact_id),
            reason=readable(request.reason),
            create_time=self._clock.now(),
        )
