"""Lists that are filtered by a state that this release does not know: refused, instead of shown whole or failing."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import uuid4

import grpc
import pytest

from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.conversation.v1 import delivery_service_pb2 as delivery_pb
from prosa.conversation.v1 import instance_service_pb2 as instance_pb
from prosa.conversation.v1 import script_service_pb2 as script_pb
from prosa.conversation.v1.conversation_service_pb2_grpc import ConversationServiceStub
from prosa.conversation.v1.delivery_service_pb2_grpc import DeliveryServiceStub
from prosa.conversation.v1.instance_service_pb2_grpc import InstanceServiceStub
from prosa.conversation.v1.script_service_pb2_grpc import ScriptServiceStub
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.ingest.v1 import outbound_service_pb2 as outbound_pb
from prosa.ingest.v1 import webhook_event_service_pb2 as event_pb
from prosa.ingest.v1.outbound_service_pb2_grpc import OutboundServiceStub
from prosa.ingest.v1.webhook_event_service_pb2_grpc import WebhookEventServiceStub
from prosa.outreach.v1 import campaign_service_pb2 as campaign_pb
from prosa.outreach.v1.campaign_service_pb2_grpc import CampaignServiceStub
from tests.world import World, error_info

UNKNOWN: Any = 99
"""As from a caller of a later release: enums are open on the wire."""
LISTS: list[tuple[Any, str, Any]] = [
    (ConversationServiceStub, "ListConversations", conversation_pb.ListConversationsRequest),
    (DeliveryServiceStub, "ListDeliveries", delivery_pb.ListDeliveriesRequest),
    (InstanceServiceStub, "ListInstances", instance_pb.ListInstancesRequest),
    (ScriptServiceStub, "ListScripts", script_pb.ListScriptsRequest),
    (ScriptServiceStub, "ListRounds", script_pb.ListRoundsRequest),
    (CrmServiceStub, "ListDeals", crm_pb.ListDealsRequest),
    (CrmServiceStub, "ListReconciliationTasks", crm_pb.ListReconciliationTasksRequest),
    (
        OutboundServiceStub,
        "ListOutboundDeliveries",
        partial(outbound_pb.ListOutboundDeliveriesRequest, outbound_endpoint_id=str(uuid4())),
    ),
    (WebhookEventServiceStub, "ListWebhookEvents", event_pb.ListWebhookEventsRequest),
    (CampaignServiceStub, "ListCampaigns", campaign_pb.ListCampaignsRequest),
]


@pytest.mark.parametrize(("stub", "method", "request_type"), LISTS, ids=[method for _, method, _ in LISTS])
async def test_an_unknown_state_is_refused(stub: Any, method: str, request_type: Any, world: World) -> None:
    caller = world.as_user(uuid4())
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(caller.stub(stub), method)(request_type(state=UNKNOWN))
    assert error_info(refused.value).reason == "STATE_UNKNOWN"
