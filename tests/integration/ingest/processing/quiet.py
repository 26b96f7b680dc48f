"""Ingest without workers: what a test writes stays as it is until the test itself changes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

from chassis.process import Process
from prosa.ingest.v1 import webhook_event_service_pb2
from prosa.ingest.v1.webhook_event_service_pb2_grpc import (
    WebhookEventServiceStub,
    add_WebhookEventServiceServicer_to_server,
)
from services.ingest.processing.event_servicer import WebhookEventServicer
from services.ingest.processing.queue import WEBHOOKS
from tests.world import World

if TYPE_CHECKING:
    from prosa.ingest.v1.webhook_event_service_pb2_grpc import WebhookEventServiceAsyncStub

REPLAY_EVENTS_MAX = 12
REPLAY_CHUNK_EVENTS = 5


@dataclass
class Wakes:
    """Counts how often the workers were woken."""

    count: int = 0


@dataclass
class QuietIngest:
    """Starts WebhookEventService alone, with limits that a test can reach."""

    wakes: Wakes = field(default_factory=Wakes)

    async def start(self, process: Process) -> None:
        """What a host calls."""

        def wake() -> None:
            self.wakes.count += 1

        servicer = WebhookEventServicer(
            process.database(),
            process.clock,
            process.ids,
            replace(WEBHOOKS, wake=wake),
            replay_events_max=REPLAY_EVENTS_MAX,
            replay_chunk_events=REPLAY_CHUNK_EVENTS,
        )
        name = webhook_event_service_pb2.DESCRIPTOR.services_by_name["WebhookEventService"].full_name
        process.serve(add_WebhookEventServiceServicer_to_server, servicer, name)


def events(world: World, organization_id: UUID) -> WebhookEventServiceAsyncStub:
    """The service as an owner of the organization calls it."""
    return world.as_user(organization_id).stub(WebhookEventServiceStub)


@dataclass
class StoredEvents:
    """Writes webhook events of one organization, as acceptor and workers leave them."""

    world: World
    organization_id: UUID
    connection_id: UUID = field(default_factory=uuid4)

    async def put(
        self, state: str, receive_time: datetime, *, body: bytes = b"{}", queued: bool = False, **fields: Any
    ) -> UUID:
        """One event, with its dead letter where it is one, and with its place in the queue if it is to have one."""
        values: dict[str, Any] = {
            "id": self.world.host.ids.new(),
            "receive_time": receive_time,
            "organization_id": self.organization_id,
            "connection_id": self.connection_id,
            "provider": "CHATWOOT",
            "event": "message_created",
            "ordering_key": "conversation/1",
            "signed": True,
            "correlation_id": "",
            "trace_parent": "",
            "state": state,
            "reason": "",
            "detail": "",
            "attempt_count": 0,
            "body": body,
        } | fields
        async with await self.world.admin() as connection:
            await connection.execute(_insert("ingest.webhook_events", list(values)), values)
            shared = {name: values[name] for name in ("receive_time", "organization_id", "connection_id", "reason")}
            if state == "DEAD_LETTER":
                await connection.execute(
                    _insert("ingest.dead_letters", ["webhook_event_id", *shared]),
                    shared | {"webhook_event_id": values["id"]},
                )
            if queued:
                place = {
                    "lane": 3,
                    "ordering_key": values["ordering_key"],
                    "webhook_event_id": values["id"],
                    "receive_time": receive_time,
                    "organization_id": self.organization_id,
                    "attempt_count": 0,
                }
                await connection.execute(_insert("ingest.webhook_queue", list(place)), place)
        event_id: UUID = values["id"]
        return event_id

    async def row(self, event_id: UUID) -> dict[str, Any]:
        """The event as it is stored."""
        (row,) = await self.world.rows("select * from ingest.webhook_events where id = %s", event_id)
        return row

    async def queue(self) -> list[dict[str, Any]]:
        """The organization's places in the queue, in the order they are processed in."""
        return await self.world.rows(
            "select * from ingest.webhook_queue where organization_id = %s order by sequence", self.organization_id
        )

    async def dead(self) -> set[UUID]:
        """The organization's dead letters."""
        rows = await self.world.rows(
            "select webhook_event_id from ingest.dead_letters where organization_id = %s", self.organization_id
        )
        return {row["webhook_event_id"] for row in rows}


def _insert(table: str, columns: Sequence[str]) -> bytes:
    values = ", ".join(f"%({column})s" for column in columns)
    return f"insert into {table} ({', '.join(columns)}) values ({values})".encode()
