"""Whatever can run keeps one contract of starting and stopping: nothing of it is left, however far it had come."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest
import pytest_asyncio
from psycopg.conninfo import make_conninfo
from sqlalchemy.engine import make_url

from chassis import process as process_module
from chassis.config import Settings
from chassis.process import Host, Process, Start
from embedded.ports import LOOPBACK, free_port
from embedded.servers import EmbeddedServers
from gateway.settings import GatewaySettings
from services.targets import TARGETS
from tests.world import PATIENCE_SECONDS, settings_for

LIVES = ("module", "preparing", "listening")
"""Where a start is cut short: its module has started, nothing is served yet, jobs run and calls are answered."""


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> str:
    """Everything that `prosa serve` can start."""
    return str(request.param)


@pytest.fixture
def settings(servers: EmbeddedServers, database_url: str, keys_dir: Path) -> Settings:
    """On ports of its own, which are taken as long as anything of it is left."""
    return settings_for(
        database_url,
        servers.nats_url,
        servers.redis_url,
        keys_dir,
        grpc_address=f"{LOOPBACK}:{free_port()}",
        http_port=free_port(),
        metrics_port=free_port(),
    )


class Left:
    """What is left of a process beside what was there before it."""

    def __init__(self, settings: Settings, database_url: str) -> None:
        self._ports = [
            int(settings.grpc_address.rpartition(":")[2]),
            GatewaySettings.within(settings).http_port,
            settings.metrics_port,
        ]
        self._database_url = make_url(database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        self._before = asyncio.all_tasks()

    async def nothing(self) -> None:
        """Fails where a task, a port or a connection to the database is left."""
        tasks = asyncio.all_tasks() - self._before - {asyncio.current_task()}
        if tasks:
            _, tasks = await asyncio.wait(tasks, timeout=PATIENCE_SECONDS)
        assert tasks == set()
        for port in self._ports:
            with socket.socket() as taken:
                taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                taken.bind((LOOPBACK, port))
                taken.listen()
        query = b"select usename from pg_stat_activity where datname = current_database() and pid != pg_backend_pid()"
        async with await psycopg.AsyncConnection.connect(make_conninfo(self._database_url)) as admin:
            async with asyncio.timeout(PATIENCE_SECONDS):
                # The server ends its side by itself.
                while await (await admin.execute(query)).fetchall():
                    await admin.rollback()
                    await asyncio.sleep(0)


@pytest_asyncio.fixture(loop_scope="session")
async def left(settings: Settings, database_url: str) -> Left:
    """Looked at before anything is started."""
    return Left(settings, database_url)


async def test_what_was_never_started_can_be_stopped(settings: Settings, left: Left, target: str) -> None:
    host = Host(settings)
    await host.stop()
    await host.stop()
    await left.nothing()
    with pytest.raises(RuntimeError, match="Make another one"):
        await host.start({target: TARGETS[target]})
    await left.nothing()


async def test_what_was_started_stops_once_and_can_be_started_again_in_its_place(
    settings: Settings, left: Left, target: str
) -> None:
    for _ in range(2):
        host = Host(settings)
        await host.start({target: TARGETS[target]})
        assert host.readiness.serving
        with pytest.raises(RuntimeError, match="started once"):
            await host.start({target: TARGETS[target]})
        # Two who stop it at once both return when it is done, and whoever comes later finds nothing to do.
        await asyncio.gather(host.stop(), host.stop())
        await left.nothing()
        await host.stop()
        assert not host.readiness.serving


@pytest.mark.parametrize("life", LIVES)
async def test_a_start_that_is_cut_short_leaves_nothing_and_another_follows(
    settings: Settings, left: Left, target: str, life: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = asyncio.Event()

    async def hold(*_: Any) -> Any:
        reached.set()
        await asyncio.Event().wait()

    host = Host(settings)
    with monkeypatch.context() as patched:
        if life == "listening":
            patched.setattr(process_module, "start_inner_listener", hold)
        starting = asyncio.create_task(host.start({target: held(TARGETS[target], life, hold)}))
        await asyncio.wait({starting, asyncio.create_task(reached.wait())}, return_when=asyncio.FIRST_COMPLETED)
        assert not starting.done()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    await host.stop()
    await left.nothing()
    again = Host(settings)
    await again.start({target: TARGETS[target]})
    await again.stop()
    await left.nothing()


def held(start: Start, life: str, hold: Callable[[], Awaitable[Any]]) -> Start:
    """A start that comes to a hold when its module has started, or just before it would be served."""

    async def start_and_hold(process: Process) -> None:
        await start(process)
        if life == "module":
            await hold()
        if life == "preparing":
            process._host.prepare(hold)

    return start_and_hold


async def test_a_stop_that_is_cut_short_is_finished_by_the_next(settings: Settings, left: Left, target: str) -> None:
    closing, closed = asyncio.Event(), 0

    async def start(process: Process) -> None:
        async def close() -> None:
            nonlocal closed
            if not closing.is_set():
                closing.set()
                await asyncio.Event().wait()
            closed += 1

        process.on_stop(close)
        await TARGETS[target](process)

    host = Host(settings)
    await host.start({target: start})
    stopping = asyncio.create_task(host.stop())
    await closing.wait()
    stopping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stopping
    await host.stop()
    assert closed == 1
    await left.nothing()
