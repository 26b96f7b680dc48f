"""One-time codes, against the examples of RFC 6238, and how recovery codes are read."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from services.identity.access import totp

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("seconds", "code"),
    [
        (59, "287082"),
        (1111111109, "081804"),
        (1111111111, "050471"),
        (1234567890, "005924"),
        (2000000000, "279037"),
        (20000000000, "353130"),
    ],
)
def test_codes_are_those_of_the_standard(seconds: int, code: str) -> None:
    moment = datetime.fromtimestamp(seconds, UTC)
    assert totp.code_of(SECRET, totp.step_at(moment)) == code
    assert totp.step_of(SECRET, code, moment) == totp.step_at(moment)


def test_a_clock_may_be_one_step_wrong_and_no_more() -> None:
    moment = datetime(2026, 11, 29, tzinfo=UTC)
    now = totp.step_at(moment)
    found = [totp.step_of(SECRET, totp.code_of(SECRET, now + apart), moment) for apart in (-2, -1, 0, 1, 2)]
    assert found == [None, now - 1, now, now + 1, None]


@pytest.mark.parametrize("code", ["", "12345", "1234567", "12345a", "１２３４５６", "123456\n"])
def test_what_is_no_code_of_an_authenticator_is_none(code: str) -> None:
    assert not totp.is_totp_code(code)


def test_a_recovery_code_is_read_as_people_write_it_and_is_one_person_s() -> None:
    person, other = uuid4(), uuid4()
    assert totp.clean_code(" abcde-23456 ") == "ABCDE23456"
    assert totp.recovery_code_hash(person, "ABCDE23456") != totp.recovery_code_hash(other, "ABCDE23456")
    drawn = totp.draw_recovery_codes(lambda size: bytes(range(size)))
    assert len(drawn) == totp.RECOVERY_CODES
    assert {len(code) for code in drawn} == {totp.RECOVERY_CODE_LENGTH}
