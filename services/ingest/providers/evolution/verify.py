"""Is a webhook really from this connection's Evolution? Evolution signs no body: what it can prove is a token.

Where a webhook is set with a header `jwt_key`, Evolution sends a JWT instead of it: HS256 under that key, made once for
an event and used for all its tries, which last longer than the token says that it holds. So what counts is that it is
genuine; one that has expired would be answered 401, and Evolution never sends again what was answered so. It does not
cover the body, so one that got out would let its finder say anything: hence it holds for a day, and not for ever.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64decode
from binascii import Error as NotBase64
from collections.abc import Mapping
from datetime import datetime

from chassis.json_reading import JsonMalformed, read_json
from services.ingest.providers.authenticity import Check, Credentials, Verdict

TOKEN_LENGTH_MAX = 2048
"""Evolution's own have some 180 characters."""
TOKEN_SECONDS_MAX = 24 * 3600
"""How old a token may be, or how far ahead its clock: the tries of an event last half an hour."""
SECRETS_MAX = 2
_BEARER = "bearer "


def verify(_body: bytes, headers: Mapping[str, str], credentials: Credentials, now: datetime) -> Verdict:
    """Checks one request against the connection's live secrets; without any it is unsigned."""
    if not credentials.secrets:
        unsigned = now < credentials.unsigned_end_time
        return Verdict(Check.UNSIGNED_ACCEPTED if unsigned else Check.UNSIGNED_ENDED)
    given = headers.get("authorization", "")
    if not given:
        return Verdict(Check.SIGNATURE_MISSING)
    if not given.lower().startswith(_BEARER) or len(given) > TOKEN_LENGTH_MAX or not given.isascii():
        return Verdict(Check.SIGNATURE_MALFORMED)
    head, _, signature = given[len(_BEARER) :].strip().rpartition(".")
    found, digest = _object(head.partition(".")[0]), _decoded(signature)
    # Only the one algorithm that Evolution uses: a token must not choose how it is checked.
    if found is None or digest is None or head.count(".") != 1 or found.get("alg") != "HS256":
        return Verdict(Check.SIGNATURE_MALFORMED)
    # Every secret is tried, so that the time taken does not tell which one was right.
    matches = [
        hmac.compare_digest(hmac.digest(secret.encode(), head.encode(), "sha256"), digest)
        for secret in credentials.secrets[:SECRETS_MAX]
    ]
    if not any(matches):
        return Verdict(Check.SIGNATURE_MISMATCH)
    made = (_object(head.partition(".")[2]) or {}).get("iat")
    if type(made) not in (int, float):
        return Verdict(Check.SIGNATURE_MALFORMED)
    fresh = abs(now.timestamp() - float(made)) <= TOKEN_SECONDS_MAX  # type: ignore[arg-type]  # a number, as was seen
    return Verdict(Check.AUTHENTIC if fresh else Check.TIMESTAMP_STALE)


def delivery_key(_headers: Mapping[str, str], body: bytes) -> str:
    """A hash of the body: Evolution's tries of one event carry the very same bytes, and nothing else in common."""
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def _object(part: str) -> Mapping[str, object] | None:
    raw = _decoded(part)
    if raw is None:
        return None
    try:
        found = read_json(raw, 0)
    except JsonMalformed:
        return None
    return found if isinstance(found, dict) else None


def _decoded(part: str) -> bytes | None:
    try:
        return urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except (NotBase64, ValueError):
        return None
