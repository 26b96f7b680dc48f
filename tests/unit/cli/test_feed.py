"""What `prosa feed tail` prints of a fact, and which facts it may be asked for."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from google.protobuf.message import Message

from cli.failures import Refused
from cli.feed import full_types, line
from prosa.conversation.v1 import conversation_service_pb2 as conversation
from prosa.conversation.v1 import events_pb2 as conversation_facts
from prosa.crm.v1 import crm_service_pb2 as crm
from prosa.crm.v1 import events_pb2 as crm_facts
from prosa.identity.v1 import events_pb2 as identity_facts
from prosa.ingest.v1 import events_pb2 as ingest_facts
from prosa.ingest.v1 import webhook_event_service_pb2 as pb

TIME = datetime(2026, 5, 13, 12, 0, 5, 250_000, tzinfo=UTC)
ORGANIZATION = "01890a5d-0000-774b-bcce-b302099a8057"


def announced(fact: Message, position: int = 7) -> pb.FeedEvent:
    """The fact as the feed carries it."""
    event = pb.FeedEvent(
        position=position,
        type=fact.DESCRIPTOR.full_name,
        organization_id=ORGANIZATION,
        payload=fact.SerializeToString(),
    )
    event.event_time.FromDatetime(TIME)
    return event


@pytest.mark.parametrize(
    ("fact", "told"),
    [
        (
            conversation_facts.MessageReceived(
                organization_id=ORGANIZATION,
                contact_id="c1",
                deal_id="d1",
                conversation_id="v1",
                conversation_key="whatsapp:+5511900001234",
                connection_id="n1",
                message=conversation.Message(message_id="m1", text="Oi, it's me"),
            ),
            "MessageReceived           whatsapp:+5511900001234  contact=c1  deal=d1  conversation=v1  message=m1",
        ),
        (
            crm_facts.DealCreated(organization_id=ORGANIZATION, deal=crm.Deal(deal_id="d1", contact_id="c1")),
            "DealCreated               contact=c1  deal=d1",
        ),
        (
            ingest_facts.ConnectionCreated(organization_id=ORGANIZATION, connection_id="n1", name="Chatwoot"),
            "ConnectionCreated         connection=n1",
        ),
        (
            ingest_facts.WebhookEventDeadLettered(webhook_event_id="w1", reason="NO_VALID_IDENTITY"),
            "WebhookEventDeadLettered  webhook_event=w1  reason=NO_VALID_IDENTITY",
        ),
        (identity_facts.OrganizationCreated(organization_id=ORGANIZATION, name="Ana"), "OrganizationCreated"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Message) else "",
)
def test_a_fact_is_one_line_with_its_short_name_and_the_ids_to_look_further_with(fact: Message, told: str) -> None:
    assert line(announced(fact)) == f"       7  2026-05-13 12:00:05Z  {told}"


def test_a_fact_that_this_version_does_not_know_is_named_alone() -> None:
    event = pb.FeedEvent(position=123_456_789, type="prosa.crm.v9.DealEaten", payload=b"\xff")
    assert line(event).endswith("  DealEaten")


def test_facts_may_be_named_shortly() -> None:
    assert full_types(["MessageReceived", "prosa.crm.v1.DealCreated"]) == (
        "prosa.conversation.v1.MessageReceived",
        "prosa.crm.v1.DealCreated",
    )
    assert full_types([]) == ()


@pytest.mark.parametrize("kind", ["MessageRecieved", "prosa.crm.v1.DealEaten", ""])
def test_a_fact_that_does_not_exist_is_refused_with_those_that_do(kind: str) -> None:
    with pytest.raises(Refused, match=r"(?s)there are: .*DealCreated.*MessageReceived") as refused:
        full_types([kind])
    assert refused.value.exit_code == 2
