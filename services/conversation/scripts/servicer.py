"""ScriptService: each RPC is handed to who keeps what it is about."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc.aio

from prosa.conversation.v1 import script_service_pb2 as pb
from prosa.conversation.v1 import script_service_pb2_grpc as pb_grpc
from services.conversation.personas.keeping import Personas
from services.conversation.scripts.keeping import Scripts
from services.conversation.scripts.rounds import Rounds

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class ScriptServicer(pb_grpc.ScriptServiceServicer):
    """Personas, scripts and their rounds."""

    def __init__(self, personas: Personas, scripts: Scripts, rounds: Rounds) -> None:
        self._personas, self._scripts, self._rounds = personas, scripts, rounds

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

    async def CreateScript(self, request: pb.CreateScriptRequest, context: Context) -> pb.Script:
        return await self._scripts.create(request)

    async def GetScript(self, request: pb.GetScriptRequest, context: Context) -> pb.Script:
        return await self._scripts.get(request)

    async def ListScripts(self, request: pb.ListScriptsRequest, context: Context) -> pb.ListScriptsResponse:
        return await self._scripts.list_by_name(request)

    async def UpdateScript(self, request: pb.UpdateScriptRequest, context: Context) -> pb.Script:
        return await self._scripts.update(request)

    async def ListRounds(self, request: pb.ListRoundsRequest, context: Context) -> pb.ListRoundsResponse:
        return await self._rounds.list_rounds(request)

    async def GetRound(self, request: pb.GetRoundRequest, context: Context) -> pb.Round:
        return await self._rounds.get(request)

    async def CancelRound(self, request: pb.CancelRoundRequest, context: Context) -> pb.Round:
        return await self._rounds.cancel(request)
