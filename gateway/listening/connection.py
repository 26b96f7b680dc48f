"""One connection: its headers are gathered here, and handed to aiohttp once they are whole."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from chassis.context import accepted_correlation_id
from gateway import problems

if TYPE_CHECKING:
    from gateway.listening.connections import Connections, Origin
    from gateway.listening.handler import HttpHandler

_HEAD_END, _BARE_END = b"\r\n\r\n", b"\n\n"
_EMPTY = (b"", b"\r", b"\n")


class Stage(StrEnum):
    """What a connection does, which says how long it may and whether it gives way."""

    WAITING = "waiting"
    """Nothing proven, and no whole request at hand: a stranger, or somebody whose request is on its way."""
    BUSY = "busy"
    """A request is being read or answered."""
    RESTING = "resting"
    """Between two requests of a caller who has shown to be genuine."""
    STREAMING = "streaming"
    """Live updates, which go on for hours and see to themselves."""


class Connection(asyncio.Protocol):
    """Stands between the socket and aiohttp's handler, which is made for the first whole request."""

    __slots__ = (
        "_handing_on",
        "_handler",
        "_head",
        "_make_handler",
        "adopting",
        "connections",
        "origin",
        "proven",
        "stage",
        "transport",
    )

    def __init__(
        self, connections: Connections, origin: Origin, make_handler: Callable[[Connection], HttpHandler]
    ) -> None:
        self.connections, self.origin = connections, origin
        self._make_handler = make_handler
        self.stage = Stage.WAITING
        self.transport: asyncio.Transport | None = None
        # What takes the socket over, and makes the TLS handshake.
        self.adopting: asyncio.Task[None] | None = None
        self._handler: HttpHandler | None = None
        self._head = bytearray()
        # Whether the answer to the request at hand shows the caller to be genuine; false again for the next one.
        self.proven = False
        # Whether bytes belong to the request that aiohttp is at.
        self._handing_on = False

    # What the loop calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # of a stream socket

    def data_received(self, data: bytes) -> None:
        if self._handing_on:
            self._handler.data_received(data)  # type: ignore[union-attr]  # made with the first whole request
            return
        head = self._head
        if not head and _is_whole(data):
            self._hand_on(data)
            return
        searched = max(0, len(head) - len(_HEAD_END) + 1)
        head += data
        if _is_whole(head, searched):
            self.connections.gathered(self, -(len(head) - len(data)))
            self._head = bytearray()
            self._hand_on(bytes(head))
        else:
            self.connections.gathered(self, len(data))

    def pause_writing(self) -> None:
        if self._handler is not None:
            self._handler.pause_writing()

    def resume_writing(self) -> None:
        if self._handler is not None:
            self._handler.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self.connections.lost(self)
        if self._handler is not None:
            self._handler.connection_lost(exc)

    # What the handler calls

    def begun(self) -> None:
        """A request is at hand. One that came together with the one before it was not seen to come."""
        if not self._handing_on:
            head, self._head = bytes(self._head), bytearray()
            self.connections.gathered(self, -len(head))
            self._hand_on(head)

    def answered(self) -> None:
        """A request has been answered, by an answer that shows the caller to be genuine or not."""
        proven, self.proven = self.proven, False
        if self.transport is not None and self.transport.get_write_buffer_size():
            # A slow reader; as long as there is something to read, the time of the request goes on.
            return
        self.connections.move(self, Stage.RESTING if proven else Stage.WAITING)

    def body_is_whole(self) -> None:
        """Nothing more of the request at hand will come: the next bytes begin another."""
        self._handing_on = False

    def streaming(self) -> None:
        """The answer is one that goes on for long."""
        self.connections.move(self, Stage.STREAMING)

    # What the connections call

    @property
    def unfinished_bytes(self) -> int:
        """What is kept of headers that are not whole."""
        return len(self._head)

    def refuse(self, problem: problems.Problem) -> None:
        """Says why, as far as that can be said, and closes."""
        if self.transport is not None and self._head and self._handler is None:
            self.transport.write(_written(problem))
            self.transport.close()
        else:
            self.abort()

    def abort(self) -> None:
        """Ends the connection at once."""
        if self.transport is not None:
            self.transport.abort()
        elif self.adopting is not None:
            self.adopting.cancel()

    def _hand_on(self, data: bytes) -> None:
        self._handing_on = True
        self.connections.move(self, Stage.BUSY)
        if self._handler is None:
            assert self.transport is not None
            self._handler = self._make_handler(self)
            self._handler.connection_made(self.transport)
        self._handler.data_received(data)


def _is_whole(head: bytes | bytearray, searched: int = 0) -> bool:
    """Whether headers are complete, or can never be any: then aiohttp refuses them."""
    if head.find(_HEAD_END, searched) >= 0 or head.find(_BARE_END, searched) >= 0:
        return True
    # A method begins with a letter, and some clients send an empty line before it.
    first = head[:1]
    return not (first.isalpha() or first in _EMPTY)


def _written(problem: problems.Problem) -> bytes:
    """An answer written by hand: there is no request that aiohttp could answer."""
    body = orjson.dumps(problems.body(problem, accepted_correlation_id(None)))
    lines: list[Any] = [
        f"HTTP/1.1 {problem.status} {problem.title}",
        "Server: prosa",
        f"Content-Type: {problems.PROBLEM_TYPE}",
        f"Content-Length: {len(body)}",
        "Cache-Control: no-store",
        "Connection: close",
        "\r\n",
    ]
    return "\r\n".join(lines).encode() + body
