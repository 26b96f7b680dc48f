"""Whose a webhook of Evolution is: a token under the connection's secret, of the last day, and nothing else."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from sandbox.evolution.sender import token
from services.ingest.providers.authenticity import Check
from services.ingest.providers.evolution.verify import delivery_key, verify

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
NEW, OLD = "the-newest-secret-of-it", "the-secret-before-that"


@dataclass(frozen=True)
class Kept:
    secrets: tuple[str, ...] = (NEW, OLD)
    legacy_static_secret_end_time: datetime | None = None
    unsigned_end_time: datetime = NOW


def check(authorization: str | None, kept: Kept | None = None) -> Check:
    headers = {} if authorization is None else {"authorization": authorization}
    return verify(b"{}", headers, kept or Kept(), NOW).check


def test_a_token_under_either_live_secret_is_genuine() -> None:
    for secret in (NEW, OLD):
        assert check(f"Bearer {token(secret, int(NOW.timestamp()))}") is Check.AUTHENTIC
    assert check(f"bearer  {token(NEW, int(NOW.timestamp()))} ") is Check.AUTHENTIC


def test_an_expired_one_is_genuine_all_the_same() -> None:
    # Made once for all tries of an event, of which the last comes half an hour later.
    assert check(f"Bearer {token(NEW, int((NOW - timedelta(minutes=31)).timestamp()))}") is Check.AUTHENTIC


@pytest.mark.parametrize("ago", [timedelta(hours=24, seconds=1), timedelta(days=400), -timedelta(hours=24, seconds=1)])
def test_one_that_got_out_does_not_hold_for_ever(ago: timedelta) -> None:
    assert check(f"Bearer {token(NEW, int((NOW - ago).timestamp()))}") is Check.TIMESTAMP_STALE


@pytest.mark.parametrize("payload", [b'{"app":"evolution"}', b'{"iat":"now"}', b'{"iat":true}', b'{"iat":null}', b"[]"])
def test_one_that_does_not_say_when_it_was_made_is_malformed(payload: bytes) -> None:
    head = ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (b'{"alg":"HS256"}', payload))
    digest = urlsafe_b64encode(hmac.digest(NEW.encode(), head.encode(), "sha256")).rstrip(b"=").decode()
    assert check(f"Bearer {head}.{digest}") is Check.SIGNATURE_MALFORMED


def test_one_under_another_secret_is_not() -> None:
    assert check(f"Bearer {token('guessed-by-somebody', 0)}") is Check.SIGNATURE_MISMATCH


def unsigned(header: bytes) -> str:
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in (header, b'{"app":"evolution"}', b""))


@pytest.mark.parametrize(
    "given",
    [
        "Bearer",
        "Bearer x",
        "Bearer a.b",
        "Bearer a.b.c.d",
        f"Basic {token(NEW, 0)}",
        token(NEW, 0),
        *(f"Bearer {unsigned(header)}" for header in (b'{"alg":"none"}', b'{"alg":"HS512"}', b"[]", b"{")),
        f"Bearer {token(NEW, 0)}é",
        "Bearer " + "a" * 3000,
        NEW,
    ],
)
def test_what_is_no_such_token_is_malformed(given: str) -> None:
    assert check(given) in (Check.SIGNATURE_MALFORMED, Check.SIGNATURE_MISMATCH)
    assert check(given) is Check.SIGNATURE_MALFORMED


def test_a_token_that_names_another_algorithm_is_refused_though_its_digest_fits() -> None:
    import hmac

    head = ".".join(
        urlsafe_b64encode(part).rstrip(b"=").decode() for part in (b'{"alg":"none"}', b'{"app":"evolution"}')
    )
    digest = urlsafe_b64encode(hmac.digest(NEW.encode(), head.encode(), "sha256")).rstrip(b"=").decode()
    assert check(f"Bearer {head}.{digest}") is Check.SIGNATURE_MALFORMED


def test_without_any_it_is_missing_and_without_a_secret_unsigned_for_a_while() -> None:
    assert check(None) is Check.SIGNATURE_MISSING
    assert check(None, Kept(secrets=(), unsigned_end_time=NOW + timedelta(days=1))) is Check.UNSIGNED_ACCEPTED
    assert check(None, Kept(secrets=())) is Check.UNSIGNED_ENDED


def test_tries_of_one_event_have_one_key_whatever_their_token() -> None:
    assert delivery_key({"authorization": "Bearer a"}, b"{}") == delivery_key({}, b"{}")
    assert delivery_key({}, b"{}") != delivery_key({}, b"{ }")
