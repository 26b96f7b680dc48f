"""The main way keeps the order of a conversation, whichever step an event fails at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from chassis.bisect import held_back
from chassis.errors import InvalidArgument, NotFound, PermissionDenied, ProsaError, Unauthenticated, to_status
from prosa.conversation.v1 import conversation_service_pb2 as conversation_pb
from prosa.crm.v1 import crm_service_pb2 as crm_pb
from prosa.identity.v1 import contact_service_pb2 as identity_pb
from services.ingest.normal_form import Direction, EventKind
from services.ingest.processing.item import PipelineItem
from services.ingest.processing.pipeline import Pipeline
from services.ingest.processing.report import write_item
from tests.unit.ingest.samples import INCOMING, OUTGOING, event_of

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)


class _Fakes:
    """Stubs that find everybody, and refuse the deal of whoever is named."""

    def __init__(self, refused: PipelineItem | None = None, unrecorded: Mapping[str, ProsaError] | None = None) -> None:
        self.refused = refused
        self.unrecorded = unrecorded or {}
        self.recorded: list[str] = []
        self.ensured: list[str] = []

    async def resolve(self, request: Any, **_: Any) -> Any:
        found = identity_pb.ResolvedContact(contact_id=str(uuid4()))
        return identity_pb.BatchResolveContactsResponse(
            results=[identity_pb.ResolveResult(contact=found) for _ in request.people]
        )

    async def ensure(self, request: Any, **_: Any) -> Any:
        self.ensured = [deal.cause_id for deal in request.deals]
        error = to_status(NotFound("BOARD_NOT_FOUND", "No such board."))
        return crm_pb.BatchEnsureDealsResponse(
            results=[
                crm_pb.EnsureDealResult(error=error)
                if self.refused is not None and deal.cause_id == self.refused.event_id
                else crm_pb.EnsureDealResult(deal=crm_pb.EnsuredDeal(deal_id=str(uuid4())))
                for deal in request.deals
            ]
        )

    async def record(self, request: Any, **_: Any) -> Any:
        self.recorded = [item.cause_id for item in request.items]
        return conversation_pb.BatchRecordMessagesResponse(
            results=[
                conversation_pb.RecordResult(error=to_status(self.unrecorded[item.cause_id]))
                if item.cause_id in self.unrecorded
                else conversation_pb.RecordResult(item=conversation_pb.RecordedItem())
                for item in request.items
            ]
        )

    def pipeline(self) -> Pipeline:
        return Pipeline(
            cast("Any", SimpleNamespace(BatchResolveContacts=self.resolve)),
            cast("Any", SimpleNamespace(BatchEnsureDeals=self.ensure)),
            cast("Any", SimpleNamespace(BatchRecordMessages=self.record)),
        )


def _pipeline_item(name: str, key: str) -> PipelineItem:
    return PipelineItem(str(uuid4()), str(UUID(int=1)), str(UUID(int=2)), NOW, event_of(name), key)


async def test_an_answer_is_not_recorded_before_the_message_whose_deal_failed() -> None:
    question, answer, other = (
        _pipeline_item(INCOMING, "a"),
        _pipeline_item(OUTGOING, "a"),
        _pipeline_item(OUTGOING, "b"),
    )
    fakes = _Fakes(refused=question)
    await fakes.pipeline().run([question, answer, other])
    assert question.error is not None
    assert fakes.recorded == [other.event_id]
    assert [each.held_back for each in (question, answer, other)] == [False, True, False]


async def test_what_conversation_held_back_waits_uncounted_for_the_message_before_it() -> None:
    question, answer, other = (
        _pipeline_item(INCOMING, "a"),
        _pipeline_item(OUTGOING, "a"),
        _pipeline_item(OUTGOING, "b"),
    )
    refused = InvalidArgument("TEXT_UNSTORABLE", "No such text.")
    fakes = _Fakes(unrecorded={question.event_id: refused, answer.event_id: held_back(), other.event_id: held_back()})
    await fakes.pipeline().run([question, answer, other])
    assert question.error is not None
    assert (answer.error, answer.held_back) == (None, True)
    # Of another key than the one that failed: it is tried again by itself.
    assert other.error is not None
    assert not other.held_back


@pytest.mark.parametrize("refusal", [Unauthenticated("TOKEN_INVALID", "No."), PermissionDenied("NOT_ALLOWED", "No.")])
async def test_an_item_that_our_own_token_was_refused_for_counts_against_no_event(refusal: ProsaError) -> None:
    question, other = _pipeline_item(INCOMING, "a"), _pipeline_item(OUTGOING, "b")
    with pytest.raises(type(refusal)):
        await _Fakes(unrecorded={question.event_id: refusal}).pipeline().run([question, other])
    assert (question.error, other.error) == (None, None)


def test_conversation_is_told_whether_the_author_is_settled() -> None:
    pipeline_item = _pipeline_item(OUTGOING, "a")
    message = pipeline_item.event.message
    assert message is not None
    for settled in (True, False):
        pipeline_item.event = replace(pipeline_item.event, message=replace(message, author_settled=settled))
        item = conversation_pb.RecordItem()
        write_item(item, pipeline_item)
        assert item.message.author_settled is settled


async def test_an_update_that_may_have_overtaken_its_creation_ensures_the_deal_it_is_announced_with() -> None:
    def update(age_seconds: float, **changes: Any) -> PipelineItem:
        pipeline_item = _pipeline_item(INCOMING, str(uuid4()))
        message = pipeline_item.event.message
        assert message is not None
        written = replace(message, create_time=NOW - timedelta(seconds=age_seconds), **changes)
        pipeline_item.event = replace(pipeline_item.event, kind=EventKind.MESSAGE_UPDATED, message=written)
        return pipeline_item

    fresh = update(1)
    # What was written long ago was told of then; ensured again, it would open a deal that was closed since.
    old, deleted, answer = update(3600), update(1, deleted=True), update(1, direction=Direction.OUTBOUND)
    # Nor may a provider whose clock runs ahead open one with each update.
    ahead = update(-3600)
    fakes = _Fakes()
    await fakes.pipeline().run([fresh, old, deleted, answer, ahead])
    assert fakes.ensured == [fresh.event_id]
    assert len(fakes.recorded) == 5
