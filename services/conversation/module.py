"""Everything the conversation service needs, serves and runs."""

from __future__ import annotations

from chassis.process import Process
from chassis.profiles import follow_profiles
from chassis.references import contact_check
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1 import conversation_service_pb2_grpc as pb_grpc
from prosa.conversation.v1 import metric_service_pb2 as metric_pb
from prosa.conversation.v1 import metric_service_pb2_grpc as metric_pb_grpc
from prosa.identity.v1.events_pb2 import ContactIdentityPromoted
from services.conversation.messages.consumers import PromotedKeys
from services.conversation.messages.servicer import ConversationServicer
from services.conversation.metrics.servicer import MetricServicer


async def start(process: Process) -> None:
    """Starts the service."""
    outbox = process.outbox()
    servicer = ConversationServicer(
        process.database(), outbox, process.idempotency(), process.clock, process.ids, contact_check(process)
    )
    name = pb.DESCRIPTOR.services_by_name["ConversationService"].full_name
    process.serve(pb_grpc.add_ConversationServiceServicer_to_server, servicer, name)
    metrics = MetricServicer(process.database(), process.clock, follow_profiles(process))
    process.serve(
        metric_pb_grpc.add_MetricServiceServicer_to_server,
        metrics,
        metric_pb.DESCRIPTOR.services_by_name["MetricService"].full_name,
    )
    process.consumer("promoted_keys").on(ContactIdentityPromoted, PromotedKeys(outbox, process.clock).handle)
    process.maintain()
