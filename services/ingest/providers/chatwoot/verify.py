"""Is a request really from this connection's Chatwoot? Decided on the raw bytes, before anything reads them.

Chatwoot signs timestamp + "." + body with HMAC-SHA256. Two secrets may be live while one replaces the other. Older
senders repeat a fixed secret in the header instead: accepted only as long as the connection says so.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from services.ingest.providers.authenticity import Check, Credentials, Verdict

CLOCK_SKEW_MAX_SECONDS = 300
SECRETS_MAX = 2
DELIVERY_ID_LENGTH_MAX = 128

SIGNATURE_HEADER = "x-chatwoot-signature"
TIMESTAMP_HEADER = "x-chatwoot-timestamp"
DELIVERY_HEADER = "x-chatwoot-delivery"

_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})", re.ASCII)
_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_DELIVERY_ID = re.compile(rf"[!-~]{{1,{DELIVERY_ID_LENGTH_MAX}}}", re.ASCII)


@dataclass(frozen=True, slots=True)
class LegacyStaticSecret:
    """The secrets of which a legacy sender repeats one in the signature header, and until when that is good enough."""

    secrets: tuple[str, ...]
    end_time: datetime


@dataclass(frozen=True, slots=True)
class Claim:
    """What the headers of a request say that it was signed with, before anybody knows whose it is."""

    given: str
    """The digest of a signature, or a fixed secret as it was repeated."""
    stamp: bytes | None
    """The time that is part of what was signed; None for a fixed secret."""

    def proved_by(self, secrets: Iterable[str], body: bytes) -> str | None:
        """The first of the secrets that made the claim, None where none did."""
        if self.stamp is None:
            return next((secret for secret in secrets if _same(self.given, secret)), None)
        # Put together once: there may be many secrets, and the body may be large.
        signed = _signed(self.stamp, body)
        return next((secret for secret in secrets if hmac.compare_digest(_digest(secret, signed), self.given)), None)


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secrets: Sequence[str],
    now: datetime,
    legacy_static: LegacyStaticSecret | None = None,
    unsigned_end_time: datetime | None = None,
) -> Verdict:
    """Checks one request against the connection's live secrets; header names may be in any case.

    Without any secret, and without a legacy one, every request is accepted as unsigned until the time that is named.
    """
    if not secrets and legacy_static is None:
        unsigned = unsigned_end_time is not None and now < unsigned_end_time
        return Verdict(Check.UNSIGNED_ACCEPTED if unsigned else Check.UNSIGNED_ENDED)
    signature = _header(headers, SIGNATURE_HEADER)
    if not signature:
        return Verdict(Check.SIGNATURE_MISSING)
    signed = _SIGNATURE.fullmatch(signature)
    if signed is not None and secrets:
        return Verdict(_check_signature(body, headers, secrets, now, signed[1]))
    if legacy_static is not None:
        return Verdict(_check_static(signature, legacy_static, now))
    return Verdict(Check.SIGNATURE_MALFORMED)


def verify_webhook(body: bytes, headers: Mapping[str, str], credentials: Credentials, now: datetime) -> Verdict:
    """Checks one request against all that its connection takes."""
    legacy = None
    if credentials.legacy_static_secret_end_time is not None and credentials.secrets:
        legacy = LegacyStaticSecret(credentials.secrets, credentials.legacy_static_secret_end_time)
    return verify(body, headers, credentials.secrets, now, legacy, credentials.unsigned_end_time)


def read_claim(headers: Mapping[str, str], now: datetime) -> Claim | Check:
    """What a request claims to be signed with; a check that failed where no secret at all could prove it."""
    signature = _header(headers, SIGNATURE_HEADER)
    if not signature:
        return Check.SIGNATURE_MISSING
    signed = _SIGNATURE.fullmatch(signature)
    if signed is None:
        return Claim(signature, None)
    stamp = _stamp(headers, now)
    return stamp if isinstance(stamp, Check) else Claim(signed[1], stamp)


def delivery_key(headers: Mapping[str, str], body: bytes) -> str:
    """Answers what a second copy of the same request has too: a hash of the whole body, and Chatwoot's delivery id.

    The id alone is not enough: the signature does not cover it, and what comes under a used one with another body is
    another event. It only saves work: Chatwoot may send one event under two ids.
    """
    digest = hashlib.sha256(body).hexdigest()
    delivery_id = _header(headers, DELIVERY_HEADER)
    if delivery_id is not None and _DELIVERY_ID.fullmatch(delivery_id):
        return f"id:{delivery_id}/{digest}"
    return f"sha256:{digest}"


def sign(body: bytes, secret: str, timestamp_seconds: int) -> dict[str, str]:
    """Answers the headers Chatwoot would send with a body: for fakes, smoke tests and diagnosis."""
    digest = _digest(secret, _signed(str(timestamp_seconds).encode(), body))
    return {"X-Chatwoot-Timestamp": str(timestamp_seconds), "X-Chatwoot-Signature": f"sha256={digest}"}


def _check_signature(
    body: bytes, headers: Mapping[str, str], secrets: Sequence[str], now: datetime, given: str
) -> Check:
    stamp = _stamp(headers, now)
    if isinstance(stamp, Check):
        return stamp
    # Every secret is tried, so that the time taken does not tell which one was right.
    signed = _signed(stamp, body)
    matches = [hmac.compare_digest(_digest(secret, signed), given) for secret in secrets[:SECRETS_MAX]]
    return Check.AUTHENTIC if any(matches) else Check.SIGNATURE_MISMATCH


def _stamp(headers: Mapping[str, str], now: datetime) -> bytes | Check:
    """The time that a request says it was signed at, as it was written."""
    timestamp = _header(headers, TIMESTAMP_HEADER)
    if not timestamp:
        return Check.TIMESTAMP_MISSING
    if not _TIMESTAMP.fullmatch(timestamp):
        return Check.TIMESTAMP_MALFORMED
    if abs(now.timestamp() - int(timestamp)) > CLOCK_SKEW_MAX_SECONDS:
        return Check.TIMESTAMP_STALE
    return timestamp.encode("ascii")


def _signed(stamp: bytes, body: bytes) -> bytes:
    return b"%b.%b" % (stamp, body)


def _digest(secret: str, signed: bytes) -> str:
    return hmac.digest(secret.encode("utf-8"), signed, "sha256").hex()


def _check_static(given: str, legacy: LegacyStaticSecret, now: datetime) -> Check:
    matches = [_same(given, secret) for secret in legacy.secrets[:SECRETS_MAX]]
    if not any(matches):
        return Check.SIGNATURE_MISMATCH
    return Check.AUTHENTIC_STATIC if now < legacy.end_time else Check.STATIC_SECRET_EXPIRED


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.removeprefix("Bearer ").encode("utf-8", "replace"), secret.encode("utf-8"))


def _header(headers: Mapping[str, str], name: str) -> str | None:
    found = headers.get(name)
    if found is None:
        found = next((value for key, value in headers.items() if key.lower() == name), None)
    return found
