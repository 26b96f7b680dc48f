"""SessionService: translate, call, translate."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import grpc

from chassis import auth, wire
from chassis.clock import Clock
from chassis.context import client_network
from chassis.db import Database, Tx, scope
from chassis.errors import PermissionDenied, ResourceExhausted
from prosa.identity.v1 import access_service_pb2
from prosa.identity.v1 import session_service_pb2 as pb
from prosa.identity.v1 import session_service_pb2_grpc as pb_grpc
from prosa.v1 import options_pb2
from services.identity.access import domain as access_domain
from services.identity.access import mfa_store
from services.identity.access import store as access_store
from services.identity.access.guesses import Places
from services.identity.access.second_factor import SecondFactor
from services.identity.access.session_domain import ENDED_COOKIE, EXCHANGES_AT_ONCE_MAX, EXCHANGES_PER_NETWORK_MAX
from services.identity.access.sessions import Sessions, session_ended
from services.identity.access.sign_in import SignIn
from services.identity.audit.audit import Audit, Target
from services.identity.contacts import people

Context = grpc.aio.ServicerContext[Any, Any]


class SessionServicer(pb_grpc.SessionServiceServicer):
    """People in browsers."""

    def __init__(
        self, db: Database, clock: Clock, sessions: Sessions, sign_in: SignIn, second_factor: SecondFactor, audit: Audit
    ) -> None:
        self._audit = audit
        self._db, self._clock, self._sessions, self._sign_in = db, clock, sessions, sign_in
        self._second_factor = second_factor
        # A cookie cannot be guessed; what is bounded is what strangers make the database look up.
        self._exchange_places = Places(
            refusal=_exchanges_limited,
            total=EXCHANGES_AT_ONCE_MAX,
            per_network=EXCHANGES_PER_NETWORK_MAX,
            failures_free=EXCHANGES_AT_ONCE_MAX,
            window_seconds=access_domain.SIGN_IN_WINDOW.total_seconds(),
        )

    async def SignIn(self, request: pb.SignInRequest, context: Context) -> pb.Session:
        signed_in = await self._sign_in.check(
            people.clean(request.email).lower(),
            request.password,
            wire.to_optional_uuid("organization_id", request.organization_id),
            client_network.get(),
        )
        mfa_time = await self._second_factor.at_sign_in(signed_in.user_id, request.mfa_code, client_network.get())
        chosen = [membership.organization_id for membership in signed_in.memberships]
        async with self._db.transaction() as tx:
            now = self._clock.now()
            session = await self._sessions.begin(tx, signed_in.user_id, chosen, mfa_time, now)
            await self._audit.of_person(
                tx,
                UUID(session.organization_id),
                signed_in.user_id,
                session.email,
                "SessionService.SignIn",
                Target("session", session.session_id),
                now,
            )
        return session

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.Session:
        user_id, session_id = _own()
        async with self._db.transaction() as tx:
            if session_id is None:
                return await self._without_session(tx, user_id)
            return await self._sessions.message(tx, await self._sessions.current(tx, session_id, user_id))

    async def VerifySession(self, request: pb.VerifySessionRequest, context: Context) -> pb.Session:
        user_id, session_id = _own()
        if session_id is None:
            raise session_ended()
        mfa_time = await self._second_factor.check(user_id, request.mfa_code, client_network.get())
        async with self._db.transaction() as tx:
            session = await self._sessions.current(tx, session_id, user_id, lock=True)
            return await self._sessions.renew(tx, session, now=mfa_time, mfa_time=mfa_time)

    async def SwitchOrganization(self, request: pb.SwitchOrganizationRequest, context: Context) -> pb.Session:
        user_id, session_id = _own()
        if session_id is None:
            raise session_ended()
        organization_id = wire.to_uuid("organization_id", request.organization_id)
        async with self._db.transaction() as tx:
            session = await self._sessions.current(tx, session_id, user_id, lock=True)
            memberships = await access_store.memberships_of(tx, user_id)
            if organization_id not in {membership.organization_id for membership in memberships}:
                raise PermissionDenied("NOT_A_MEMBER", "You are no member of that organization.")
            return await self._sessions.renew(tx, session, now=self._clock.now(), organization_id=organization_id)

    async def BeginMfaSetup(self, request: pb.BeginMfaSetupRequest, context: Context) -> pb.MfaSetup:
        user_id, _ = _own()
        async with self._db.transaction() as tx:
            return await self._second_factor.begin(tx, user_id, self._clock.now())

    async def ConfirmMfaSetup(self, request: pb.ConfirmMfaSetupRequest, context: Context) -> pb.ConfirmMfaSetupResponse:
        user_id, session_id = _own()
        now = self._clock.now()
        async with self._db.transaction() as tx:
            codes = await self._second_factor.confirm(tx, user_id, request.mfa_code, now)
            await self._audit.of_caller(
                tx, auth.organization_id(), "SessionService.ConfirmMfaSetup", Target("user", user_id), now
            )
            if session_id is None:
                session = await self._without_session(tx, user_id)
            else:
                current = await self._sessions.current(tx, session_id, user_id, lock=True)
                session = await self._sessions.renew(tx, current, now=now, mfa_time=now)
        return pb.ConfirmMfaSetupResponse(recovery_codes=codes, session=session)

    async def _without_session(self, tx: Tx, user_id: UUID) -> pb.Session:
        """What a token says that was asked for by itself, and where else its person belongs."""
        caller, organization_id = auth.caller(), auth.organization_id()
        await scope(tx, await access_store.look_up_organizations_of(tx, user_id))
        factor = await mfa_store.find_factor(tx, user_id)
        set_up = factor is not None and factor.setup_time is not None
        return pb.Session(
            user_id=str(user_id),
            email=await mfa_store.email_of(tx, user_id) or "",
            organization_id=str(organization_id),
            role=caller.role,  # type: ignore[arg-type]
            organizations=await self._sessions.belongings(tx, user_id),
            mfa_set_up=set_up,
            mfa_setup_required=not set_up and caller.role >= options_pb2.ROLE_ADMIN,
        )

    async def SignOut(self, request: pb.SignOutRequest, context: Context) -> pb.SignOutResponse:
        if request.session_secret:
            with self._exchange_places.take(client_network.get()):
                await self._sessions.end(request.session_secret)
        return pb.SignOutResponse(session_secret=ENDED_COOKIE)

    async def ExchangeSession(self, request: pb.ExchangeSessionRequest, context: Context) -> pb.ExchangedSession:
        with self._exchange_places.take(client_network.get()):
            opened = await self._sessions.exchange(request.session_secret)
        return pb.ExchangedSession(
            token=access_service_pb2.Token(
                access_token=opened.token,
                token_type=access_domain.TOKEN_TYPE,
                expires_in=opened.seconds,
                organization_id=str(opened.session.organization_id),
            ),
            session_id=str(opened.session.id),
            csrf_token=self._sessions.csrf_token(opened.session.id),
        )


def _own() -> tuple[UUID, UUID | None]:
    """The calling person and their session; None where the token was asked for by itself."""
    caller = auth.caller()
    return UUID(caller.principal.removeprefix("user:")), UUID(caller.session_id) if caller.session_id else None


def _exchanges_limited(seconds: int) -> ResourceExhausted:
    return ResourceExhausted(
        "SIGN_IN_LIMITED",
        "Too many sessions are asked for at once from this network. Try again in a moment.",
        retry_after_seconds=str(seconds),
    )
