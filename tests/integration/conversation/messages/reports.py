"""Items as ingest would send them, told briefly."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1 import conversation_service_pb2_grpc as pb_grpc
from prosa.v1 import options_pb2
from tests.world import World

START = datetime(2026, 7, 20, 12, 0, tzinfo=UTC)


def stub(world: World, organization_id: UUID) -> pb_grpc.ConversationServiceAsyncStub:
    """The service as an owner of the organization calls it."""
    return world.as_user(organization_id).stub(pb_grpc.ConversationServiceStub)


async def batch(world: World, *items: pb.RecordItem) -> list[pb.RecordResult]:
    """Records items in one call, as ingest."""
    service = world.as_service("ingest").stub(pb_grpc.ConversationServiceStub)
    answer = await service.BatchRecordMessages(pb.BatchRecordMessagesRequest(items=items), timeout=30.0)
    return list(answer.results)


def told(update_time_us: int, **changes: Any) -> pb.ConversationReport:
    """A report of an open conversation at some microsecond."""
    return pb.ConversationReport(**({"state": pb.CONVERSATION_STATE_OPEN, "update_time_us": update_time_us} | changes))


def written(provider_message_id: str, text: str = "Oi", *, second: int = 0, **changes: Any) -> pb.MessageReport:
    """A message of the contact, written some seconds after noon."""
    values: dict[str, Any] = {
        "provider_message_id": provider_message_id,
        "text": text,
        "direction": pb.MESSAGE_DIRECTION_INBOUND,
        "author": pb.MESSAGE_AUTHOR_CONTACT,
        "content_type": "text",
    }
    report = pb.MessageReport(**(values | changes))
    report.create_time.FromDatetime(START + timedelta(seconds=second))
    return report


def answered(provider_message_id: str, text: str = "Olá!", **changes: Any) -> pb.MessageReport:
    """A message of the staff."""
    values = {"direction": pb.MESSAGE_DIRECTION_OUTBOUND, "author": pb.MESSAGE_AUTHOR_AGENT}
    return written(provider_message_id, text, **(values | changes))


def echoed(provider_message_id: str, text: str = "Já te respondo", **changes: Any) -> pb.MessageReport:
    """A message that the staff wrote on the phone."""
    return answered(provider_message_id, text, **({"author": pb.MESSAGE_AUTHOR_NATIVE_APP} | changes))


@dataclass
class Reported:
    """One conversation, and items that tell of it."""

    organization_id: UUID
    provider_conversation_id: str = "391"
    connection_id: str = field(default_factory=lambda: str(uuid4()))
    channel_id: str = field(default_factory=lambda: str(uuid4()))
    source: options_pb2.Source.ValueType = options_pb2.SOURCE_WHATSAPP
    contact_id: str = ""
    deal_id: str = ""
    conversation_key: str = "whatsapp:+5511900004821"

    def item(
        self, message: pb.MessageReport | None = None, report: pb.ConversationReport | None = None, **changes: Any
    ) -> pb.RecordItem:
        """What one webhook event said of it."""
        values: dict[str, Any] = {
            "organization_id": str(self.organization_id),
            "connection_id": self.connection_id,
            "channel_id": self.channel_id,
            "source": self.source,
            "provider_conversation_id": self.provider_conversation_id,
            "account_id": 7,
            "inbox_id": 21,
            "provider_contact_id": "118",
            "contact_id": self.contact_id,
            "deal_id": self.deal_id,
            "conversation_key": self.conversation_key,
            "contact_name": "Marina Prado",
            "cause_id": str(uuid4()),
            "conversation": report,
            "message": message,
        }
        item = pb.RecordItem(**(values | changes))
        item.receive_time.FromDatetime(datetime.now(UTC))
        return item
