"""The deals of the demo move by themselves, as flows move them: by what was said in the deal's conversation."""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc
import grpc.aio
import structlog

from cli.calls import CALL_SECONDS, Calls
from cli.demo.live import RECEIVED, SENT, follow
from prosa.conversation.v1 import events_pb2 as facts
from prosa.conversation.v1.conversation_service_pb2 import HANDOFF_MODE_HUMAN
from prosa.crm.v1 import crm_service_pb2 as crm
from prosa.crm.v1.crm_service_pb2_grpc import CrmServiceStub
from prosa.ingest.v1 import webhook_event_service_pb2 as events

ANSWERED, INFORMED, WAITED_FOR, HANDED_OVER = (
    "Em Atendimento",
    "Informações Fornecidas",
    "Aguardando Cliente",
    "Direcionado para Canal Oficial",
)
"""Stages of the standard board."""
STAGES_BY_MESSAGE_COUNT = {2: ANSWERED, 4: INFORMED, 6: WAITED_FOR}
"""Where a deal goes with so many messages, if the last of them is ours."""

logger = structlog.get_logger(__name__)


@dataclass(slots=True)
class Seller:
    """Decides where deals go; remembers of each how many messages there were, and whether a person took over."""

    counts: dict[str, int] = field(default_factory=dict)
    handed_over: set[str] = field(default_factory=set)

    def decide(self, event: events.FeedEvent) -> tuple[str, str] | None:
        """The deal that a fact moves, and its stage; None where it stays."""
        fact = (facts.MessageSent if event.type == SENT else facts.MessageReceived).FromString(event.payload)
        if not fact.deal_id:
            return None
        count = self.counts[fact.deal_id] = self.counts.get(fact.deal_id, 0) + 1
        stage = STAGES_BY_MESSAGE_COUNT.get(count) if event.type == SENT else None
        if fact.handoff.mode == HANDOFF_MODE_HUMAN and fact.deal_id not in self.handed_over:
            self.handed_over.add(fact.deal_id)
            stage = HANDED_OVER
        return (fact.deal_id, stage) if stage else None


async def keep_selling(calls: Calls, organization_id: str) -> None:
    """Moves deals until it is cancelled."""
    seller, stub = Seller(), calls.stub(CrmServiceStub, "crm")
    async for event in follow(calls, organization_id, (RECEIVED, SENT)):
        if (decided := seller.decide(event)) is None:
            continue
        deal_id, stage = decided
        try:
            await stub.MoveDeal(
                crm.MoveDealRequest(deal_id=deal_id, stage=stage),
                metadata=calls.organization(organization_id),
                timeout=CALL_SECONDS,
            )
        except grpc.aio.AioRpcError as error:
            # Somebody closed it by hand, or a service is being restarted: the next deal is another chance.
            logger.info("demo_deal_not_moved", deal_id=deal_id, code=error.code().name)
