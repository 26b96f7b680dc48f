"""Everything CRM needs, serves and runs."""

from __future__ import annotations

from chassis.process import Process
from chassis.redirects import follow_redirects
from chassis.references import contact_check
from prosa.crm.v1.crm_service_pb2 import DESCRIPTOR
from prosa.crm.v1.crm_service_pb2_grpc import add_CrmServiceServicer_to_server
from prosa.identity.v1.events_pb2 import IdentityConflictDetected
from services.crm.consumers import ConflictConsumer
from services.crm.servicer import CrmServicer


async def start(process: Process) -> None:
    """Serves CrmService, relays its facts and makes identity's conflicts into tasks."""
    outbox, clock, ids = process.outbox(), process.clock, process.ids
    servicer = CrmServicer(process.database(), outbox, process.idempotency(), clock, ids, contact_check(process))
    process.serve(add_CrmServiceServicer_to_server, servicer, DESCRIPTOR.services_by_name["CrmService"].full_name)
    conflicts = ConflictConsumer(outbox, clock, ids)
    process.consumer("reconciliation_tasks").on(IdentityConflictDetected, conflicts.on_identity_conflict_detected)
    follow_redirects(process)
    process.maintain()
