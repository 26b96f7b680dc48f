"""Which requests are believed to come from Chatwoot, and which check each of the others failed."""

from datetime import UTC, datetime, timedelta

import pytest

from services.ingest.providers.authenticity import Check
from services.ingest.providers.chatwoot.verify import (
    CLOCK_SKEW_MAX_SECONDS,
    LegacyStaticSecret,
    delivery_key,
    sign,
    verify,
)

# The vector of the wire page.
SECRET = "3kQ9wZr5uVb7XdFgJm2nPtYa"
BODY = '{"event":"message_created","id":1,"content":"Olá \\u003cb\\u003e"}'.encode()
TIMESTAMP = 1790000000
SIGNATURE = "sha256=ea4c28195ce858495805069d61882d68b7d72310ed5dfb2b59d293a4f8cfc100"
HEADERS = {"X-Chatwoot-Timestamp": str(TIMESTAMP), "X-Chatwoot-Signature": SIGNATURE}
NOW = datetime.fromtimestamp(TIMESTAMP, UTC)
LEGACY = LegacyStaticSecret(("newer-secret", "old-fixed-secret"), NOW + timedelta(days=1))


@pytest.mark.req("IN-02")
def test_a_signed_body_is_authentic() -> None:
    assert sign(BODY, SECRET, TIMESTAMP) == HEADERS
    verdict = verify(BODY, HEADERS, [SECRET], NOW)
    assert (verdict.check, verdict.accepted) == (Check.AUTHENTIC, True)


@pytest.mark.req("IN-02")
def test_one_changed_byte_anywhere_in_the_body_is_refused() -> None:
    for place in range(len(BODY)):
        changed = bytearray(BODY)
        changed[place] ^= 1
        verdict = verify(bytes(changed), HEADERS, [SECRET], NOW)
        assert (verdict.check, verdict.accepted) == (Check.SIGNATURE_MISMATCH, False)


@pytest.mark.parametrize("secrets", [[SECRET, "next"], ["next", SECRET]])
def test_either_of_two_live_secrets_will_do(secrets: list[str]) -> None:
    assert verify(BODY, HEADERS, secrets, NOW).check is Check.AUTHENTIC


def test_a_third_secret_is_not_live() -> None:
    assert verify(BODY, HEADERS, ["next", "newest", SECRET], NOW).check is Check.SIGNATURE_MISMATCH


def test_a_wrong_secret_is_refused() -> None:
    assert verify(BODY, HEADERS, ["wrong"], NOW).check is Check.SIGNATURE_MISMATCH


@pytest.mark.req("IN-02")
@pytest.mark.parametrize("sign_of_skew", [-1, 1])
def test_a_timestamp_too_far_from_our_clock_is_stale(sign_of_skew: int) -> None:
    limit = timedelta(seconds=CLOCK_SKEW_MAX_SECONDS) * sign_of_skew
    assert verify(BODY, HEADERS, [SECRET], NOW + limit).check is Check.AUTHENTIC
    assert verify(BODY, HEADERS, [SECRET], NOW + limit * 1.01).check is Check.TIMESTAMP_STALE


def test_the_timestamp_is_part_of_what_is_signed() -> None:
    headers = {**HEADERS, "X-Chatwoot-Timestamp": str(TIMESTAMP + 1)}
    assert verify(BODY, headers, [SECRET], NOW).check is Check.SIGNATURE_MISMATCH


@pytest.mark.req("IN-02")
@pytest.mark.parametrize("headers", [{}, {"X-Chatwoot-Timestamp": str(TIMESTAMP)}, {"X-Chatwoot-Signature": ""}])
def test_a_missing_signature_is_refused_where_a_secret_is_set(headers: dict[str, str]) -> None:
    for legacy in (None, LEGACY):
        assert verify(BODY, headers, [SECRET], NOW, legacy).check is Check.SIGNATURE_MISSING


@pytest.mark.parametrize(
    "signature",
    ["sha256=", SIGNATURE[:-1], SIGNATURE.upper(), SIGNATURE[7:], SIGNATURE + " ", SECRET, "sha1=00", "é", "\x00"],
)
def test_a_signature_of_another_form_is_malformed(signature: str) -> None:
    headers = {**HEADERS, "X-Chatwoot-Signature": signature}
    assert verify(BODY, headers, [SECRET], NOW).check is Check.SIGNATURE_MALFORMED


@pytest.mark.parametrize("headers", [{}, {"X-Chatwoot-Timestamp": ""}])
def test_a_missing_timestamp_is_refused(headers: dict[str, str]) -> None:
    headers = {"X-Chatwoot-Signature": SIGNATURE, **headers}
    assert verify(BODY, headers, [SECRET], NOW).check is Check.TIMESTAMP_MISSING


@pytest.mark.parametrize("timestamp", ["now", "-1790000000", "1790000000.0", "9" * 30, "１７９０００００００", " "])
def test_a_timestamp_that_is_no_number_is_refused(timestamp: str) -> None:
    headers = {**HEADERS, "X-Chatwoot-Timestamp": timestamp}
    assert verify(BODY, headers, [SECRET], NOW).check is Check.TIMESTAMP_MALFORMED


@pytest.mark.req("IN-02")
@pytest.mark.parametrize("headers", [{}, HEADERS])
def test_without_a_secret_everything_is_accepted_as_unsigned_for_a_time(headers: dict[str, str]) -> None:
    end_time = NOW + timedelta(seconds=1)
    verdict = verify(BODY, headers, [], NOW, None, end_time)
    assert (verdict.check, verdict.accepted) == (Check.UNSIGNED_ACCEPTED, True)
    for ended in (verify(BODY, headers, [], end_time, None, end_time), verify(BODY, headers, [], NOW)):
        assert (ended.check, ended.accepted) == (Check.UNSIGNED_ENDED, False)


@pytest.mark.parametrize("header", ["old-fixed-secret", "Bearer old-fixed-secret"])
def test_a_legacy_fixed_secret_is_accepted_until_its_end_date(header: str) -> None:
    headers = {"X-Chatwoot-Signature": header}
    assert verify(BODY, headers, [SECRET], NOW, LEGACY).check is Check.AUTHENTIC_STATIC
    assert verify(BODY, headers, [], NOW, LEGACY).check is Check.AUTHENTIC_STATIC
    late = verify(BODY, headers, [SECRET], LEGACY.end_time, LEGACY)
    assert (late.check, late.accepted) == (Check.STATIC_SECRET_EXPIRED, False)
    assert verify(BODY, headers, [SECRET], NOW).check is Check.SIGNATURE_MALFORMED


@pytest.mark.parametrize(
    "header", ["wrong", "Bearer", "Bearer ", "bearer old-fixed-secret", "old-fixed-secre", "é\udcff"]
)
def test_another_fixed_secret_is_refused(header: str) -> None:
    verdict = verify(BODY, {"X-Chatwoot-Signature": header}, [SECRET], NOW, LEGACY)
    assert (verdict.check, verdict.accepted) == (Check.SIGNATURE_MISMATCH, False)


def test_a_real_signature_counts_beside_a_legacy_secret() -> None:
    assert verify(BODY, HEADERS, [SECRET], NOW, LEGACY).check is Check.AUTHENTIC


@pytest.mark.parametrize("spell", [str.lower, str.upper, str.title])
def test_header_names_are_read_in_any_case(spell: object) -> None:
    assert callable(spell)
    headers = {spell(name): value for name, value in HEADERS.items()}
    assert verify(BODY, headers, [SECRET], NOW).check is Check.AUTHENTIC


@pytest.mark.case("S10")
def test_the_delivery_id_and_the_whole_body_are_the_delivery_key() -> None:
    key = delivery_key({"X-Chatwoot-Delivery": "7c1e-1"}, BODY)
    assert key == delivery_key({"x-chatwoot-delivery": "7c1e-1"}, BODY)
    assert key != delivery_key({"X-Chatwoot-Delivery": "7c1e-1"}, BODY + b" ")
    assert delivery_key({"X-Chatwoot-Delivery": "7c1e-1"}, BODY) != delivery_key(
        {"X-Chatwoot-Delivery": "7c1e-2"}, BODY
    )


@pytest.mark.parametrize("delivery_id", [None, "", " ", "a b", "x" * 129, "é", "a\x00"])
def test_without_a_usable_delivery_id_the_whole_body_is_the_delivery_key(delivery_id: str | None) -> None:
    headers = {} if delivery_id is None else {"X-Chatwoot-Delivery": delivery_id}
    key = delivery_key(headers, BODY)
    assert key == delivery_key({}, BODY) != delivery_key({}, BODY + b" ")
    assert key.startswith("sha256:")
