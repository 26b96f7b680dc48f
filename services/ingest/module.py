"""Everything ingest needs, serves and runs; the door alone is a target of its own."""

from __future__ import annotations

from chassis.process import Process
from chassis.queues.queue import Queue
from chassis.references import board_check
from prosa.conversation.v1.conversation_service_pb2_grpc import ConversationServiceStub
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.ingest.v1 import connection_service_pb2, ingest_service_pb2, webhook_event_service_pb2
from prosa.ingest.v1.connection_service_pb2_grpc import add_ConnectionServiceServicer_to_server
from prosa.ingest.v1.ingest_service_pb2_grpc import add_IngestServiceServicer_to_server
from prosa.ingest.v1.webhook_event_service_pb2_grpc import (
    add_EventServiceServicer_to_server,
    add_WebhookEventServiceServicer_to_server,
)
from services.ingest.accept import Door, DoorMetrics
from services.ingest.connection_servicer import ConnectionServicer
from services.ingest.directory import Directory
from services.ingest.ensure import Ensurer
from services.ingest.event_servicer import WebhookEventServicer
from services.ingest.feed import SOURCES, WRITER, FeedReader, FeedWriter
from services.ingest.feed_servicer import FeedServicer
from services.ingest.path import Path
from services.ingest.queue import WEBHOOKS
from services.ingest.servicer import IngestServicer
from services.ingest.worker import ATTEMPTS, WebhookHandler, WorkerMetrics


async def start(process: Process) -> None:
    """The whole room: connections, door, workers, dead letters, the feed."""
    db, clock, ids, nats = process.database(), process.clock, process.ids, process.nats
    queue = process.queue(WEBHOOKS)
    directory = Directory(db, process.vault(), nats)
    await directory.watch()
    reader = FeedReader(nats)
    await reader.watch()
    _serve_door(process, directory, queue)
    process.serve(
        add_ConnectionServiceServicer_to_server,
        ConnectionServicer(
            db=db,
            outbox=process.outbox(),
            requests=process.requests(),
            vault=process.vault(),
            clock=clock,
            ids=ids,
            changed=directory.announce_change,
            outgoing=process.outgoing(),
            check_board=board_check(process),
        ),
        connection_service_pb2.DESCRIPTOR.services_by_name["ConnectionService"].full_name,
    )
    process.serve(
        add_WebhookEventServiceServicer_to_server,
        WebhookEventServicer(db, clock, ids, queue),
        webhook_event_service_pb2.DESCRIPTOR.services_by_name["WebhookEventService"].full_name,
    )
    process.serve(
        add_EventServiceServicer_to_server,
        FeedServicer(db, reader),
        webhook_event_service_pb2.DESCRIPTOR.services_by_name["EventService"].full_name,
    )
    handler = WebhookHandler(
        directory=directory,
        path=_path(process),
        outbox=process.outbox(),
        clock=clock,
        metrics=WorkerMetrics(process.metrics.registry),
    )
    process.work(queue, handler, ATTEMPTS)
    writer = FeedWriter(clock, nats)
    process.consumer(WRITER).on_all(SOURCES, writer.append)
    process.maintain()


async def start_accept(process: Process) -> None:
    """The door alone, for a process that holds the gateway and nothing else."""
    directory = Directory(process.database(), process.vault(), process.nats)
    await directory.watch()
    _serve_door(process, directory, process.queue(WEBHOOKS))
    # After days of rest the door may open before the others have made the partitions it writes to.
    process.maintain()


def _serve_door(process: Process, directory: Directory, queue: Queue) -> None:
    door = Door(process.database(), directory, process.clock, process.ids, DoorMetrics(process.metrics.registry), queue)
    ensurer = Ensurer(_path(process), directory, process.channel("crm"), process.clock, process.ids)
    process.serve(
        add_IngestServiceServicer_to_server,
        IngestServicer(door, ensurer, process.database(), process.requests(), process.clock),
        ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name,
    )


def _path(process: Process) -> Path:
    return Path(
        process.stub(ContactServiceStub, "identity"),
        process.stub(CrmServiceStub, "crm"),
        process.stub(ConversationServiceStub, "conversation"),
    )
