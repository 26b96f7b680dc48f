"""When an endpoint is left alone for a while, and when it is given up."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

from services.ingest.outbound.health import fares
from services.ingest.outbound.rules import FAILING_MAX, PROBE_EVERY, Seen
from services.ingest.outbound.store import Endpoint

NOW = datetime(2026, 11, 22, 14, 30, tzinfo=UTC)
ENDPOINT = Endpoint(
    organization_id=UUID(int=1),
    id=UUID(int=2),
    name="n8n",
    url="https://n8n.example.com/webhook/prosa",
    types=(),
    enabled=True,
    disabled_reason="",
    position=0,
    version=1,
    failure_count=0,
    failing_since=None,
    resume_time=None,
    create_time=NOW - timedelta(days=30),
    last_success_time=None,
    last_failure_time=None,
    last_failure_explanation="",
    secret_count=1,
    pending_count=0,
)


def test_five_failures_in_a_row_leave_it_alone_until_the_next_probe() -> None:
    four = fares(ENDPOINT, [Seen(500)] * 4, NOW)
    assert (four.failure_count, four.resume_time) == (4, None)
    five = fares(four, [Seen(500)], NOW)
    assert (five.failure_count, five.resume_time) == (5, NOW + PROBE_EVERY)
    again = fares(five, [Seen(500)], NOW + PROBE_EVERY)
    assert again.resume_time == NOW + 2 * PROBE_EVERY


def test_what_is_taken_ends_the_row_of_failures() -> None:
    failing = replace(ENDPOINT, failure_count=9, failing_since=NOW - timedelta(days=4), resume_time=NOW)
    well = fares(failing, [Seen(500), Seen(200)], NOW)
    assert (well.failure_count, well.failing_since, well.resume_time) == (0, None, None)
    assert (well.last_success_time, well.last_failure_time) == (NOW, NOW)
    assert well.last_failure_explanation == Seen(500).explanation


def test_a_receiver_that_asks_for_time_is_left_alone_as_a_whole() -> None:
    asked = fares(ENDPOINT, [Seen(429, retry_after=timedelta(hours=1)), Seen(200)], NOW)
    assert asked.resume_time == NOW + timedelta(hours=1)


def test_one_that_takes_nothing_for_five_days_is_disabled() -> None:
    failing = fares(ENDPOINT, [Seen(500)], NOW)
    assert fares(failing, [Seen(500)], NOW + FAILING_MAX - timedelta(seconds=1)).enabled
    given_up = fares(failing, [Seen(500)], NOW + FAILING_MAX)
    assert (given_up.enabled, given_up.disabled_reason, given_up.version) == (False, "FAILING", 2)


def test_one_that_is_gone_is_disabled_at_once() -> None:
    gone = fares(ENDPOINT, [Seen(410)], NOW)
    assert (gone.enabled, gone.disabled_reason) == (False, "GONE")


def test_a_run_without_attempts_changes_nothing_but_the_wait() -> None:
    waited = replace(ENDPOINT, failure_count=2, failing_since=NOW, resume_time=NOW)
    assert fares(waited, [], NOW) == replace(waited, resume_time=None)
