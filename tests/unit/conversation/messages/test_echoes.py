"""Of which message in flight an echo is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from services.conversation.messages.domain.delivery import echoed
from services.conversation.messages.domain.message import MessageState

NOW = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)
TEXT = "Fechado, até amanhã!"


def sent(name: str, state: MessageState, reason: str = "", ago: int = 0) -> Any:
    moment = NOW - timedelta(seconds=ago)
    delivery = Mock(delivery_id=name, state=state, reason=reason, network_id="", create_time=moment, send_time=moment)
    return Mock(delivery=delivery, message=Mock(text=TEXT))


def report() -> Any:
    return Mock(delivery_id="", network_message_id="3EB0", provider_source_id="", create_time=NOW, text=TEXT)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [("PROVIDER_REFUSED", "second"), ("CHANNEL_CANNOT_SEND", "second"), ("PROVIDER_SILENT", "first")],
)
def test_a_refused_message_is_not_taken_for_one_of_the_same_words(reason: str, expected: str) -> None:
    awaiting = [sent("first", MessageState.FAILED, reason, ago=300), sent("second", MessageState.SENDING)]
    found = echoed(awaiting, report())
    assert found is not None
    assert found.delivery.delivery_id == expected


def test_where_only_a_refused_one_is_there_it_is_nobodys() -> None:
    assert echoed([sent("first", MessageState.FAILED, "PROVIDER_REFUSED")], report()) is None
