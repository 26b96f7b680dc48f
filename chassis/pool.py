"""A few connections to PostgreSQL, handed out one at a time; psycopg's own, for a statement should cost what it does.

Connections are made when they are needed and kept as long as they are sound and not too old. A server that went away
takes all of them with it: the first that is found broken lets go of every connection made before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import traceback
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any, NamedTuple

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
        """Waits for the server for as long as the caller does. A cancellation asks it to hold no lock for nobody.

        Raises NotSupportedError where a timeout is given: the caller's own, by ``asyncio.timeout``, is what counts.
        """
        if timeout is not None:
            raise psycopg.NotSupportedError("This connection waits without a timeout; use asyncio.timeout around it.")
        try:
            return await self._run(gen)
        except asyncio.CancelledError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                await self.interrupt()
            raise

    async def interrupt(self) -> None:
        """Closes it in the middle of a statement, and asks the server to give that up and hold no lock for nobody."""
        try:
            await self.cancel_safe(timeout=CANCEL_SECONDS)
        except (psycopg.Error, OSError) as error:
            logger.info("statement_left_behind", error=str(error))
        finally:
            self._fail_waiting()
            self.pgconn.finish()

    async def close(self) -> None:
        """Closes it. Raises OperationalError at whoever waits for a statement on it."""
        self._fail_waiting()
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

    def _fail_waiting(self) -> None:
        """Nothing will come any more: who still waits would wait for ever."""
        if self._awaited is not None and not self._awaited.done():
            self._awaited.set_exception(psycopg.OperationalError("the connection was closed during a statement"))
        self._forget_socket()

    def _forget_socket(self) -> None:
        if self._watched is not None:
            asyncio.get_running_loop().remove_reader(self._watched)
            os.close(self._watched)
            self._watched = None


class Lifetime(NamedTuple):
    """How long a connection is used. Those that were made together end apart: each at a time that is drawn."""

    seconds_max: float
    spread: float
    """The part of it that is drawn: of 0.2, a fifth."""
    draw: Callable[[], float]
    """A number from 0 to 1."""
    monotonic: Callable[[], float]

    def end(self) -> float:
        """When a connection that is made now has been used for long enough."""
        return self.monotonic() + self.seconds_max * (1.0 - self.spread * self.draw())


class _Made(NamedTuple):
    generation: int
    end: float


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
        lifetime: Lifetime,
        options: Mapping[str, Any],
        admit: Callable[[Connection], Awaitable[None]] | None = None,
    ) -> None:
        self._url = url
        self._options = dict(options)
        self._wait_seconds = wait_seconds
        self._lifetime = lifetime
        self._admit = admit
        self._slots = asyncio.Semaphore(size)
        self._idle: list[Connection] = []
        self._made: dict[Connection, _Made] = {}
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
            made = _Made(self._generation, self._lifetime.end())
            connection = await self._connect()
        except BaseException:
            self._slots.release()
            raise
        self._made[connection] = made
        return connection, True

    async def _connect(self) -> Connection:
        try:
            connection = await Connection.connect(self._url, autocommit=True, **self._options)
        except BaseException as error:
            # psycopg closes nothing of what was half made: the server would keep it for as long as the error is kept.
            traceback.clear_frames(error.__traceback__)
            raise
        if self._admit is not None:
            try:
                await self._admit(connection)
            except BaseException:
                await connection.close()
                raise
        return connection

    async def give_back(self, connection: Connection) -> None:
        """Takes a connection back; one that is broken, too old or in the middle of something is closed."""
        try:
            for idle in [idle for idle in self._idle if not self._sound(idle)]:
                # What lies below the others may not be taken for hours.
                self._idle.remove(idle)
                await self._discard(idle)
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
        made = self._made.get(connection)
        return (
            made is not None
            and made.generation == self._generation
            and made.end > self._lifetime.monotonic()
            and not connection.closed
        )

    async def _discard(self, connection: Connection) -> None:
        self._made.pop(connection, None)
        with contextlib.suppress(psycopg.Error, OSError):
            await connection.close()
