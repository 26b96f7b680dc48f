"""Who calls: short Ed25519 tokens, verified offline, and the permission that each RPC's contract declares.

Identity signs tokens for people and API keys; every service and the command line sign their own with a key file each.
Every process is given all public halves, so that nobody waits for identity to be believed.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal
from uuid import UUID

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from jwt.types import Options

from chassis.clock import Clock
from chassis.crypto import write_whole
from chassis.enums import enum_text
from chassis.errors import InvalidArgument, PermissionDenied, Unauthenticated
from chassis.system import ISSUERS
from prosa.v1 import options_pb2

ALGORITHM = "EdDSA"
PERSON_TOKEN_SECONDS = 600
SERVICE_TOKEN_SECONDS = 120
CLOCK_SKEW_SECONDS = 10
STEP_UP_SECONDS = 900
"""So long after a person showed a second factor they may do what asks for one."""
CACHED_TOKENS_MAX = 10_000
ALL_SCOPES = "*"
SEND_CREDENTIALS = (
    "Send the header X-Api-Key with an API key, or Authorization: Bearer with the token of a person who signed in "
    "(POST /api/v1/sessions)."
)
"""What whoever brings nothing is told: which headers, not only that something is missing."""

Kind = Literal["user", "key", "service"]


@dataclass(frozen=True, slots=True)
class Caller:
    """The principal of a call and the organization it acts for."""

    kind: Kind
    principal: str
    """ "user:<id>", "key:<id>" or "service:<name>"."""
    organization_id: UUID | None
    """None for a service that names the organization in each item."""
    role: int
    """``prosa.v1.Role``; 0 for keys and services."""
    scopes: frozenset[str]
    issue_time: float
    """Seconds since 1970."""
    expire_time: float
    name: str = ""
    """What people call it, as it was when the token was signed: a person's e-mail, a key's name."""
    audience: str = ""
    """Of a service's token, the one service that shall believe it; a person's or a key's is passed on to all."""
    session_id: str = ""
    """Of a person who signed in with a browser; empty where a token was asked for by itself."""
    mfa_time: float = 0.0
    """When the person last showed a second factor, in seconds since 1970; 0 where they never did."""
    mfa_set_up: bool = False
    """Whether the person had a second factor when the token was signed."""

    @property
    def service(self) -> str:
        """The name of the calling service, else empty."""
        return self.principal.removeprefix("service:") if self.kind == "service" else ""


_caller: ContextVar[Caller | None] = ContextVar("caller", default=None)


def caller() -> Caller:
    """Who is calling. Raises Unauthenticated outside of a call."""
    current = _caller.get()
    if current is None:
        raise Unauthenticated("TOKEN_MISSING", SEND_CREDENTIALS)
    return current


def organization_id() -> UUID:
    """The organization the caller acts for. Raises InvalidArgument where a service named none."""
    current = caller().organization_id
    if current is None:
        raise InvalidArgument("ORGANIZATION_MISSING", "The call must be made for one organization.")
    return current


def set_caller(value: Caller | None) -> None:
    """Names the caller for the rest of the task; the interceptor's business."""
    _caller.set(value)


class TokenSigner:
    """Signs tokens as one issuer."""

    def __init__(self, issuer: str, key: Ed25519PrivateKey, clock: Clock) -> None:
        self._issuer = issuer
        self._key = key
        self._clock = clock
        self._service_tokens: dict[tuple[str, UUID | None], tuple[float, str]] = {}

    def person_token(
        self,
        *,
        kind: Kind,
        principal: str,
        organization_id: UUID,
        role: int = 0,
        scopes: Iterable[str] = (),
        session_id: str = "",
        name: str = "",
        mfa_time: datetime | None = None,
        mfa_set_up: bool = False,
    ) -> tuple[str, int]:
        """A token for a person or an API key, which only identity may sign, and its life in seconds."""
        now = int(self._clock.now().timestamp())
        claims = {
            "iss": self._issuer,
            "sub": principal,
            "sid": session_id,
            "mfa": int(mfa_time.timestamp()) if mfa_time is not None else 0,
            "mfs": mfa_set_up,
            "kind": kind,
            "org": str(organization_id),
            "role": role,
            "scopes": sorted(scopes),
            "name": name,
            "iat": now,
            "exp": now + PERSON_TOKEN_SECONDS,
        }
        return jwt.encode(claims, self._key, algorithm=ALGORITHM), PERSON_TOKEN_SECONDS

    def derive(self, purpose: str, value: str) -> str:
        """A text that follows from the value, and that only this issuer can work out: 32 bytes, base64url.

        The same from every process of the issuer, and another for each purpose.
        """
        key = hmac.digest(self._key.private_bytes_raw(), purpose.encode(), "sha256")
        return base64.urlsafe_b64encode(hmac.digest(key, value.encode(), "sha256")).rstrip(b"=").decode()

    def service_token(self, audience: str, organization_id: UUID | None = None) -> str:
        """This service's own token for calls to one other, for one organization or across them; kept for half its
        life."""
        now = self._clock.now().timestamp()
        kept = self._service_tokens.get((audience, organization_id))
        if kept is not None and kept[0] > now:
            return kept[1]
        claims = {
            "iss": self._issuer,
            "sub": f"service:{self._issuer}",
            "kind": "service",
            "aud": audience,
            "iat": int(now),
            "exp": int(now) + SERVICE_TOKEN_SECONDS,
        }
        if organization_id is not None:
            claims["org"] = str(organization_id)
        token = jwt.encode(claims, self._key, algorithm=ALGORITHM)
        if len(self._service_tokens) >= CACHED_TOKENS_MAX:
            self._service_tokens.clear()
        self._service_tokens[audience, organization_id] = (now + SERVICE_TOKEN_SECONDS / 2, token)
        return token


def audience_of(method_name: str) -> str:
    """The service that serves a method: ``identity`` of ``/prosa.identity.v1.AccessService/GetOrganization``."""
    return method_name.lstrip("/").split(".")[1]


def check_audience(method_name: str, current: Caller) -> None:
    """Raises Unauthenticated TOKEN_INVALID for a service's token that was made for another service than the one called:
    who is shown a token cannot go elsewhere with it."""
    if current.kind == "service" and current.audience != audience_of(method_name):
        raise Unauthenticated("TOKEN_INVALID", "The token was made for another service. Get a new one.")


def token_expired() -> Unauthenticated:
    """TOKEN_EXPIRED."""
    return Unauthenticated("TOKEN_EXPIRED", "The token has expired. Get a new one.")


class TokenVerifier:
    """Believes tokens of known issuers; keeps what it believed, by token, until it expires."""

    def __init__(self, keys: Mapping[str, Ed25519PublicKey], clock: Clock) -> None:
        self._keys = keys
        self._clock = clock
        self._kept: OrderedDict[str, Caller] = OrderedDict()

    def verify(self, token: str) -> Caller:
        """The caller. Raises Unauthenticated TOKEN_INVALID or TOKEN_EXPIRED."""
        now = self._clock.now().timestamp()
        known = self._kept.get(token)
        if known is None:
            known = self._read(token)
            self._kept[token] = known
            if len(self._kept) > CACHED_TOKENS_MAX:
                self._kept.popitem(last=False)
        try:
            self._left(known, now)
        except Unauthenticated:
            self._kept.pop(token, None)
            raise
        return known

    def check_permission(self, permission: options_pb2.Permission, current: Caller | None) -> None:
        """Raises as the function of this name does, by the verifier's own clock."""
        check_permission(permission, current, self._clock.now().timestamp())

    def seconds_left(self, verified: Caller) -> float:
        """How long the caller's token will still be believed. Raises Unauthenticated TOKEN_EXPIRED."""
        return self._left(verified, self._clock.now().timestamp())

    def _left(self, verified: Caller, now: float) -> float:
        left = verified.expire_time + CLOCK_SKEW_SECONDS - now
        if left <= 0:
            raise token_expired()
        return left

    def _read(self, token: str) -> Caller:
        refused = Unauthenticated("TOKEN_INVALID", "The token cannot be believed. Get a new one.")
        try:
            unverified = jwt.decode(token, options={"verify_signature": False})
            issuer = str(unverified["iss"])
            key = self._keys[issuer]
            # Times are asked of our own clock, which a test may move; see ``verify``.
            # For whom a token was made depends on what is called with it; see ``check_audience``.
            unchecked: Options = {"verify_exp": False, "verify_iat": False, "verify_aud": False}
            claims = jwt.decode(token, key, algorithms=[ALGORITHM], options=unchecked)
            kind, principal = claims["kind"], str(claims["sub"])
            issue_time, expire_time = float(claims["iat"]), float(claims["exp"])
            life = SERVICE_TOKEN_SECONDS if kind == "service" else PERSON_TOKEN_SECONDS
            if kind == "service":
                believed = principal == f"service:{issuer}"
            else:
                believed = kind in ("user", "key") and issuer == "identity" and principal.startswith(f"{kind}:")
            # Nobody signs for longer, and a revocation is remembered for no longer.
            if not believed or expire_time - issue_time > life:
                raise refused
            return Caller(
                kind=kind,
                principal=principal,
                organization_id=UUID(claims["org"]) if "org" in claims else None,
                role=int(claims.get("role", 0)),
                scopes=frozenset(claims.get("scopes", ())),
                issue_time=issue_time,
                expire_time=expire_time,
                name=principal.removeprefix("service:") if kind == "service" else str(claims.get("name", "")),
                audience=str(claims.get("aud", "")),
                session_id=str(claims.get("sid", "")),
                mfa_time=float(claims.get("mfa", 0)),
                mfa_set_up=bool(claims.get("mfs", False)),
            )
        except (jwt.PyJWTError, KeyError, ValueError, TypeError):
            raise refused from None


def check_permission(permission: options_pb2.Permission, current: Caller | None, now: float) -> None:
    """Raises Unauthenticated or PermissionDenied unless one of the ways the contract names is open to the caller.

    A person who has not shown a second factor may do no more than an agent, whatever their role; what asks for a
    step-up takes one of the last 15 minutes, and no API key.
    """
    if permission.anonymous:
        return
    if current is None:
        raise Unauthenticated("TOKEN_MISSING", SEND_CREDENTIALS)
    if current.kind == "service":
        if current.service not in permission.services:
            raise PermissionDenied("SERVICE_NOT_ALLOWED", f"The service {current.service} may not call this.")
        if current.organization_id is None and not permission.across_organizations and not _names_none(permission):
            raise InvalidArgument("ORGANIZATION_MISSING", "The call must be made for one organization.")
        return
    nobody_else = permission.role == options_pb2.ROLE_UNSPECIFIED and not permission.scope
    if permission.across_organizations or permission.one_organization or nobody_else:
        raise PermissionDenied("SERVICES_ONLY", "Only services of Prosa may call this.")
    least = enum_text(options_pb2.Role, permission.role).lower()
    if current.kind == "key":
        if permission.step_up or not permission.scope:
            shown = " and a second factor" if permission.step_up else ""
            raise PermissionDenied(
                "PEOPLE_ONLY",
                f"Only people may do this, with the role {least} or a higher one{shown}; no API key.",
                role=least,
            )
        if permission.scope not in current.scopes and ALL_SCOPES not in current.scopes:
            raise PermissionDenied(
                "SCOPE_MISSING", f"The API key lacks the scope {permission.scope}.", scope=permission.scope
            )
        return
    if permission.role == options_pb2.ROLE_UNSPECIFIED or current.role < permission.role:
        raise PermissionDenied("ROLE_TOO_LOW", f"This takes the role {least} or a higher one.", role=least)
    asked = permission.step_up or permission.role >= options_pb2.ROLE_ADMIN
    stale = permission.step_up and now - current.mfa_time > STEP_UP_SECONDS
    if asked and (not current.mfa_time or stale):
        advice = (
            "POST /api/v1/session:verify with a code, then call again."
            if current.mfa_set_up
            else "Set one up first: POST /api/v1/session/mfa:begin."
        )
        raise PermissionDenied(
            "MFA_REQUIRED",
            f"This takes a second factor{' of the last 15 minutes' if permission.step_up else ''}. {advice}",
            setup="false" if current.mfa_set_up else "true",
        )


def _names_none(permission: options_pb2.Permission) -> bool:
    # What only services may call and no organization is part of, such as creating one.
    return permission.role == options_pb2.ROLE_UNSPECIFIED and not permission.scope and not permission.one_organization


def member_principal(organization_id: UUID | None, user_id: object) -> str:
    """What is revoked where a person's tokens for one organization end, and no others."""
    return f"member:{organization_id}/{user_id}"


class Revocations:
    """What was revoked in the last 10 minutes, as heard by event and by asking identity every 20 s."""

    DEAF_SECONDS = 60.0

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._times: dict[str, float] = {}
        self._listeners: list[Callable[[], None]] = []
        self._updated = time.monotonic()

    def listen(self, heard: Callable[[], None]) -> None:
        """``heard`` is called whenever something is revoked that was not known of."""
        self._listeners.append(heard)

    def update(self, revoked: Iterable[tuple[str, float]], *, complete: bool) -> None:
        """Takes note of principals and when they were revoked; ``complete`` when identity answered the whole list."""
        before = dict(self._times)
        for principal, moment in revoked:
            self._times[principal] = max(moment, self._times.get(principal, 0.0))
        news = self._times != before
        if complete:
            self._updated = time.monotonic()
        horizon = self._clock.now().timestamp() - PERSON_TOKEN_SECONDS - 60
        self._times = {principal: moment for principal, moment in self._times.items() if moment > horizon}
        if news:
            for heard in self._listeners:
                heard()

    def check(self, current: Caller) -> None:
        """Raises Unauthenticated where the key or session was revoked, or the person after the token was issued."""
        moment = self._times.get(current.principal)
        if current.kind == "user":
            here = member_principal(current.organization_id, current.principal.removeprefix("user:"))
            moment = max((known for known in (moment, self._times.get(here)) if known is not None), default=None)
        # A key and a session stay revoked. A token may be younger than that: signed while they were just being revoked.
        revoked = moment is not None and (current.kind == "key" or current.issue_time <= moment)
        if revoked or (current.session_id and f"session:{current.session_id}" in self._times):
            raise Unauthenticated("TOKEN_REVOKED", "The key or the session was revoked. Get a new one.")

    @property
    def outdated(self) -> bool:
        """True when nothing was heard for so long that a revocation could have been missed."""
        return time.monotonic() - self._updated > self.DEAF_SECONDS


def create_key_files(keys_dir: Path, issuers: Sequence[str] = ISSUERS) -> None:
    """Draws a key pair for each issuer that has none: ``<issuer>.key`` (mode 0600) and ``<issuer>.pub``."""
    keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    for issuer in issuers:
        private_path = keys_dir / f"{issuer}.key"
        if not private_path.exists():
            pem = Ed25519PrivateKey.generate().private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
            write_whole(private_path, pem)
        public = load_private_key(keys_dir, issuer).public_key()
        (keys_dir / f"{issuer}.pub").write_bytes(
            public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        )


def load_private_key(keys_dir: Path, issuer: str) -> Ed25519PrivateKey:
    """The private half of one issuer."""
    key = serialization.load_pem_private_key((keys_dir / f"{issuer}.key").read_bytes(), password=None)
    if not isinstance(key, Ed25519PrivateKey):
        raise TypeError(f"{issuer}.key is not an Ed25519 key")
    return key


def load_public_keys(keys_dir: Path) -> dict[str, Ed25519PublicKey]:
    """The public halves of every issuer in the directory."""
    keys = {}
    for path in sorted(keys_dir.glob("*.pub")):
        key = serialization.load_pem_public_key(path.read_bytes())
        if not isinstance(key, Ed25519PublicKey):
            raise TypeError(f"{path.name} is not an Ed25519 key")
        keys[path.stem] = key
    return keys
