"""Whatever the order in which reports come, and however often, the same is known in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.conversation.messages.domain.conversation import ConversationState
from services.conversation.messages.domain.message import TOLD_STATES, MessageState
from services.conversation.messages.domain.record import HANDOFF_LABEL, Item
from tests.unit.conversation.messages.reports import Thread, item, message, report, thread

# When a row was made, and which report made it, depends on the order by its nature.
BY_ARRIVAL = {
    *("conversation_id", "message_id", "version", "handoff_source", "handoff_time", "handoff_reason"),
    *("original_text", "content_time_us"),
}


def _item(minute: int, told: tuple[int, MessageState, bool, bool, ConversationState, int]) -> Item:
    number, message_state, deleted, labelled, state, unread_count = told
    return item(
        message(str(number), f"text {minute}", minute=number, state=message_state, deleted=deleted),
        report(
            minute,
            *([HANDOFF_LABEL] if labelled else []),
            state=state,
            unread_count=unread_count,
            assignee_name=f"agent {minute}",
        ),
        contact_name=f"name {minute}",
    )


def _known(known: Thread) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    def lasting(row: Any) -> dict[str, Any]:
        return {name: value for name, value in asdict(row).items() if name not in BY_ARRIVAL}

    return lasting(known.now), {number: lasting(kept) for number, kept in sorted(known.messages.items())}


REPORTS = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from((MessageState.UNSPECIFIED, *TOLD_STATES)),
        st.booleans(),
        st.booleans(),
        st.sampled_from(ConversationState),
        st.integers(0, 10),
    ),
    min_size=1,
    max_size=6,
).map(lambda told: [_item(minute, one) for minute, one in enumerate(told, start=1)])


@st.composite
def _deliveries(draw: st.DrawFn) -> tuple[Sequence[Item], Sequence[Item]]:
    in_order = draw(REPORTS)
    repeated = draw(st.lists(st.sampled_from(in_order), max_size=6))
    return in_order, draw(st.permutations([*in_order, *repeated]))


@given(_deliveries())
@settings(max_examples=300, deadline=None)
def test_any_order_and_repetition_of_reports_ends_in_the_same_rows(
    deliveries: tuple[Sequence[Item], Sequence[Item]],
) -> None:
    in_order, delivered = deliveries
    # Items are only read, so that both threads may record the same.
    assert _known(thread(*delivered)) == _known(thread(*in_order))
