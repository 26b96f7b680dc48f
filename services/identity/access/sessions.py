"""Sessions of people who signed in: how one begins, is exchanged for a token, and ends."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from chassis import wire
from chassis.auth import STEP_UP_SECONDS, TokenSigner, member_principal
from chassis.clock import Clock
from chassis.db import Database, Tx, scope
from chassis.enums import enum_number
from chassis.errors import Unauthenticated
from chassis.ids import Ids
from chassis.outbox import Fact, Outbox
from prosa.identity.v1 import events_pb2
from prosa.identity.v1 import session_service_pb2 as pb
from prosa.v1 import options_pb2
from services.identity.access import member_store, session_store
from services.identity.access import store as access_store
from services.identity.access.session_domain import (
    CSRF_PURPOSE,
    SECRET_OVERLAP,
    SESSION_LIFE,
    SESSIONS_PER_USER_MAX,
    USE_NOTED_EVERY,
    Session,
    draw_session_secret,
    session_secret_hash,
)
from services.identity.audit.audit import Audit, Target

STEP_UP = timedelta(seconds=STEP_UP_SECONDS)


class Opened(NamedTuple):
    """A session with the token that its cookie stands for."""

    session: Session
    token: str
    seconds: int


class Sessions:
    """Begins, exchanges and ends sessions."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        clock: Clock,
        ids: Ids,
        signer: TokenSigner,
        random_bytes: Callable[[int], bytes],
        audit: Audit,
    ) -> None:
        self._audit = audit
        self._db, self._outbox, self._clock, self._ids = db, outbox, clock, ids
        self._signer, self._random_bytes = signer, random_bytes

    async def begin(
        self, tx: Tx, user_id: UUID, organization_ids: list[UUID], mfa_time: datetime | None, now: datetime
    ) -> pb.Session:
        """A new session, in the organization of these that was used last, else in the first.

        Raises Unauthenticated SESSION_ENDED where the person belongs to none of them any more.
        """
        await access_store.lock_name(tx, f"sessions/{user_id}")
        still = await access_store.look_up_organizations_of(tx, user_id)
        organization_ids = [belonged for belonged in organization_ids if belonged in still]
        if not organization_ids:
            # Removed since the password was checked.
            raise session_ended()
        await scope(tx, still)
        last = await session_store.last_organization(tx, user_id)
        chosen = last if last in organization_ids else organization_ids[0]
        secret, session_id = draw_session_secret(self._random_bytes), self._ids.new()
        for organization_id, ended in await session_store.end_oldest(tx, user_id, SESSIONS_PER_USER_MAX - 1, now):
            await self._revoke(tx, organization_id, f"session:{ended}", now)
        await session_store.insert_session(
            tx,
            session_id=session_id,
            organization_id=chosen,
            user_id=user_id,
            secret_hash=session_secret_hash(secret),
            mfa_time=mfa_time,
            now=now,
            end_time=now + SESSION_LIFE,
        )
        await member_store.note_sign_in(tx, chosen, user_id, now.replace(second=0, microsecond=0))
        session = await session_store.find_session(tx, session_id)
        assert session is not None, "the person is a member of the organization"
        message = await self.message(tx, session)
        message.session_secret = secret
        return message

    async def exchange(self, secret: str) -> Opened:
        """The session of a cookie with a token of its person. Raises Unauthenticated SESSION_ENDED."""
        now, secret_hash = self._clock.now(), session_secret_hash(secret)
        async with self._db.transaction() as tx:
            session = await self._find_by_hash(tx, secret_hash)
            if session is None or not session.open_with(secret_hash, now):
                raise session_ended()
            if now - session.last_use_time >= USE_NOTED_EVERY:
                await session_store.note_use(tx, session.id, now)
        token, seconds = self._signer.person_token(
            kind="user",
            principal=f"user:{session.user_id}",
            organization_id=session.organization_id,
            role=role_number(session.role),
            name=session.email,
            session_id=str(session.id),
            mfa_time=session.mfa_time_of(secret_hash),
            mfa_set_up=session.mfa_set_up,
        )
        return Opened(session, token, seconds)

    async def renew(
        self,
        tx: Tx,
        session: Session,
        *,
        now: datetime,
        organization_id: UUID | None = None,
        mfa_time: datetime | None = None,
    ) -> pb.Session:
        """The session with another secret, in another organization or with a second factor just shown.

        So no gateway that remembers the secret before goes on with what that one was good for.
        """
        secret = draw_session_secret(self._random_bytes)
        await session_store.renew_session(
            tx,
            session.id,
            secret_hash=session_secret_hash(secret),
            previous_end_time=now + SECRET_OVERLAP,
            organization_id=organization_id or session.organization_id,
            mfa_time=mfa_time or session.mfa_time,
        )
        renewed = await session_store.find_session(tx, session.id)
        assert renewed is not None, "the person is a member of the organization"
        message = await self.message(tx, renewed)
        message.session_secret = secret
        return message

    async def end(self, secret: str) -> None:
        """Ends the session of a cookie; whose cookie opens nothing any more has nothing to end."""
        now, secret_hash = self._clock.now(), session_secret_hash(secret)
        async with self._db.transaction() as tx:
            session = await self._find_by_hash(tx, secret_hash)
            if session is None or not session.open_with(secret_hash, now):
                return
            if await session_store.end_session(tx, session.id, now):
                await self._revoke(tx, session.organization_id, f"session:{session.id}", now)
                await self._audit.of_person(
                    tx,
                    session.organization_id,
                    session.user_id,
                    session.email,
                    "SessionService.SignOut",
                    Target("session", session.id),
                    now,
                )

    async def end_all(self, tx: Tx, organization_id: UUID, user_id: UUID, now: datetime) -> None:
        """Ends all that a person is signed in with in an organization, and nothing elsewhere.

        Sessions end for good. Other tokens of theirs for it do if they were issued until now: of a program that signed
        in, or of a session that acts for another organization meanwhile.
        """
        for ended in await session_store.end_sessions_in(tx, organization_id, user_id, now):
            await self._revoke(tx, organization_id, f"session:{ended}", now)
        await self._revoke(tx, organization_id, member_principal(organization_id, user_id), now)

    async def current(self, tx: Tx, session_id: UUID, user_id: UUID, *, lock: bool = False) -> Session:
        """The caller's own session. Raises Unauthenticated SESSION_ENDED."""
        await scope(tx, await access_store.look_up_organizations_of(tx, user_id))
        session = await session_store.find_session(tx, session_id, lock=lock)
        if session is None or session.user_id != user_id or not session.lasts(self._clock.now()):
            raise session_ended()
        return session

    async def message(self, tx: Tx, session: Session) -> pb.Session:
        """A session on the wire, but for its secret."""
        return pb.Session(
            session_id=str(session.id),
            user_id=str(session.user_id),
            email=session.email,
            organization_id=str(session.organization_id),
            role=role_number(session.role),
            organizations=await self.belongings(tx, session.user_id),
            csrf_token=self.csrf_token(session.id),
            mfa_setup_required=session.mfa_setup_required,
            mfa_set_up=session.mfa_set_up,
            step_up_end_time=wire.to_timestamp(session.mfa_time and session.mfa_time + STEP_UP),
            create_time=wire.to_timestamp(session.create_time),
            expire_time=wire.to_timestamp(session.expire_time),
        )

    async def belongings(self, tx: Tx, user_id: UUID) -> list[pb.SessionOrganization]:
        """The transaction's organizations of a person, on the wire."""
        return [
            pb.SessionOrganization(
                organization_id=str(found.organization_id), name=found.name, role=role_number(found.role)
            )
            for found in await session_store.list_belongings(tx, user_id)
        ]

    def csrf_token(self, session_id: UUID) -> str:
        """What a browser's write must repeat: the same for the whole session, and nobody else can work it out."""
        return self._signer.derive(CSRF_PURPOSE, str(session_id))

    async def _find_by_hash(self, tx: Tx, secret_hash: bytes) -> Session | None:
        found = await session_store.look_up_session(tx, secret_hash)
        if found is None:
            return None
        organization_id, session_id = found
        await scope(tx, [organization_id])
        return await session_store.find_session(tx, session_id)

    async def _revoke(self, tx: Tx, organization_id: UUID, principal: str, now: datetime) -> None:
        """From now on no process takes a token of the principal."""
        await access_store.insert_revocation(tx, organization_id, principal, now)
        fact = events_pb2.PrincipalRevoked(
            organization_id=str(organization_id), principal=principal, revoke_time=wire.to_timestamp(now)
        )
        await self._outbox.add(tx, [Fact(organization_id, fact)], now)


def role_number(role: str) -> options_pb2.Role.ValueType:
    """A role as the wire has it."""
    return enum_number(options_pb2.Role, role)


def session_ended() -> Unauthenticated:
    """SESSION_ENDED."""
    return Unauthenticated("SESSION_ENDED", "The session has ended. Sign in again.")
