"""Looks into the database as its administrator: what waits, what was done, what was announced."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row

from chassis.system import SERVICES

LOOK_SECONDS = 0.25
QUERY_SECONDS = 5.0
CONNECT_SECONDS = 3

_WAITING_WEBHOOKS = "select count(*) as waiting from ingest.webhook_queue where receive_time <= %s"
_WAITING_FACTS = "select " + " + ".join(
    f"(select count(*) from {service}.outbox fact where fact.event_time <= %(until)s and not exists"
    " (select from ingest.consumed_events heard where heard.consumer = 'feed' and heard.event_id = fact.event_id))"
    for service in SERVICES
)
_UNREAD_FACTS = "select " + " + ".join(
    f"(select count(*) from {schema}.outbox fact"
    f" where not exists (select from {schema}.outbox_queue queued where queued.position = fact.position)"
    " and not exists (select from ingest.consumed_events heard"
    " where heard.consumer = 'feed' and heard.event_id = fact.event_id))"
    for schema in ("identity", "crm", "conversation")
)
_WORKERS = "select count(distinct holder) from ingest.leases where starts_with(name, 'lane.') and expire_time > now()"


class Observer:
    """One administrator's eye; it gets over PostgreSQL being away."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url

    async def rows(self, query: str, parameters: Any = None) -> list[dict[str, Any]]:
        """What a query finds. Raises OperationalError while PostgreSQL is away."""
        async with await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, row_factory=dict_row, connect_timeout=CONNECT_SECONDS
        ) as connection:
            await connection.execute(f"set statement_timeout = '{QUERY_SECONDS:g}s'".encode())
            return await (await connection.execute(query.encode(), parameters)).fetchall()

    async def left_over(self, query: str, limit_seconds: float) -> list[dict[str, Any]]:
        """What a query still finds when it has had time to find nothing."""
        begun = time.monotonic()
        while True:
            found = await self.rows(query)
            if not found or time.monotonic() - begun > limit_seconds:
                return found
            await asyncio.sleep(LOOK_SECONDS)

    async def number(self, query: str, parameters: Any = None) -> int:
        """The one number that a query answers."""
        (row,) = await self.rows(query, parameters)
        (value,) = row.values()
        return int(value)

    async def waiting_webhooks(self, until: datetime) -> int:
        """How many of the webhooks stored until then are not processed yet."""
        return await self.number(_WAITING_WEBHOOKS, (until,))

    async def waiting_facts(self, until: datetime) -> int:
        """How many of the facts announced until then are not in the feed yet."""
        return await self.number(_WAITING_FACTS, {"until": until})

    @asynccontextmanager
    async def unread_facts(self, count: int) -> AsyncIterator[None]:
        """Holds the feed's writer up until the block ends; enters when so many facts stand in a stream, unread."""
        async with await psycopg.AsyncConnection.connect(self._url, connect_timeout=CONNECT_SECONDS) as connection:
            await connection.execute("lock table ingest.consumer_cursors in exclusive mode")
            while await self.number(_UNREAD_FACTS) < count:  # noqa: ASYNC110 another process has no event to wait for
                await asyncio.sleep(LOOK_SECONDS)
            yield

    async def worker_count(self) -> int:
        """How many workers hold lanes."""
        return await self.number(_WORKERS)

    async def processed(self, until: datetime, limit_seconds: float) -> float | None:
        """Waits until all webhooks stored until then are processed; answers the seconds, None beyond the limit."""
        begun = time.monotonic()
        while True:
            if await self._none_left(_WAITING_WEBHOOKS, (until,)):
                return time.monotonic() - begun
            if time.monotonic() - begun > limit_seconds:
                return None
            await asyncio.sleep(LOOK_SECONDS)

    async def caught_up(self, until: datetime, limit_seconds: float) -> float | None:
        """Waits until what was stored until then is processed and told; seconds, or None beyond the limit."""
        begun = time.monotonic()
        if await self.processed(until, limit_seconds) is None:
            return None
        until = datetime.now(UTC)
        while not await self._none_left(_WAITING_FACTS, {"until": until}):
            if time.monotonic() - begun > limit_seconds:
                return None
            await asyncio.sleep(LOOK_SECONDS)
        return time.monotonic() - begun

    async def _none_left(self, query: str, parameters: Any) -> bool:
        try:
            return await self.number(query, parameters) == 0
        except psycopg.OperationalError:
            return False


def in_every_service(query: str, services: Sequence[str] = SERVICES) -> str:
    """The same query over every service's schema, which it names ``{service}``."""
    return " union all ".join(query.format(service=service) for service in services)
