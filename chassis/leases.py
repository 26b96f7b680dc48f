"""Leases: what may run only once holds a row with a fencing number, renewed every 5 s, free after 15 s.

Every effect checks the number in its own transaction, so a holder that was frozen and wakes up writes nothing.
Leases use PostgreSQL's clock; a takeover waits for an effect in progress, which ends with its transaction at the latest
when ``idle_in_transaction_session_timeout`` does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import structlog

from chassis.db import Database, Tx
from chassis.errors import Aborted, ProsaError

LEASE_SECONDS = 15
RENEW_SECONDS = 5.0
STEP_DOWN_SECONDS = 12.0
"""A holder that has not renewed for so long stops by itself, before anybody else may start."""

logger = structlog.get_logger(__name__)


class LeaseLost(Aborted):
    """Somebody else holds the lease now; nothing may be written under it."""

    def __init__(self, names: Collection[str]) -> None:
        super().__init__("LEASE_LOST", f"The lease on {', '.join(sorted(names))} was lost.")


class Leases:
    """Takes, renews and checks the leases of one schema for one holder."""

    def __init__(self, db: Database, schema: str, holder: UUID, renew_seconds: float = RENEW_SECONDS) -> None:
        self._db = db
        self.schema, self._renew_seconds = schema, renew_seconds
        self._table = f"{schema}.leases"
        self.holder = holder

    async def take(self, names: Sequence[str], limit: int | None = None, *, own: bool = False) -> dict[str, int]:
        """Takes those of the leases that are free, at most ``limit``; answers the fencing number of each.

        With ``own``, one that this holder could not give back, because PostgreSQL was away, is free to it at once.
        """
        async with self._db.transaction() as tx:
            await tx.execute(
                f"insert into {self._table} (name, holder, fence, expire_time)"
                " select name, %(holder)s, 0, '-infinity' from unnest(%(names)b::text[]) as wanted (name)"
                " on conflict do nothing",
                {"names": sorted(names), "holder": self.holder},
            )
            taken = await tx.execute(
                f"""
                with free as (
                  select name from {self._table}
                  where name = any (%(names)b)
                    and (expire_time < clock_timestamp() or (%(own)s and holder = %(holder)s))
                  order by name limit %(limit)s for update skip locked
                )
                update {self._table} lease
                set holder = %(holder)s, fence = lease.fence + 1,
                    expire_time = clock_timestamp() + make_interval(secs => {LEASE_SECONDS})
                from free where lease.name = free.name
                returning lease.name, lease.fence
                """,
                {"names": list(names), "holder": self.holder, "limit": limit, "own": own},
            )
            return {row.name: row.fence for row in taken}

    async def renew(self, fences: Mapping[str, int]) -> set[str]:
        """Renews; answers the names that are still held. The others are lost for good."""
        async with self._db.transaction() as tx:
            kept = await tx.execute(
                f"""
                update {self._table} lease
                set expire_time = clock_timestamp() + make_interval(secs => {LEASE_SECONDS})
                from unnest(%(names)b::text[], %(fences)b::bigint[]) as held (name, fence)
                where lease.name = held.name and lease.fence = held.fence and lease.holder = %(holder)s
                returning lease.name
                """,
                {"names": list(fences), "fences": list(fences.values()), "holder": self.holder},
            )
            return {name for (name,) in kept}

    async def release(self, fences: Mapping[str, int]) -> None:
        """Gives leases back, so that another may start at once."""
        async with self._db.transaction() as tx:
            await tx.execute(
                f"""
                update {self._table} lease set expire_time = '-infinity'
                from unnest(%(names)b::text[], %(fences)b::bigint[]) as held (name, fence)
                where lease.name = held.name and lease.fence = held.fence and lease.holder = %(holder)s
                """,
                {"names": list(fences), "fences": list(fences.values()), "holder": self.holder},
            )

    async def check(self, tx: Tx, fences: Mapping[str, int]) -> None:
        """Raises LeaseLost unless all are still ours; nobody can take them before this transaction ends."""
        self.require(fences, await tx.execute(self.held_sql, self.held_parameters(fences)))

    @property
    def held_sql(self) -> str:
        """Finds those leases that are still ours, and keeps them so: for statements that check them beside their own
        work, with ``held_parameters``; ``require`` judges the answer."""
        return f"""
            select lease.name from {self._table} lease
            join unnest(%(lease_names)b::text[], %(lease_fences)b::bigint[]) as held (name, fence)
              on lease.name = held.name and lease.fence = held.fence
            where lease.holder = %(lease_holder)s
            for key share of lease
            """

    def held_parameters(self, fences: Mapping[str, int]) -> dict[str, Any]:
        """What ``held_sql`` is asked with."""
        return {"lease_names": list(fences), "lease_fences": list(fences.values()), "lease_holder": self.holder}

    def require(self, fences: Mapping[str, int], held: Iterable[Any]) -> None:
        """Raises LeaseLost unless ``held_sql`` found all."""
        missing = set(fences) - {name for (name,) in held}
        if missing:
            raise LeaseLost(missing)

    async def holders(self, prefix: str) -> int:
        """How many distinct holders have an unexpired lease whose name starts with the prefix."""
        async with self._db.transaction() as tx:
            result = await tx.execute(
                f"select count(distinct holder) from {self._table}"
                " where starts_with(name, %(prefix)s) and expire_time >= clock_timestamp()",
                {"prefix": prefix},
            )
            return int(result.scalar_one())

    @asynccontextmanager
    async def held(self, name: str, *, poll_seconds: float = 1.0) -> AsyncIterator[Mapping[str, int]]:
        """Waits until the lease is free, holds and renews it while the block runs, and gives it back.

        The block is cancelled, and LeaseLost raised, when the lease was lost or could not be renewed in time.
        """
        fences = await self._await_lease(name, poll_seconds)
        task = asyncio.current_task()
        assert task is not None
        lost = ended = False

        async def renewing() -> None:
            nonlocal lost
            renewed = time.monotonic()
            # Under Python 3.11 wait_for, which the driver rests on, swallows a cancellation that comes in the moment of
            # its answer (gh-86296); so the end is also told here.
            while not ended:
                await asyncio.sleep(self._renew_seconds)
                try:
                    async with asyncio.timeout(self._renew_seconds):
                        kept = await self.renew(fences)
                except (ProsaError, TimeoutError) as error:
                    if time.monotonic() - renewed < STEP_DOWN_SECONDS:
                        continue
                    logger.warning("lease_not_renewed", lease=name, error=str(error))
                    kept = set()
                if not kept and not ended:
                    lost = True
                    task.cancel()
                    return
                renewed = time.monotonic()

        renewer = asyncio.create_task(renewing(), name=f"lease {name}")
        try:
            yield fences
        except asyncio.CancelledError:
            if lost and task.uncancel() == 0:
                raise LeaseLost([name]) from None
            raise
        finally:
            ended = True
            renewer.cancel()
            await asyncio.gather(renewer, return_exceptions=True)
            if not lost:
                with contextlib.suppress(ProsaError, TimeoutError):
                    async with asyncio.timeout(self._renew_seconds):
                        await self.release(fences)

    async def _await_lease(self, name: str, poll_seconds: float) -> Mapping[str, int]:
        while True:
            try:
                if fences := await self.take([name], own=True):
                    return fences
            except ProsaError as error:
                logger.info("lease_store_away", lease=name, error=str(error))
            await asyncio.sleep(poll_seconds)
