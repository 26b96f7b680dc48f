"""Where the demo's deals go, by what is said."""

from __future__ import annotations

from cli.demo.live import RECEIVED, SENT
from cli.demo.selling import ANSWERED, HANDED_OVER, INFORMED, Seller
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1 import events_pb2 as facts
from prosa.ingest.v1.webhook_event_service_pb2 import FeedEvent

DEAL = "0193aaaa-bbbb-7ccc-8ddd-eeeeffff0000"


def told(*, ours: bool, deal_id: str = DEAL, human: bool = False) -> FeedEvent:
    """The fact of one message."""
    handoff = pb.Handoff(mode=pb.HANDOFF_MODE_HUMAN if human else pb.HANDOFF_MODE_AI)
    fact = (facts.MessageSent if ours else facts.MessageReceived)(deal_id=deal_id, handoff=handoff)
    return FeedEvent(type=SENT if ours else RECEIVED, payload=fact.SerializeToString())


def test_a_deal_goes_on_with_what_we_answer() -> None:
    seller = Seller()
    decided = [seller.decide(told(ours=number % 2 == 1)) for number in range(4)]
    assert decided == [None, (DEAL, ANSWERED), None, (DEAL, INFORMED)]


def test_what_the_customer_writes_last_moves_nothing() -> None:
    seller = Seller()
    assert [seller.decide(told(ours=False)) for _ in range(6)] == [None] * 6


def test_a_person_who_takes_over_is_told_once() -> None:
    seller = Seller()
    decided = [seller.decide(told(ours=False, human=True)) for _ in range(2)]
    assert decided == [(DEAL, HANDED_OVER), None]


def test_a_conversation_without_a_deal_moves_none() -> None:
    assert Seller().decide(told(ours=True, deal_id="")) is None
