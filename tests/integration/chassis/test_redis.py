"""Redis may be away: what limits goes on, what must not be done without it is refused, and nobody waits for long."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

import pytest
import pytest_asyncio
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis as Client
from redis.exceptions import ResponseError

from chassis.errors import Unavailable
from chassis.inner import NotReady
from chassis.process import Host, Process
from chassis.redis import AWAY_SECONDS, CALL_SECONDS, CONNECTIONS_MAX, Redis
from embedded.servers import EmbeddedServers
from tests.world import PATIENCE_SECONDS, settings_for

Answer = TypeVar("Answer")


class Time:
    """Monotonic time that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Opened:
    """A client beside its counters and its time; it waits as long as a busy machine needs, unless told otherwise."""

    def __init__(self, url: str, call_seconds: float = PATIENCE_SECONDS) -> None:
        self.registry, self.time = CollectorRegistry(), Time()
        self.redis = Redis(url, self.registry, self.time, call_seconds)

    async def answer(self, call: Callable[[Client], Awaitable[Answer]]) -> Answer:
        """What Redis says to a call, once one of this client's has been answered within its time."""
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                with contextlib.suppress(Unavailable):
                    return await self.redis.required("quota", call)
                self.time.now += AWAY_SECONDS

    def count(self, purpose: str, outcome: str) -> float:
        labels = {"purpose": purpose, "outcome": outcome}
        return self.registry.get_sample_value("prosa_redis_calls_total", labels) or 0.0


@pytest_asyncio.fixture(loop_scope="session")
async def opened(servers: EmbeddedServers) -> AsyncIterator[Opened]:
    client = Opened(servers.redis_url)
    yield client
    await client.redis.close()


@pytest_asyncio.fixture(loop_scope="session")
async def hurried(servers: EmbeddedServers) -> AsyncIterator[Opened]:
    """A client that gives a call up as soon as the product does."""
    client = Opened(servers.redis_url, CALL_SECONDS)
    yield client
    await client.redis.close()


def counting(key: str) -> Callable[[Client], Awaitable[int]]:
    async def call(client: Client) -> int:
        return int(await client.incr(key))

    return call


async def test_what_limits_goes_on_without_redis_and_what_must_not_be_done_is_refused(
    servers: EmbeddedServers, opened: Opened
) -> None:
    redis, key = opened.redis, str(uuid4())
    assert await redis.required("quota", counting(key)) == 1
    await servers.redis.stop(graceful=False)
    try:
        assert await redis.or_else("limit", counting(key), -1) == -1
        opened.time.now += AWAY_SECONDS
        with pytest.raises(Unavailable) as refused:
            await redis.required("quota", counting(key))
        assert refused.value.reason == "REDIS_UNAVAILABLE"
        with pytest.raises(NotReady, match="Redis does not answer"):
            await redis.check()
    finally:
        await servers.redis.start()
    await redis.check()
    opened.time.now += AWAY_SECONDS
    # It keeps nothing on disk: who counts in it begins anew.
    assert await redis.or_else("limit", counting(key), -1) == 1
    assert (opened.count("limit", "failed_open"), opened.count("limit", "answered")) == (1, 1)
    assert (opened.count("quota", "failed_closed"), opened.count("quota", "answered")) == (1, 1)


async def test_a_redis_that_hangs_costs_one_call_its_time_and_gives_nobody_another_s_answer(
    servers: EmbeddedServers, hurried: Opened
) -> None:
    opened, redis, key = hurried, hurried.redis, str(uuid4())
    await opened.answer(lambda client: client.set(key, "mine"))
    asked = 0

    async def read(client: Client) -> object:
        nonlocal asked
        asked += 1
        return await client.get(key)

    servers.redis.freeze()
    try:
        assert await redis.or_else("limit", counting(f"{key}.other"), -1) == -1
        # From now on nobody asks, so nobody waits, until some time has passed.
        for _ in range(10):
            assert await redis.or_else("limit", read, None) is None
            with pytest.raises(Unavailable):
                await redis.required("quota", read)
        assert asked == 0
        opened.time.now += AWAY_SECONDS
        assert await redis.or_else("limit", read, None) is None
        assert asked == 1
    finally:
        servers.redis.thaw()
    # The answers to what was given up come now; they are not taken for these.
    assert [await opened.answer(read) for _ in range(3)] == [b"mine"] * 3


async def test_more_calls_than_connections_wait_for_one(opened: Opened) -> None:
    key = str(uuid4())
    calls = [opened.redis.required("quota", counting(key)) for _ in range(3 * CONNECTIONS_MAX)]
    assert sorted(await asyncio.gather(*calls)) == list(range(1, 3 * CONNECTIONS_MAX + 1))


async def test_a_mistake_of_ours_is_neither_open_nor_closed(opened: Opened) -> None:
    key = str(uuid4())
    await opened.redis.required("quota", lambda client: client.set(key, "no number"))
    with pytest.raises(ResponseError):
        await opened.redis.or_else("limit", counting(key), -1)
    with pytest.raises(ResponseError):
        await opened.redis.required("quota", counting(key))
    assert await opened.redis.required("quota", counting(f"{key}.other")) == 1


async def test_a_wrong_password_is_told_from_a_server_that_is_away(servers: EmbeddedServers) -> None:
    client = Opened(servers.redis_url.replace("redis://:", "redis://:wrong", 1))
    try:
        with pytest.raises(NotReady, match="refuses the user or password of PROSA_REDIS_URL"):
            await client.redis.check()
        with pytest.raises(Unavailable):
            await client.redis.required("quota", counting(str(uuid4())))
    finally:
        await client.redis.close()


async def until_ok(host: Host) -> None:
    """Returns once Redis has answered the process within the time that a look has."""
    looking = True
    async with asyncio.timeout(PATIENCE_SECONDS):
        while looking:
            looking = (await host.readiness.look())[1]["redis"] != "ok"


async def test_a_process_names_redis_in_readyz_and_stays_ready_without_it(
    servers: EmbeddedServers, database_url: str, keys_dir: Path
) -> None:
    opened: list[Redis] = []

    async def start(process: Process) -> None:
        opened.extend((process.redis(), process.redis()))

    host = Host(settings_for(database_url, servers.nats_url, servers.redis_url, keys_dir))
    await host.start({"crm": start, "outreach": start})
    try:
        assert len(set(opened)) == 1
        await until_ok(host)
        await servers.redis.stop(graceful=False)
        try:
            ready, report = await host.readiness.look()
            assert report["redis"].startswith("Redis does not answer.")
            assert ready
            assert host.readiness.started(report)
        finally:
            await servers.redis.start()
        await until_ok(host)
    finally:
        await host.stop()
