"""Switches an organization's automation on and off, where conversation keeps it, and takes back what waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from uuid import UUID

import grpc.aio

from chassis import rpc
from prosa.conversation.v1 import delivery_service_pb2 as delivery_pb
from prosa.conversation.v1 import settings_service_pb2 as settings_pb
from services.ingest.rollout import rules
from services.ingest.rollout.rules import Item

if TYPE_CHECKING:
    from prosa.conversation.v1.delivery_service_pb2_grpc import DeliveryServiceAsyncStub
    from prosa.conversation.v1.settings_service_pb2_grpc import SettingsServiceAsyncStub

ON, OFF, TAKEN_BACK = "automation_on", "automation_off", "deliveries_taken_back"
CANCEL_CALLS_MAX = 40
"""Of one going back, each taking back some hundreds; what is left then is said, and none of it leaves."""


class Automation:
    """What conversation is asked for; each call for one organization."""

    def __init__(self, settings: SettingsServiceAsyncStub, deliveries: DeliveryServiceAsyncStub) -> None:
        self._settings, self._deliveries = settings, deliveries

    async def look(self, organization_id: UUID, *, advice: str) -> Item:
        """Whether it is on, and nothing else; an item that failed where it is off, with this advice, or unknown."""
        try:
            async with asyncio.timeout(rules.LOOK_SECONDS):
                return await self._seen(organization_id, on=True, advice=advice)
        except grpc.aio.AioRpcError as error:
            return rules.unanswered(ON, rpc.error_of(error).message)
        except TimeoutError:
            return rules.late(ON, rules.LOOK_SECONDS)

    async def switch(self, organization_id: UUID, *, on: bool, reason: str, version: int) -> Item:
        """Switches it, and looks how it is then; an item that failed where conversation does not answer.

        ``version`` is of the rollout that wants it: one that came after it is not undone by it.
        """
        name = ON if on else OFF
        try:
            async with asyncio.timeout(rules.SWITCH_SECONDS):
                await self._settings.UpdateConversationSettings(
                    settings_pb.UpdateConversationSettingsRequest(
                        automation_enabled=on, reason=reason, rollout_version=version
                    ),
                    metadata=rpc.for_organization(organization_id),
                )
                return await self._seen(organization_id, on=on, advice="Somebody switched it meanwhile. Run it again.")
        except grpc.aio.AioRpcError as error:
            return rules.unanswered(name, rpc.error_of(error).message)
        except TimeoutError:
            return rules.late(name, rules.SWITCH_SECONDS)

    async def take_back(self, organization_id: UUID) -> Item:
        """Takes back all that waits and would be sent by itself."""
        cancelled, waiting, enabled = 0, 0, False
        try:
            async with asyncio.timeout(rules.TAKE_BACK_SECONDS):
                for _ in range(CANCEL_CALLS_MAX):
                    answer = await self._deliveries.CancelAutomaticDeliveries(
                        delivery_pb.CancelAutomaticDeliveriesRequest(), metadata=rpc.for_organization(organization_id)
                    )
                    cancelled, waiting = cancelled + answer.cancelled_count, answer.waiting_count
                    enabled = answer.automation_enabled
                    if waiting == 0 or enabled:
                        break
        except grpc.aio.AioRpcError as error:
            return rules.unanswered(TAKEN_BACK, rpc.error_of(error).message)
        except TimeoutError:
            return rules.late(TAKEN_BACK, rules.TAKE_BACK_SECONDS)
        return rules.deliveries_taken_back(cancelled, waiting, enabled=enabled)

    async def _seen(self, organization_id: UUID, *, on: bool, advice: str) -> Item:
        seen = await self._settings.GetConversationSettings(
            settings_pb.GetConversationSettingsRequest(), metadata=rpc.for_organization(organization_id)
        )
        return rules.automation(
            ON if on else OFF,
            wanted=on,
            enabled=seen.automation_enabled,
            update_time=seen.update_time.ToJsonString(),
            advice=advice,
        )
