"""IngestService: the door, and contacts ensured for programs."""

from __future__ import annotations

from typing import Any

from prosa.ingest.v1 import ingest_service_pb2 as pb
from prosa.ingest.v1.ingest_service_pb2_grpc import IngestServiceServicer
from services.ingest.accept import Door
from services.ingest.ensure import Ensurer


class IngestServicer(IngestServiceServicer):
    """Translates, calls, translates."""

    def __init__(self, door: Door, ensurer: Ensurer) -> None:
        self._door = door
        self._ensurer = ensurer

    async def AcceptWebhooks(self, request: pb.AcceptWebhooksRequest, context: Any) -> pb.AcceptWebhooksResponse:
        return pb.AcceptWebhooksResponse(results=await self._door.accept(request.webhooks))

    async def EnsureContact(self, request: pb.EnsureContactRequest, context: Any) -> pb.EnsuredContact:
        return await self._ensurer.ensure(request)
