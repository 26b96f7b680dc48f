"""The gate's rules before any limit is counted: what binds which class, in which order."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from services.outreach.sending.policy import QuietHours, SendPolicy
from services.outreach.sending.rules import (
    GLOBAL_KILL_RETRY,
    Decision,
    Held,
    Message,
    Outcome,
    Reason,
    SendClass,
    Standing,
    decide,
)

NOW = datetime(2026, 3, 4, 15, 0, tzinfo=UTC)
NIGHT = datetime(2026, 3, 5, 2, 0, tzinfo=UTC)
"""23:00 in São Paulo."""
MORNING = datetime(2026, 3, 5, 11, 0, tzinfo=UTC)
"""08:00 in São Paulo."""
MINUTE = timedelta(minutes=1)
SAO_PAULO = ZoneInfo("America/Sao_Paulo")
DELIVERY, OTHER_DELIVERY = UUID(int=1), UUID(int=2)
OPT_OUT = Held(UUID(int=9), NOW - timedelta(hours=1), None, by_contact=True)
STANDING = Standing(SendPolicy(UUID(int=7)), (SAO_PAULO,), terms_accepted=True)

ALL = frozenset(SendClass)
ANSWERS = frozenset({SendClass.PERSON, SendClass.REPLY})
UNASKED = frozenset({SendClass.SCHEDULED, SendClass.MARKETING})


def message(send_class: SendClass, **changes: Any) -> Message:
    """A message of the class; a confirmation confirms OPT_OUT."""
    suppression_id = OPT_OUT.id if send_class is SendClass.CONFIRMATION else None
    return replace(Message(send_class, DELIVERY, suppression_id=suppression_id), **changes)


def standing(send_class: SendClass, **changes: Any) -> Standing:
    """Nothing is in the way; for a confirmation there is an opt-out to confirm."""
    held = (OPT_OUT,) if send_class is SendClass.CONFIRMATION else ()
    return replace(STANDING, suppressions=held, **changes)


@pytest.mark.parametrize("send_class", SendClass)
def test_where_nothing_is_in_the_way_only_limits_are_left(send_class: SendClass) -> None:
    assert decide(message(send_class), standing(send_class), NOW) is None


@pytest.mark.parametrize("send_class", SendClass)
@pytest.mark.parametrize(
    ("changes_of_message", "changes_of_standing", "now", "bound", "expected"),
    [
        pytest.param(
            {},
            {"killed_globally": True},
            NOW,
            ALL,
            Decision(Outcome.LATER, Reason.KILLED_GLOBALLY, NOW + GLOBAL_KILL_RETRY),
            id="killed everywhere",
        ),
        pytest.param({}, {"killed": True}, NOW, ALL, Decision(Outcome.LATER, Reason.KILLED), id="killed"),
        pytest.param(
            {},
            {"terms_accepted": False},
            NOW,
            frozenset({SendClass.MARKETING}),
            Decision(Outcome.DENIED, Reason.TERMS_NOT_ACCEPTED),
            id="terms",
        ),
        pytest.param(
            {"internal": True},
            {"terms_accepted": False},
            NOW,
            ALL,
            Decision(Outcome.DENIED, Reason.TERMS_NOT_ACCEPTED),
            id="terms, between own numbers",
        ),
        pytest.param(
            {"reply_window_end_time": NOW},
            {},
            NOW,
            ALL,
            Decision(Outcome.DENIED, Reason.WINDOW_CLOSED),
            id="window over",
        ),
        pytest.param({"reply_window_end_time": NOW + MINUTE}, {}, NOW, frozenset(), None, id="window open"),
        pytest.param(
            {}, {}, NIGHT, ALL, Decision(Outcome.LATER, Reason.QUIET_HOURS, MORNING), id="night, and nobody wrote"
        ),
        pytest.param(
            {"last_inbound_time": NIGHT - 29 * MINUTE},
            {},
            NIGHT,
            UNASKED,
            Decision(Outcome.LATER, Reason.QUIET_HOURS, MORNING),
            id="night, and the contact wrote just now",
        ),
        pytest.param(
            {"last_inbound_time": NIGHT - 30 * MINUTE},
            {},
            NIGHT,
            ALL,
            Decision(Outcome.LATER, Reason.QUIET_HOURS, MORNING),
            id="night, and the contact wrote long ago",
        ),
        pytest.param(
            {},
            {"policy": SendPolicy(UUID(int=7), number_hour_limit=0)},
            NOW,
            ALL,
            Decision(Outcome.LATER, Reason.HOUR_LIMIT),
            id="none an hour",
        ),
        pytest.param(
            {},
            {"policy": SendPolicy(UUID(int=7), number_day_limit=0)},
            NOW,
            ALL,
            Decision(Outcome.LATER, Reason.DAY_LIMIT),
            id="none a day",
        ),
    ],
)
def test_a_rule_binds_its_classes_and_no_other(
    send_class: SendClass,
    changes_of_message: dict[str, Any],
    changes_of_standing: dict[str, Any],
    now: datetime,
    bound: frozenset[SendClass],
    expected: Decision | None,
) -> None:
    asked = message(send_class, **changes_of_message)
    answer = decide(asked, standing(send_class, **changes_of_standing), now)
    assert answer == (expected if send_class in bound else None)


@pytest.mark.parametrize("send_class", sorted(ANSWERS | UNASKED))
@pytest.mark.parametrize(
    ("wrote", "free"),
    [
        (None, frozenset()),
        (OPT_OUT.create_time - MINUTE, frozenset()),
        (OPT_OUT.create_time, frozenset()),
        (OPT_OUT.create_time + MINUTE, ANSWERS),
    ],
)
def test_a_suppression_binds_answers_until_the_contact_writes_again_and_the_rest_for_good(
    send_class: SendClass, wrote: datetime | None, free: frozenset[SendClass]
) -> None:
    asked = message(send_class, last_inbound_time=wrote)
    answer = decide(asked, replace(STANDING, suppressions=(OPT_OUT,)), NOW)
    assert answer == (None if send_class in free else Decision(Outcome.DENIED, Reason.SUPPRESSED))


def test_one_suppression_that_still_holds_is_enough() -> None:
    later = Held(UUID(int=10), NOW - MINUTE, None, by_contact=True)
    asked = message(SendClass.REPLY, last_inbound_time=NOW - 2 * MINUTE)
    answer = decide(asked, replace(STANDING, suppressions=(OPT_OUT, later)), NOW)
    assert answer == Decision(Outcome.DENIED, Reason.SUPPRESSED)


@pytest.mark.parametrize(
    ("held", "reason"),
    [
        ((OPT_OUT,), None),
        ((replace(OPT_OUT, confirm_delivery_id=DELIVERY),), None),
        ((replace(OPT_OUT, confirm_delivery_id=OTHER_DELIVERY),), Reason.CONFIRMED_ALREADY),
        ((), Reason.CONFIRMED_ALREADY),
        ((replace(OPT_OUT, id=UUID(int=10)),), Reason.CONFIRMED_ALREADY),
        ((OPT_OUT, replace(OPT_OUT, id=UUID(int=10))), None),
        ((OPT_OUT, Held(UUID(int=10), OPT_OUT.create_time - MINUTE, None, by_contact=True)), Reason.SUPPRESSED),
        ((OPT_OUT, Held(UUID(int=10), OPT_OUT.create_time - MINUTE, None, by_contact=False)), None),
    ],
)
def test_one_message_confirms_one_opt_out(held: tuple[Held, ...], reason: Reason | None) -> None:
    answer = decide(message(SendClass.CONFIRMATION), replace(STANDING, suppressions=held), NOW)
    assert answer == (None if reason is None else Decision(Outcome.DENIED, reason))


def test_a_confirmation_passes_quiet_hours_for_a_while_after_its_opt_out() -> None:
    policy = SendPolicy(UUID(int=7), quiet_hours=(QuietHours((), 0, 23 * 60 + 59),), reply_grace_seconds=3601)
    asked = message(SendClass.CONFIRMATION)
    night = replace(STANDING, suppressions=(OPT_OUT,), policy=policy)
    assert decide(asked, night, NOW) is None
    late = decide(asked, night, NOW + timedelta(seconds=2))
    assert late is not None
    assert late.reason is Reason.QUIET_HOURS


def test_the_rule_that_comes_first_is_told() -> None:
    """All of them refuse; each is taken away in turn."""
    policy = SendPolicy(UUID(int=7), number_hour_limit=0)
    asked = message(SendClass.MARKETING, reply_window_end_time=NOW)
    stands = replace(
        STANDING, policy=policy, killed=True, killed_globally=True, terms_accepted=False, suppressions=(OPT_OUT,)
    )
    told = []
    for away in (
        {},
        {"killed_globally": False},
        {"killed": False},
        {"suppressions": ()},
        {"terms_accepted": True},
    ):
        stands = replace(stands, **away)
        answer = decide(asked, stands, NIGHT)
        assert answer is not None
        told.append(answer.reason)
    for open_window, now in ((None, NIGHT), (None, NOW)):
        answer = decide(replace(asked, reply_window_end_time=open_window), stands, now)
        assert answer is not None
        told.append(answer.reason)
    assert told == [
        Reason.KILLED_GLOBALLY,
        Reason.KILLED,
        Reason.SUPPRESSED,
        Reason.TERMS_NOT_ACCEPTED,
        Reason.WINDOW_CLOSED,
        Reason.QUIET_HOURS,
        Reason.HOUR_LIMIT,
    ]
