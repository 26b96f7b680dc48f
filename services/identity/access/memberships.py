"""Changing and ending memberships: one transaction for the row, what they were signed in with, fact and audit entry."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chassis import auth, wire
from chassis.db import Tx
from chassis.enums import enum_text
from chassis.errors import NotFound
from chassis.outbox import Fact, Outbox
from prosa.identity.v1 import events_pb2
from prosa.identity.v1 import member_service_pb2 as pb
from prosa.v1 import options_pb2
from services.identity.access import member_store
from services.identity.access import store as access_store
from services.identity.access.domain import etag_fresh
from services.identity.access.member_domain import check_given, check_owner_left, check_taken
from services.identity.access.member_store import Member
from services.identity.access.sessions import Sessions, role_number
from services.identity.audit.audit import Audit, Target


class Memberships:
    """Changes members and removes them."""

    def __init__(self, outbox: Outbox, sessions: Sessions, audit: Audit) -> None:
        self._outbox, self._sessions, self._audit = outbox, sessions, audit

    async def change(
        self, tx: Tx, organization_id: UUID, user_id: UUID, role: options_pb2.Role.ValueType, etag: str, now: datetime
    ) -> pb.Member:
        """Gives a member a role. Raises MEMBER_NOT_FOUND, ETAG_STALE, ROLE_ABOVE_OWN and LAST_OWNER."""
        before = await self._held(tx, organization_id, user_id)
        held, own = role_number(before.role), own_role()
        etag_fresh(etag, before.version)
        check_given(own, role)
        check_taken(own, held)
        check_owner_left(before.role, role_name(role), await member_store.count_owners(tx, organization_id))
        if role == held:
            return member_message(organization_id, before)
        await member_store.change_role(tx, organization_id, user_id, role_name(role))
        after = await member_store.find_member(tx, organization_id, user_id)
        assert after is not None, "the member is held"
        await self._sessions.end_all(tx, organization_id, user_id, now)
        if role < held:
            # A link gives what its maker could give when it was made.
            await member_store.withdraw(tx, organization_id, now, inviter=f"user:{user_id}")
        changed = events_pb2.MemberChanged(
            organization_id=str(organization_id),
            user_id=str(user_id),
            email=after.email,
            role=role,
            version=after.version,
        )
        await self._outbox.add(tx, [Fact(organization_id, changed)], now)
        answer = member_message(organization_id, after)
        target = Target("member", user_id, member_message(organization_id, before), answer)
        await self._audit.of_caller(tx, organization_id, "MemberService.UpdateMember", target, now)
        return answer

    async def remove(self, tx: Tx, organization_id: UUID, user_id: UUID, now: datetime) -> None:
        """Removes a member. Raises MEMBER_NOT_FOUND, ROLE_ABOVE_OWN and LAST_OWNER."""
        member = await self._held(tx, organization_id, user_id)
        check_taken(own_role(), role_number(member.role))
        check_owner_left(member.role, "", await member_store.count_owners(tx, organization_id))
        await self._sessions.end_all(tx, organization_id, user_id, now)
        await member_store.withdraw(tx, organization_id, now, inviter=f"user:{user_id}")
        if await access_store.look_up_organizations_of(tx, user_id) == [organization_id]:
            # Nobody could reset its password or sign in with it, and no invitation would ever be accepted with it.
            await member_store.delete_user(tx, user_id)
        else:
            await member_store.delete_member(tx, organization_id, user_id)
        removed = events_pb2.MemberRemoved(
            organization_id=str(organization_id),
            user_id=str(user_id),
            email=member.email,
            version=member.version + 1,
        )
        await self._outbox.add(tx, [Fact(organization_id, removed)], now)
        target = Target("member", user_id, member_message(organization_id, member))
        await self._audit.of_caller(tx, organization_id, "MemberService.DeleteMember", target, now)

    async def _held(self, tx: Tx, organization_id: UUID, user_id: UUID) -> Member:
        """The member, whom nobody else changes until commit. Raises NotFound MEMBER_NOT_FOUND."""
        # Of two owners who demote each other at once, the second finds itself alone.
        await access_store.lock_organization(tx, organization_id)
        found = await member_store.find_member(tx, organization_id, user_id)
        if found is None:
            raise NotFound("MEMBER_NOT_FOUND", "Nobody of this organization has this id.")
        # As whoever accepts an invitation or begins a session does: neither finds an account that is just ending.
        await access_store.lock_name(tx, f"user/{found.email}")
        await access_store.lock_name(tx, f"sessions/{user_id}")
        return found


def own_role() -> int | None:
    """What the calling person is; None for the operator's command."""
    caller = auth.caller()
    return caller.role if caller.kind == "user" else None


def role_name(role: options_pb2.Role.ValueType) -> str:
    """A role as it is kept; empty for none."""
    return enum_text(options_pb2.Role, role) if role else ""


def member_message(organization_id: UUID, member: Member) -> pb.Member:
    """A member on the wire."""
    return pb.Member(
        user_id=str(member.user_id),
        organization_id=str(organization_id),
        email=member.email,
        role=role_number(member.role),
        mfa_set_up=member.mfa_set_up,
        create_time=wire.to_timestamp(member.create_time),
        last_sign_in_time=wire.to_timestamp(member.last_sign_in_time),
        etag=str(member.version),
    )
