"""SQL of organizations, users, API keys and revocations."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from chassis.db import Tx
from chassis.errors import NotFound
from services.identity.access.domain import ApiKey, Membership, Organization

ORGANIZATIONS_PER_USER_MAX = 1_000
REVOCATIONS_MAX = 10_000
"""Many times what is ever revoked within ten minutes; the newest come first."""

_ORGANIZATION = "organization_id, name, region, time_zone, create_time, locale, version"
_API_KEY = "api_key_id, name, prefix, scopes, create_time, revoke_time, last_use_time"


async def lock_name(tx: Tx, name: str) -> None:
    """Holds a name until commit: of two who make the same thing, one waits."""
    digest = hashlib.blake2b(b"identity/access/" + name.encode(), digest_size=8).digest()
    await tx.execute("select pg_advisory_xact_lock(%(key)s)", {"key": int.from_bytes(digest, "big", signed=True)})


async def look_up_organization(tx: Tx, name: str, admin_email: str) -> UUID | None:
    """The organization of this name and first owner, whoever may see it."""
    found = await tx.execute(
        "select identity.organization_by_name(%(name)s, %(email)s)", {"name": name, "email": admin_email}
    )
    organization_id: UUID | None = found.scalar()
    return organization_id


async def look_up_organizations(tx: Tx, after: tuple[str, UUID] | None, limit: int) -> list[UUID]:
    """The next organizations of the installation, by name."""
    name, organization_id = after if after is not None else (None, None)
    found = await tx.execute(
        "select id from identity.organization_page(%(name)s, %(id)s, %(limit)s) as found (id)",
        {"name": name, "id": organization_id, "limit": limit},
    )
    return [row.id for row in found]


async def look_up_user(tx: Tx, email: str) -> UUID | None:
    """The user with an e-mail, whoever may see them."""
    found = await tx.execute("select identity.user_by_email(%(email)s)", {"email": email})
    user_id: UUID | None = found.scalar()
    return user_id


async def look_up_organizations_of(tx: Tx, user_id: UUID) -> list[UUID]:
    """The organizations a user is a member of."""
    found = await tx.execute(
        "select id from identity.organizations_of_user(%(user_id)s, %(limit)s) as found (id)",
        {"user_id": user_id, "limit": ORGANIZATIONS_PER_USER_MAX},
    )
    return [row.id for row in found]


async def look_up_api_key(tx: Tx, secret_hash: str) -> tuple[UUID, UUID] | None:
    """Organization and id of the key with a hash."""
    found = await tx.execute("select * from identity.api_key_by_hash(%(hash)s)", {"hash": secret_hash})
    row = found.first()
    return None if row is None else (row.found_organization_id, row.found_api_key_id)


async def list_revoked(tx: Tx, since: datetime) -> list[tuple[str, datetime]]:
    """Whose tokens were revoked since a moment, in all organizations."""
    found = await tx.execute(
        "select * from identity.revoked_since(%(since)s, %(limit)s)", {"since": since, "limit": REVOCATIONS_MAX}
    )
    return [(row.revoked_principal, row.revoked_time) for row in found]


async def find_organization(tx: Tx, organization_id: UUID) -> Organization:
    """One organization. Raises NotFound ORGANIZATION_NOT_FOUND."""
    found = await find_organizations(tx, [organization_id])
    if not found:
        raise NotFound("ORGANIZATION_NOT_FOUND", "No such organization.")
    return found[0]


async def find_organizations(tx: Tx, organization_ids: list[UUID]) -> list[Organization]:
    """Those of the organizations that there are, by name."""
    found = await tx.execute(
        f"select {_ORGANIZATION} from identity.organizations where organization_id = any (%(ids)b)"
        " order by name, organization_id",
        {"ids": organization_ids},
    )
    return [Organization(*tuple(row)) for row in found]


async def lock_organization(tx: Tx, organization_id: UUID) -> Organization:
    """One organization, which nobody else changes until commit. Raises NotFound ORGANIZATION_NOT_FOUND."""
    await tx.execute(
        "select 1 from identity.organizations where organization_id = %(id)s for no key update",
        {"id": organization_id},
    )
    return await find_organization(tx, organization_id)


async def update_organization(tx: Tx, organization: Organization) -> None:
    """Writes where an organization is at home."""
    await tx.execute(
        "update identity.organizations set region = %(region)s, time_zone = %(time_zone)s, locale = %(locale)s,"
        " version = %(version)s where organization_id = %(id)s",
        {
            "id": organization.id,
            "region": organization.region,
            "time_zone": organization.time_zone,
            "locale": organization.locale,
            "version": organization.version,
        },
    )


async def insert_organization(tx: Tx, organization: Organization, admin_email: str) -> None:
    """Inserts an organization."""
    await tx.execute(
        f"insert into identity.organizations ({_ORGANIZATION}, admin_email) values"
        " (%(id)s, %(name)s, %(region)s, %(time_zone)s, %(create_time)s, %(locale)s, %(version)s, %(admin_email)s)",
        {
            "id": organization.id,
            "name": organization.name,
            "region": organization.region,
            "time_zone": organization.time_zone,
            "create_time": organization.create_time,
            "locale": organization.locale,
            "version": organization.version,
            "admin_email": admin_email,
        },
    )


async def is_first_owner(tx: Tx, email: str) -> bool:
    """Whether one of the transaction's organizations was created for this e-mail."""
    found = await tx.execute(
        "select 1 from identity.organizations where admin_email = %(email)s limit 1", {"email": email}
    )
    return found.first() is not None


async def insert_member(tx: Tx, organization_id: UUID, user_id: UUID, role: str, now: datetime) -> None:
    """Makes a user a member; the user's own row may follow in the same transaction."""
    await tx.execute(
        "insert into identity.members (organization_id, user_id, role, create_time)"
        " values (%(organization_id)s, %(user_id)s, %(role)s, %(now)s)",
        {"organization_id": organization_id, "user_id": user_id, "role": role, "now": now},
    )


async def insert_user(tx: Tx, user_id: UUID, email: str, password_hash: str, now: datetime) -> None:
    """Inserts a user, who must be a member of one of the transaction's organizations already."""
    await tx.execute(
        "insert into identity.users (user_id, email, password_hash, create_time, update_time)"
        " values (%(user_id)s, %(email)s, %(password_hash)s, %(now)s, %(now)s)",
        {"user_id": user_id, "email": email, "password_hash": password_hash, "now": now},
    )


async def password_hash_of(tx: Tx, user_id: UUID) -> str | None:
    """What is kept of a password, where the user is a member of one of the transaction's organizations."""
    found = await tx.execute(
        "select password_hash from identity.users where user_id = %(user_id)s", {"user_id": user_id}
    )
    password_hash: str | None = found.scalar()
    return password_hash


async def memberships_of(tx: Tx, user_id: UUID) -> list[Membership]:
    """What a user is in the transaction's organizations, by the organizations' names."""
    found = await tx.execute(
        "select member.organization_id, member.role from identity.members member"
        " join identity.organizations organization using (organization_id)"
        " where member.user_id = %(user_id)s order by organization.name, organization.organization_id",
        {"user_id": user_id},
    )
    return [Membership(*tuple(row)) for row in found]


async def count_attempt(tx: Tx, email: str, network: str, window: timedelta, now: datetime) -> int:
    """Counts one more attempt to sign in with an e-mail from a network; answers how many there were in the window."""
    counted = await tx.execute(
        "insert into identity.sign_in_attempts as known (attempt_hash, attempt_count, window_start)"
        " values (%(attempt_hash)s, 1, %(now)s) on conflict (attempt_hash) do update set"
        " attempt_count = case when known.window_start < %(stale)s then 1 else known.attempt_count + 1 end,"
        " window_start = case when known.window_start < %(stale)s then %(now)s else known.window_start end"
        " returning attempt_count",
        {"attempt_hash": _attempt_hash(email, network), "now": now, "stale": now - window},
    )
    return int(counted.scalar_one())


async def keep_sign_in(tx: Tx, email: str, network: str, now: datetime) -> None:
    """Somebody knew the password: the attempts before no longer count, and the network is known for this e-mail."""
    await tx.execute(
        "update identity.sign_in_attempts set attempt_count = 0, success_time = %(now)s"
        " where attempt_hash = %(attempt_hash)s",
        {"attempt_hash": _attempt_hash(email, network), "now": now},
    )


async def signed_in_since(tx: Tx, email: str, network: str, since: datetime) -> bool:
    """Whether somebody signed in with this e-mail from this network since then."""
    found = await tx.execute(
        "select 1 from identity.sign_in_attempts where attempt_hash = %(attempt_hash)s and success_time >= %(since)s",
        {"attempt_hash": _attempt_hash(email, network), "since": since},
    )
    return found.first() is not None


def _attempt_hash(email: str, network: str) -> bytes:
    return hashlib.sha256(f"{email} {network}".encode()).digest()


async def insert_api_key(
    tx: Tx, organization_id: UUID, key: ApiKey, secret_hash: str, sealed_secret: bytes | None
) -> None:
    """Inserts an API key."""
    await tx.execute(
        "insert into identity.api_keys"
        " (organization_id, api_key_id, name, prefix, secret_hash, sealed_secret, scopes, create_time)"
        " values (%(organization_id)s, %(id)s, %(name)s, %(prefix)s, %(secret_hash)s, %(sealed)s, %(scopes)s,"
        " %(create_time)s)",
        {
            "organization_id": organization_id,
            "id": key.id,
            "name": key.name,
            "prefix": key.prefix,
            "secret_hash": secret_hash,
            "sealed": sealed_secret,
            "scopes": key.scopes,
            "create_time": key.create_time,
        },
    )


async def find_api_key(tx: Tx, organization_id: UUID, api_key_id: UUID) -> ApiKey:
    """One key. Raises NotFound API_KEY_NOT_FOUND."""
    found = await tx.execute(
        f"select {_API_KEY} from identity.api_keys where organization_id = %(organization_id)s and api_key_id = %(id)s",
        {"organization_id": organization_id, "id": api_key_id},
    )
    row = found.first()
    if row is None:
        raise NotFound("API_KEY_NOT_FOUND", "No such API key.")
    return ApiKey(*tuple(row))


async def sealed_secret_of(tx: Tx, organization_id: UUID, api_key_id: UUID) -> bytes | None:
    """The sealed secret of a key that has not been used yet."""
    found = await tx.execute(
        "select sealed_secret from identity.api_keys"
        " where organization_id = %(organization_id)s and api_key_id = %(id)s",
        {"organization_id": organization_id, "id": api_key_id},
    )
    sealed: bytes | None = found.scalar()
    return sealed


async def drop_sealed_secrets(tx: Tx, organization_id: UUID, before: datetime) -> None:
    """Empties the sealed secrets of keys made before a moment."""
    await tx.execute(
        "update identity.api_keys set sealed_secret = null"
        " where organization_id = %(organization_id)s and sealed_secret is not null and create_time < %(before)s",
        {"organization_id": organization_id, "before": before},
    )


async def list_api_keys(tx: Tx, organization_id: UUID, after: UUID | None, limit: int) -> list[ApiKey]:
    """Keys, newest first."""
    parameters: dict[str, Any] = {"organization_id": organization_id, "after": after, "limit": limit}
    older = "" if after is None else " and api_key_id < %(after)s"
    found = await tx.execute(
        f"select {_API_KEY} from identity.api_keys where organization_id = %(organization_id)s{older}"
        " order by api_key_id desc limit %(limit)s",
        parameters,
    )
    return [ApiKey(*tuple(row)) for row in found]


async def mark_api_key_used(tx: Tx, organization_id: UUID, api_key_id: UUID, minute: datetime) -> None:
    """Notes the minute of a use, and that whoever made the key has its secret."""
    await tx.execute(
        "update identity.api_keys set last_use_time = %(minute)s, sealed_secret = null"
        " where organization_id = %(organization_id)s and api_key_id = %(id)s",
        {"organization_id": organization_id, "id": api_key_id, "minute": minute},
    )


async def revoke_api_key(tx: Tx, organization_id: UUID, api_key_id: UUID, now: datetime) -> bool:
    """Revokes a key; False where it was revoked already."""
    revoked = await tx.execute(
        "update identity.api_keys set revoke_time = %(now)s, sealed_secret = null"
        " where organization_id = %(organization_id)s and api_key_id = %(id)s and revoke_time is null",
        {"organization_id": organization_id, "id": api_key_id, "now": now},
    )
    return revoked.rowcount == 1


async def insert_revocation(tx: Tx, organization_id: UUID, principal: str, now: datetime) -> None:
    """From now on the principal's tokens do not count."""
    await tx.execute(
        "insert into identity.revocations (organization_id, principal, revoke_time)"
        " values (%(organization_id)s, %(principal)s, %(now)s)"
        " on conflict (organization_id, principal) do update set revoke_time = excluded.revoke_time",
        {"organization_id": organization_id, "principal": principal, "now": now},
    )
