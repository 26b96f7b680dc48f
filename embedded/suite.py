"""The whole suite on one machine: embedded servers, migrations and application processes in one home."""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from chassis import sockets
from chassis.system import GATEWAY as GATEWAY_TARGET
from chassis.system import SERVICES
from embedded.child import ChildSpec, clear_records
from embedded.errors import EmbeddedError
from embedded.home import Home, disk_free_bytes, require_http_port
from embedded.nats import EmbeddedNats
from embedded.ports import LOOPBACK, choose_ports, keep_passwords
from embedded.postgres import EmbeddedPostgres
from embedded.redis import EmbeddedRedis
from embedded.shapes import (
    READER_ROLE,
    REDIS_TARGETS,
    Addresses,
    AppProcess,
    Shape,
    app_environment,
    database_variable,
    default_receivers,
    default_shape,
    processes_of,
    role_of,
    serve_command,
    with_role,
)
from embedded.supervisor import StopSignals, Supervisor

APP_STOP_TIMEOUT_SECONDS = 20.0
APP_READY_TIMEOUT_SECONDS = 60.0
READER_VARIABLE = "PROSA_READER_DATABASE_URL"
READINESS_BYTES_MAX = 64 * 1024

Hook = Callable[["Suite"], Awaitable[None]]


async def _nothing(_: "Suite") -> None:
    return None


def _no_children(_: "Suite") -> Sequence[ChildSpec]:
    return ()


class Suite:
    """Everything `prosa up` runs. Call `run`, or `start` and `stop`, from the main thread's event loop.

    `migrate` runs when the servers are ready and before any application starts; `on_ready` when all are ready. In
    `environment`, PROSA_DATABASE_URL, PROSA_NATS_URL and PROSA_REDIS_URL name servers to use instead of embedded ones.
    Redis is started only where something among `redis_targets` uses it.
    `extra_ports` are names of further loopback ports to keep in the home, for the children that `extra_children` adds.
    """

    def __init__(
        self,
        home: Path,
        http_port: int,
        shape: Shape | None = None,
        *,
        receivers: int | None = None,
        environment: Mapping[str, str] | None = None,
        migrate: Hook = _nothing,
        on_ready: Hook = _nothing,
        extra_ports: Sequence[str] = (),
        extra_children: Callable[["Suite"], Sequence[ChildSpec]] = _no_children,
        command: Callable[[AppProcess], tuple[str, ...]] = serve_command,
        redis_targets: Collection[str] = REDIS_TARGETS,
        durable: bool = True,
        free_bytes: Callable[[Path], int] = disk_free_bytes,
    ) -> None:
        self.directory = home.expanduser().absolute()
        self.http_port = http_port
        self.shape = shape or default_shape()
        self.receivers = receivers or default_receivers()
        self.environment = dict(os.environ if environment is None else environment)
        self.database_url = self.environment.get("PROSA_DATABASE_URL", "")
        self.nats_url = self.environment.get("PROSA_NATS_URL", "")
        self.redis_url = self.environment.get("PROSA_REDIS_URL", "")
        self.loopback_database_url = self.database_url
        """The same for tools, which know a host and a port; our own processes may be nearer."""
        self.reader_database_url = ""
        self.service_database_urls: dict[str, str] = {}
        self.ports: dict[str, int] = {}
        self.apps: tuple[AppProcess, ...] = ()
        self._migrate = migrate
        self._on_ready = on_ready
        self._extra_ports = tuple(extra_ports)
        self._extra_children = extra_children
        self._command = command
        self._redis_targets = frozenset(redis_targets)
        self._durable = durable
        self._free_bytes = free_bytes
        self._passwords: dict[str, str] = {}
        self._home: Home | None = None
        self._supervisor: Supervisor | None = None
        self._listening: list[socket.socket] = []

    @property
    def supervisor(self) -> Supervisor:
        """The running children; there once `start` has got past its refusals."""
        if self._supervisor is None:
            raise EmbeddedError("SUITE_NOT_STARTED", "The suite has not been started.")
        return self._supervisor

    @property
    def bootstrap_file(self) -> Path:
        """What `on_ready` may write for people and programs; removed at start and at stop."""
        return self.directory / "bootstrap.json"

    @property
    def nats_store(self) -> Path:
        """Where the embedded NATS keeps its streams."""
        return self.directory / "nats" / "jetstream"

    async def run(self) -> None:
        """Starts, waits for SIGINT or SIGTERM and stops. Raises EmbeddedError if it cannot start."""
        with StopSignals(self._kill) as signals:
            starting = asyncio.create_task(self.start())
            asked = asyncio.create_task(signals.asked.wait())
            try:
                await asyncio.wait({starting, asked}, return_when=asyncio.FIRST_COMPLETED)
                if not asked.done():
                    await starting
                    await asked
            finally:
                for task in (starting, asked):
                    task.cancel()
                await asyncio.gather(starting, asked, return_exceptions=True)
                await self.stop()

    async def start(self) -> None:
        """Brings everything up; returns when all of it is ready. Raises EmbeddedError; call `stop` then too."""
        self._home = Home.open(self.directory, free_bytes=self._free_bytes)
        self.bootstrap_file.unlink(missing_ok=True)
        # Before any port is tried, because what a former run left may still hold it.
        await clear_records(self.directory / "run")
        require_http_port(self.http_port)
        # Held here, so that who connects while a receiver is started again waits a moment and is not refused.
        self._listening = sockets.listen(self.environment.get("PROSA_HTTP_HOST") or LOOPBACK, self.http_port)
        self._choose()
        servers = self._servers()
        apps = self._app_children([server.name for server in servers])
        extra = list(self._extra_children(self))
        self._supervisor = Supervisor(self.directory, [*servers, *apps, *extra])
        if servers:
            await self._supervisor.start(*(server.name for server in servers))
        await self._migrate(self)
        await self._supervisor.start(*(child.name for child in (*apps, *extra)))
        await self._on_ready(self)

    async def stop(self) -> None:
        """Stops everything that runs and lets go of the home."""
        if self._home is None:
            # Refused before it owned the home: the bootstrap file there is somebody else's.
            return
        try:
            self.bootstrap_file.unlink(missing_ok=True)
            if self._supervisor is not None:
                await self._supervisor.stop()
        finally:
            for listening in self._listening:
                listening.close()
            self._home.close()
            self._home = None

    def operator_environment(self) -> dict[str, str]:
        """The environment for operations that may see every database, such as the migrations."""
        return {
            **self.environment,
            "PROSA_HOME": str(self.directory),
            "PROSA_KEYS_DIR": str(self.directory / "keys"),
            "PROSA_DATABASE_URL": self.database_url,
            READER_VARIABLE: self.reader_database_url,
            "PROSA_NATS_URL": self.nats_url,
            "PROSA_REDIS_URL": self.redis_url,
            **{database_variable(service): url for service, url in self.service_database_urls.items()},
        }

    def _choose(self) -> None:
        processes = processes_of(self.shape, self.receivers)
        names = ["postgres", "nats", "redis", *self._extra_ports]
        names += [f"{process}.{kind}" for process in processes for kind in ("grpc", "metrics")]
        secrets_file = self.directory / "secrets.json"
        if not secrets_file.exists() and (self.directory / "postgres" / "data").exists():
            raise EmbeddedError(
                "HOME_DAMAGED",
                f"{secrets_file} is gone, and with it the key to the database. Restore it from a backup.",
            )
        self.ports = choose_ports(self.directory / "ports.json", names, avoid={self.http_port})
        passwords = keep_passwords(
            secrets_file, ["postgres", "nats", "redis", READER_ROLE, *(role_of(service) for service in SERVICES)]
        )
        (self.directory / "keys").mkdir(mode=0o700, exist_ok=True)
        self._passwords = passwords
        self.apps = tuple(
            AppProcess(name, targets, self.ports[f"{name}.grpc"], self.ports[f"{name}.metrics"])
            for name, targets in processes.items()
        )

    def _servers(self) -> list[ChildSpec]:
        """The embedded servers, none for those that the caller names; afterwards all URLs are known."""
        children = []
        passwords = self._passwords
        if not self.database_url:
            postgres = EmbeddedPostgres(
                self.directory / "postgres", self.ports["postgres"], passwords["postgres"], durable=self._durable
            )
            self.database_url = postgres.near_url
            self.loopback_database_url = postgres.url
            # No pooler stands before a server of our own.
            self.environment.setdefault("PROSA_PREPARED_STATEMENTS", "true")
            children.append(postgres.child())
        if not self.nats_url:
            nats = EmbeddedNats(self.directory / "nats", self.ports["nats"], passwords["nats"])
            self.nats_url = nats.url
            children.append(nats.child())
        if not self.redis_url and self._redis_targets:
            redis = EmbeddedRedis(self.directory / "redis", self.ports["redis"], passwords["redis"])
            self.redis_url = redis.url
            children.append(redis.child())
        self.service_database_urls = {
            service: self.environment.get(database_variable(service))
            or with_role(self.database_url, role_of(service), passwords[role_of(service)])
            for service in SERVICES
        }
        self.reader_database_url = self.environment.get(READER_VARIABLE) or with_role(
            self.loopback_database_url, READER_ROLE, passwords[READER_ROLE]
        )
        return children

    def _app_children(self, needs: Sequence[str]) -> list[ChildSpec]:
        addresses = Addresses(
            home=self.directory,
            http_port=self.http_port,
            nats_url=self.nats_url,
            redis_url=self.redis_url,
            service_database_urls=self.service_database_urls,
            apps=self.apps,
        )
        return [
            ChildSpec(
                name=app.name,
                command=self._command(app),
                environment=app_environment(app, addresses, self.environment),
                ready=partial(answers_ready, app.metrics_port),
                needs=tuple(needs),
                listening=self._handed_to(app),
                stop_timeout_seconds=APP_STOP_TIMEOUT_SECONDS,
                ready_timeout_seconds=APP_READY_TIMEOUT_SECONDS,
            )
            for app in self.apps
        ]

    def _handed_to(self, app: AppProcess) -> tuple[int, ...]:
        if GATEWAY_TARGET not in app.targets:
            return ()
        return tuple(listening.fileno() for listening in self._listening)

    def _kill(self) -> None:
        if self._supervisor is not None:
            self._supervisor.kill_all()


async def answers_ready(port: int) -> bool:
    """Says whether the process with this inner port is ready, or has started and lacks only what it can do without.

    Raises OSError while it does not listen.
    """
    reader, writer = await asyncio.open_connection(LOOPBACK, port, limit=READINESS_BYTES_MAX)
    try:
        writer.write(f"GET /readyz HTTP/1.0\r\nHost: {LOOPBACK}\r\n\r\n".encode())
        status = await reader.readline()
        if status.split(b" ", 2)[1:2] == [b"200"]:
            return True
        await reader.readuntil(b"\r\n\r\n")
        return json.loads(await reader.read() or b"{}").get("started") is True
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
