"""PostgreSQL: a pool per service role, and transactions that see only the organizations they name.

Row-level security is forced on every table that has an organization. The transaction sets ``app.organization_ids``;
a query without it, or with an emptied one, finds nothing (see ``chassis.migrations.policy``).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from uuid import UUID

import psycopg
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from chassis.errors import Aborted, InvalidArgument, ProsaError, Unavailable

Tx = AsyncConnection
"""An open transaction. Only a servicer, a consumer or a job opens one; all below takes it as its first argument."""

POOL_SIZE = 8
POOL_OVERFLOW = 8
POOL_WAIT_SECONDS = 3.0
CONNECT_TIMEOUT_SECONDS = 3
IDLE_IN_TRANSACTION_TIMEOUT = "10s"
"""A frozen process loses its transaction, and the locks with it, after this long; leases rely on it."""

_RETRYABLE_STATES = frozenset({"40001", "40P01", "55P03"})
_UNSTORABLE_STATES = frozenset({"22021", "22P05"})


class Database:
    """A service's own door to PostgreSQL, as its own role."""

    def __init__(self, engine: AsyncEngine) -> None:
        self.engine = engine

    @classmethod
    def connect(
        cls, url: str, *, application_name: str = "prosa", pool_size: int = POOL_SIZE, prepared: bool = False
    ) -> Database:
        """Opens a pool lazily. ``prepared`` allows prepared statements: not behind a pooler in transaction mode."""
        target = make_url(url).set(drivername="postgresql+psycopg")
        engine = create_async_engine(
            target,
            pool_size=pool_size,
            max_overflow=POOL_OVERFLOW,
            pool_timeout=POOL_WAIT_SECONDS,
            pool_reset_on_return="rollback",
            connect_args={
                "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                "application_name": application_name,
                "prepare_threshold": 3 if prepared else None,
                "tcp_user_timeout": 10_000,
                "keepalives_idle": 10,
            },
        )
        return cls(engine)

    @asynccontextmanager
    async def transaction(self, *organization_ids: UUID) -> AsyncIterator[Tx]:
        """A transaction that sees the rows of these organizations and of no other; with none, of nobody.

        Raises Unavailable when PostgreSQL is away and Aborted when another transaction was in the way.
        """
        try:
            async with self.engine.begin() as tx:
                await scope(tx, organization_ids)
                yield tx
        except ProsaError:
            raise
        except (DBAPIError, PoolTimeoutError, OSError) as error:
            if (translated := translate(error)) is not None:
                raise translated from error
            raise

    async def ping(self) -> None:
        """Raises Unavailable unless PostgreSQL answers."""
        async with self.transaction() as tx:
            await tx.exec_driver_sql("select 1")

    async def close(self) -> None:
        """Closes every connection."""
        await self.engine.dispose()


async def scope(tx: Tx, organization_ids: Iterable[UUID]) -> None:
    """Names the organizations that the rest of the transaction may see."""
    wanted = ",".join(sorted({str(organization_id) for organization_id in organization_ids}))
    await tx.exec_driver_sql(
        "select set_config('app.organization_ids', %(ids)s, true),"
        " set_config('idle_in_transaction_session_timeout', %(idle)s, true)",
        {"ids": wanted, "idle": IDLE_IN_TRANSACTION_TIMEOUT},
    )


def translate(error: BaseException) -> ProsaError | None:
    """The error a caller can act on, or None where the fault is in our own statement."""
    if isinstance(error, (PoolTimeoutError, OSError)):
        return Unavailable("STORE_UNAVAILABLE", "The database does not answer. Try again soon.")
    if not isinstance(error, DBAPIError):
        return None
    state = getattr(error.orig, "sqlstate", None)
    if state in _UNSTORABLE_STATES or (state is None and isinstance(error.orig, psycopg.DataError)):
        # The driver itself refuses a NUL, the server refuses it in binary arrays. To try again would never help.
        return InvalidArgument("TEXT_UNSTORABLE", "A text holds a NUL character, which cannot be kept. Remove it.")
    if state in _RETRYABLE_STATES:
        return Aborted("WRITE_CONFLICT", "Somebody else wrote at the same moment. Try again.")
    # Class 08 is a lost connection, 57 an operator's intervention (shutdown), 53 a lack of resources;
    # no state at all is a connection that never came to be.
    if error.connection_invalidated or state is None or state[:2] in {"08", "57", "53", "25"}:
        return Unavailable("STORE_UNAVAILABLE", "The database does not answer. Try again soon.")
    return None


def constraint_of(error: DBAPIError) -> str | None:
    """The name of the constraint a statement ran against, if that is what failed."""
    diagnostics = getattr(error.orig, "diag", None)
    return getattr(diagnostics, "constraint_name", None)
