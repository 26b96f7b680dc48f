"""What reports and looks make of a number."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.conversation.instances.domain import (
    FAILED_PROBES_MAX,
    PROBE_EVERY,
    PROBE_EVERY_UNTIL_OPEN,
    QR_LIFE,
    Instance,
    Qr,
    Report,
    State,
    miss_probe,
    next_look,
    take_probe,
    take_report,
)

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
CODE = Qr("2@first")


def number(state: State = State.CREATING) -> Instance:
    return Instance(
        *(uuid4(), uuid4(), uuid4(), uuid4(), "Vendas", "prosa-1", "http://evolution", "http://prosa", ""),
        *(b"", b"", b"", state, NOW, NOW),
    )


def told(instance: Instance, at: datetime = NOW, kept: Qr | None = None, **said: object) -> Qr | None:
    return take_report(instance, Report(at, **said), kept)  # type: ignore[arg-type]


def state_of(instance: Instance) -> State:
    """Its state as it is now, which the type checker does not remember."""
    return instance.state


def test_from_code_to_open() -> None:
    instance = number()
    told(instance, connection_state="connecting")
    assert state_of(instance) is State.CREATING
    assert told(instance, qr_code="2@first") == CODE
    assert (state_of(instance), instance.qr_count, instance.qr_expire_time) == (State.QR, 1, NOW + QR_LIFE)
    # The same code once more is no other; connecting, in whichever order it comes, takes no code away.
    assert told(instance, qr_code="2@first", kept=CODE) == CODE
    assert told(instance, connection_state="connecting", kept=CODE) == CODE
    assert (state_of(instance), instance.qr_count) == (State.QR, 1)
    assert told(instance, qr_code="2@second", kept=CODE) == Qr("2@second")
    assert instance.qr_count == 2
    own_jid = "5511960007001@s.whatsapp.net"
    assert told(instance, connection_state="open", own_jid=own_jid, profile_name="Vendas") is None
    assert (state_of(instance), instance.phone, instance.qr_sealed) == (State.OPEN, "+5511960007001", None)


def test_an_older_report_than_is_known_changes_nothing() -> None:
    instance = number()
    told(instance, connection_state="open")
    told(instance, NOW - timedelta(seconds=1), connection_state="close", status_reason=401)
    assert state_of(instance) is State.OPEN


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        *((code, State.CONNECTING) for code in (408, 428, 440, 503, 515)),
        *((code, State.CLOSED) for code in (401, 402, 406, 411, 500, 999, 0)),
        (403, State.BANNED),
    ],
)
def test_why_it_closed_says_what_follows(reason: int, state: State) -> None:
    instance = number(State.OPEN)
    told(instance, connection_state="close", status_reason=reason)
    assert state_of(instance) is state
    assert instance.cause
    assert instance.advice


def test_codes_that_ran_out_ask_to_be_asked_for_again() -> None:
    instance = number(State.QR)
    told(instance, connection_state="refused", status_reason=428)
    assert (state_of(instance), instance.cause) == (State.CLOSED, "The QR codes ran out before one was scanned.")


def test_a_missed_webhook_is_made_up_for_by_a_look() -> None:
    instance = number(State.QR)
    take_probe(instance, "open", NOW)
    assert state_of(instance) is State.OPEN
    # One look at a short loss is not believed; the next one is.
    take_probe(instance, "close", NOW)
    assert state_of(instance) is State.CONNECTING
    take_probe(instance, "close", NOW)
    assert state_of(instance) is State.CLOSED
    take_probe(instance, "close", NOW)
    assert state_of(instance) is State.CLOSED


def test_silence_demotes_and_an_answer_restores() -> None:
    instance = number(State.OPEN)
    for _ in range(FAILED_PROBES_MAX - 1):
        miss_probe(instance, NOW)
    assert state_of(instance) is State.OPEN
    miss_probe(instance, NOW)
    assert state_of(instance) is State.UNREACHABLE
    take_probe(instance, "open", NOW)
    assert (state_of(instance), instance.failed_probes) == (State.OPEN, 0)


def test_a_code_that_ran_out_is_forgotten_and_looks_are_quicker_until_it_is_open() -> None:
    instance = number(State.QR)
    instance.qr_sealed, instance.qr_expire_time = b"sealed", NOW
    take_probe(instance, "connecting", NOW)
    kept: bytes | None = instance.qr_sealed
    assert (state_of(instance), kept) == (State.QR, None)
    assert next_look(instance, NOW) == NOW + PROBE_EVERY_UNTIL_OPEN
    assert next_look(number(State.OPEN), NOW) == NOW + PROBE_EVERY
