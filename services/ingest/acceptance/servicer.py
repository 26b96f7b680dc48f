"""IngestService: the acceptor, and contacts ensured and conversations linked for programs."""

from __future__ import annotations

from typing import Any

from chassis import auth
from chassis.clock import Clock
from chassis.db import Database
from chassis.idempotency import IdempotencyStore
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.ingest.v1 import ingest_service_pb2 as pb
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceServicer
from services.ingest.acceptance.acceptor import Acceptor
from services.ingest.connections.linking import Linker
from services.ingest.processing.ensure import Ensurer


class IngestServicer(IngestServiceServicer):
    """Translates, calls, translates."""

    def __init__(
        self,
        acceptor: Acceptor,
        ensurer: Ensurer,
        linker: Linker,
        db: Database,
        idempotency: IdempotencyStore,
        clock: Clock,
    ) -> None:
        self._acceptor = acceptor
        self._ensurer = ensurer
        self._linker = linker
        self._db = db
        self._idempotency = idempotency
        self._clock = clock

    async def AcceptWebhooks(self, request: pb.AcceptWebhooksRequest, context: Any) -> pb.AcceptWebhooksResponse:
        return pb.AcceptWebhooksResponse(results=await self._acceptor.accept(request.webhooks))

    async def ResolveConnectionKeys(
        self, request: pb.ResolveConnectionKeysRequest, context: Any
    ) -> pb.ResolveConnectionKeysResponse:
        return pb.ResolveConnectionKeysResponse(connection_ids=await self._acceptor.resolve(request.connection_keys))

    async def EnsureContact(self, request: pb.EnsureContactRequest, context: Any) -> pb.EnsuredContact:
        if not request.request_id:
            return await self._ensurer.ensure(request)
        organization_id = auth.organization_id()
        async with self._db.transaction(organization_id) as tx:
            known = await self._idempotency.recall(tx, organization_id, "EnsureContact", request, pb.EnsuredContact)
        if known is not None:
            return known
        # The effect lies in other services, each idempotent on its natural keys: two at once end in the same rows, and
        # the first to be kept is the answer of both.
        answer = await self._ensurer.ensure(request)
        async with self._db.transaction(organization_id) as tx:
            first = await self._idempotency.claim(
                tx, organization_id, "EnsureContact", request, pb.EnsuredContact, self._clock.now()
            )
            if first is not None:
                return first
            await self._idempotency.keep(tx, organization_id, request, answer)
        return answer

    async def CreateConversation(
        self, request: conversation_pb.CreateConversationRequest, context: Any
    ) -> conversation_pb.Conversation:
        # The answer to a request_id is kept by conversation, in the transaction of the effect.
        return await self._linker.link(request)
