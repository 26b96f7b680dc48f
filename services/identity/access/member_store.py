"""SQL of members and of who is invited to become one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.db import Tx

_INVITATION = (
    "organization_id, invitation_id, email, role, inviter_principal, inviter_name, create_time, expire_time,"
    " accept_time, revoke_time"
)

_MEMBER = (
    "member.user_id, person.email, member.role, factor.user_id is not null, member.create_time,"
    " member.last_sign_in_time, member.version from identity.members member"
    " join identity.users person using (user_id)"
    " left join identity.mfa_factors factor on factor.user_id = member.user_id and factor.setup_time is not null"
)


@dataclass(frozen=True, slots=True)
class Member:
    """A person in an organization."""

    user_id: UUID
    email: str
    role: str
    mfa_set_up: bool
    create_time: datetime
    last_sign_in_time: datetime | None
    version: int


@dataclass(frozen=True, slots=True)
class Invitation:
    """Somebody who is asked to become a member."""

    organization_id: UUID
    id: UUID
    email: str
    role: str
    inviter_principal: str
    inviter_name: str
    create_time: datetime
    expire_time: datetime
    accept_time: datetime | None
    revoke_time: datetime | None

    def open(self, now: datetime) -> bool:
        """Whether its link still works."""
        return self.accept_time is None and self.revoke_time is None and now < self.expire_time


async def list_members(
    tx: Tx, organization_id: UUID, role: str, after: tuple[str, UUID] | None, limit: int
) -> list[Member]:
    """Members by e-mail; of all roles where none is named."""
    email, user_id = after if after is not None else (None, None)
    found = await tx.execute(
        f"select {_MEMBER} where member.organization_id = %(organization_id)s"
        " and (%(role)s = '' or member.role = %(role)s)"
        " and (%(email)s::text is null or (person.email, member.user_id) > (%(email)s, %(user_id)s))"
        " order by person.email, member.user_id limit %(limit)s",
        {"organization_id": organization_id, "role": role, "email": email, "user_id": user_id, "limit": limit},
    )
    return [Member(*tuple(row)) for row in found]


async def find_member(tx: Tx, organization_id: UUID, user_id: UUID) -> Member | None:
    """One member of the organization."""
    found = await tx.execute(
        f"select {_MEMBER} where member.organization_id = %(organization_id)s and member.user_id = %(user_id)s",
        {"organization_id": organization_id, "user_id": user_id},
    )
    row = found.first()
    return None if row is None else Member(*tuple(row))


async def count_owners(tx: Tx, organization_id: UUID) -> int:
    """How many owners an organization has."""
    found = await tx.execute(
        "select count(*) from identity.members where organization_id = %(organization_id)s and role = 'OWNER'",
        {"organization_id": organization_id},
    )
    return int(found.scalar_one())


async def change_role(tx: Tx, organization_id: UUID, user_id: UUID, role: str) -> None:
    """Writes a member's role, counted as one more write."""
    await tx.execute(
        "update identity.members set role = %(role)s, version = version + 1"
        " where organization_id = %(organization_id)s and user_id = %(user_id)s",
        {"organization_id": organization_id, "user_id": user_id, "role": role},
    )


async def delete_member(tx: Tx, organization_id: UUID, user_id: UUID) -> None:
    """Ends a membership; the account stays."""
    await tx.execute(
        "delete from identity.members where organization_id = %(organization_id)s and user_id = %(user_id)s",
        {"organization_id": organization_id, "user_id": user_id},
    )


async def delete_user(tx: Tx, user_id: UUID) -> None:
    """Ends an account with its memberships, sessions and second factor."""
    await tx.execute("delete from identity.users where user_id = %(user_id)s", {"user_id": user_id})


async def is_member(tx: Tx, organization_id: UUID, email: str) -> bool:
    """Whether somebody with this e-mail is a member."""
    found = await tx.execute(
        "select 1 from identity.members join identity.users using (user_id)"
        " where organization_id = %(organization_id)s and email = %(email)s",
        {"organization_id": organization_id, "email": email},
    )
    return found.first() is not None


async def add_member(tx: Tx, organization_id: UUID, user_id: UUID, role: str, now: datetime) -> int | None:
    """Makes a user a member; answers the version, or None where they were one."""
    added = await tx.execute(
        "insert into identity.members (organization_id, user_id, role, create_time)"
        " values (%(organization_id)s, %(user_id)s, %(role)s, %(now)s) on conflict do nothing returning version",
        {"organization_id": organization_id, "user_id": user_id, "role": role, "now": now},
    )
    version: int | None = added.scalar()
    return version


async def note_sign_in(tx: Tx, organization_id: UUID, user_id: UUID, minute: datetime) -> None:
    """Notes the minute in which a member signed in."""
    await tx.execute(
        "update identity.members set last_sign_in_time = %(minute)s"
        " where organization_id = %(organization_id)s and user_id = %(user_id)s",
        {"organization_id": organization_id, "user_id": user_id, "minute": minute},
    )


async def insert_invitation(tx: Tx, invitation: Invitation, secret_hash: bytes, sealed_secret: bytes | None) -> None:
    """Inserts an invitation."""
    await tx.execute(
        "insert into identity.invitations (organization_id, invitation_id, email, role, secret_hash, sealed_secret,"
        " inviter_principal, inviter_name, create_time, expire_time) values (%(organization_id)s, %(id)s, %(email)s,"
        " %(role)s, %(secret_hash)s, %(sealed)s, %(principal)s, %(name)s, %(create_time)s, %(expire_time)s)",
        {
            "organization_id": invitation.organization_id,
            "id": invitation.id,
            "email": invitation.email,
            "role": invitation.role,
            "secret_hash": secret_hash,
            "sealed": sealed_secret,
            "principal": invitation.inviter_principal,
            "name": invitation.inviter_name,
            "create_time": invitation.create_time,
            "expire_time": invitation.expire_time,
        },
    )


async def look_up_invitation(tx: Tx, secret_hash: bytes) -> tuple[UUID, UUID] | None:
    """Organization and id of the invitation with a secret."""
    found = await tx.execute("select * from identity.invitation_by_secret(%(hash)s)", {"hash": secret_hash})
    row = found.first()
    return None if row is None else (row.found_organization_id, row.found_invitation_id)


async def find_invitation(tx: Tx, organization_id: UUID, invitation_id: UUID) -> Invitation | None:
    """One invitation of the organization."""
    found = await tx.execute(
        f"select {_INVITATION} from identity.invitations"
        " where organization_id = %(organization_id)s and invitation_id = %(id)s",
        {"organization_id": organization_id, "id": invitation_id},
    )
    row = found.first()
    return None if row is None else Invitation(*tuple(row))


async def sealed_secret_of(tx: Tx, organization_id: UUID, invitation_id: UUID) -> bytes | None:
    """The sealed secret of an invitation that was neither used nor withdrawn."""
    found = await tx.execute(
        "select sealed_secret from identity.invitations"
        " where organization_id = %(organization_id)s and invitation_id = %(id)s",
        {"organization_id": organization_id, "id": invitation_id},
    )
    sealed: bytes | None = found.scalar()
    return sealed


async def count_open(tx: Tx, organization_id: UUID, now: datetime) -> int:
    """How many invitations are open."""
    found = await tx.execute(
        "select count(*) from identity.invitations where organization_id = %(organization_id)s"
        " and accept_time is null and revoke_time is null and expire_time > %(now)s",
        {"organization_id": organization_id, "now": now},
    )
    return int(found.scalar_one())


async def list_open(tx: Tx, organization_id: UUID, now: datetime, after: UUID | None, limit: int) -> list[Invitation]:
    """Open invitations, newest first."""
    found = await tx.execute(
        f"select {_INVITATION} from identity.invitations where organization_id = %(organization_id)s"
        " and accept_time is null and revoke_time is null and expire_time > %(now)s"
        " and (%(after)s::uuid is null or invitation_id < %(after)s) order by invitation_id desc limit %(limit)s",
        {"organization_id": organization_id, "now": now, "after": after, "limit": limit},
    )
    return [Invitation(*tuple(row)) for row in found]


async def withdraw(
    tx: Tx,
    organization_id: UUID,
    now: datetime,
    *,
    invitation_id: UUID | None = None,
    email: str = "",
    inviter: str = "",
) -> None:
    """Withdraws an invitation, or what is open for an e-mail or by somebody; what was used or withdrawn stays so."""
    await tx.execute(
        "update identity.invitations set revoke_time = %(now)s, sealed_secret = null"
        " where organization_id = %(organization_id)s and accept_time is null and revoke_time is null"
        " and (invitation_id = %(id)s or email = %(email)s or inviter_principal = %(inviter)s)",
        {"organization_id": organization_id, "id": invitation_id, "email": email, "inviter": inviter, "now": now},
    )


async def accept(tx: Tx, organization_id: UUID, invitation_id: UUID, now: datetime) -> bool:
    """Uses an invitation; False where it was used, withdrawn or is over: of two who have the link, one is let in."""
    accepted = await tx.execute(
        "update identity.invitations set accept_time = %(now)s, sealed_secret = null"
        " where organization_id = %(organization_id)s and invitation_id = %(id)s"
        " and accept_time is null and revoke_time is null and expire_time > %(now)s",
        {"organization_id": organization_id, "id": invitation_id, "now": now},
    )
    return accepted.rowcount == 1
