"""The installation under test: its webhook address, its API, its rows and its metrics."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeVar

import aiohttp
import orjson
from prometheus_client.parser import text_string_to_metric_families

from chassis.json_reading import JsonMalformed, read_json
from cli.failures import Refused
from cli.readings import Reading
from cli.readings import read as read_rows
from cli.smoke.bodies import Body
from cli.smoke.settings import SmokeSettings, phone_in
from sandbox.chatwoot.signing import signed_request

LEGACY_PATH = "/api/chatwoot/webhook"
ORGANIZATION_HEADER = "X-Organization-Id"
POLL_SECONDS = 0.1
BUSY = 503
BUSY_SECONDS = 1.0
PAGE_SIZE = 250

Found = TypeVar("Found")


class Failed(Exception):
    """A scenario that did not go as it must; the message says what was seen instead."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the webhook address answered."""

    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Access:
    """How the smoke looks behind the webhook address."""

    api_key: str
    database_url: str
    metrics_url: str
    """Empty where metrics are out of reach."""


class Target:
    """One installation, seen as one organization. Use as an async context manager."""

    def __init__(self, settings: SmokeSettings, access: Access) -> None:
        self.settings = settings
        self.access = access
        self.organization_id = settings.organization_id
        self.phone = settings.phone
        self._session: aiohttp.ClientSession

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self.settings.timeout_seconds))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def identify(self) -> str:
        """The organization of the API key, in whose region the phone is read.

        Raises Refused where it is not the one that was named, or the phone is none there.
        """
        organization = await self.get("/api/v1/organization")
        found = str(organization["organization_id"])
        if self.settings.organization_id not in ("", found):
            raise Refused(
                f"SMOKE_ORGANIZATION_ID is {self.settings.organization_id}, but the API key belongs to {found}. "
                "Use a key of that organization.",
                reason="ORGANIZATION_MISMATCH",
            )
        self.organization_id = found
        self.phone = phone_in(organization["region"], self.settings.phone)
        return found

    async def post(self, body: Body, *, secret: str | None = None, delivery_id: str = "") -> Answer:
        """Sends one webhook to the legacy path, signed as Chatwoot does when there is a secret."""
        raw = orjson.dumps(body)
        key = self.settings.webhook_secret if secret is None else secret
        headers = signed_request(raw, key or None, delivery_id or f"smoke-{secrets.token_hex(12)}", int(time.time()))
        if self.settings.organization_id:
            headers[ORGANIZATION_HEADER] = self.settings.organization_id
        url = self.settings.base_url + LEGACY_PATH
        async with self._session.post(url, data=raw, headers=headers) as answer:
            return Answer(answer.status, await _content(answer))

    async def accept(self, body: Body, *, delivery_id: str = "") -> None:
        """Sends one webhook that must be taken. Raises Failed naming the answer when it was not."""
        delivery_id = delivery_id or f"smoke-{secrets.token_hex(12)}"
        answer = await self.post(body, delivery_id=delivery_id)
        if answer.status == BUSY:
            # "Send it again": one that is busy or has just started is asked once more, under the same delivery id.
            await asyncio.sleep(BUSY_SECONDS)
            answer = await self.post(body, delivery_id=delivery_id)
        if answer.status != 200 or answer.body != {"success": True}:
            raise Failed(f"the webhook was answered {answer.status}: {said(answer.body)}")

    async def get(self, path: str, **query: str | int) -> Any:
        """Reads from the API. Raises Failed with its own words when it refuses."""
        async with self._session.get(
            self.settings.base_url + path, params=query, headers={"X-Api-Key": self.access.api_key}
        ) as answer:
            return await self._told(answer, path)

    async def call(self, path: str, body: Mapping[str, Any]) -> Any:
        """Acts through the API. Raises Failed with its own words when it refuses."""
        async with self._session.post(
            self.settings.base_url + path, json=body, headers={"X-Api-Key": self.access.api_key}
        ) as answer:
            return await self._told(answer, path)

    async def control(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> int:
        """Calls something beside the installation; answers the status, 0 when nobody is there."""
        try:
            async with self._session.request(method, url, json=body) as answer:
                return answer.status
        except (aiohttp.ClientError, TimeoutError):
            return 0

    async def rows(self, reading: Reading, **wanted: Any) -> list[dict[str, Any]]:
        """The organization's rows of one verification query that have the wanted values."""
        return await asyncio.to_thread(
            read_rows, self.access.database_url, reading, self.organization_id, PAGE_SIZE, **wanted
        )

    async def counter(self, name: str, **labels: str) -> float | None:
        """The sum of a counter over all processes; None where metrics are out of reach."""
        if not self.access.metrics_url:
            return None
        try:
            async with self._session.get(self.access.metrics_url) as answer:
                page = await answer.text()
        except (aiohttp.ClientError, TimeoutError):
            return None
        return sum(
            sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    async def until(self, look: Callable[[], Awaitable[Found | None]], what: str) -> Found:
        """Looks again and again until something is found. Raises Failed when it takes too long."""
        deadline = time.monotonic() + self.settings.timeout_seconds
        while True:
            found = await look()
            if found is not None:
                return found
            if time.monotonic() > deadline:
                raise Failed(f"{what} did not appear within {self.settings.timeout_seconds:g} s")
            await asyncio.sleep(POLL_SECONDS)

    async def _told(self, answer: aiohttp.ClientResponse, path: str) -> Any:
        content = await _content(answer)
        if answer.status >= 400:
            raise Failed(f"{path} was answered {answer.status}: {said(content)}")
        return content


def said(body: Any) -> str:
    """What an answer says: the sentence of an error, else the answer as it came."""
    if isinstance(body, dict):
        sentence = body.get("detail") or body.get("error") or body.get("title")
        return str(sentence).rstrip(".") if sentence else orjson.dumps(body).decode()
    return str(body)


async def _content(answer: aiohttp.ClientResponse) -> Any:
    raw = await answer.read()
    try:
        return read_json(raw)
    except JsonMalformed:
        return raw[:200].decode("utf-8", "replace")
