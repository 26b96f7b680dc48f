"""How facts are signed, when they are tried again, and what is said of an answer."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.ingest.outbound import rules
from services.ingest.outbound.rules import Post, Seen

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)


def post(attempt_count: int = 0) -> Post:
    return Post(UUID(int=1), "prosa.crm.v1.DealMoved", 7, "", b"{}", "", attempt_count, NOW)


def test_the_signature_is_the_standards_own_example() -> None:
    # Of the specification's reference implementation.
    secret, message_id, timestamp = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
    assert (
        rules.signature([secret], message_id, timestamp, b'{"test": 2432232314}')
        == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    )


def test_each_live_secret_signs() -> None:
    secrets = [rules.draw_secret(draw) for draw in (bytes, lambda count: b"x" * count)]
    both = rules.signature(secrets, "id", 1, b"{}").split(" ")
    assert both == [rules.signature([secret], "id", 1, b"{}") for secret in secrets]
    assert len(set(both)) == 2


def test_a_secrets_key_is_a_text_that_any_receiver_can_hold() -> None:
    secret = rules.draw_secret(lambda count: bytes(range(200, 200 + count)))
    key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    assert 24 <= len(key) <= 64
    assert key.decode("ascii").isprintable()


def test_the_ladder_ends_after_ten_retries_and_three_days() -> None:
    waits, attempts = timedelta(0), 0
    while (result := rules.after(post(attempts), Seen(500), NOW, lambda: 0.5)).retry_time is not None:
        waits, attempts = waits + (result.retry_time - NOW), result.attempt_count
    assert (attempts, result.state, result.attempt_count) == (10, "FAILED", 11)
    assert timedelta(hours=75) < waits < timedelta(hours=79)


@pytest.mark.parametrize(("drawn", "seconds"), [(0.0, 4.5), (0.5, 5.0), (1.0, 5.5)])
def test_a_wait_is_a_tenth_more_or_less(drawn: float, seconds: float) -> None:
    assert rules.after(post(), Seen(500), NOW, lambda: drawn).retry_time == NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("120", 120),
        (" 7 ", 7),
        ("9" * 400, 86_400),
        ("Sun, 22 Nov 2026 14:31:00 GMT", 60),
        ("Sun, 22 Nov 2020 14:31:00 GMT", 0),
        ("soon", None),
        ("-5", None),
        ("٣", None),
        (None, None),
    ],
)
def test_what_a_receiver_asks_for_is_read(header: str | None, seconds: int | None) -> None:
    found = rules.retry_after(header, NOW)
    assert found == (None if seconds is None else timedelta(seconds=seconds))


def test_a_receiver_that_asks_for_more_time_gets_it() -> None:
    result = rules.after(post(), Seen(429, retry_after=timedelta(hours=1)), NOW, lambda: 0.5)
    assert result.retry_time == NOW + timedelta(hours=1)


@pytest.mark.parametrize(
    ("seen", "says"),
    [
        (Seen(302), "redirect"),
        (Seen(404), "Activate the workflow"),
        (Seen(401), "signature"),
        (Seen(500), "executions"),
        (Seen(failure="refused"), "public address"),
        (Seen(failure="timeout"), "in time"),
        (Seen(404, vague=True), "operator"),
        (Seen(failure="unreachable", vague=True), "operator"),
        (Seen(204), ""),
    ],
)
def test_what_was_seen_is_said_with_what_to_do(seen: Seen, says: str) -> None:
    assert says in seen.explanation
    assert bool(says) == bool(seen.explanation)


def test_of_a_private_host_no_status_is_told() -> None:
    assert (Seen(404, vague=True).told_status, Seen(404).told_status, Seen(200, vague=True).told_status) == (
        0,
        404,
        200,
    )


def test_a_fact_is_named_whole_or_by_its_last_part() -> None:
    known = ["prosa.crm.v1.DealMoved", "prosa.crm.v1.DealUpdated", "prosa.other.v1.DealUpdated"]
    assert rules.full_names(["DealMoved", " prosa.crm.v1.DealMoved "], known) == ["prosa.crm.v1.DealMoved"]
    assert rules.full_names(["DealUpdated"], known) is None
    assert rules.full_names(["message.received"], known) is None
    assert rules.full_names([], known) == []


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"conversation_id": "c"}, "c"),
        ({"conversation": {"conversation_id": "c"}}, "c"),
        ({"deal": {"deal_id": "d"}}, ""),
        ({}, ""),
        (None, ""),
    ],
)
def test_a_facts_conversation_is_found(data: dict[str, object] | None, found: str) -> None:
    assert rules.conversation_of(data) == found
