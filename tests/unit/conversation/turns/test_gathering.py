"""Which messages somebody waits for an answer to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from chassis import wire
from chassis.subscriptions import ConsumedEvent
from prosa.conversation.v1 import conversation_service_pb2 as pb
from prosa.conversation.v1.events_pb2 import MessageReceived
from services.conversation.limits import REPLY_WAITS
from services.conversation.turns.gathering import _awaits_answer
from services.conversation.turns.turn import LATE

WRITTEN = datetime(2026, 11, 28, 23, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def event(
    *, recorded_after: timedelta = SECOND, author: int = pb.MESSAGE_AUTHOR_CONTACT
) -> ConsumedEvent[MessageReceived]:
    message = pb.Message(author=author, create_time=wire.to_timestamp(WRITTEN))  # type: ignore[arg-type]
    return ConsumedEvent(MessageReceived(message=message), uuid4(), uuid4(), WRITTEN + recorded_after, "")


@pytest.mark.parametrize(
    ("recorded_after", "told_after", "waits"),
    [
        (SECOND, SECOND * 2, True),
        (LATE + SECOND, LATE + SECOND * 2, False),
        # Recorded in time, told of only when whatever was away came back.
        (SECOND, REPLY_WAITS, True),
        (SECOND, REPLY_WAITS + SECOND, False),
        (SECOND, timedelta(hours=8), False),
    ],
)
def test_nobody_waits_for_an_answer_to_what_was_written_long_ago(
    recorded_after: timedelta, told_after: timedelta, waits: bool
) -> None:
    assert _awaits_answer(event(recorded_after=recorded_after), WRITTEN + told_after) is waits


def test_only_a_contact_waits() -> None:
    assert not _awaits_answer(event(author=pb.MESSAGE_AUTHOR_AGENT), WRITTEN + SECOND)
