"""Everything outreach needs, serves and runs."""

from __future__ import annotations

from chassis.process import Process
from chassis.profiles import follow_profiles
from chassis.references import contact_check
from prosa.outreach.v1.outreach_service_pb2 import DESCRIPTOR
from prosa.outreach.v1.outreach_service_pb2_grpc import add_OutreachServiceServicer_to_server
from prosa.outreach.v1.send_service_pb2 import DESCRIPTOR as SEND_DESCRIPTOR
from prosa.outreach.v1.send_service_pb2_grpc import add_SendServiceServicer_to_server
from services.outreach.sending.gate import Reservations
from services.outreach.sending.quota_store import Quotas
from services.outreach.sending.rebuilding import Rebuilder
from services.outreach.sending.servicer import SendServicer
from services.outreach.sending.terms import TERMS_VERSION
from services.outreach.servicer import OutreachServicer


async def start(process: Process) -> None:
    """Serves OutreachService and SendService, and relays their facts."""
    profiles = follow_profiles(process)
    quotas = Quotas(process.redis())
    rebuilder = Rebuilder(process.database(), quotas, process.clock, process.ids)
    gate = Reservations(process.database(), quotas, rebuilder, profiles, process.clock, process.ids, TERMS_VERSION)
    servicer = OutreachServicer(
        process.database(),
        process.outbox(),
        process.idempotency(),
        process.clock,
        process.ids,
        profiles,
        contact_check(process),
    )
    process.serve(
        add_OutreachServiceServicer_to_server, servicer, DESCRIPTOR.services_by_name["OutreachService"].full_name
    )
    sending = SendServicer(process.database(), process.outbox(), process.idempotency(), process.clock, gate, profiles)
    process.serve(add_SendServiceServicer_to_server, sending, SEND_DESCRIPTOR.services_by_name["SendService"].full_name)
    process.run("quotas", rebuilder.run)
    process.maintain()
