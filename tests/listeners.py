"""Listeners on loopback that remember what reached them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_OURS = b"\x00the test itself\n"


@dataclass
class Listener:
    """A TCP listener: says ``answer`` to whoever connects, and keeps what each sent first."""

    answer: bytes
    host: str
    port: int = 0
    received: list[bytes] = field(default_factory=list)
    _seen_ours: asyncio.Event = field(default_factory=asyncio.Event)

    async def nothing_came(self) -> bool:
        """True where nobody has connected so far.

        Connections are taken in the order in which they were made, so one of our own, once taken, was the last.
        """
        self._seen_ours.clear()
        _, writer = await asyncio.open_connection(self.host, self.port)
        writer.write(_OURS)
        await writer.drain()
        await self._seen_ours.wait()
        writer.close()
        return not self.received

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        with contextlib.suppress(ConnectionError):
            first = await reader.read(65_536)
            if first == _OURS:
                self._seen_ours.set()
            else:
                self.received.append(first)
                writer.write(self.answer)
                await writer.drain()
        writer.close()


@asynccontextmanager
async def listening(answer: bytes = b"", host: str = "127.0.0.1") -> AsyncIterator[Listener]:
    """A listener for the length of the block."""
    listener = Listener(answer, host)
    server = await asyncio.start_server(listener.take, host, 0)
    listener.port = server.sockets[0].getsockname()[1]
    async with server:
        yield listener


def http(body: bytes, status: str = "200 OK", *headers: str) -> bytes:
    """A whole HTTP answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body
