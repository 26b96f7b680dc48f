"""Everything the conversation service needs, serves and runs."""

from __future__ import annotations

from uuid import UUID

from chassis.db import Tx
from chassis.process import Process
from chassis.profiles import Profiles, follow_profiles
from chassis.redirects import follow_redirects
from chassis.references import contact_check
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1 import conversation_service_pb2_grpc as pb_grpc
from prosa.conversation.v1 import delivery_service_pb2 as delivery_pb
from prosa.conversation.v1 import delivery_service_pb2_grpc as delivery_pb_grpc
from prosa.conversation.v1 import instance_service_pb2 as instance_pb
from prosa.conversation.v1 import instance_service_pb2_grpc as instance_pb_grpc
from prosa.conversation.v1 import metric_service_pb2 as metric_pb
from prosa.conversation.v1 import metric_service_pb2_grpc as metric_pb_grpc
from prosa.conversation.v1 import script_service_pb2 as script_pb
from prosa.conversation.v1 import script_service_pb2_grpc as script_pb_grpc
from prosa.conversation.v1 import settings_service_pb2 as settings_pb
from prosa.conversation.v1 import settings_service_pb2_grpc as settings_pb_grpc
from prosa.conversation.v1.events_pb2 import MessageReceived
from prosa.identity.v1.events_pb2 import ContactIdentityPromoted
from prosa.outreach.v1.events_pb2 import SendDue, SendWithdrawn
from prosa.outreach.v1.send_service_pb2_grpc import SendServiceStub
from services.conversation.deliveries.handing import PROVIDER_WRITES, Handoffs
from services.conversation.deliveries.labels import LabelHandler
from services.conversation.deliveries.queueing import DELIVERIES, Deliveries
from services.conversation.deliveries.replies import Replies
from services.conversation.deliveries.reservations import OpenReservations
from services.conversation.deliveries.reserving import Reserver
from services.conversation.deliveries.servicer import DeliveryServicer
from services.conversation.deliveries.worker import Deliverer
from services.conversation.due.beginning import Beginner
from services.conversation.due.sends import DueSends
from services.conversation.instances.client import Evolution
from services.conversation.instances.queue import INSTANCES
from services.conversation.instances.servicer import InstanceServicer
from services.conversation.instances.worker import InstanceHandler
from services.conversation.limits import DELIVERY_SLOTS, INSTANCE_SLOTS, TURN_SLOTS, WRITE_SLOTS
from services.conversation.messages.consumers import PromotedKeys
from services.conversation.messages.servicer import ConversationServicer
from services.conversation.metrics.servicer import MetricServicer
from services.conversation.personas.keeping import Personas
from services.conversation.scripts import store as script_store
from services.conversation.scripts.keeping import Scripts
from services.conversation.scripts.planning import ROUNDS, SCRIPTS, Planner
from services.conversation.scripts.rounds import Rounds
from services.conversation.scripts.running import Runner
from services.conversation.scripts.servicer import ScriptServicer
from services.conversation.settings import store as settings_store
from services.conversation.settings.choosing import Settings
from services.conversation.settings.servicer import SettingsServicer
from services.conversation.speaking.model import Model
from services.conversation.turns.answering import Answerer
from services.conversation.turns.gathering import TURNS, Gatherer


async def start(process: Process) -> None:
    """Starts the service."""
    db, outbox, idempotency, clock, ids = (
        *(process.database(), process.outbox(), process.idempotency()),
        *(process.clock, process.ids),
    )
    queue, reserver = process.queue(DELIVERIES), Reserver(process.stub(SendServiceStub, "outreach"))
    deliveries = Deliveries(queue, outbox)
    handoffs = Handoffs(db, deliveries, process.queue(PROVIDER_WRITES), outbox, idempotency, clock)
    replies = Replies(db, deliveries, reserver, handoffs, idempotency, clock, ids)
    servicer = ConversationServicer(
        db, outbox, idempotency, clock, ids, contact_check(process), replies.send, handoffs.set
    )
    name = pb.DESCRIPTOR.services_by_name["ConversationService"].full_name
    process.serve(pb_grpc.add_ConversationServiceServicer_to_server, servicer, name)
    _send(process, deliveries, reserver, handoffs)
    profiles = follow_profiles(process)
    metrics = MetricServicer(db, clock, profiles)
    process.serve(
        metric_pb_grpc.add_MetricServiceServicer_to_server,
        metrics,
        metric_pb.DESCRIPTOR.services_by_name["MetricService"].full_name,
    )
    _serve_scripts(process, profiles, deliveries)
    _answer(process, profiles, deliveries)
    process.consumer("promoted_keys").on(ContactIdentityPromoted, PromotedKeys(outbox, clock).handle)
    follow_redirects(process)
    _keep_numbers(process)
    process.maintain()


def _keep_numbers(process: Process) -> None:
    db, outbox, vault, clock = process.database(), process.outbox(), process.vault(), process.clock
    queue = process.queue(INSTANCES)
    process.serve(
        instance_pb_grpc.add_InstanceServiceServicer_to_server,
        InstanceServicer(db, outbox, vault, clock, queue),
        instance_pb.DESCRIPTOR.services_by_name["InstanceService"].full_name,
    )
    handler = InstanceHandler(db, outbox, vault, Evolution(process.outgoing()), clock)
    process.work(queue, handler, slots=INSTANCE_SLOTS, batch_max=1)


def _send(process: Process, deliveries: Deliveries, reserver: Reserver, handoffs: Handoffs) -> None:
    db, vault = process.database(), process.vault()
    deliverer = Deliverer(db, deliveries, reserver, process.outgoing(), vault, process.clock)
    process.serve(
        delivery_pb_grpc.add_DeliveryServiceServicer_to_server,
        DeliveryServicer(db, deliveries, deliverer, vault, process.clock),
        delivery_pb.DESCRIPTOR.services_by_name["DeliveryService"].full_name,
    )
    due = DueSends(deliveries, Beginner(process.outbox(), process.ids), process.outbox(), process.clock)
    due_sends = process.consumer("due_sends")
    due_sends.on(SendDue, due.on_send_due)
    due_sends.on(SendWithdrawn, due.on_send_withdrawn)
    process.work(deliveries.queue, deliverer, slots=DELIVERY_SLOTS, batch_max=1)
    writer = LabelHandler(db, process.outgoing(), vault, process.clock)
    process.work(handoffs.writes, writer, slots=WRITE_SLOTS, batch_max=1)
    process.run("open_reservations", OpenReservations(db, reserver).run)


def _serve_scripts(process: Process, profiles: Profiles, deliveries: Deliveries) -> None:
    """What is said by itself: who speaks, when, and how conversations are answered."""
    db, outbox, idempotency, clock, ids = (
        *(process.database(), process.outbox(), process.idempotency()),
        *(process.clock, process.ids),
    )
    planner = Planner(db, outbox, clock, process.queue(SCRIPTS), process.queue(ROUNDS))
    process.serve(
        script_pb_grpc.add_ScriptServiceServicer_to_server,
        ScriptServicer(
            Personas(db, idempotency, clock, ids, _uses_of_persona),
            Scripts(db, outbox, idempotency, clock, ids, profiles, planner),
            Rounds(db, outbox, clock, planner.rounds, deliveries),
        ),
        script_pb.DESCRIPTOR.services_by_name["ScriptService"].full_name,
    )
    process.serve(
        settings_pb_grpc.add_SettingsServiceServicer_to_server,
        SettingsServicer(Settings(db, outbox, idempotency, process.vault(), clock, process.outgoing())),
        settings_pb.DESCRIPTOR.services_by_name["SettingsService"].full_name,
    )
    process.work(planner.scripts, planner, batch_max=1)
    process.work(planner.rounds, Runner(db, outbox, clock, ids, deliveries), batch_max=1)


def _answer(process: Process, profiles: Profiles, deliveries: Deliveries) -> None:
    """Gathers what contacts write, and replies by itself."""
    gatherer = Gatherer(process.clock, process.ids, process.queue(TURNS))
    process.consumer("turns").on(MessageReceived, gatherer.handle)
    answerer = Answerer(
        process.database(),
        process.outbox(),
        process.clock,
        process.ids,
        process.vault(),
        profiles,
        deliveries,
        Model(process.outgoing()),
    )
    process.work(gatherer.queue, answerer, slots=TURN_SLOTS, batch_max=1)


async def _uses_of_persona(tx: Tx, organization_id: UUID, persona_id: UUID) -> list[str]:
    return [
        *await settings_store.uses_of(tx, organization_id, persona_id),
        *await script_store.uses_of(tx, organization_id, persona_id),
    ]
