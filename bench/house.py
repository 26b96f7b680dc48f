"""The suite under measurement, in a home of its own, with one organization at work in it."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

import psycopg

from bench import bodies, costs, load
from bench.limits import sql
from chassis import auth, crypto, migrate
from chassis.clock import SystemClock
from cli.calls import CALL_SECONDS, Calls
from cli.demo.seed import ensure_board
from cli.migrate import passwords
from embedded.child import process_tree
from embedded.ports import LOOPBACK, free_port
from embedded.shapes import AppProcess, Shape, serve_command
from embedded.suite import Suite
from prosa.identity.v1 import access_service_pb2 as access
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.ingest.v1 import connection_service_pb2 as connections
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.v1.options_pb2 import SOURCE_WHATSAPP

Spent = dict[str, costs.Used]

SETTLE_SECONDS = 60.0
PRINCIPAL = "cli"
NOTHING = costs.Used({}, 0.0)
REST, RECEIVER, POSTGRES = "rest", "receiver", "postgres"
BARE_RECEIVER = "bare receiver"


class Way(StrEnum):
    """How a limit reaches PostgreSQL. The product goes over the socket; the limits are defined over loopback."""

    LOOPBACK = "loopback"
    SOCKET = "socket"


@dataclass(frozen=True, slots=True)
class BareReceiver:
    """A limit's process."""

    pid: int
    port: int


@dataclass
class House:
    """The running suite, its organization, and the bare receiver beside it."""

    suite: Suite
    calls: Calls
    organization_id: str
    connection_id: str
    channel_id: str
    board_id: str
    stage_id: str
    secret: str
    webhook_path: str
    bare_receivers: Mapping[Way, BareReceiver]
    known: int = 0
    """How many contacts were loaded ahead."""
    _fresh: int = 50_000_000
    _message_id: int = 1
    _runs: itertools.count[int] = field(default_factory=itertools.count)

    @property
    def database_url(self) -> str:
        """The administrator's, who sees everything."""
        return self.suite.database_url

    def stream(
        self, webhooks_max: int, *, known: int | None = None, new_share: float = bodies.NEW_SHARE
    ) -> bodies.Stream:
        """A run of webhooks nobody has sent before; at most `webhooks_max` of them."""
        stream = bodies.Stream(
            run=f"{secrets.token_hex(3)}{next(self._runs)}",
            secret=self.secret,
            path=self.webhook_path,
            host=LOOPBACK,
            known=known or self.known or bodies.CONTACTS,
            fresh=self._fresh,
            first_message_id=self._message_id,
            new_share=new_share,
        )
        self._fresh += webhooks_max
        self._message_id += webhooks_max
        return stream

    def limit_url(self, way: Way) -> str:
        """The administrator's, as a limit is to use it."""
        return self.suite.database_url if way is Way.SOCKET else self.suite.loopback_database_url

    def job(self, *, seconds: float, rate: float = 0.0, bare: Way | None = None, backlog_max: int = 0) -> load.Job:
        """A job against the product, or against a bare receiver."""
        stream = self.stream(200_000)
        return load.Job(
            host=LOOPBACK,
            port=self.bare_receivers[bare].port if bare else self.suite.http_port,
            stream=stream,
            seed=stream.first_message_id,
            seconds=seconds,
            rate=rate,
            database_url=self.database_url if backlog_max else "",
            backlog_max=backlog_max,
        )

    def spent(self) -> Spent:
        """The processor time that every process of each child of the suite has used since it was started."""
        return {
            state.name: costs.used(process_tree(state.pid))
            for state in self.suite.supervisor.states()
            if state.pid is not None
        }

    def cost(self, before: Spent, count: int) -> costs.Cost:
        """The processor time of each child of the suite since `before`, for each of so many webhooks.

        What a process used that has ended meanwhile is lost; those that work for us do not end.
        """
        return {
            name: costs.each(costs.since(before.get(name, NOTHING), after), count)
            for name, after in self.spent().items()
        }

    def limit_spent(self, way: Way) -> Spent:
        """The processor time that a bare receiver has used, and PostgreSQL."""
        return {
            POSTGRES: self.spent()[POSTGRES],
            BARE_RECEIVER: costs.used(process_tree(self.bare_receivers[way].pid)),
        }

    async def execute(self, statement: str, *parameters: object) -> None:
        """Runs a statement that sees everything."""
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as connection:
            await connection.execute(statement.encode(), parameters or None)

    async def rows(self, query: str, *parameters: object) -> list[tuple[object, ...]]:
        """What a query finds when it may see everything."""
        async with await psycopg.AsyncConnection.connect(self.database_url, autocommit=True) as connection:
            return await (await connection.execute(query.encode(), parameters or None)).fetchall()

    async def forget_webhooks(self) -> None:
        """Empties what the receiver has taken in; nobody else may be at work."""
        await self.execute("truncate ingest.webhook_queue, ingest.webhook_events, ingest.delivery_keys")

    async def settle(self) -> None:
        """Waits until nothing waits any more."""
        async with asyncio.timeout(SETTLE_SECONDS):
            while any((await self.rows(load.BACKLOG))[0]):  # noqa: ASYNC110 it is others' work that is waited for
                await asyncio.sleep(0.1)


@asynccontextmanager
async def open_house(directory: Path | None = None, profile: Path | None = None) -> AsyncIterator[House]:
    """Starts the suite in a new home, with the receiver in a process of its own; takes the home away afterwards.

    With `profile`, the processes run under the profiler and leave their reports in that directory.
    """

    def profiled(app: AppProcess) -> tuple[str, ...]:
        return (sys.executable, "-P", "-m", "bench.profiled", ",".join(app.targets), str(profile))

    with tempfile.TemporaryDirectory(prefix="prosa-bench-", dir=directory) as home:
        # PostgreSQL may run as another user, who must be able to pass.
        Path(home).chmod(0o755)  # noqa: ASYNC240 before anything runs
        suite = Suite(
            Path(home) / "home",
            free_port(),
            Shape.RECEIVER,
            migrate=_migrate,
            command=profiled if profile else serve_command,
        )
        try:
            await suite.start()
            async with _prepared(suite) as house:
                yield house
        finally:
            await suite.stop()


async def _migrate(suite: Suite) -> None:
    auth.create_key_files(suite.directory / "keys")
    crypto.create_key_file(suite.directory / "keys")
    await asyncio.to_thread(migrate.create_roles, suite.database_url, passwords(suite.operator_environment()))
    await asyncio.to_thread(migrate.migrate_up, suite.database_url)


@asynccontextmanager
async def _prepared(suite: Suite) -> AsyncIterator[House]:
    key = auth.load_private_key(suite.directory / "keys", PRINCIPAL)
    address = next(app for app in suite.apps if "identity" in app.targets).grpc_port
    calls = Calls(auth.TokenSigner(PRINCIPAL, key, SystemClock()), {}, anywhere=f"{LOOPBACK}:{address}")
    secret = secrets.token_hex(16)
    created = await calls.stub(AccessServiceStub, "identity").CreateOrganization(
        access.CreateOrganizationRequest(name="Bench", admin_email="bench@example.com"), timeout=CALL_SECONDS
    )
    organization_id = created.organization.organization_id
    metadata = calls.organization(organization_id)
    board_id = await ensure_board(calls, organization_id)
    stub = calls.stub(ConnectionServiceStub, "ingest")
    connection = await stub.CreateConnection(
        connections.CreateConnectionRequest(name="Chatwoot", account_id=bodies.ACCOUNT_ID, webhook_secret=secret),
        metadata=metadata,
        timeout=CALL_SECONDS,
    )
    channel = await stub.CreateChannel(
        connections.CreateChannelRequest(
            connection_id=connection.connection_id, name="WhatsApp", source=SOURCE_WHATSAPP, inbox_id=bodies.INBOX_ID
        ),
        metadata=metadata,
        timeout=CALL_SECONDS,
    )
    await sql.prepare(suite.database_url, bodies.CONTACTS)
    async with (
        _bare_receiver(suite.loopback_database_url, secret) as loopback_receiver,
        _bare_receiver(suite.database_url, secret) as socket_receiver,
    ):
        house = House(
            suite=suite,
            calls=calls,
            organization_id=organization_id,
            connection_id=connection.connection_id,
            channel_id=channel.channel_id,
            board_id=board_id,
            stage_id="",
            secret=secret,
            webhook_path=connection.webhook_path,
            bare_receivers={Way.LOOPBACK: loopback_receiver, Way.SOCKET: socket_receiver},
        )
        stages = await house.rows("select id::text from crm.stages where board_id = %s order by position", board_id)
        house.stage_id = str(stages[0][0])
        try:
            yield house
        finally:
            await calls.close()


@asynccontextmanager
async def _bare_receiver(database_url: str, secret: str) -> AsyncIterator[BareReceiver]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench.limits.receiver", database_url, secret), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        yield BareReceiver(process.pid, int(await process.stdout.readline()))
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        await process.wait()
