"""One-time codes by time (RFC 6238) and recovery codes: what they look like and when one is right."""

from __future__ import annotations

import base64
import hashlib
import hmac
import io
import re
from collections.abc import Callable
from datetime import datetime, timedelta
from urllib.parse import quote, urlencode
from uuid import UUID

SECRET_RANDOM_BYTES = 20
"""As long as the hash, which RFC 4226 recommends."""
DIGITS = 6
STEP_SECONDS = 30
STEPS_APART_MAX = 1
"""A phone's clock may be so many steps wrong."""
RECOVERY_CODES = 10
RECOVERY_CODE_LENGTH = 10
MFA_SETUP_LIFE = timedelta(minutes=15)
MFA_FAILURES_FREE = 5
"""Wrong codes of a person within the window that are answered at once; the next ones take longer."""
MFA_FAILURES_MAX = 20
"""Beyond so many within the window no code is looked at, right or wrong: three of a million are right at a time."""
MFA_CHECKS_AT_ONCE_MAX = 100
MFA_CHECKS_PER_PERSON_MAX = 2
"""From all networks together; and from each in which the person has shown a right code before, beyond those."""
ISSUER = "Prosa"
_TOTP_CODE = re.compile(r"[0-9]{6}")


def draw_totp_secret(random_bytes: Callable[[int], bytes]) -> bytes:
    """The secret of an authenticator."""
    return random_bytes(SECRET_RANDOM_BYTES)


def step_at(moment: datetime) -> int:
    """The number of the 30 seconds that a moment lies in."""
    return int(moment.timestamp()) // STEP_SECONDS


def code_of(secret: bytes, step: int) -> str:
    """The six digits that an authenticator shows in a step."""
    digest = hmac.digest(secret, step.to_bytes(8, "big"), "sha1")
    offset = digest[-1] & 0x0F
    number = int.from_bytes(digest[offset : offset + 4], "big") & 0x7FFFFFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(secret: bytes, code: str, now: datetime) -> int | None:
    """The step that a code is of, of those around now; None where it is of none."""
    around = step_at(now)
    found = None
    for step in range(around - STEPS_APART_MAX, around + STEPS_APART_MAX + 1):
        if hmac.compare_digest(code_of(secret, step), code):
            found = step
    return found


def is_totp_code(code: str) -> bool:
    """Whether it is written like an authenticator's code, and so no recovery code."""
    return _TOTP_CODE.fullmatch(code) is not None


def clean_code(text: str) -> str:
    """A code without what people write into it: blanks and dashes, small letters."""
    return re.sub(r"[\s-]", "", text).upper()


def draw_recovery_codes(random_bytes: Callable[[int], bytes]) -> list[str]:
    """Ten codes of ten letters, each drawn for itself."""
    return [
        base64.b32encode(random_bytes(RECOVERY_CODE_LENGTH)).decode()[:RECOVERY_CODE_LENGTH]
        for _ in range(RECOVERY_CODES)
    ]


def recovery_code_hash(user_id: UUID, code: str) -> bytes:
    """What is kept of a recovery code. 50 random bits of one person need no slow hash: guesses are slowed."""
    return hashlib.sha256(user_id.bytes + code.encode()).digest()


def written_secret(secret: bytes) -> str:
    """A secret as people type it."""
    return base64.b32encode(secret).rstrip(b"=").decode()


def provisioning_uri(secret: bytes, email: str) -> str:
    """What an authenticator reads from the QR code."""
    parameters = {
        "secret": written_secret(secret),
        "issuer": ISSUER,
        "algorithm": "SHA1",
        "digits": str(DIGITS),
        "period": str(STEP_SECONDS),
    }
    return f"otpauth://totp/{ISSUER}:{quote(email)}?{urlencode(parameters)}"


def qr_svg(text: str) -> str:
    """A text as a QR code, dark on light in any theme."""
    import segno  # Most processes never draw one.

    drawn = io.BytesIO()
    segno.make(text, error="m", micro=False).save(
        drawn, kind="svg", scale=4, border=4, dark="#000", light="#fff", xmldecl=False, nl=False
    )
    return drawn.getvalue().decode()
