"""SQL of sessions."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from chassis.db import Tx
from services.identity.access.session_domain import Belonging, Session

_SESSION = (
    "session.session_id, session.organization_id, session.user_id, session.secret_hash,"
    " session.previous_secret_hash, session.previous_end_time, session.mfa_time,"
    " session.previous_mfa_time, session.create_time,"
    " session.last_use_time, session.end_time, session.ended_time, person.email, member.role,"
    " factor.user_id is not null"
)


async def look_up_session(tx: Tx, secret_hash: bytes) -> tuple[UUID, UUID] | None:
    """Organization and id of the session with a secret, the current one or the one before."""
    found = await tx.execute("select * from identity.session_by_secret(%(hash)s)", {"hash": secret_hash})
    row = found.first()
    return None if row is None else (row.found_organization_id, row.found_session_id)


async def find_session(tx: Tx, session_id: UUID, *, lock: bool = False) -> Session | None:
    """A session of the transaction's organizations; None too where its person is no longer a member there."""
    found = await tx.execute(
        f"select {_SESSION} from identity.sessions session"
        " join identity.members member using (organization_id, user_id)"
        " join identity.users person using (user_id)"
        " left join identity.mfa_factors factor on factor.user_id = session.user_id and factor.setup_time is not null"
        f" where session.session_id = %(id)s{' for update of session' if lock else ''}",
        {"id": session_id},
    )
    row = found.first()
    return None if row is None else Session(*tuple(row))


async def last_organization(tx: Tx, user_id: UUID) -> UUID | None:
    """Where a person was last at work, of the transaction's organizations."""
    found = await tx.execute(
        "select organization_id from identity.sessions where user_id = %(user_id)s order by last_use_time desc limit 1",
        {"user_id": user_id},
    )
    organization_id: UUID | None = found.scalar()
    return organization_id


async def insert_session(
    tx: Tx,
    *,
    session_id: UUID,
    organization_id: UUID,
    user_id: UUID,
    secret_hash: bytes,
    mfa_time: datetime | None,
    now: datetime,
    end_time: datetime,
) -> None:
    """Inserts a session."""
    await tx.execute(
        "insert into identity.sessions (session_id, organization_id, user_id, secret_hash, mfa_time, create_time,"
        " last_use_time, end_time) values (%(id)s, %(organization_id)s, %(user_id)s, %(secret_hash)s, %(mfa_time)s,"
        " %(now)s, %(now)s, %(end_time)s)",
        {
            "id": session_id,
            "organization_id": organization_id,
            "user_id": user_id,
            "secret_hash": secret_hash,
            "mfa_time": mfa_time,
            "now": now,
            "end_time": end_time,
        },
    )


async def note_use(tx: Tx, session_id: UUID, now: datetime) -> None:
    """Notes when a session was last used; never earlier than is known."""
    await tx.execute(
        "update identity.sessions set last_use_time = greatest(last_use_time, %(now)s) where session_id = %(id)s",
        {"id": session_id, "now": now},
    )


async def renew_session(
    tx: Tx,
    session_id: UUID,
    *,
    secret_hash: bytes,
    previous_end_time: datetime,
    organization_id: UUID,
    mfa_time: datetime | None,
) -> None:
    """Gives a session another secret, an organization and a time of the second factor; the secret before is taken for
    a moment longer."""
    await tx.execute(
        "update identity.sessions set secret_hash = %(secret_hash)s, previous_secret_hash = secret_hash,"
        " previous_end_time = %(previous_end_time)s, previous_mfa_time = mfa_time,"
        " organization_id = %(organization_id)s, mfa_time = %(mfa_time)s"
        " where session_id = %(id)s",
        {
            "id": session_id,
            "secret_hash": secret_hash,
            "previous_end_time": previous_end_time,
            "organization_id": organization_id,
            "mfa_time": mfa_time,
        },
    )


async def end_session(tx: Tx, session_id: UUID, now: datetime) -> bool:
    """Ends a session; False where it had been ended."""
    ended = await tx.execute(
        "update identity.sessions set ended_time = %(now)s where session_id = %(id)s and ended_time is null",
        {"id": session_id, "now": now},
    )
    return ended.rowcount == 1


async def end_sessions_in(tx: Tx, organization_id: UUID, user_id: UUID, now: datetime) -> list[UUID]:
    """Ends a person's sessions that act for an organization; answers their ids."""
    ended = await tx.execute(
        "update identity.sessions set ended_time = %(now)s where organization_id = %(organization_id)s"
        " and user_id = %(user_id)s and ended_time is null returning session_id",
        {"organization_id": organization_id, "user_id": user_id, "now": now},
    )
    return [row.session_id for row in ended]


async def end_oldest(tx: Tx, user_id: UUID, kept: int, now: datetime) -> list[tuple[UUID, UUID]]:
    """Ends all but so many of a person's sessions, those used longest ago; answers their organizations and ids."""
    ended = await tx.execute(
        "update identity.sessions set ended_time = %(now)s where session_id in ("
        "  select session_id from identity.sessions where user_id = %(user_id)s and ended_time is null"
        "  order by last_use_time desc, session_id desc offset %(kept)s)"
        " returning organization_id, session_id",
        {"user_id": user_id, "kept": kept, "now": now},
    )
    return [(row.organization_id, row.session_id) for row in ended]


async def list_belongings(tx: Tx, user_id: UUID) -> list[Belonging]:
    """The transaction's organizations that a person is a member of, by name."""
    found = await tx.execute(
        "select organization.organization_id, organization.name, member.role from identity.members member"
        " join identity.organizations organization using (organization_id)"
        " where member.user_id = %(user_id)s order by organization.name, organization.organization_id",
        {"user_id": user_id},
    )
    return [Belonging(*tuple(row)) for row in found]
