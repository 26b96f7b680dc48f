"""SQL of second factors and recovery codes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from chassis.db import Tx


@dataclass(frozen=True, slots=True)
class Factor:
    """A person's authenticator, set up or about to be."""

    sealed_secret: bytes
    begin_time: datetime
    setup_time: datetime | None


async def find_factor(tx: Tx, user_id: UUID, *, lock: bool = False) -> Factor | None:
    """A person's authenticator, where the person is a member of one of the transaction's organizations."""
    found = await tx.execute(
        "select sealed_secret, begin_time, setup_time from identity.mfa_factors where user_id = %(user_id)s"
        f"{' for update' if lock else ''}",
        {"user_id": user_id},
    )
    row = found.first()
    return None if row is None else Factor(bytes(row.sealed_secret), row.begin_time, row.setup_time)


async def email_of(tx: Tx, user_id: UUID) -> str | None:
    """A person's e-mail, where the person is a member of one of the transaction's organizations."""
    found = await tx.execute("select email from identity.users where user_id = %(user_id)s", {"user_id": user_id})
    email: str | None = found.scalar()
    return email


async def begin_setup(tx: Tx, user_id: UUID, sealed_secret: bytes, now: datetime) -> bool:
    """Keeps the secret of an authenticator to be set up, in place of one that was not; False where one is set up."""
    begun = await tx.execute(
        "insert into identity.mfa_factors as known (user_id, sealed_secret, begin_time, last_step)"
        " values (%(user_id)s, %(sealed)s, %(now)s, 0) on conflict (user_id) do update set"
        " sealed_secret = excluded.sealed_secret, begin_time = excluded.begin_time, last_step = 0"
        " where known.setup_time is null",
        {"user_id": user_id, "sealed": sealed_secret, "now": now},
    )
    return begun.rowcount == 1


async def finish_setup(tx: Tx, user_id: UUID, step: int, code_hashes: Sequence[bytes], now: datetime) -> None:
    """From now on the authenticator counts, from the code after this one on, and so do its recovery codes."""
    await tx.execute(
        "update identity.mfa_factors set setup_time = %(now)s, last_step = %(step)s where user_id = %(user_id)s",
        {"user_id": user_id, "step": step, "now": now},
    )
    await tx.execute(
        "insert into identity.recovery_codes (user_id, code_hash, create_time)"
        " select %(user_id)s, code_hash, %(now)s from unnest(%(code_hashes)b::bytea[]) as drawn (code_hash)",
        {"user_id": user_id, "code_hashes": list(code_hashes), "now": now},
    )


async def use_step(tx: Tx, user_id: UUID, step: int) -> bool:
    """Takes a code of the authenticator; False where it, or one after it, was taken before."""
    used = await tx.execute(
        "update identity.mfa_factors set last_step = %(step)s"
        " where user_id = %(user_id)s and setup_time is not null and last_step < %(step)s",
        {"user_id": user_id, "step": step},
    )
    return used.rowcount == 1


async def use_recovery_code(tx: Tx, user_id: UUID, code_hash: bytes, now: datetime) -> bool:
    """Takes a recovery code; False where there is none such, or it was taken before."""
    used = await tx.execute(
        "update identity.recovery_codes set use_time = %(now)s"
        " where user_id = %(user_id)s and code_hash = %(code_hash)s and use_time is null",
        {"user_id": user_id, "code_hash": code_hash, "now": now},
    )
    return used.rowcount == 1
