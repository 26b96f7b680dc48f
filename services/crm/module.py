"""Everything CRM needs, serves and runs."""

from __future__ import annotations

from chassis.process import Process
from chassis.redirects import follow_redirects
from chassis.references import contact_check
from prosa.crm.v1.crm_service_pb2 import DESCRIPTOR
from prosa.crm.v1.crm_service_pb2_grpc import add_CrmServiceServicer_to_server
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.identity.v1.events_pb2 import IdentityConflictDecided, IdentityConflictDetected
from services.crm.consumers import ConflictConsumer
from services.crm.deciding import Decisions
from services.crm.servicer import CrmServicer


async def start(process: Process) -> None:
    """Serves CrmService, relays its facts and makes identity's conflicts into tasks."""
    outbox, clock, ids = process.outbox(), process.clock, process.ids
    db, idempotency = process.database(), process.idempotency()
    decisions = Decisions(db, outbox, idempotency, clock, process.stub(ContactServiceStub, "identity"))
    servicer = CrmServicer(db, outbox, idempotency, clock, ids, contact_check(process), decisions)
    process.serve(add_CrmServiceServicer_to_server, servicer, DESCRIPTOR.services_by_name["CrmService"].full_name)
    conflicts = ConflictConsumer(outbox, clock, ids)
    tasks = process.consumer("reconciliation_tasks")
    tasks.on(IdentityConflictDetected, conflicts.on_identity_conflict_detected)
    tasks.on(IdentityConflictDecided, decisions.on_identity_conflict_decided)
    follow_redirects(process)
    process.maintain()
