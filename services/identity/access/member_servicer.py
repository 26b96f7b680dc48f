"""MemberService: translate, call, translate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

import grpc

from chassis import auth, wire
from chassis.clock import Clock
from chassis.context import client_network
from chassis.crypto import Vault
from chassis.db import Database, Tx, scope
from chassis.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    ResourceExhausted,
    Unauthenticated,
)
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Fact, Outbox
from chassis.paging import read_page
from prosa.identity.v1 import events_pb2
from prosa.identity.v1 import member_service_pb2 as pb
from prosa.identity.v1 import member_service_pb2_grpc as pb_grpc
from prosa.identity.v1 import session_service_pb2 as session_pb
from prosa.v1 import options_pb2
from services.identity.access import member_store
from services.identity.access import store as access_store
from services.identity.access.domain import SIGN_IN_WINDOW, checked_password
from services.identity.access.guesses import Places
from services.identity.access.member_domain import check_given
from services.identity.access.member_store import Invitation
from services.identity.access.memberships import Memberships, member_message, own_role, role_name
from services.identity.access.passwords import Passwords
from services.identity.access.second_factor import SecondFactor
from services.identity.access.session_domain import (
    INVITATION_LIFE,
    INVITATIONS_OPEN_MAX,
    LINKS_AT_ONCE_MAX,
    LINKS_FAILURES_FREE,
    LINKS_PER_NETWORK_MAX,
    draw_session_secret,
    session_secret_hash,
)
from services.identity.access.sessions import Sessions, role_number
from services.identity.access.sign_in import SignIn, limited
from services.identity.audit.audit import Audit, Target
from services.identity.contacts import people

SECRET_COLUMN = "invitations.sealed_secret"  # noqa: S105 - the name of a column

Context = grpc.aio.ServicerContext[Any, Any]


class MemberServicer(pb_grpc.MemberServiceServicer):
    """Who belongs to an organization, and who is invited."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
        ids: Ids,
        vault: Vault,
        passwords: Passwords,
        sign_in: SignIn,
        second_factor: SecondFactor,
        sessions: Sessions,
        random_bytes: Callable[[int], bytes],
        audit: Audit,
    ) -> None:
        self._audit = audit
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._clock, self._ids, self._vault, self._random_bytes = clock, ids, vault, random_bytes
        self._passwords, self._sign_in, self._second_factor = passwords, sign_in, second_factor
        self._sessions = sessions
        self._memberships = Memberships(outbox, sessions, audit)
        self._link_places = Places(
            refusal=limited,
            total=LINKS_AT_ONCE_MAX,
            per_network=LINKS_PER_NETWORK_MAX,
            failures_free=LINKS_FAILURES_FREE,
            window_seconds=SIGN_IN_WINDOW.total_seconds(),
        )

    async def ListMembers(self, request: pb.ListMembersRequest, context: Context) -> pb.ListMembersResponse:
        organization_id, page = auth.organization_id(), read_page(request, key_length=2)
        after = None if page.after is None else (page.after[0], _after_id(page.after[1]))
        async with self._db.transaction(organization_id) as tx:
            found = await member_store.list_members(tx, organization_id, role_name(request.role), after, page.size + 1)
        shown, token = page.cut(found, lambda member: [member.email, member.user_id])
        return pb.ListMembersResponse(
            members=[member_message(organization_id, member) for member in shown], next_page_token=token
        )

    async def UpdateMember(self, request: pb.UpdateMemberRequest, context: Context) -> pb.Member:
        organization_id, now = auth.organization_id(), self._clock.now()
        user_id = wire.to_uuid("user_id", request.user_id)

        async def change(tx: Tx) -> pb.Member:
            return await self._memberships.change(tx, organization_id, user_id, request.role, request.etag, now)

        return await self._idempotency.once(self._db, organization_id, request, pb.Member, now, change)

    async def DeleteMember(self, request: pb.DeleteMemberRequest, context: Context) -> pb.DeleteMemberResponse:
        organization_id, now = auth.organization_id(), self._clock.now()
        user_id = wire.to_uuid("user_id", request.user_id)
        async with self._db.transaction(organization_id) as tx:
            await self._memberships.remove(tx, organization_id, user_id, now)
        return pb.DeleteMemberResponse()

    async def CreateInvitation(
        self, request: pb.CreateInvitationRequest, context: Context
    ) -> pb.CreateInvitationResponse:
        organization_id, caller, now = auth.organization_id(), auth.caller(), self._clock.now()
        email = people.require_email(request.email)
        check_given(own_role(), request.role)
        async with self._db.transaction(organization_id) as tx:
            await access_store.find_organization(tx, organization_id)
            known = await self._idempotency.claim(
                tx, organization_id, "CreateInvitation", request, pb.CreateInvitationResponse, now
            )
            if known is not None:
                return await self._shown_again(tx, organization_id, known)
            # Of two who invite the same e-mail at once, the second withdraws the first's.
            await access_store.lock_name(tx, f"invitations/{organization_id}")
            if await member_store.is_member(tx, organization_id, email):
                raise AlreadyExists("MEMBER_EXISTS", "This e-mail is a member's already.")
            await member_store.withdraw(tx, organization_id, now, email=email)
            if await member_store.count_open(tx, organization_id, now) >= INVITATIONS_OPEN_MAX:
                raise ResourceExhausted(
                    "RESOURCE_EXHAUSTED", f"{INVITATIONS_OPEN_MAX} invitations are open. Withdraw some of them first."
                )
            secret = draw_session_secret(self._random_bytes)
            invitation = Invitation(
                organization_id,
                self._ids.new(),
                email,
                role_name(request.role),
                caller.principal,
                caller.name,
                now,
                now + INVITATION_LIFE,
                None,
                None,
            )
            sealed = None
            if request.request_id:
                sealed = self._vault.seal(secret.encode(), organization_id=organization_id, column=SECRET_COLUMN)
            await member_store.insert_invitation(tx, invitation, session_secret_hash(secret), sealed)
            # The stored answer lacks the secret, which is kept sealed beside the invitation for as long as it is open.
            answer = pb.CreateInvitationResponse(invitation=_invitation(invitation))
            await self._idempotency.keep(tx, organization_id, request, answer)
            target = Target("invitation", invitation.id, None, answer.invitation)
            await self._audit.of_caller(tx, organization_id, "MemberService.CreateInvitation", target, now)
        answer.secret = secret
        return answer

    async def _shown_again(
        self, tx: Tx, organization_id: UUID, answer: pb.CreateInvitationResponse
    ) -> pb.CreateInvitationResponse:
        invitation_id = UUID(answer.invitation.invitation_id)
        sealed = await member_store.sealed_secret_of(tx, organization_id, invitation_id)
        if sealed is None:
            raise FailedPrecondition("SECRET_ALREADY_USED", "This invitation was used or withdrawn. Invite again.")
        answer.secret = self._vault.open(sealed, organization_id=organization_id, column=SECRET_COLUMN).decode()
        return answer

    async def ListInvitations(self, request: pb.ListInvitationsRequest, context: Context) -> pb.ListInvitationsResponse:
        organization_id, page, now = auth.organization_id(), read_page(request), self._clock.now()
        after = None if page.after is None else _after_id(page.after[0])
        async with self._db.transaction(organization_id) as tx:
            found = await member_store.list_open(tx, organization_id, now, after, page.size + 1)
        shown, token = page.cut(found, lambda invitation: [invitation.id])
        return pb.ListInvitationsResponse(
            invitations=[_invitation(invitation) for invitation in shown], next_page_token=token
        )

    async def RevokeInvitation(self, request: pb.RevokeInvitationRequest, context: Context) -> pb.Invitation:
        organization_id, now = auth.organization_id(), self._clock.now()
        invitation_id = wire.to_uuid("invitation_id", request.invitation_id)
        async with self._db.transaction(organization_id) as tx:
            before = await member_store.find_invitation(tx, organization_id, invitation_id)
            await member_store.withdraw(tx, organization_id, now, invitation_id=invitation_id)
            invitation = await member_store.find_invitation(tx, organization_id, invitation_id)
            if before is None or invitation is None:
                raise _not_found()
            if invitation != before:
                target = Target("invitation", invitation_id, _invitation(before), _invitation(invitation))
                await self._audit.of_caller(tx, organization_id, "MemberService.RevokeInvitation", target, now)
        return _invitation(invitation)

    async def CheckInvitation(self, request: pb.CheckInvitationRequest, context: Context) -> pb.InvitationOffer:
        invitation = await self._of_link(request.secret)
        async with self._db.transaction(invitation.organization_id) as tx:
            organization = await access_store.find_organization(tx, invitation.organization_id)
            known = await access_store.look_up_user(tx, invitation.email)
        return pb.InvitationOffer(
            organization_name=organization.name,
            email=invitation.email,
            role=role_number(invitation.role),
            expire_time=wire.to_timestamp(invitation.expire_time),
            password_exists=known is not None,
        )

    async def AcceptInvitation(self, request: pb.AcceptInvitationRequest, context: Context) -> session_pb.Session:
        invitation = await self._of_link(request.secret)
        organization_id, email, network = invitation.organization_id, invitation.email, client_network.get()
        async with self._db.transaction() as tx:
            known = await access_store.look_up_user(tx, email)
        mfa_time: datetime | None = None
        password_hash = ""
        if known is not None:
            # No link takes an account over: who has a password shows it, and the second factor.
            await self._sign_in.check(email, request.password, None, network)
            mfa_time = await self._second_factor.at_sign_in(known, request.mfa_code, network)
        else:
            password_hash = await self._passwords.hash(checked_password(request.password))
        now = self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            await access_store.lock_name(tx, f"user/{email}")
            if not await member_store.accept(tx, organization_id, invitation.id, now):
                raise _not_found()
            if await access_store.look_up_user(tx, email) != known:
                raise Unauthenticated("CREDENTIALS_INVALID", "This e-mail has a password by now. Send that one.")
            user_id = known or self._ids.new()
            version = await member_store.add_member(tx, organization_id, user_id, invitation.role, now)
            if known is None:
                await access_store.insert_user(tx, user_id, email, password_hash, now)
            if version is not None:
                changed = events_pb2.MemberChanged(
                    organization_id=str(organization_id),
                    user_id=str(user_id),
                    email=email,
                    role=role_number(invitation.role),
                    version=version,
                )
                await self._outbox.add(tx, [Fact(organization_id, changed)], now)
            await self._audit.of_person(
                tx,
                organization_id,
                user_id,
                email,
                "MemberService.AcceptInvitation",
                Target("member", user_id, _invitation(invitation)),
                now,
            )
            return await self._sessions.begin(tx, user_id, [organization_id], mfa_time, now)

    async def _of_link(self, secret: str) -> Invitation:
        """The open invitation of a link. Raises NotFound INVITATION_NOT_FOUND, and SIGN_IN_LIMITED to who guesses."""
        network = client_network.get()
        with self._link_places.take(network) as place:
            async with self._db.transaction() as tx:
                found = await member_store.look_up_invitation(tx, session_secret_hash(secret))
                invitation = None
                if found is not None:
                    await scope(tx, [found[0]])
                    invitation = await member_store.find_invitation(tx, *found)
            if invitation is None or not invitation.open(self._clock.now()):
                self._link_places.wrong(network, place)
                raise _not_found()
        return invitation


def _not_found() -> NotFound:
    return NotFound(
        "INVITATION_NOT_FOUND", "This invitation is unknown, was used or withdrawn, or is over. Ask for another."
    )


def _after_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise InvalidArgument("PAGE_TOKEN_INVALID", "This page_token is not one of this list.") from None


def _invitation(invitation: Invitation) -> pb.Invitation:
    return pb.Invitation(
        invitation_id=str(invitation.id),
        organization_id=str(invitation.organization_id),
        email=invitation.email,
        role=role_number(invitation.role),
        invited_by=options_pb2.Actor(principal=invitation.inviter_principal, name=invitation.inviter_name),
        create_time=wire.to_timestamp(invitation.create_time),
        expire_time=wire.to_timestamp(invitation.expire_time),
        revoke_time=wire.to_timestamp(invitation.revoke_time),
    )
