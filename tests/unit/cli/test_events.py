"""What `prosa events` reads from its options."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from cli.events import parse_since, parse_state, state_name
from cli.failures import Refused
from prosa.ingest.v1 import webhook_event_service_pb2 as pb

NOW = datetime(2026, 5, 13, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30s", NOW - timedelta(seconds=30)),
        ("10m", NOW - timedelta(minutes=10)),
        ("2h", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-05-13T09:00:00Z", datetime(2026, 5, 13, 9, 0, tzinfo=UTC)),
        ("2026-05-13T09:00:00-03:00", NOW),
        ("2026-05-13", datetime(2026, 5, 13, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_span_or_an_iso_time(text: str, moment: datetime) -> None:
    assert parse_since(text, NOW) == moment


@pytest.mark.parametrize("text", ["soon", "10", "-10m", "10 m", "1w", ""])
def test_any_other_time_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(Refused, match="10m, 2h, 3d"):
        parse_since(text, NOW)


@pytest.mark.parametrize("text", ["dead-letter", "DEAD_LETTER", "Dead-Letter"])
def test_a_state_may_be_written_as_people_do(text: str) -> None:
    assert parse_state(text) == pb.WEBHOOK_EVENT_STATE_DEAD_LETTER


def test_every_state_is_printed_as_it_is_asked_for() -> None:
    for state in pb.WebhookEventState.values()[1:]:
        assert parse_state(state_name(state)) == state


def test_an_unknown_state_is_refused() -> None:
    with pytest.raises(Refused, match="dead-letter"):
        parse_state("lost")
