"""The system under test: the real suite in a home of its own, with an organization that is ready to be written to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import grpc

from chassis import auth, crypto, migrate, rpc
from chassis.clock import SystemClock
from chassis.migrations import READER_ROLE
from chassis.system import SERVICES
from embedded.child import ChildSpec
from embedded.ports import LOOPBACK, free_port
from embedded.shapes import Addresses, AppProcess, Shape, app_environment, role_of, serve_command
from embedded.suite import APP_READY_TIMEOUT_SECONDS, APP_STOP_TIMEOUT_SECONDS, Suite, answers_ready
from embedded.supervisor import Supervisor
from prosa.identity.v1 import access_service_pb2 as access_pb
from prosa.identity.v1.access_service_pb2_grpc import AccessServiceStub
from prosa.ingest.v1 import connection_service_pb2 as connection_pb
from prosa.ingest.v1.connection_service_pb2_grpc import ConnectionServiceStub
from prosa.v1 import options_pb2
from tests.chaos.correspondence import ACCOUNT_ID, INSTAGRAM_INBOX, WHATSAPP_INBOX
from tests.chaos.plan import LEANED_ON, SECOND_INGEST, SERVERS

SECRET = "whsec-of-the-crash-test-0123456789"
OPERATOR = "cli"
SETUP_SECONDS = 15.0


@dataclass(frozen=True, slots=True)
class System:
    """The running suite, and how the organization in it is reached."""

    suite: Suite
    organization_id: UUID
    url: str
    webhook_url: str
    stream_url: str
    api_key: str

    @property
    def supervisor(self) -> Supervisor:
        """Runs the processes; the hand that kills and freezes them."""
        return self.suite.supervisor

    @property
    def logs(self) -> Path:
        """Where each process writes its log."""
        return self.suite.directory / "logs"

    def metrics_port(self, process: str) -> int | None:
        """The inner port of an application process; None for servers."""
        return None if process in SERVERS else self.suite.ports[f"{process}.metrics"]

    def restart_counts(self) -> dict[str, int]:
        """How often each process was started again after it had died."""
        return {child.name: child.restart_count for child in self.supervisor.states()}


@asynccontextmanager
async def running_system(home: Path, shape: Shape, allowed_hosts: str = "") -> AsyncIterator[System]:
    """Starts everything and sets an organization up; stops everything at the end.

    ``allowed_hosts`` are the ``host:port`` of fakes that it may call.
    """
    second = [f"{SECOND_INGEST}.grpc", f"{SECOND_INGEST}.metrics"] if shape is Shape.SERVICES else []
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PROSA_")}
    if allowed_hosts:
        environment["PROSA_ALLOWED_HOSTS"] = allowed_hosts
    suite = Suite(
        home,
        free_port(),
        shape,
        environment=environment,
        migrate=_migrate,
        extra_ports=second,
        extra_children=_second_ingest if second else _none,
        durable=False,
    )
    try:
        await suite.start()
        organization_id, path, api_key = await _set_up(suite)
        url = f"http://{LOOPBACK}:{suite.http_port}"
        yield System(suite, organization_id, url, url + path, f"{url}/api/v1/stream", api_key)
    finally:
        await suite.stop()


async def _migrate(suite: Suite) -> None:
    keys = suite.directory / "keys"
    auth.create_key_files(keys)
    crypto.create_key_file(keys)
    urls = {role_of(service): url for service, url in suite.service_database_urls.items()}
    urls[READER_ROLE] = suite.reader_database_url
    passwords = {name: url.split("://", 1)[1].split("@", 1)[0].split(":", 1)[1] for name, url in urls.items()}
    await asyncio.to_thread(migrate.create_roles, suite.database_url, passwords)
    await asyncio.to_thread(migrate.migrate_up, suite.database_url)


def _none(_: Suite) -> Sequence[ChildSpec]:
    return ()


def _second_ingest(suite: Suite) -> Sequence[ChildSpec]:
    """One more worker: what a dead or frozen one leaves must be taken up by another."""
    ports = suite.ports
    app = AppProcess(SECOND_INGEST, ("ingest",), ports[f"{SECOND_INGEST}.grpc"], ports[f"{SECOND_INGEST}.metrics"])
    addresses = Addresses(
        home=suite.directory,
        http_port=suite.http_port,
        nats_url=suite.nats_url,
        redis_url=suite.redis_url,
        service_database_urls=suite.service_database_urls,
        apps=suite.apps,
    )
    return [
        ChildSpec(
            name=app.name,
            command=serve_command(app),
            environment=app_environment(app, addresses, suite.environment),
            ready=partial(answers_ready, app.metrics_port),
            needs=LEANED_ON,
            stop_timeout_seconds=APP_STOP_TIMEOUT_SECONDS,
            ready_timeout_seconds=APP_READY_TIMEOUT_SECONDS,
        )
    ]


@asynccontextmanager
async def open_channels(suite: Suite) -> AsyncIterator[dict[str, grpc.aio.Channel]]:
    """The operator's channels to the services, by name."""
    private_key = auth.load_private_key(suite.directory / "keys", OPERATOR)
    signer = auth.TokenSigner(OPERATOR, private_key, SystemClock())
    channels = {
        service: rpc.open_channel(f"{LOOPBACK}:{app.grpc_port}", signer)
        for app in suite.apps
        for service in app.targets
        if service in SERVICES
    }
    try:
        yield channels
    finally:
        for channel in channels.values():
            await channel.close()


async def _set_up(suite: Suite) -> tuple[UUID, str, str]:
    """Makes an organization with a connection and two channels; answers its id, the webhook's path and an API key."""
    async with open_channels(suite) as channels:
        async with asyncio.timeout(SETUP_SECONDS):
            access = AccessServiceStub(channels["identity"])
            created = await access.CreateOrganization(
                access_pb.CreateOrganizationRequest(
                    name=f"Crash test {uuid4()}", admin_email=f"{uuid4().hex}@example.com"
                )
            )
            acting = rpc.for_organization(UUID(created.organization.organization_id))
            key = await access.CreateApiKey(
                access_pb.CreateApiKeyRequest(name="reader", scopes=["events.read"]), metadata=acting
            )
            stub = ConnectionServiceStub(channels["ingest"])
            connection = await stub.CreateConnection(
                connection_pb.CreateConnectionRequest(name="Chatwoot", account_id=ACCOUNT_ID, webhook_secret=SECRET),
                metadata=acting,
            )
            for inbox_id, source in (
                (WHATSAPP_INBOX, options_pb2.SOURCE_WHATSAPP),
                (INSTAGRAM_INBOX, options_pb2.SOURCE_INSTAGRAM),
            ):
                await stub.CreateChannel(
                    connection_pb.CreateChannelRequest(
                        connection_id=connection.connection_id,
                        name=f"inbox {inbox_id}",
                        source=source,
                        inbox_id=inbox_id,
                    ),
                    metadata=acting,
                )
    return UUID(created.organization.organization_id), connection.webhook_path, key.secret
