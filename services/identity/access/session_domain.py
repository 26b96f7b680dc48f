"""The rules of sessions: what a cookie's secret looks like, how long a session lasts, when it has ended."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

SECRET_RANDOM_BYTES = 32
SESSION_REST = timedelta(days=7)
"""How long a session lasts after its last use."""
SESSION_LIFE = timedelta(days=30)
"""How long it lasts in all."""
USE_NOTED_EVERY = timedelta(minutes=5)
"""A use is written down no more often: what the 7 days are counted from may be so much too early."""
SECRET_OVERLAP = timedelta(seconds=60)
"""How much longer the secret before is taken: other tabs and requests on their way still bring it."""
SESSIONS_PER_USER_MAX = 20
"""One more ends the one that was used longest ago."""
EXCHANGES_AT_ONCE_MAX = 500
EXCHANGES_PER_NETWORK_MAX = 64
INVITATION_LIFE = timedelta(days=7)
INVITATIONS_OPEN_MAX = 100
LINKS_AT_ONCE_MAX = 100
LINKS_PER_NETWORK_MAX = 10
LINKS_FAILURES_FREE = 20
"""Unknown links per network within the window; each further one takes one of the network's places for a while."""
ENDED_COOKIE = "-"
"""In the place of a secret: the browser shall forget its cookie."""
MFA_ROLES = frozenset({"ADMIN", "OWNER"})
"""Who holds one of them does no more than an agent until a second factor was shown; see ``auth.check_permission``."""
CSRF_PURPOSE = "csrf_token of a session"


@dataclass(frozen=True, slots=True)
class Session:
    """One sign-in of a person on one device, with what the person is in the organization it acts for."""

    id: UUID
    organization_id: UUID
    user_id: UUID
    secret_hash: bytes
    previous_secret_hash: bytes | None
    previous_end_time: datetime | None
    mfa_time: datetime | None
    previous_mfa_time: datetime | None
    create_time: datetime
    last_use_time: datetime
    end_time: datetime
    ended_time: datetime | None
    email: str
    role: str
    mfa_set_up: bool

    @property
    def mfa_setup_required(self) -> bool:
        """Whether the role asks for a second factor and the person has none."""
        return self.role in MFA_ROLES and not self.mfa_set_up

    @property
    def expire_time(self) -> datetime:
        """When it ends if it is not used."""
        return min(self.last_use_time + SESSION_REST, self.end_time)

    def open_with(self, secret_hash: bytes, now: datetime) -> bool:
        """Whether the secret opens it now: the current one, or for a moment the one before."""
        if not self.lasts(now):
            return False
        if secret_hash == self.secret_hash:
            return True
        return (
            secret_hash == self.previous_secret_hash
            and self.previous_end_time is not None
            and now < self.previous_end_time
        )

    def mfa_time_of(self, secret_hash: bytes) -> datetime | None:
        """When a second factor was shown, as the secret may know it: the one before gains nothing by a step-up."""
        return self.mfa_time if secret_hash == self.secret_hash else self.previous_mfa_time

    def lasts(self, now: datetime) -> bool:
        """Whether it has not ended."""
        return self.ended_time is None and now < self.expire_time


@dataclass(frozen=True, slots=True)
class Belonging:
    """An organization of a person, and what they are there."""

    organization_id: UUID
    name: str
    role: str


def draw_session_secret(random_bytes: Callable[[int], bytes]) -> str:
    """What a cookie holds: 32 random bytes."""
    return base64.urlsafe_b64encode(random_bytes(SECRET_RANDOM_BYTES)).rstrip(b"=").decode()


def session_secret_hash(secret: str) -> bytes:
    """What is kept of it. 32 random bytes need no slow hash."""
    return hashlib.sha256(secret.encode()).digest()
