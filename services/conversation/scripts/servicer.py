"""ScriptService: each RPC is handed to who keeps what it is about."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc.aio

from prosa.conversation.v1 import script_service_pb2 as pb
from prosa.conversation.v1 import script_service_pb2_grpc as pb_grpc
from services.conversation.personas.keeping import Personas
from services.conversation.settings.choosing import Settings

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class ScriptServicer(pb_grpc.ScriptServiceServicer):
    """Personas, and how conversations are answered."""

    def __init__(self, personas: Personas, settings: Settings) -> None:
        self._personas, self._settings = personas, settings

    async def CreatePersona(self, request: pb.CreatePersonaRequest, context: Context) -> pb.Persona:
        return await self._personas.create(request)

    async def GetPersona(self, request: pb.GetPersonaRequest, context: Context) -> pb.Persona:
        return await self._personas.get(request)

    async def ListPersonas(self, request: pb.ListPersonasRequest, context: Context) -> pb.ListPersonasResponse:
        return await self._personas.list_by_name(request)

    async def UpdatePersona(self, request: pb.UpdatePersonaRequest, context: Context) -> pb.Persona:
        return await self._personas.update(request)

    async def DeletePersona(self, request: pb.DeletePersonaRequest, context: Context) -> pb.DeletePersonaResponse:
        return await self._personas.delete(request)

    async def GetConversationSettings(
        self, request: pb.GetConversationSettingsRequest, context: Context
    ) -> pb.ConversationSettings:
        return await self._settings.get()

    async def UpdateConversationSettings(
        self, request: pb.UpdateConversationSettingsRequest, context: Context
    ) -> pb.ConversationSettings:
        return await self._settings.update(request)
