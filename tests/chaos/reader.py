"""One who watches: follows the live updates through everything, resuming by the id of the last event it saw."""

from __future__ import annotations

import asyncio
import contextlib
import time
from uuid import UUID

import aiohttp
import orjson

RECONNECT_SECONDS = 0.3
SILENCE_SECONDS_MAX = 40.0
"""The gateway sends a heartbeat every 15 s: whoever receives nothing for longer connects again."""
LINE_BYTES_MAX = 1024 * 1024


class Reader:
    """Reads the organization's stream from its beginning."""

    def __init__(self, url: str, api_key: str) -> None:
        self._url = url
        self._headers = {"X-Api-Key": api_key}
        self._last_id = "0"
        self._grown = asyncio.Condition()
        self.seen: list[tuple[int, UUID]] = []
        """Position and event id of everything that came, in the order it came."""
        self.connection_count = 0

    async def run(self) -> None:
        """Reads until cancelled."""
        timeout = aiohttp.ClientTimeout(total=None, sock_read=SILENCE_SECONDS_MAX)
        async with aiohttp.ClientSession(timeout=timeout, read_bufsize=LINE_BYTES_MAX) as session:
            while True:
                with contextlib.suppress(aiohttp.ClientError, ConnectionError, TimeoutError):
                    await self._read(session)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def until(self, position: int, limit_seconds: float) -> bool:
        """Waits until the event at the position has come; false when it does not come in time."""
        begun = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit_seconds), self._grown:
                await self._grown.wait_for(lambda: bool(self.seen) and self.seen[-1][0] >= position)
        return time.monotonic() - begun < limit_seconds

    async def _read(self, session: aiohttp.ClientSession) -> None:
        headers = {**self._headers, "Last-Event-ID": self._last_id}
        async with session.get(self._url, headers=headers) as response:
            response.raise_for_status()
            self.connection_count += 1
            fact = False
            async for line in response.content:
                if line.startswith(b"event: "):
                    fact = line != b"event: problem\n"
                elif line.startswith(b"id: "):
                    self._last_id = line[4:].strip().decode()
                elif line.startswith(b"data: ") and fact:
                    content = orjson.loads(line[6:])
                    async with self._grown:
                        self.seen.append((content["position"], UUID(content["event_id"])))
                        self._grown.notify_all()
