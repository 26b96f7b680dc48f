"""OutboundService: translate, call, translate."""

from __future__ import annotations

import os
from collections.abc import Callable
from uuid import UUID

import grpc

from chassis import auth, wire
from chassis.clock import Clock
from chassis.crypto import Vault
from chassis.db import Database, Tx
from chassis.enums import wanted_text
from chassis.errors import (
    FailedPrecondition,
    FieldViolation,
    InvalidArgument,
    NotFound,
    OutOfRange,
    ProsaError,
    ResourceExhausted,
)
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Outbox
from chassis.outgoing import Outgoing, OutgoingError
from chassis.paging import read_page
from chassis.queues.items import Place
from chassis.queues.queue import Queue
from chassis.transcoding.contracts import files
from prosa.ingest.v1 import outbound_service_pb2 as pb
from prosa.ingest.v1 import outbound_service_pb2_grpc as pb_grpc
from services.ingest.connections.rules import readable_name
from services.ingest.feed import store as feed_store
from services.ingest.limits import OUTBOUND_ENDPOINTS_MAX
from services.ingest.outbound import messages, rules, store
from services.ingest.outbound.poster import SECRET_COLUMN
from services.ingest.outbound.store import DeliveryFilter, Endpoint


class OutboundServicer(pb_grpc.OutboundServiceServicer):
    """The endpoints of one organization, and what they were sent."""

    def __init__(
        self,
        db: Database,
        queue: Queue,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        vault: Vault,
        clock: Clock,
        ids: Ids,
        outgoing: Outgoing,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self._db, self._queue, self._outbox, self._idempotency = db, queue, outbox, idempotency
        self._vault, self._clock, self._ids, self._outgoing = vault, clock, ids, outgoing
        self._random_bytes = random_bytes

    async def CreateOutboundEndpoint(
        self,
        request: pb.CreateOutboundEndpointRequest,
        context: grpc.aio.ServicerContext[pb.CreateOutboundEndpointRequest, pb.OutboundEndpointSecret],
    ) -> pb.OutboundEndpointSecret:
        organization_id, now = auth.organization_id(), self._clock.now()
        name, url, types = readable_name(request.name), self._url(request.url), _types(list(request.types))
        secret = rules.draw_secret(self._random_bytes)
        async with self._db.transaction(organization_id) as tx:
            answer = await self._idempotency.claim(
                tx, organization_id, "CreateOutboundEndpoint", request, pb.OutboundEndpointSecret, now
            )
            if answer is not None:
                return await self._shown_again(tx, organization_id, answer)
            if await store.lock_number(tx, organization_id) >= OUTBOUND_ENDPOINTS_MAX:
                raise ResourceExhausted(
                    "ENDPOINTS_TOO_MANY",
                    f"An organization has at most {OUTBOUND_ENDPOINTS_MAX} outbound endpoints. Delete one first.",
                )
            _, last = await feed_store.bounds(tx, organization_id)
            endpoint = Endpoint(
                organization_id=organization_id,
                id=self._ids.new(),
                name=name,
                url=url,
                types=types,
                enabled=True,
                disabled_reason="",
                position=last,
                version=1,
                failure_count=0,
                failing_since=None,
                resume_time=None,
                create_time=now,
                last_success_time=None,
                last_failure_time=None,
                last_failure_explanation="",
                secret_count=1,
                pending_count=0,
            )
            sealed = self._vault.seal(secret.encode(), organization_id=organization_id, column=SECRET_COLUMN)
            await store.insert(tx, endpoint, self._ids.new(), sealed)
            await self._outbox.add(tx, [messages.endpoint_changed(endpoint)], now)
            # The stored answer lacks the secret, which is kept sealed beside the endpoint.
            answer = pb.OutboundEndpointSecret(outbound_endpoint=messages.endpoint_message(endpoint))
            await self._idempotency.keep(tx, organization_id, request, answer)
        answer.secret = secret
        return answer

    async def GetOutboundEndpoint(
        self,
        request: pb.GetOutboundEndpointRequest,
        context: grpc.aio.ServicerContext[pb.GetOutboundEndpointRequest, pb.OutboundEndpoint],
    ) -> pb.OutboundEndpoint:
        organization_id = auth.organization_id()
        endpoint_id = wire.to_uuid("outbound_endpoint_id", request.outbound_endpoint_id)
        async with self._db.transaction(organization_id) as tx:
            return messages.endpoint_message(await self._find(tx, organization_id, endpoint_id))

    async def ListOutboundEndpoints(
        self,
        request: pb.ListOutboundEndpointsRequest,
        context: grpc.aio.ServicerContext[pb.ListOutboundEndpointsRequest, pb.ListOutboundEndpointsResponse],
    ) -> pb.ListOutboundEndpointsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        before = None if page.after is None else wire.to_uuid("page_token", page.after[0])
        async with self._db.transaction(organization_id) as tx:
            endpoints = await store.list_endpoints(tx, organization_id, before, page.size + 1)
        shown, token = page.cut(endpoints, lambda endpoint: (endpoint.id,))
        return pb.ListOutboundEndpointsResponse(
            outbound_endpoints=[messages.endpoint_message(endpoint) for endpoint in shown], next_page_token=token
        )

    async def DeleteOutboundEndpoint(
        self,
        request: pb.DeleteOutboundEndpointRequest,
        context: grpc.aio.ServicerContext[pb.DeleteOutboundEndpointRequest, pb.DeleteOutboundEndpointResponse],
    ) -> pb.DeleteOutboundEndpointResponse:
        organization_id = auth.organization_id()
        endpoint_id = wire.to_uuid("outbound_endpoint_id", request.outbound_endpoint_id)
        async with self._db.transaction(organization_id) as tx:
            endpoint = await self._find(tx, organization_id, endpoint_id, lock=True)
            await self._queue.remove(tx, [endpoint_id])
            await store.delete(tx, organization_id, endpoint_id)
            await self._outbox.add(tx, [messages.endpoint_changed(endpoint, deleted=True)], self._clock.now())
        return pb.DeleteOutboundEndpointResponse()

    async def ListOutboundDeliveries(
        self,
        request: pb.ListOutboundDeliveriesRequest,
        context: grpc.aio.ServicerContext[pb.ListOutboundDeliveriesRequest, pb.ListOutboundDeliveriesResponse],
    ) -> pb.ListOutboundDeliveriesResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        wanted = DeliveryFilter(
            endpoint_id=wire.to_uuid("outbound_endpoint_id", request.outbound_endpoint_id),
            state=wanted_text(pb.OutboundDeliveryState, request.state),
            type=request.type or None,
            event_id=wire.to_optional_uuid("event_id", request.event_id),
        )
        before = None if page.after is None else wire.to_uuid("page_token", page.after[0])
        async with self._db.transaction(organization_id) as tx:
            await self._find(tx, organization_id, wanted.endpoint_id)
            rows = await store.list_deliveries(tx, organization_id, wanted, before, page.size + 1)
        shown, token = page.cut(rows, lambda row: (row.id,))
        return pb.ListOutboundDeliveriesResponse(
            outbound_deliveries=[messages.delivery_message(row) for row in shown], next_page_token=token
        )

    async def RedeliverOutboundDelivery(
        self,
        request: pb.RedeliverOutboundDeliveryRequest,
        context: grpc.aio.ServicerContext[pb.RedeliverOutboundDeliveryRequest, pb.OutboundDelivery],
    ) -> pb.OutboundDelivery:
        organization_id, now = auth.organization_id(), self._clock.now()
        delivery_id = wire.to_uuid("outbound_delivery_id", request.outbound_delivery_id)

        async def redeliver(tx: Tx) -> pb.OutboundDelivery:
            row = await store.find_delivery(tx, organization_id, delivery_id)
            endpoint = row and await store.find(tx, organization_id, row.outbound_endpoint_id, lock=True)
            if row is None or endpoint is None:
                raise NotFound("OUTBOUND_DELIVERY_NOT_FOUND", "The organization has no such outbound delivery.")
            if not endpoint.enabled:
                raise FailedPrecondition(
                    "OUTBOUND_ENDPOINT_DISABLED",
                    "Its endpoint is disabled, and nothing is posted to it. Create the endpoint anew.",
                )
            if not row.kept:
                raise OutOfRange("POSITION_EXPIRED", rules.EXPIRED)
            await store.put_back(tx, organization_id, delivery_id, now)
            await self._queue.remove(tx, [endpoint.id])
            due_time = max(now, endpoint.resume_time or now)
            await self._queue.put(tx, [Place(endpoint.id, organization_id, str(endpoint.id), due_time)], now)
            return messages.delivery_message(await store.find_delivery(tx, organization_id, delivery_id))

        return await self._idempotency.once(self._db, organization_id, request, pb.OutboundDelivery, now, redeliver)

    async def _shown_again(
        self, tx: Tx, organization_id: UUID, answer: pb.OutboundEndpointSecret
    ) -> pb.OutboundEndpointSecret:
        """The answer with its secret: whoever did not get it asks again, until the endpoint has taken a post."""
        endpoint_id = UUID(answer.outbound_endpoint.outbound_endpoint_id)
        endpoint = await self._find(tx, organization_id, endpoint_id)
        if endpoint.last_success_time is not None:
            raise FailedPrecondition(
                "SECRET_ALREADY_USED", "The endpoint's secret is in use, so it is not shown again. Create a new one."
            )
        first = (await store.sealed_secrets(tx, organization_id, endpoint_id))[-1]
        answer.secret = self._vault.open(first, organization_id=organization_id, column=SECRET_COLUMN).decode()
        return answer

    async def _find(self, tx: Tx, organization_id: UUID, endpoint_id: UUID, *, lock: bool = False) -> Endpoint:
        endpoint = await store.find(tx, organization_id, endpoint_id, lock=lock)
        if endpoint is None:
            raise NotFound("OUTBOUND_ENDPOINT_NOT_FOUND", "The organization has no such outbound endpoint.")
        return endpoint

    def _url(self, text: str) -> str:
        try:
            target = self._outgoing.read(text.strip())
        except OutgoingError as error:
            raise _url_invalid(error.detail) from None
        if self._outgoing.refuses(target):
            raise FailedPrecondition(
                "ADDRESS_PRIVATE",
                "The url leads into a private network. Name a public address, or let the operator list the host in "
                "PROSA_ALLOWED_HOSTS.",
            )
        return target.url


def _types(wanted: list[str]) -> list[str]:
    known = [
        f"{file.package}.{name}"
        for file in files()
        if file.name.endswith("/events.proto")
        for name in file.message_types_by_name
    ]
    found = rules.full_names(wanted, known)
    if found is None:
        raise InvalidArgument(
            "TYPE_UNKNOWN",
            "types names something that is no fact, such as prosa.conversation.v1.MessageReceived.",
            violations=[FieldViolation("types", "must be names of facts")],
        )
    return found


def _url_invalid(detail: str) -> ProsaError:
    return InvalidArgument(
        "URL_INVALID",
        f"url must be an http or https address without a password, such as https://n8n.example.com/webhook/x. {detail}",
        violations=[FieldViolation("url", "must be an http or https URL")],
    )
