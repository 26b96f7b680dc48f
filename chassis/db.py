"""PostgreSQL: a pool per service role, and transactions that see only the organizations they name.

Row-level security is forced on every table that has an organization. The transaction sets ``app.organization_ids``;
a query without it, or with an emptied one, finds nothing (see ``chassis.migrations.policy``).
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

import psycopg
import structlog
from psycopg.conninfo import make_conninfo
from psycopg.pq import TransactionStatus
from sqlalchemy.engine import make_url

from chassis.database_trouble import (
    CHASSIS_VERSION,
    SEES_ALL,
    SEES_ALL_ROWS,
    UNMIGRATED_STATES,
    VERSION,
    Target,
    Trouble,
    judge_version,
    unmigrated,
    why_not_connected,
)
from chassis.errors import Aborted, InvalidArgument, ProsaError, Unavailable
from chassis.inner import NotReady
from chassis.pool import Connection, Lifetime, Pool

Answer = TypeVar("Answer")
Effect = Callable[[], None]
"""What follows from a commit outside of the database: see `Tx.after_commit`."""

logger = structlog.get_logger(__name__)

AWAY = "The database does not answer. Try again soon."
"""All that callers are told; what is wrong is for the log and /readyz."""

SCOPED = """scoped as materialized (
  select set_config('app.organization_ids', string_agg(distinct pending_organization_id::text, ','), true)
    as organization_ids
  from pending having count(*) > 0
)"""
"""After a CTE ``pending``: names the organizations of what it found. The rest of the transaction sees them, and what
is joined to ``scoped`` tells them."""

POOL_SIZE = 16
POOL_WAIT_SECONDS = 3.0
CONNECT_TIMEOUT_SECONDS = 3
CONNECTION_SECONDS_MAX = 3_600.0
"""A connection is used no longer: its server keeps what it learnt, and the name may lead to another server by now."""
CONNECTION_SPREAD = 0.2
"""The part of it that is drawn for each, so that those that were made together are not replaced together."""
IDLE_IN_TRANSACTION_TIMEOUT = "10s"
"""A frozen process loses its transaction, and the locks with it, after this long; leases rely on it."""
PREPARE_AFTER = 3
"""Where statements may be prepared, how often one runs before it is."""

SCOPE = "scope as materialized (select set_config('app.organization_ids', %(organization_ids)s, true))"
"""What a statement for `Database.insert` begins with. The rows must be joined to ``scope``, so that their organizations
are named before the first is checked. Not for reading: a plan may look at a table's rows before it comes to it."""

_RETRYABLE_STATES = frozenset({"40001", "40P01", "55P03"})
_UNSTORABLE_STATES = frozenset({"22021", "22P05"})
_OPEN = frozenset({TransactionStatus.INTRANS, TransactionStatus.INERROR})


class Result:
    """What a statement answered; its rows are tuples that know their columns' names."""

    __slots__ = ("_rows", "rowcount")

    def __init__(self, rows: Sequence[Any], rowcount: int) -> None:
        self._rows = rows
        self.rowcount = rowcount
        """How many rows were written or answered."""

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)

    def all(self) -> Sequence[Any]:
        """Every row."""
        return self._rows

    def first(self) -> Any:
        """The first row, or None."""
        return self._rows[0] if self._rows else None

    def one(self) -> Any:
        """The only row."""
        (row,) = self._rows
        return row

    def one_or_none(self) -> Any:
        """The only row, or None."""
        return self.one() if self._rows else None

    def scalar(self) -> Any:
        """The first column of the first row, or None."""
        return self._rows[0][0] if self._rows else None

    def scalar_one(self) -> Any:
        """The first column of the only row."""
        return self.one()[0]


class TransactionMisused(RuntimeError):
    """A fault in our own code, which no caller can mend; the message says what to change."""


_AT_ONCE = (
    "Two statements were to run at once on one transaction. Await each before the next, or give each a transaction."
)
_STILL_RUNNING = "The transaction was to be committed while a statement of it still ran. Await every statement in it."
_OVER = "The transaction is over: its connection serves another one. Run every statement inside of it."


class Tx:
    """An open transaction. Only a servicer, a consumer or a job opens one; all below takes it as its first argument.

    Its statements run one after the other, each awaited before the next; else it raises TransactionMisused and nothing
    of it is committed, though nobody minded.
    """

    __slots__ = ("_connection", "_effects", "_misuse", "_running")

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._effects: dict[Effect, None] = {}
        self._running = False
        self._misuse: str | None = None
        """Why no statement is taken any more."""

    async def execute(self, statement: str, parameters: Mapping[str, Any] | None = None) -> Result:
        """Runs one statement as it stands, with parameters named ``%(name)s``, or ``%(name)b`` for binary ones."""
        if self._running:
            self._misuse = _AT_ONCE
        if self._misuse is not None:
            raise TransactionMisused(self._misuse)
        self._running = True
        try:
            return Result(*await self._connection.statements.run(statement, parameters))
        finally:
            self._running = False

    def after_commit(self, effect: Effect) -> None:
        """Calls it once this transaction is committed, and never where it is taken back.

        What is named several times is called once. It must not fail and cannot wait: it tells somebody that there is
        something to look at, who would look by himself later on.
        """
        self._effects[effect] = None

    async def _commit(self) -> None:
        if self._misuse is None and self._running:
            self._misuse = _STILL_RUNNING
        if self._misuse is not None:
            raise TransactionMisused(self._misuse)
        # From here on nothing may come between.
        self._misuse = _OVER
        ended = await self._connection.statements.command(b"commit")
        if ended != "COMMIT":
            # PostgreSQL answers so where a statement had failed and nobody minded.
            raise RuntimeError(f"The transaction was not committed: {ended}.")
        _run_effects(self._effects)

    def _end(self) -> None:
        self._misuse = self._misuse or _OVER


def _run_effects(effects: Iterable[Effect]) -> None:
    for effect in effects:
        try:
            effect()
        except Exception:
            # Whoever committed must not be told that nothing was: what was to be told is found by looking.
            logger.exception("after_commit_failed", effect=repr(effect))


async def _admit_bound_role(connection: Connection) -> None:
    """A role that row-level security does not bind would show every organization the rows of all others."""
    rows, _ = await connection.statements.run(SEES_ALL, None)
    if rows[0][0]:
        raise psycopg.OperationalError(SEES_ALL_ROWS)


class Database:
    """A service's own way to PostgreSQL, as its own role."""

    def __init__(self, pool: Pool, target: Target) -> None:
        self._pool = pool
        self._target = target
        self._trouble: Trouble | None = None
        self._seen = False
        """Whether the schema was once found to be one that this release works with."""

    @classmethod
    def connect(
        cls,
        url: str,
        *,
        service: str = "",
        application_name: str = "prosa",
        pool_size: int = POOL_SIZE,
        pool_wait_seconds: float = POOL_WAIT_SECONDS,
        prepared: bool = False,
        draw: Callable[[], float] = random.random,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> Database:
        """Opens a pool lazily. ``service`` is whose schema must be there; its setting named the URL.

        ``prepared`` allows prepared statements: not behind a pooler in transaction mode. ``draw`` gives numbers from 0
        to 1.
        """
        target = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
        return cls(
            Pool(
                make_conninfo(target, application_name=application_name, keepalives_idle=10, tcp_user_timeout=10_000),
                size=pool_size,
                wait_seconds=pool_wait_seconds,
                lifetime=Lifetime(CONNECTION_SECONDS_MAX, CONNECTION_SPREAD, draw, monotonic),
                options={
                    "connect_timeout": CONNECT_TIMEOUT_SECONDS,
                    "prepare_threshold": PREPARE_AFTER if prepared else None,
                },
                admit=_admit_bound_role if service else None,
            ),
            Target.of(url, f"PROSA_{service.upper()}_DATABASE_URL" if service else "its URL", service),
        )

    @asynccontextmanager
    async def transaction(self, *organization_ids: UUID) -> AsyncIterator[Tx]:
        """A transaction that sees the rows of these organizations and of no other; with none, of nobody.

        Raises Unavailable when PostgreSQL is away and Aborted when another transaction was in the way.
        """
        try:
            connection = await self._begin(organization_ids)
        except (psycopg.Error, OSError) as error:
            self._explain(error)
            raise translate(error) or error from error
        tx = Tx(connection)
        try:
            yield tx
            await tx._commit()  # noqa: SLF001 who holds a transaction is not to end it
        except Exception as error:
            tx._end()  # noqa: SLF001
            await self._roll_back(connection)
            if (translated := translate(error) or await self._misfit(error, connection)) is not None:
                raise translated from error
            raise
        except BaseException:
            # Whoever is cancelled cannot wait for a rollback; the connection takes its transaction with it.
            tx._end()  # noqa: SLF001
            await connection.close()
            raise
        finally:
            await self._pool.give_back(connection)

    async def insert(
        self,
        statement: str,
        parameters: Mapping[str, Any],
        *organization_ids: UUID,
        after_commit: Effect | None = None,
    ) -> Result:
        """Runs one statement, begun with ``SCOPE``, as a transaction of its own: one trip in place of three.

        It may run twice, where the connection was lost that it was tried on first: the second time must add nothing
        more. It writes rows of these organizations alone, and raises as a transaction does. ``after_commit`` is called
        as `Tx.after_commit` says, where there was a row to write or to answer.
        """
        given = {**parameters, "organization_ids": _joined(organization_ids)}
        try:
            connection, result = await self._start(lambda connection: Tx(connection).execute(statement, given))
        except (psycopg.Error, OSError) as error:
            self._explain(error)
            raise translate(error) or error from error
        if after_commit is not None and result.rowcount > 0:
            _run_effects([after_commit])
        await self._pool.give_back(connection)
        return result

    async def _begin(self, organization_ids: Iterable[UUID]) -> Connection:
        """A connection in a new transaction, for these organizations."""
        opening = (
            f"begin; set local app.organization_ids = '{_joined(organization_ids)}';"
            f" set local idle_in_transaction_session_timeout = '{IDLE_IN_TRANSACTION_TIMEOUT}'"
        ).encode()
        connection, _ = await self._start(lambda connection: connection.statements.command(opening))
        return connection

    async def _start(self, run: Callable[[Connection], Awaitable[Answer]]) -> tuple[Connection, Answer]:
        """A connection and what `run` answered on it; what was lost while it lay idle is replaced, and `run` anew."""
        while True:
            connection, fresh = await self._pool.take()
            try:
                return connection, await run(connection)
            except BaseException as error:
                lost = isinstance(error, psycopg.OperationalError) and connection.closed
                if lost:
                    self._pool.renew()
                elif not isinstance(error, Exception):
                    await connection.close()
                await self._pool.give_back(connection)
                # Nothing was done yet that may not be done again.
                if lost and not fresh:
                    continue
                raise

    async def _roll_back(self, connection: Connection) -> None:
        if connection.pgconn.transaction_status == TransactionStatus.ACTIVE:
            # Somebody runs a statement on it beside its own transaction: it serves nobody again.
            await connection.interrupt()
            return
        with contextlib.suppress(psycopg.Error, OSError):
            if not connection.closed and connection.pgconn.transaction_status in _OPEN:
                await connection.statements.command(b"rollback")
        if connection.closed:
            self._pool.renew()

    async def ping(self) -> None:
        """Raises Unavailable unless PostgreSQL answers."""
        async with self.transaction() as tx:
            await tx.execute("select 1")

    async def check(self) -> None:
        """Raises NotReady, saying why and what to do, unless the database can be worked with.

        A schema that became newer under a running process is none of its matter: the next release's comes first, and
        works with this one.
        """
        try:
            async with self.transaction() as tx:
                await self._look_at_schema(tx)
        except Unavailable as error:
            raise NotReady(self._trouble.sentence if self._trouble is not None else error.message) from error
        if self._trouble is not None:
            logger.info("database_usable", service=self._target.service)
            self._trouble = None

    async def _look_at_schema(self, tx: Tx) -> None:
        if not self._target.service:
            await tx.execute("select 1")
            return
        trouble = await self._judge(tx)
        if trouble is None:
            self._seen = True
        elif not (self._seen and trouble.reason == "SCHEMA_NEWER"):
            self._note(trouble)
            raise Unavailable("STORE_UNAVAILABLE", AWAY)

    async def _judge(self, tx: Tx) -> Trouble | None:
        """What is wrong with the schema, by the places at which its lines of migrations stand."""
        service = self._target.service
        found = (await tx.execute(VERSION.format(service=service))).first()
        if found is None:
            return unmigrated(self._target)
        chassis = None
        if found.has_chassis:
            chassis = (await tx.execute(CHASSIS_VERSION.format(service=service))).scalar()
        return judge_version(found.version_num, chassis or "", self._target)

    async def _misfit(self, error: Exception, connection: Connection) -> ProsaError | None:
        """The error to raise instead where a statement failed because the schema is not this release's."""
        self._explain(error)
        state = error.sqlstate if isinstance(error, psycopg.Error) else None
        if state not in UNMIGRATED_STATES or not self._target.service or connection.closed:
            return None
        try:
            trouble = await self._judge(Tx(connection))
        except psycopg.Error:
            trouble = unmigrated(self._target)
        if trouble is None:
            # The schema is as it should be, so the fault is in our own statement.
            return None
        self._note(trouble)
        return Unavailable("STORE_UNAVAILABLE", AWAY)

    def _explain(self, error: BaseException) -> None:
        translated = translate(error)
        if isinstance(translated, Unavailable) and translated is not error:
            self._note(why_not_connected(error, self._target))

    def _note(self, trouble: Trouble) -> None:
        if trouble == self._trouble:
            return
        self._trouble = trouble
        log = logger.warning if trouble.passes else logger.error
        log("database_unusable", service=self._target.service, reason=trouble.reason, explanation=trouble.sentence)

    async def close(self) -> None:
        """Closes every connection."""
        await self._pool.close()


async def scope(tx: Tx, organization_ids: Iterable[UUID]) -> None:
    """Names the organizations that the rest of the transaction may see."""
    await tx.execute("select set_config('app.organization_ids', %(ids)s, true)", {"ids": _joined(organization_ids)})


def _joined(organization_ids: Iterable[UUID]) -> str:
    # Nothing but UUIDs may come here: the text becomes part of a statement.
    return ",".join(sorted({str(UUID(int=organization_id.int)) for organization_id in organization_ids}))


def translate(error: BaseException) -> ProsaError | None:
    """The error a caller can act on, or None where the fault is in our own statement."""
    if isinstance(error, OSError):
        return Unavailable("STORE_UNAVAILABLE", AWAY)
    if not isinstance(error, psycopg.Error):
        return None
    state = error.sqlstate
    if state in _UNSTORABLE_STATES or (state is None and isinstance(error, psycopg.DataError)):
        # The driver itself refuses a NUL, the server refuses it in binary arrays. To try again would never help.
        return InvalidArgument("TEXT_UNSTORABLE", "A text holds a NUL character, which cannot be kept. Remove it.")
    if state in _RETRYABLE_STATES:
        return Aborted("WRITE_CONFLICT", "Somebody else wrote at the same moment. Try again.")
    # Class 08 is a lost connection, 57 an operator's intervention (shutdown), 53 a lack of resources; an operational
    # error without a state is a connection that was lost or never came to be. Any other is the driver's word on us.
    lost = state is None and isinstance(error, psycopg.OperationalError)
    if lost or (state is not None and state[:2] in {"08", "57", "53", "25"}):
        return Unavailable("STORE_UNAVAILABLE", AWAY)
    return None


@contextlib.contextmanager
def refused_by(constraint: str, refusal: ProsaError) -> Iterator[None]:
    """Raises ``refusal`` where a statement inside runs against the constraint of this name, and nothing else so."""
    try:
        yield
    except psycopg.IntegrityError as error:
        if error.diag.constraint_name != constraint:
            raise
        raise refusal from error
