"""Upkeep of a service's tables: partitions are ready before their time comes, and what has expired goes.

It is told the time, and a clock may be wrong. So it drops nothing where the time it is told is far from that of the
database's server or from the newest row, nothing that still waits, never the current partition, and at most one
partition of a table in a run: whoever sets a clock right within hours has lost nothing.

Every step is a transaction of its own and waits shortly for what it locks: a table that somebody holds is left for the
next run, and holds up neither the others nor those who write.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import structlog

from chassis.clock import Clock
from chassis.db import Database
from chassis.errors import Aborted, ProsaError
from chassis.upkeep_functions import CLOCK_APART_SECONDS_MAX, CLOCK_DIFFERS, NEWEST_ROW_FAR, SILENCE_DAYS_MAX

EVERY = timedelta(hours=1)
AGAIN = timedelta(seconds=20)
"""After upkeep of which something could not be done."""
LOCK_TIMEOUT = "1s"
"""How long a step waits for a long reader, such as a backup; partitions are ready days ahead, so it tries again. Who
writes waits behind it as long."""
EXPLANATIONS = {
    CLOCK_DIFFERS: (
        f"This process's clock and that of the database's server are more than {CLOCK_APART_SECONDS_MAX // 60} minutes "
        "apart. Nothing that has expired is dropped until the clocks are set right."
    ),
    NEWEST_ROW_FAR: (
        f"The newest row is more than {SILENCE_DAYS_MAX} days old. Nothing that has expired is dropped until something "
        "new is written."
    ),
}
"""What each refusal means, and what ends it."""

logger = structlog.get_logger(__name__)


class Upkeep:
    """Keeps one service's tables."""

    def __init__(self, service: str, db: Database, clock: Clock, lock_timeout: str = LOCK_TIMEOUT) -> None:
        self._service = service
        self._lock_timeout = lock_timeout
        self._db = db
        self._clock = clock

    async def first(self) -> None:
        """What comes before anything is served: the partitions, and a word where it would drop nothing.

        Where they are not to be had it is served all the same.
        """
        try:
            await self._make_partitions()
            await self._refused()
        except ProsaError as error:
            self._postponed(error)

    async def run(self) -> None:
        """Keeps them for ever."""
        while True:
            try:
                done = await self.once()
            except ProsaError as error:
                self._postponed(error)
                done = False
            await self._clock.sleep_until(self._clock.now() + (EVERY if done else AGAIN))

    async def once(self) -> bool:
        """One run; answers whether nobody was in the way of any step of it.

        Raises Unavailable where the database is away.
        """
        done = await self._make_partitions()
        if await self._refused():
            return done
        for table in await self._tables("partitioned_tables where keep is not null"):
            done = await self._for_table("drop_expired", table) and done
        for table in await self._tables("expiring_tables"):
            done = await self._sweep(table) and done
        return done

    async def _sweep(self, table: str) -> bool:
        """Deletes what has expired of a table, so many rows in a transaction; answers as `once`."""
        try:
            while await self._step("sweep(%(now)s, %(table)s)", table=table):
                pass
        except Aborted as error:
            self._postponed(error, step="sweep", table=table)
            return False
        return True

    async def _make_partitions(self) -> bool:
        done = True
        for table in await self._tables("partitioned_tables"):
            done = await self._for_table("make_partitions", table) and done
        return done

    async def _refused(self) -> bool:
        refused = await self._step("upkeep_refused(%(now)s)")
        if refused is None:
            return False
        log = logger.error if refused == CLOCK_DIFFERS else logger.info
        explanation = EXPLANATIONS.get(refused, "")
        log("maintenance_refused", service=self._service, reason=refused, explanation=explanation)
        return True

    async def _tables(self, register: str) -> list[str]:
        async with self._db.transaction() as tx:
            found = await tx.execute(f"select table_name from {self._service}.{register} order by table_name")
            return [row.table_name for row in found]

    async def _for_table(self, step: str, table: str) -> bool:
        try:
            dropped = await self._step(f"{step}(%(now)s, %(table)s)", table=table)
        except Aborted as error:
            self._postponed(error, step=step, table=table)
            return False
        if dropped:
            logger.info("partition_dropped", service=self._service, partition=dropped)
        return True

    def _postponed(self, error: ProsaError, **what: str) -> None:
        logger.warning("maintenance_postponed", service=self._service, reason=error.reason, **what)

    async def _step(self, call: str, **parameters: Any) -> Any:
        async with self._db.transaction() as tx:
            await tx.execute(f"set local lock_timeout = '{self._lock_timeout}'")
            answer = await tx.execute(f"select {self._service}.{call}", {"now": self._clock.now(), **parameters})
            return answer.scalar_one()
