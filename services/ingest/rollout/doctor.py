"""Asks everything that must be so before an organization goes live."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

import grpc.aio

from chassis import rpc
from chassis.clock import Clock
from chassis.db import Database
from chassis.errors import ProsaError
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.identity.v1 import member_service_pb2 as member_pb
from prosa.v1 import options_pb2
from services.ingest.connections import store as connections
from services.ingest.connections.check import Checked
from services.ingest.rollout import rules
from services.ingest.rollout.rules import Administrator, Item, Stage

if TYPE_CHECKING:
    from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceAsyncStub
    from prosa.identity.v1.member_service_pb2_grpc import MemberServiceAsyncStub

CONNECTIONS_MAX = 50
"""How many connections are asked; further ones have their own `prosa connection check`."""
ADMINISTRATORS_MAX = 100
BOARDS_MAX = 250

Check = Callable[[UUID, UUID], Awaitable[Checked]]
"""Asks the provider of an organization's connection."""


class Doctor:
    """Everything it asks is asked in order, and none of it changes anything."""

    def __init__(
        self, db: Database, members: MemberServiceAsyncStub, crm: CrmServiceAsyncStub, check: Check, clock: Clock
    ) -> None:
        self._db, self._members, self._crm, self._check, self._clock = db, members, crm, check, clock

    async def run(self, organization_id: UUID) -> list[Item]:
        """What was seen; what did not answer in time has failed."""
        items: list[Item] = []
        async with self._db.transaction(organization_id) as tx:
            found = await connections.list_connections(tx, organization_id, None, CONNECTIONS_MAX)
            channels = await connections.channels_of(tx, organization_id, [connection.id for connection in found])
        named = {channel.board_id for declared in channels.values() for channel in declared if channel.active}
        try:
            async with asyncio.timeout(rules.DOCTOR_SECONDS):
                items.append(await self._timed("administrators", self._administrators(organization_id)))
                for connection in reversed(found):
                    declared = channels.get(connection.id, ())
                    if declared and not any(channel.active for channel in declared):
                        items.append(rules.at_rest(connection.name))
                        continue
                    name = f"connection:{connection.name}"
                    items.append(await self._timed(name, self._connection(organization_id, connection)))
                items += await self._boards(organization_id, named)
        except TimeoutError:
            items.append(rules.late("time", rules.DOCTOR_SECONDS))
        if not any(item.name.startswith("connection:") and not item.skipped for item in items):
            items.append(rules.no_connection())
        return items

    async def _timed(self, name: str, asked: Awaitable[Item]) -> Item:
        begun = self._clock.now()
        try:
            item = await asked
        except grpc.aio.AioRpcError as error:
            item = rules.unanswered(name, rpc.error_of(error).message)
        except ProsaError as error:
            item = rules.unanswered(name, error.message)
        return replace(item, duration_ms=(self._clock.now() - begun) // timedelta(milliseconds=1))

    async def _administrators(self, organization_id: UUID) -> Item:
        found: list[Administrator] = []
        for role in (options_pb2.ROLE_OWNER, options_pb2.ROLE_ADMIN):
            answer = await self._members.ListMembers(
                member_pb.ListMembersRequest(role=role, page_size=ADMINISTRATORS_MAX),
                metadata=rpc.for_organization(organization_id),
            )
            found += [Administrator(member.email, member.mfa_set_up) for member in answer.members]
        return rules.administrators(found)

    async def _connection(self, organization_id: UUID, connection: connections.Connection) -> Item:
        checked = await self._check(organization_id, connection.id)
        return rules.connection(connection.name, [(item.name, item.passed, item.detail) for item in checked.items])

    async def _boards(self, organization_id: UUID, named: AbstractSet[UUID | None]) -> list[Item]:
        """The boards that channels name; a channel that names none uses the default one."""
        try:
            answer = await self._crm.ListBoards(
                crm_pb.ListBoardsRequest(page_size=BOARDS_MAX), metadata=rpc.for_organization(organization_id)
            )
        except grpc.aio.AioRpcError as error:
            return [rules.unanswered("board_stages", rpc.error_of(error).message)]
        return [
            rules.board_stages(board.key, _stages(board.stages))
            for board in answer.boards
            if UUID(board.board_id) in named or (board.default_board and (None in named or not named))
        ] or [rules.no_board()]


def _stages(stages: Sequence[crm_pb.Stage]) -> list[Stage]:
    return [Stage((stage.label, *stage.aliases), open=stage.deal_state == crm_pb.DEAL_STATE_OPEN) for stage in stages]
