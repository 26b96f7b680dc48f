"""Accepts connections on the public port.

By hand, not by the loop: it would take whatever comes, say nothing where the system gives no more, and begin to count
only after a TLS handshake.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Sequence
from functools import partial
from typing import Any

from aiohttp import web

from gateway.limits import ACCEPT_PAUSE_SECONDS, ACCEPTS_A_TURN, HEAD_SECONDS
from gateway.listening.connection import Connection
from gateway.listening.connections import Connections
from gateway.listening.handler import HttpHandler


class Listener(web.BaseSite):
    """Takes connections from listening sockets, as far as there is space, and gives them to the runner's
    application."""

    def __init__(
        self,
        runner: web.BaseRunner,
        sockets: Sequence[socket.socket],
        connections: Connections,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        super().__init__(runner)
        self._sockets, self._connections = list(sockets), connections
        self._tls: dict[str, Any] = {} if tls is None else {"ssl": tls, "ssl_handshake_timeout": HEAD_SECONDS}
        self._loop = asyncio.get_running_loop()
        self._adopting: set[asyncio.Task[None]] = set()
        self._pauses: set[asyncio.TimerHandle] = set()

    @property
    def name(self) -> str:
        """Where it listens."""
        scheme = "https" if self._tls else "http"
        return ", ".join(f"{scheme}://{listening.getsockname()}" for listening in self._sockets)

    async def start(self) -> None:
        """Accepts from now on."""
        await super().start()
        for listening in self._sockets:
            listening.setblocking(False)
            self._loop.add_reader(listening, self._accept, listening)
        self._connections.start()

    async def stop(self) -> None:
        """Accepts no more; requests under way go on, for the runner to wait for."""
        for pause in self._pauses:
            pause.cancel()
        for listening in self._sockets:
            self._loop.remove_reader(listening)
            listening.close()
        self._connections.stop()
        await super().stop()

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_A_TURN):
            try:
                accepted, address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionError:
                # Left while it stood in the queue; the next one may still be there.
                continue
            except OSError as error:
                self._connections.not_accepted(error)
                self._loop.remove_reader(listening)
                self._pauses = {pause for pause in self._pauses if pause.when() > self._loop.time()}
                self._pauses.add(self._loop.call_later(ACCEPT_PAUSE_SECONDS, self._resume, listening))
                return
            connection = self._connections.admit(address[0], self._make)
            if connection is None:
                accepted.close()
                continue
            accepted.setblocking(False)
            task = self._loop.create_task(self._adopt(connection, accepted))
            connection.adopting = task
            self._adopting.add(task)
            task.add_done_callback(partial(self._adopted, accepted))

    def _adopted(self, accepted: socket.socket, task: asyncio.Task[None]) -> None:
        self._adopting.discard(task)
        if task.cancelled():
            accepted.close()

    def _resume(self, listening: socket.socket) -> None:
        self._loop.add_reader(listening, self._accept, listening)

    def _make(self, origin: Any) -> Connection:
        return Connection(self._connections, origin, self._make_handler)

    def _make_handler(self, connection: Connection) -> HttpHandler:
        server = self._runner.server
        assert server is not None
        return HttpHandler(server, connection)

    async def _adopt(self, connection: Connection, accepted: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, accepted, **self._tls)
        except OSError as error:
            self._connections.failed(connection, error)
            accepted.close()
        finally:
            connection.adopting = None
