"""SettingsService: how an organization's conversations are answered."""

from __future__ import annotations

from typing import Any, TypeAlias

import grpc.aio

from prosa.conversation.v1 import settings_service_pb2 as pb
from prosa.conversation.v1 import settings_service_pb2_grpc as pb_grpc
from services.conversation.settings.choosing import Settings

Context: TypeAlias = grpc.aio.ServicerContext[Any, Any]


class SettingsServicer(pb_grpc.SettingsServiceServicer):
    """Hands each RPC to who keeps the settings."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def GetConversationSettings(
        self, request: pb.GetConversationSettingsRequest, context: Context
    ) -> pb.ConversationSettings:
        return await self._settings.get()

    async def UpdateConversationSettings(
        self, request: pb.UpdateConversationSettingsRequest, context: Context
    ) -> pb.ConversationSettings:
        return await self._settings.update(request)
