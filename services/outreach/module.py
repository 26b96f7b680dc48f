"""Everything outreach needs, serves and runs."""

from __future__ import annotations

from chassis.process import Process
from chassis.profiles import follow_profiles
from chassis.references import contact_check
from prosa.outreach.v1.outreach_service_pb2 import DESCRIPTOR
from prosa.outreach.v1.outreach_service_pb2_grpc import add_OutreachServiceServicer_to_server
from prosa.outreach.v1.send_service_pb2 import DESCRIPTOR as SEND_DESCRIPTOR
from prosa.outreach.v1.send_service_pb2_grpc import add_SendServiceServicer_to_server
from services.outreach.sending.servicer import SendServicer
from services.outreach.servicer import OutreachServicer


async def start(process: Process) -> None:
    """Serves OutreachService and SendService, and relays their facts."""
    servicer = OutreachServicer(
        process.database(),
        process.outbox(),
        process.idempotency(),
        process.clock,
        process.ids,
        follow_profiles(process),
        contact_check(process),
    )
    process.serve(
        add_OutreachServiceServicer_to_server, servicer, DESCRIPTOR.services_by_name["OutreachService"].full_name
    )
    sending = SendServicer(process.database(), process.outbox(), process.idempotency(), process.clock)
    process.serve(add_SendServiceServicer_to_server, sending, SEND_DESCRIPTOR.services_by_name["SendService"].full_name)
    process.maintain()
