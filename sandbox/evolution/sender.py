"""Delivers webhooks as Evolution does: each on its own, tried again in memory, with one token for all tries of one."""

from __future__ import annotations

import asyncio
import hmac
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from sandbox.evolution.faults import Faults

TIMEOUT_SECONDS = 30.0
TOKEN_SECONDS = 600
NEVER_AGAIN = frozenset({400, 401, 403, 404, 422})
ATTEMPTS_MAX = 10
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 5.0, 300.0
WRONG_SECRET = "not-the-key-of-this-webhook"  # noqa: S105 - meant to fail


@dataclass(slots=True)
class Webhook:
    """Where an instance's events go."""

    url: str
    headers: dict[str, str] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    by_events: bool = False
    enabled: bool = True

    def wants(self, event: str) -> bool:
        """Whether it is told of an event; an empty list means all."""
        return self.enabled and (not self.events or event.replace(".", "_").replace("-", "_").upper() in self.events)


class Sender:
    """Sends events, each in a task of its own, so that order is lost as it is at Evolution."""

    def __init__(self, faults: Faults, *, first_wait_seconds: float = FIRST_WAIT_SECONDS) -> None:
        self.statuses: Counter[int] = Counter()
        self._faults, self._first_wait_seconds = faults, first_wait_seconds
        self._session: aiohttp.ClientSession | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[tuple[Webhook, str, bytes]] = []

    async def start(self) -> None:
        """Opens the connections."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))

    async def close(self) -> None:
        """Drops what is not delivered: Evolution keeps it in memory alone."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    def offer(self, webhook: Webhook, envelope: dict[str, Any]) -> None:
        """Sends an event to whoever is to be told of it."""
        event = envelope["event"]
        if not webhook.wants(event) or self._faults.draw("webhook.lost", event):
            return
        body = orjson.dumps(envelope)
        if self._faults.draw("webhook.reorder", event):
            self._held.append((webhook, event, body))
            return
        self.spawn(self._deliver(webhook, event, body))
        if self._faults.draw("webhook.duplicate", event):
            self.spawn(self._deliver(webhook, event, body))
        held, self._held = self._held, []
        for late in held:
            self.spawn(self._deliver(*late))

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Lets something happen beside all else, until the fake is closed."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _deliver(self, webhook: Webhook, event: str, body: bytes) -> None:
        headers = dict(webhook.headers) | {"Content-Type": "application/json"}
        key = headers.pop("jwt_key", None)
        if key is not None:
            secret = WRONG_SECRET if self._faults.draw("webhook.wrong_secret", event) else key
            # Once for the event, and the same at every try, though it says that it holds for ten minutes.
            headers["Authorization"] = f"Bearer {token(secret, int(time.time()))}"
        url = webhook.url + ("/" + event.replace(".", "-").replace("_", "-") if webhook.by_events else "")
        wait = self._first_wait_seconds
        for attempt in range(1, ATTEMPTS_MAX + 1):
            status = await self._post(url, headers, body)
            if status is not None and (200 <= status < 300 or status in NEVER_AGAIN):
                return
            if attempt < ATTEMPTS_MAX:
                await asyncio.sleep(wait)
                wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> int | None:
        assert self._session is not None, "start() comes first"
        try:
            async with self._session.post(url, data=body, headers=headers) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError):
            return None
        self.statuses[answer.status] += 1
        return answer.status


def token(secret: str, now: int) -> str:
    """The JWT that Evolution sends in place of the header jwt_key."""
    payload = {"iat": now, "exp": now + TOKEN_SECONDS, "app": "evolution", "action": "webhook"}
    head = b".".join(_encoded(orjson.dumps(part)) for part in ({"alg": "HS256", "typ": "JWT"}, payload))
    return (head + b"." + _encoded(hmac.digest(secret.encode(), head, "sha256"))).decode()


def _encoded(raw: bytes) -> bytes:
    return urlsafe_b64encode(raw).rstrip(b"=")
