"""What strangers do to a public port, one connection each: they wait, drip, send half or far too much."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

HOLD_SECONDS = 12.0
"""How long a stranger stays where nobody sends him away."""
DRIP_SECONDS = 0.5
HUGE_BYTES = 9 * 1024 * 1024
CHUNK = b"x" * 65_536
UNKNOWN = "/webhooks/chatwoot/no-such-key"
ENSURE = "/api/v1/contacts:ensure"

Act = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _stay(reader: asyncio.StreamReader) -> None:
    while await reader.read(65_536):
        pass


async def idle(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    """Connects and says nothing."""
    await _stay(reader)


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends headers byte by byte."""
    for byte in b"POST " + UNKNOWN.encode() + b" HTTP/1.1\r\nHost: here\r\nX-A: b":
        writer.write(bytes([byte]))
        await writer.drain()
        with suppress(TimeoutError):
            async with asyncio.timeout(DRIP_SECONDS):
                if not await reader.read(1):
                    return


async def half_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends many headers and never the end of them."""
    writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n" + b"".join(b"X-%d: %s\r\n" % (n, b"y" * 4_000) for n in range(8)))
    await _stay(reader)


async def endless_headers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Sends headers without end."""
    writer.write(b"GET / HTTP/1.1\r\n")
    for number in range(500):
        writer.write(b"X-%d: %s\r\n" % (number, b"y" * 4_000))
        await writer.drain()
    await _stay(reader)


def half_body(path: str, size: int, sent: int, **headers: str) -> Act:
    """Answers who announces a body and sends a part of it."""
    lines = [f"POST {path} HTTP/1.1", "Host: here", f"Content-Length: {size}"]
    head = "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers.items())]).encode() + b"\r\n\r\n"

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(head + b" " * sent)
        await _stay(reader)

    return act


def huge(path: str) -> Act:
    """Answers who sends more than any path takes."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(f"POST {path} HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        for _ in range(HUGE_BYTES // len(CHUNK)):
            writer.write(b"%x\r\n%s\r\n" % (len(CHUNK), CHUNK))
            await writer.drain()
        await _stay(reader)

    return act


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Speaks TLS where none is."""
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500)
    await _stay(reader)


async def lingers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Asks what anybody may ask, and stays."""
    writer.write(b"GET /healthz HTTP/1.1\r\nHost: here\r\n\r\n")
    await _stay(reader)


async def long_path(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Names an address that is nearly as long as a request line may be, and odd all through."""
    writer.write(
        b"POST /webhooks/chatwoot/a" + b"!" * 15_900 + b"a HTTP/1.1\r\nHost: here\r\nContent-Length: 0\r\n\r\n"
    )
    await _stay(reader)


async def never_reads(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Asks again and again for much, and reads nothing of it."""
    for _time in range(20):
        writer.write(b"GET /api/openapi.json HTTP/1.1\r\nHost: here\r\n\r\n")
    await asyncio.sleep(HOLD_SECONDS)


_DEAR_BYTES = 256 * 1024 - 1_000
DEAR_BODIES: dict[str, bytes] = {
    "half characters": b'{"a":"' + b"\\ud83d" * (_DEAR_BYTES // 6) + b'"}',
    "halves of a mendable size": b'{"a":"' + b"\\ud83d" * 5_400 + b'"}',
    "empty lists": b"[" + b"[]," * (_DEAR_BYTES // 3) + b"1]",
    "lists and a line break": b'["\n",' + b"[]," * 10_000 + b"1]",
    "deep lists": b'{"event":' + b"[" * 1_020 + b"1" + b"]" * 1_020 + b"}",
    "unclosed lists": b"[" * _DEAR_BYTES,
    "one long number": b"[" + b"9" * _DEAR_BYTES + b"]",
    "long numbers": b"[" + b",".join([b"9" * 4_000] * (_DEAR_BYTES // 4_001)) + b"]",
    "long fractions": b"[" + b",".join([b"0." + b"1" * 700] * (_DEAR_BYTES // 703)) + b"]",
    "many names": b"{" + b",".join(b'"%x":1' % number for number in range(_DEAR_BYTES // 10)) + b"}",
    "a number as an account": b'{"account":{"id":"' + b"1" * _DEAR_BYTES + b'"}}',
}
"""What costs most to read for its size, and proves nothing."""


def legacy_claims(body: bytes) -> Act:
    """Answers who sends a body again and again to the shared address, under headers that look signed."""

    async def act(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        stamp = int(time.time())
        writer.write(
            f"POST /api/chatwoot/webhook HTTP/1.1\r\nHost: here\r\nX-Chatwoot-Timestamp: {stamp}\r\n"
            f"X-Chatwoot-Signature: sha256={'0' * 64}\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        )
        writer.write(body)
        await writer.drain()
        await _stay(reader)

    return act


KINDS: dict[str, tuple[int, Act]] = {
    "idle": (30, idle),
    "drip": (15, drip),
    "half headers": (15, half_headers),
    "endless headers": (3, endless_headers),
    "half a webhook": (10, half_body(UNKNOWN, 100_000, 1_000)),
    "half a legacy webhook": (5, half_body("/api/chatwoot/webhook", 8 * 1024 * 1024 - 1, 60_000)),
    "half a call": (8, half_body(ENSURE, 1024 * 1024 - 1, 60_000)),
    "half a call with a bad key": (3, half_body(ENSURE, 1024 * 1024 - 1, 60_000, Authorization="Bearer a.b.c")),
    "half a sign-in": (4, half_body("/api/v1/sessions", 8_000, 7_000)),
    "huge": (1, huge(UNKNOWN)),
    "garbage": (3, garbage),
    "lingers": (2, lingers),
    "long path": (3, long_path),
    "never reads": (1, never_reads),
    **{f"signed-looking {name}": (1, legacy_claims(body)) for name, body in DEAR_BODIES.items()},
}
"""Each kind with how often it comes among a hundred."""


@dataclass
class Strangers:
    """So many strangers in all, at most so many at once, spread evenly over the time."""

    host: str
    port: int
    total: int
    at_once_max: int
    seconds: float
    seed: int = 6
    came: Counter[str] = field(default_factory=Counter)
    turned_away: int = 0
    most_at_once: int = 0
    _here: int = 0

    async def run(self) -> None:
        """Comes, stays and goes; ends by itself."""
        draws = random.Random(self.seed)
        names, weights = list(KINDS), [weight for weight, _ in KINDS.values()]
        free = asyncio.Semaphore(self.at_once_max)
        loop = asyncio.get_running_loop()
        begun = loop.time()
        async with asyncio.TaskGroup() as group:
            for number in range(self.total):
                await asyncio.sleep(max(0.0, begun + self.seconds * number / self.total - loop.time()))
                await free.acquire()
                group.create_task(self._one(draws.choices(names, weights)[0], free))

    async def _one(self, name: str, free: asyncio.Semaphore) -> None:
        self.came[name] += 1
        self._here += 1
        self.most_at_once = max(self.most_at_once, self._here)
        try:
            reader, writer = await asyncio.open_connection(self.host, self.port)
            try:
                async with asyncio.timeout(HOLD_SECONDS):
                    await KINDS[name][1](reader, writer)
            except (OSError, TimeoutError):
                self.turned_away += 1
            finally:
                writer.transport.abort()
        except OSError:
            self.turned_away += 1
        finally:
            self._here -= 1
            free.release()
