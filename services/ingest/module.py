"""Everything ingest needs, serves and runs; the acceptor alone is a target of its own."""

from __future__ import annotations

import secrets

from chassis.process import Process
from chassis.queues.queue import Queue
from chassis.redirects import follow_redirects
from chassis.references import board_check, deal_check
from prosa.conversation.v1.conversation_service_pb2_grpc import ConversationServiceStub
from prosa.conversation.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from prosa.conversation.v1.events_pb2 import InstanceChanged
from prosa.conversation.v1.instance_service_pb2_grpc import InstanceServiceStub
from prosa.conversation.v1.settings_service_pb2_grpc import SettingsServiceStub
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.identity.v1.member_service_pb2_grpc import MemberServiceStub
from prosa.ingest.v1 import (
    alert_service_pb2,
    connection_service_pb2,
    ingest_service_pb2,
    outbound_service_pb2,
    rollout_service_pb2,
    webhook_event_service_pb2,
)
from prosa.ingest.v1.alert_service_pb2_grpc import add_AlertServiceServicer_to_server
from prosa.ingest.v1.connection_service_pb2_grpc import add_ConnectionServiceServicer_to_server
from prosa.ingest.v1.ingest_service_pb2_grpc import add_IngestServiceServicer_to_server
from prosa.ingest.v1.outbound_service_pb2_grpc import add_OutboundServiceServicer_to_server
from prosa.ingest.v1.rollout_service_pb2_grpc import add_RolloutServiceServicer_to_server
from prosa.ingest.v1.webhook_event_service_pb2_grpc import (
    add_EventServiceServicer_to_server,
    add_WebhookEventServiceServicer_to_server,
)
from services.ingest.acceptance.acceptor import Acceptor, AcceptorMetrics
from services.ingest.acceptance.servicer import IngestServicer
from services.ingest.connections.accounts import ACCOUNTS, AccountHandler, Accounts
from services.ingest.connections.cache import ConnectionCache
from services.ingest.connections.linking import Linker
from services.ingest.connections.servicer import ConnectionServicer, draw_connection_key
from services.ingest.feed.positions import SOURCES, WRITER, FeedReader, FeedWriter
from services.ingest.feed.servicer import FeedServicer
from services.ingest.health.counting import HEALTH, HealthCounts
from services.ingest.health.servicer import AlertServicer
from services.ingest.health.watching import HealthHandler
from services.ingest.instances.beginning import Beginner, Draws, Teller
from services.ingest.instances.numbers import OwnNumbers
from services.ingest.instances.queue import INSTANCES
from services.ingest.limits import OUTBOUND_SLOTS
from services.ingest.outbound.poster import EndpointWaker, Poster
from services.ingest.outbound.queue import OUTBOUND
from services.ingest.outbound.servicer import OutboundServicer
from services.ingest.processing.ensure import Ensurer
from services.ingest.processing.event_servicer import WebhookEventServicer
from services.ingest.processing.instance_reporting import InstanceReporter
from services.ingest.processing.pipeline import Pipeline
from services.ingest.processing.queue import WEBHOOKS
from services.ingest.processing.worker import ATTEMPTS, WebhookHandler, WorkerMetrics
from services.ingest.rollout.automation import Automation
from services.ingest.rollout.changing import Changing
from services.ingest.rollout.doctor import Check, Doctor
from services.ingest.rollout.servicer import RolloutServicer


async def start(process: Process) -> None:
    """The whole service: connections, acceptor, workers, dead letters, the feed and who is told of it."""
    db, clock, ids, nats = process.database(), process.clock, process.ids, process.nats
    queue = process.queue(WEBHOOKS)
    cache = ConnectionCache(db, process.vault(), nats)
    await cache.watch()
    reader = FeedReader(nats)
    await reader.watch()
    _serve_acceptance(process, cache, queue)
    accounts = process.queue(ACCOUNTS)
    instances = process.stub(InstanceServiceStub, "conversation")
    teller = AccountHandler(db, process.vault(), process.stub(DeliveryServiceStub, "conversation"), instances)
    process.work(accounts, teller, slots=1)
    begun = process.queue(INSTANCES)
    servicer = ConnectionServicer(
        db=db,
        outbox=process.outbox(),
        idempotency=process.idempotency(),
        vault=process.vault(),
        clock=clock,
        ids=ids,
        changed=cache.announce_change,
        outgoing=process.outgoing(),
        check_board=board_check(process),
        accounts=Accounts(accounts),
        begin=Beginner(
            *(db, process.outbox(), process.idempotency(), process.vault(), clock, ids),
            changed=cache.announce_change,
            check_board=board_check(process),
            queue=begun,
            public_url=process.settings.public_url,
            draws=Draws(key=draw_connection_key),
            outgoing=process.outgoing(),
        ).begin,
        instances=instances,
    )
    process.serve(
        add_ConnectionServiceServicer_to_server,
        servicer,
        connection_service_pb2.DESCRIPTOR.services_by_name["ConnectionService"].full_name,
    )
    _serve_rollout(process, cache, servicer.check)
    process.serve(
        add_WebhookEventServiceServicer_to_server,
        WebhookEventServicer(db, clock, ids, queue),
        webhook_event_service_pb2.DESCRIPTOR.services_by_name["WebhookEventService"].full_name,
    )
    feed = FeedServicer(db, reader)
    process.on_drain(feed.end_waits)
    process.serve(
        add_EventServiceServicer_to_server,
        feed,
        webhook_event_service_pb2.DESCRIPTOR.services_by_name["EventService"].full_name,
    )
    health = process.queue(HEALTH)
    process.serve(
        add_AlertServiceServicer_to_server,
        AlertServicer(db),
        alert_service_pb2.DESCRIPTOR.services_by_name["AlertService"].full_name,
    )
    process.work(health, HealthHandler(process.outbox(), clock, ids), slots=1)
    handler = WebhookHandler(
        cache=cache,
        pipeline=_pipeline(process),
        instances=InstanceReporter(process.stub(InstanceServiceStub, "conversation")),
        outbox=process.outbox(),
        health=HealthCounts(health).note,
        clock=clock,
        metrics=WorkerMetrics(process.metrics.registry),
    )
    process.work(queue, handler, ATTEMPTS)
    process.work(begun, Teller(db, process.vault(), clock, process.stub(InstanceServiceStub, "conversation")))
    process.consumer("own_numbers").on(InstanceChanged, OwnNumbers(cache.announce_change).handle)
    outbound = process.queue(OUTBOUND)
    _serve_outbound(process, outbound)
    writer = FeedWriter(clock, nats, EndpointWaker(outbound, clock))
    follow_redirects(process)
    process.consumer(WRITER).on_all(SOURCES, writer.append)
    process.maintain()


async def start_accept(process: Process) -> None:
    """The acceptor alone, for a process that holds the gateway and nothing else."""
    cache = ConnectionCache(process.database(), process.vault(), process.nats)
    await cache.watch()
    _serve_acceptance(process, cache, process.queue(WEBHOOKS))
    # After days of rest the acceptor may start before the others have made the partitions it writes to.
    process.maintain()


def _serve_rollout(process: Process, cache: ConnectionCache, check: Check) -> None:
    db, clock, ids = process.database(), process.clock, process.ids
    doctor = Doctor(db, process.stub(MemberServiceStub, "identity"), process.stub(CrmServiceStub, "crm"), check, clock)
    automation = Automation(
        process.stub(SettingsServiceStub, "conversation"), process.stub(DeliveryServiceStub, "conversation")
    )
    changing = Changing(db, process.outbox(), process.idempotency(), clock, ids, doctor, automation, cache)
    process.serve(
        add_RolloutServiceServicer_to_server,
        RolloutServicer(db, doctor, changing, clock, ids),
        rollout_service_pb2.DESCRIPTOR.services_by_name["RolloutService"].full_name,
    )


def _serve_outbound(process: Process, queue: Queue) -> None:
    db, clock, ids, outbox = process.database(), process.clock, process.ids, process.outbox()
    vault, outgoing = process.vault(), process.outgoing()
    process.serve(
        add_OutboundServiceServicer_to_server,
        OutboundServicer(db, queue, outbox, process.idempotency(), vault, clock, ids, outgoing),
        outbound_service_pb2.DESCRIPTOR.services_by_name["OutboundService"].full_name,
    )
    poster = Poster(
        queue, outgoing=outgoing, vault=vault, outbox=outbox, clock=clock, ids=ids, draw=secrets.SystemRandom().random
    )
    process.work(queue, poster, slots=OUTBOUND_SLOTS, batch_max=1)


def _serve_acceptance(process: Process, cache: ConnectionCache, queue: Queue) -> None:
    acceptor = Acceptor(
        process.database(), cache, process.clock, process.ids, AcceptorMetrics(process.metrics.registry), queue
    )
    ensurer = Ensurer(_pipeline(process), cache, process.channel("crm"), process.clock, process.ids)
    linker = Linker(process.database(), deal_check(process), process.stub(ConversationServiceStub, "conversation"))
    process.serve(
        add_IngestServiceServicer_to_server,
        IngestServicer(acceptor, ensurer, linker, process.database(), process.idempotency(), process.clock),
        ingest_service_pb2.DESCRIPTOR.services_by_name["IngestService"].full_name,
    )


def _pipeline(process: Process) -> Pipeline:
    return Pipeline(
        process.stub(ContactServiceStub, "identity"),
        process.stub(CrmServiceStub, "crm"),
        process.stub(ConversationServiceStub, "conversation"),
    )
