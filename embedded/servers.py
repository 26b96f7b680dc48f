"""The three embedded servers without the applications: what tests and benchmarks need."""

import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded.child import clear_records
from embedded.nats import EmbeddedNats
from embedded.ports import choose_ports, keep_passwords
from embedded.postgres import EmbeddedPostgres
from embedded.redis import EmbeddedRedis
from embedded.supervisor import Supervisor

NAMES = ("postgres", "nats", "redis")


@dataclass(frozen=True, slots=True)
class ServerHandle:
    """One running server, to be stopped, killed or frozen by a test."""

    name: str
    supervisor: Supervisor

    @property
    def pid(self) -> int | None:
        """Its main process; none while it is down."""
        return self.supervisor.pid(self.name)

    async def stop(self, *, graceful: bool = True) -> None:
        """Stops it (with `graceful=False`: kills it) until `start`; returns when it is gone."""
        await self.supervisor.hold(self.name, graceful=graceful)

    async def start(self) -> None:
        """Starts it after `stop`, on the same port; returns when it is ready."""
        await self.supervisor.release(self.name)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Signals its main process; it is restarted if it dies of it."""
        self.supervisor.kill(self.name, number)

    async def kill_and_wait(self) -> None:
        """Kills it with -9; returns when it has been restarted and is ready."""
        restart_count = self.supervisor.restart_count(self.name)
        self.supervisor.kill(self.name)
        await self.supervisor.wait_restarted(self.name, restart_count)

    def freeze(self) -> None:
        """Stops every process of it: it keeps its sockets but answers nothing."""
        self.supervisor.freeze(self.name)

    def thaw(self) -> None:
        """Lets it run on."""
        self.supervisor.thaw(self.name)


@dataclass(frozen=True, slots=True)
class EmbeddedServers:
    """Three running servers with their URLs; `near` is over a Unix socket where there is one."""

    database_url: str
    near_database_url: str
    nats_url: str
    redis_url: str
    postgres: ServerHandle
    nats: ServerHandle
    redis: ServerHandle
    nats_store: Path
    supervisor: Supervisor


@asynccontextmanager
async def embedded_servers(
    directory: Path, *, durable: bool = False, postgres_settings: Mapping[str, str] | None = None
) -> AsyncIterator[EmbeddedServers]:
    """Runs PostgreSQL, NATS and Redis below the directory for as long as the context lasts.

    Enter it from the main thread's event loop. `durable=False` lets PostgreSQL skip its syncs: enough for tests, which
    kill processes but not the machine.
    """
    directory = directory.absolute()  # noqa: ASYNC240 once, before anything else runs
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Before any port is tried, because what a former run left may still hold it.
    await clear_records(directory / "run")
    ports = choose_ports(directory / "ports.json", NAMES)
    passwords = keep_passwords(directory / "secrets.json", NAMES)
    postgres = EmbeddedPostgres(
        directory / "postgres", ports["postgres"], passwords["postgres"], durable=durable, settings=postgres_settings
    )
    nats = EmbeddedNats(directory / "nats", ports["nats"], passwords["nats"])
    redis = EmbeddedRedis(directory / "redis", ports["redis"], passwords["redis"])
    supervisor = Supervisor(directory, [postgres.child(), nats.child(), redis.child()])
    try:
        await supervisor.start()
        yield EmbeddedServers(
            database_url=postgres.url,
            near_database_url=postgres.near_url,
            nats_url=nats.url,
            redis_url=redis.url,
            postgres=ServerHandle("postgres", supervisor),
            nats=ServerHandle("nats", supervisor),
            redis=ServerHandle("redis", supervisor),
            nats_store=nats.store,
            supervisor=supervisor,
        )
    finally:
        await supervisor.stop()
