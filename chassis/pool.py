"""A few connections to PostgreSQL, handed out one at a time; psycopg's own, for a statement should cost what it does.

Connections are made when they are needed and kept as long as they are sound. A server that went away takes all of them
with it: the first that is found broken lets go of every connection made before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

import psycopg
import structlog
from psycopg.abc import RV, PQGen
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.waiting import Ready, Wait

from chassis.errors import Unavailable
from chassis.statements import Statements

CANCEL_SECONDS = 0.5
"""How long a server is asked to give up a statement nobody waits for any more."""

logger = structlog.get_logger(__name__)


class Connection(psycopg.AsyncConnection[Any]):
    """psycopg's, but for how it waits.

    Its socket is watched for as long as it lasts: to begin and end that with every statement would cost as much as the
    statement. And who is cancelled at a statement goes at once, and the connection with it; psycopg itself stays with a
    server that does not answer for another 15 seconds, whatever deadline there was.
    """

    _watched: int | None = None
    """What the loop watches: a descriptor of our own of the socket, which libpq may close at any time."""
    _fault: select.poll
    """Asks of what is watched whether it is broken, and nothing else."""
    _awaited: asyncio.Future[Ready] | None = None

    @cached_property
    def statements(self) -> Statements:
        """What every statement runs on."""
        return Statements(self)

    async def wait(self, gen: PQGen[RV], interval: float = 0.0, timeout: float | None = None) -> RV:
        """Waits for the server for as long as the caller does. A cancellation asks it to hold no lock for nobody."""
        try:
            return await self._run(gen)
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                try:
                    await self.cancel_safe(timeout=CANCEL_SECONDS)
                except (psycopg.Error, OSError) as error:
                    logger.info("statement_left_behind", error=str(error))
                finally:
                    self._forget_socket()
                    self.pgconn.finish()
            raise

    async def close(self) -> None:
        """Closes it."""
        self._forget_socket()
        await super().close()

    async def _run(self, gen: PQGen[RV]) -> RV:
        try:
            wanted = gen.send(await self._ready(next(gen)))
            while True:
                # An answer in several parts, or an error: of an error the loop tells once, and then watches no more.
                self._forget_socket()
                wanted = gen.send(await self._ready(wanted))
        except StopIteration as ended:
            answer: RV = ended.value
            return answer
        finally:
            if self.pgconn.status == ConnStatus.BAD:
                self._forget_socket()

    async def _ready(self, wanted: Wait) -> Ready:
        """Waits until the socket can be read or, where that is wanted, written."""
        loop = asyncio.get_running_loop()
        if self._watched is not None and self._fault.poll(0):
            # It broke together with the last answer, of which the loop told; it tells of an error once, and not again.
            self._forget_socket()
        if self._watched is None:
            self._watched = os.dup(self.pgconn.socket)
            self._fault = select.poll()
            self._fault.register(self._watched, 0)
            loop.add_reader(self._watched, self._on_readable)
        self._awaited = loop.create_future()
        if wanted & Wait.W:
            loop.add_writer(self._watched, self._tell, Ready.W)
        try:
            return await self._awaited
        finally:
            self._awaited = None
            if wanted & Wait.W and self._watched is not None:
                loop.remove_writer(self._watched)

    def _on_readable(self) -> None:
        if self._awaited is None:
            # Nobody asked: the server hangs up, or says something in passing. It would be told again and again.
            self._forget_socket()
        else:
            self._tell(Ready.R)

    def _tell(self, ready: Ready) -> None:
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_result(ready)

    def _forget_socket(self) -> None:
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = None


class Pool:
    """At most ``size`` connections; who finds none free waits for at most ``wait_seconds``.

    ``admit`` looks at each new connection first, and raises psycopg.OperationalError for one that must not be used.
    """

    def __init__(
        self,
        url: str,
        *,
        size: int,
        wait_seconds: float,
        options: Mapping[str, Any],
        admit: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        self._url = url
        self._options = dict(options)
        self._wait_seconds = wait_seconds
        self._admit = admit
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._generations: dict[Connection, int] = {}
        self._generation = 0

    async def take(self) -> tuple[Connection, bool]:
        """A connection that looks sound, the one used last where several are free, and whether it is a new one.

        Raises Unavailable when none becomes free in time, psycopg.OperationalError when none can be made.
        """
        if self._slots.locked():
            try:
                async with asyncio.timeout(self._wait_seconds):
                    await self._slots.acquire()
            except TimeoutError:
                raise Unavailable("STORE_BUSY", "Too many wait for the database. Try again soon.") from None
        else:
            await self._slots.acquire()
        try:
            while self._idle:
                connection = self._idle.pop()
                if self._sound(connection):
                    return connection, False
                await self._discard(connection)
            generation = self._generation
            connection = await self._connect()
        except BaseException:
            self._slots.release()
            raise
        self._generations[connection] = generation
        return connection, True

    async def _connect(self) -> Connection:
        connection = await Connection.connect(self._url, autocommit=True, **self._options)
        if self._admit is not None:
            try:
                await self._admit(connection)
            except BaseException:
                await connection.close()
                raise
        return connection

    async def give_back(self, connection: Connection) -> None:
        """Takes a connection back; one that is broken or in the middle of something is closed."""
        try:
            if self._sound(connection) and connection.pgconn.transaction_status == TransactionStatus.IDLE:
                self._idle.append(connection)
            else:
                await self._discard(connection)
        finally:
            self._slots.release()

    def renew(self) -> None:
        """No connection made so far is used again: the server went away."""
        self._generation += 1

    async def close(self) -> None:
        """Closes what is idle; what is in use is closed when it comes back."""
        self.renew()
        while self._idle:
            await self._discard(self._idle.pop())

    def _sound(self, connection: Connection) -> bool:
        return not connection.closed and self._generations.get(connection) == self._generation

    async def _discard(self, connection: Connection) -> None:
        self._generations.pop(connection, None)
        with contextlib.suppress(psycopg.Error, OSError):
            await connection.close()
