"""SessionService: translate, call, translate."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import grpc

from chassis import auth, wire
from chassis.clock import Clock
from chassis.context import client_network
from chassis.db import Database, scope
from chassis.errors import ResourceExhausted
from prosa.identity.v1 import access_service_pb2
from prosa.identity.v1 import session_service_pb2 as pb
from prosa.identity.v1 import session_service_pb2_grpc as pb_grpc
from services.identity.access import domain as access_domain
from services.identity.access import store as access_store
from services.identity.access.guesses import Places
from services.identity.access.session_domain import ENDED_COOKIE, EXCHANGES_AT_ONCE_MAX, EXCHANGES_PER_NETWORK_MAX
from services.identity.access.sessions import Sessions
from services.identity.access.sign_in import SignIn
from services.identity.contacts import people

Context = grpc.aio.ServicerContext[Any, Any]


class SessionServicer(pb_grpc.SessionServiceServicer):
    """People in browsers."""

    def __init__(self, db: Database, clock: Clock, sessions: Sessions, sign_in: SignIn) -> None:
        self._db, self._clock, self._sessions, self._sign_in = db, clock, sessions, sign_in
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
        chosen = [membership.organization_id for membership in signed_in.memberships]
        async with self._db.transaction() as tx:
            return await self._sessions.begin(tx, signed_in.user_id, chosen, self._clock.now())

    async def GetSession(self, request: pb.GetSessionRequest, context: Context) -> pb.Session:
        caller = auth.caller()
        user_id, organization_id = UUID(caller.principal.removeprefix("user:")), auth.organization_id()
        async with self._db.transaction() as tx:
            if caller.session_id:
                return await self._sessions.message(
                    tx, await self._sessions.current(tx, UUID(caller.session_id), user_id)
                )
            # A token without a session: what it says, and where else its person belongs.
            await scope(tx, await access_store.look_up_organizations_of(tx, user_id))
            return pb.Session(
                user_id=str(user_id),
                organization_id=str(organization_id),
                role=caller.role,  # type: ignore[arg-type]
                organizations=await self._sessions.belongings(tx, user_id),
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


def _exchanges_limited(seconds: int) -> ResourceExhausted:
    return ResourceExhausted(
        "SIGN_IN_LIMITED",
        "Too many sessions are asked for at once from this network. Try again in a moment.",
        retry_after_seconds=str(seconds),
    )
