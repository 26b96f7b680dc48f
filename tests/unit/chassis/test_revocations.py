"""What was revoked is refused, also where revoking and exchanging met."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Literal
from uuid import uuid4

import pytest

from chassis.auth import CLOCK_SKEW_SECONDS, PERSON_TOKEN_SECONDS, Caller, Revocations, member_principal
from chassis.clock import SettableClock
from chassis.errors import Unauthenticated
from services.identity.access.domain import REVOCATIONS_KEPT

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def caller(kind: Literal["user", "key"], issued_after_seconds: float) -> Caller:
    """Somebody whose token was issued so long after now."""
    moment = NOW.timestamp() + issued_after_seconds
    return Caller(kind, f"{kind}:1", uuid4(), 0, frozenset({"*"}), moment, moment + PERSON_TOKEN_SECONDS)


@pytest.fixture
def revocations() -> Revocations:
    """Revocations that have heard of a key and of a user."""
    known = Revocations(SettableClock(NOW))
    known.update([("key:1", NOW.timestamp()), ("user:1", NOW.timestamp())], complete=True)
    return known


@pytest.mark.parametrize("issued_after_seconds", [-1, 0, 1, 9])
def test_a_revoked_key_is_refused_also_with_a_token_that_was_being_signed(
    revocations: Revocations, issued_after_seconds: float
) -> None:
    with pytest.raises(Unauthenticated) as refused:
        revocations.check(caller("key", issued_after_seconds))
    assert refused.value.reason == "TOKEN_REVOKED"


def test_a_person_may_sign_in_anew(revocations: Revocations) -> None:
    with pytest.raises(Unauthenticated):
        revocations.check(caller("user", -1))
    revocations.check(caller("user", 1))


@pytest.mark.parametrize("issued_after_seconds", [-1, 0, 9])
def test_of_a_person_s_sessions_the_one_that_ended_is_refused(issued_after_seconds: float) -> None:
    known = Revocations(SettableClock(NOW))
    known.update([("session:s1", NOW.timestamp())], complete=True)
    with pytest.raises(Unauthenticated) as refused:
        known.check(replace(caller("user", issued_after_seconds), session_id="s1"))
    assert refused.value.reason == "TOKEN_REVOKED"
    known.check(replace(caller("user", issued_after_seconds), session_id="s2"))
    known.check(caller("user", issued_after_seconds))


def test_a_member_who_was_removed_is_refused_there_and_nowhere_else() -> None:
    known, here = Revocations(SettableClock(NOW)), caller("user", 0)
    known.update([(member_principal(here.organization_id, "1"), NOW.timestamp())], complete=True)
    with pytest.raises(Unauthenticated) as refused:
        known.check(replace(here, session_id="s1"))
    assert refused.value.reason == "TOKEN_REVOKED"
    known.check(caller("user", 0))
    known.check(replace(here, principal="user:2"))
    # Who became a member again.
    known.check(replace(here, issue_time=here.issue_time + 1))


def test_what_is_revoked_is_told_to_whoever_listens_once() -> None:
    known, told = Revocations(SettableClock(NOW)), list[str]()
    known.listen(lambda: told.append("heard"))
    for _ in range(2):
        known.update([("user:1", NOW.timestamp())], complete=True)
    known.update([], complete=True)
    assert told == ["heard"]


def test_a_revocation_is_remembered_for_as_long_as_a_token_from_before_it_is_believed() -> None:
    clock = SettableClock(NOW)
    known = Revocations(clock)
    known.update([("user:1", NOW.timestamp())], complete=True)
    clock.set(NOW + timedelta(seconds=PERSON_TOKEN_SECONDS + CLOCK_SKEW_SECONDS))
    known.update([], complete=True)
    with pytest.raises(Unauthenticated):
        known.check(caller("user", 0))


def test_a_revocation_is_told_for_as_long_as_a_token_from_before_it_is_believed() -> None:
    assert timedelta(seconds=PERSON_TOKEN_SECONDS + CLOCK_SKEW_SECONDS) < REVOCATIONS_KEPT
