"""The rules of access: what a key looks like, which scopes and regions are words, when signing in is refused."""

from __future__ import annotations

import base64
import difflib
import hashlib
import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID

from chassis.errors import Aborted, InvalidArgument

KEY_MARK = "ncrm_"
KEY_RANDOM_BYTES = 24
PREFIX_LENGTH = 12
PASSWORD_RANDOM_BYTES = 15
PASSWORD_LENGTH_MIN = 8
COMMON_PASSWORDS = frozenset(
    [
        "12345678",
        "123456789",
        "1234567890",
        "0123456789",
        "87654321",
        "11223344",
        "12341234",
        "123123123",
        "password",
        "password1",
        "password123",
        "passw0rd",
        "p@ssw0rd",
        "qwertyuiop",
        "qwerty123",
        "1q2w3e4r",
        "1q2w3e4r5t",
        "q1w2e3r4",
        "asdfghjkl",
        "iloveyou",
        "princesa",
        "princess",
        "sunshine",
        "football",
        "baseball",
        "superman",
        "welcome1",
        "trustno1",
        "changeme",
        "letmein1",
        "administrator",
        "admin123",
        "abcd1234",
        "abc12345",
        "senha123",
        "senha1234",
        "mudar123",
        "brasil123",
        "flamengo",
        "corinthians",
        "palmeiras",
        "saopaulo",
        "gremio123",
        "jesuscristo",
        "deusefiel",
    ]
)
"""What is tried first, here too; small letters."""
SIGN_IN_FAILURES_FREE = 10
"""Wrong passwords per e-mail and network within the window that are answered at once; the next ones take longer."""
SIGN_IN_NETWORK_FAILURES_FREE = 50
"""The same for all e-mails of a network together."""
SIGN_IN_WINDOW = timedelta(minutes=15)
SIGN_IN_KNOWN_KEPT = timedelta(days=30)
"""For so long a network counts as one that a person signs in from."""
KEY_FAILURES_FREE = 50
"""Unknown API keys per network within the window; each further one takes one of the network's places for a while."""
KEY_LOOKUPS_AT_ONCE_MAX = 500
KEY_LOOKUPS_PER_NETWORK_MAX = 32
REVOCATIONS_KEPT = timedelta(minutes=11)
"""A little longer than a token lives: one just being signed, or that a clock behind ours still believes, ends too."""
ALL_SCOPES = "*"
TOKEN_TYPE = "Bearer"  # noqa: S105 - the name of a scheme
LOCALE = "pt-BR"
_LOCALE = re.compile(r"[a-z]{2,3}(-[A-Z]{2})?")
SCOPE_SHOWN_LENGTH = 100
SEALED_SECRETS_KEPT = timedelta(days=7)
"""As long as a stored answer; after that a retry makes a new key."""


@dataclass(frozen=True, slots=True)
class Organization:
    """A business that uses the product."""

    id: UUID
    name: str
    region: str
    time_zone: str
    create_time: datetime
    locale: str
    version: int = 1

    def moved(self, region: str | None, time_zone: str | None, locale: str | None) -> Organization:
        """At home where is given, counted as one more write; the same one where nothing differs."""
        moved = replace(
            self,
            region=self.region if region is None else region,
            time_zone=self.time_zone if time_zone is None else time_zone,
            locale=self.locale if locale is None else locale,
        )
        return self if moved == self else replace(moved, version=self.version + 1)


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key that a program calls with; its secret is not kept."""

    id: UUID
    name: str
    prefix: str
    scopes: list[str]
    create_time: datetime
    revoke_time: datetime | None
    last_use_time: datetime | None


@dataclass(frozen=True, slots=True)
class Membership:
    """What a user is in one organization."""

    organization_id: UUID
    role: str


def draw_secret(random_bytes: Callable[[int], bytes]) -> str:
    """A new API key: ``ncrm_`` and 24 random bytes."""
    return KEY_MARK + base64.urlsafe_b64encode(random_bytes(KEY_RANDOM_BYTES)).rstrip(b"=").decode()


def draw_password(random_bytes: Callable[[int], bytes]) -> str:
    """A password nobody chose: 20 letters."""
    return base64.urlsafe_b64encode(random_bytes(PASSWORD_RANDOM_BYTES)).decode()


def secret_hash(secret: str) -> str:
    """What is kept of an API key. 24 random bytes need no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def checked_scopes(scopes: Iterable[str], existing: Collection[str]) -> list[str]:
    """Scopes, each once, sorted. Raises InvalidArgument SCOPE_INVALID for one that no RPC asks for."""
    wanted = sorted(set(scopes))
    for scope in wanted:
        if scope != ALL_SCOPES and scope not in existing:
            close = difflib.get_close_matches(scope, sorted(existing), n=1)
            advice = f"Did you mean {close[0]}?" if close else f"Write * or some of {', '.join(sorted(existing))}."
            raise InvalidArgument("SCOPE_INVALID", f"{scope[:SCOPE_SHOWN_LENGTH]!r} is no scope. {advice}")
    return wanted


def checked_region(region: str, existing: Collection[str]) -> str:
    """A region. Raises InvalidArgument REGION_INVALID for one that does not exist."""
    if region not in existing:
        raise InvalidArgument("REGION_INVALID", "A region is a country of two capital letters, such as BR.")
    return region


def checked_locale(locale: str) -> str:
    """A locale. Raises InvalidArgument LOCALE_INVALID."""
    if _LOCALE.fullmatch(locale) is None:
        raise InvalidArgument("LOCALE_INVALID", "A locale is a language, or a language and a country, such as pt-BR.")
    return locale


def etag_fresh(etag: str, version: int) -> None:
    """Raises Aborted ETAG_STALE where somebody else has written since the etag was read."""
    if etag and etag != str(version):
        raise Aborted("ETAG_STALE", "It was changed since you read it. Read it again, and change it then.")


def checked_password(password: str) -> str:
    """A password somebody chose. Raises InvalidArgument PASSWORD_INVALID."""
    if len(password) < PASSWORD_LENGTH_MIN:
        raise InvalidArgument("PASSWORD_INVALID", f"A password has at least {PASSWORD_LENGTH_MIN} letters.")
    if password.lower() in COMMON_PASSWORDS or len(set(password)) == 1:
        raise InvalidArgument("PASSWORD_INVALID", "Anybody would try this password first. Choose another.")
    return password
