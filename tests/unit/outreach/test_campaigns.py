"""How a touch follows its delivery, what a text says to whom, and how far ahead a number is filled."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from chassis.errors import InvalidArgument
from services.outreach.campaigns.domain import Told, Touch, TouchState, ahead, checked_text, filled, follow
from services.outreach.sending.policy import SendPolicy

ORGANIZATION = UUID(int=1)


def touch(hand_count: int = 1) -> Touch:
    """A touch that is with conversation."""
    made = Touch(ORGANIZATION, uuid4(), uuid4(), uuid4(), "WHATSAPP", "+5511900001001", "Oi")
    made.state, made.hand_count = TouchState.HANDED_OVER, hand_count
    return made


def told(of: Touch, state: str, version: int, reason: str = "", delivery_id: UUID | None = None) -> Told:
    """What conversation tells of its delivery."""
    return Told(delivery_id or of.delivery_id, state, reason, "", version)


def test_late_news_and_news_of_an_earlier_delivery_change_nothing() -> None:
    followed = touch()
    assert follow(followed, told(followed, "READ", 5))
    assert not follow(followed, told(followed, "SENT", 3))
    assert not follow(followed, told(followed, "FAILED", 5))
    assert followed.state is TouchState.READ
    again = touch(hand_count=2)
    assert again.delivery_id != again.id
    assert not follow(again, told(again, "CANCELLED", 9, delivery_id=again.id))
    assert again.state is TouchState.HANDED_OVER


def test_what_waits_there_says_why() -> None:
    followed = touch()
    assert follow(followed, told(followed, "QUEUED", 2, "QUIET_HOURS"))
    assert (followed.state, followed.reason) == (TouchState.HANDED_OVER, "QUIET_HOURS")


@pytest.mark.parametrize(
    ("withdrawn", "state", "reason"),
    [
        ("", TouchState.CANCELLED, "WITHDRAWN"),
        ("CAMPAIGN_PAUSED", TouchState.PLANNED, ""),
        ("CAMPAIGN_CANCELLED", TouchState.CANCELLED, "CAMPAIGN_CANCELLED"),
        ("SUPPRESSED", TouchState.SUPPRESSED, "SUPPRESSED"),
    ],
)
def test_what_was_taken_back_is_what_it_was_taken_back_for(withdrawn: str, state: TouchState, reason: str) -> None:
    followed = touch()
    followed.withdraw_reason = withdrawn
    assert follow(followed, told(followed, "CANCELLED", 2, "WITHDRAWN"))
    assert (followed.state, followed.reason) == (state, reason)


def test_what_left_before_it_could_be_taken_back_stays_sent() -> None:
    followed = touch()
    followed.withdraw_reason = "CAMPAIGN_PAUSED"
    assert follow(followed, told(followed, "SENT", 2))
    assert followed.state is TouchState.SENT


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        ("Oi {name}, tudo bem?", "Ana Maria Souza", "Oi Ana, tudo bem?"),
        ("Oi {name}, tudo bem?", " ", "Oi, tudo bem?"),
        ("{name}, temos pão!", "", "temos pão!"),
        ("Temos pão!", "Ana", "Temos pão!"),
    ],
)
def test_a_text_is_filled_by_the_first_name_or_does_without(text: str, name: str, said: str) -> None:
    assert filled(text, name) == said


@pytest.mark.parametrize("text", ["  ", "Oi {nome}", "Oi {}", "a\x00b"])
def test_a_text_that_nobody_could_fill_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        checked_text(text)
    assert refused.value.reason == "TEXT_INVALID"
    assert checked_text("Oi {name}!") == "Oi {name}!"


@pytest.mark.parametrize(("hour", "gap", "found"), [(60, 3, 5), (1200, 3, 100), (1200, 60, 5), (1, 0, 1), (0, 0, 1)])
def test_no_more_is_handed_over_than_the_number_may_send_soon(hour: int, gap: int, found: int) -> None:
    assert ahead(SendPolicy(ORGANIZATION, number_hour_limit=hour, number_gap_seconds=gap)) == found
