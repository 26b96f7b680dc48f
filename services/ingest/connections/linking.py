"""Conversations made by hand: only in the caller's own connections and channels, and about its own deals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc.aio

from chassis import auth, rpc, wire
from chassis.db import Database
from chassis.errors import NotFound
from chassis.references import Check
from prosa.conversation.v1 import conversation_service_pb2 as pb
from services.ingest.connections import store

if TYPE_CHECKING:
    from prosa.conversation.v1.conversation_service_pb2_grpc import ConversationServiceAsyncStub


class Linker:
    """Looks up what a request names before conversation, which knows neither connections nor deals, records it."""

    def __init__(self, db: Database, check_deal: Check, conversations: ConversationServiceAsyncStub) -> None:
        self._db, self._check_deal, self._conversations = db, check_deal, conversations

    async def link(self, request: pb.CreateConversationRequest) -> pb.Conversation:
        """The conversation, found or made. The contact is conversation's to look up, as before."""
        organization_id = auth.organization_id()
        connection_id = wire.to_uuid("connection_id", request.connection_id)
        channel_id = wire.to_uuid("channel_id", request.channel_id)
        deal_id = wire.to_optional_uuid("deal_id", request.deal_id)
        async with self._db.transaction(organization_id) as tx:
            if await store.find_connection(tx, organization_id, connection_id) is None:
                raise NotFound("CONNECTION_NOT_FOUND", "The organization has no such connection.")
            if await store.find_channel(tx, organization_id, connection_id, channel_id) is None:
                raise NotFound("CHANNEL_NOT_FOUND", "The connection has no such channel. List its channels.")
        if deal_id is not None:
            await self._check_deal(organization_id, deal_id)
        try:
            return await self._conversations.CreateConversation(request, metadata=rpc.for_organization(organization_id))
        except grpc.aio.AioRpcError as error:
            raise rpc.error_of(error) from error
