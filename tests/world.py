"""The world an integration test lives in: real servers, a migrated database of its own, services behind real stubs."""

from __future__ import annotations

import asyncio
import functools
import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import grpc
import grpc.aio
import psycopg
import psycopg_pool
from argon2 import PasswordHasher
from google.protobuf.message import Message
from grpc_status import rpc_status
from pydantic import SecretStr
from sqlalchemy.engine import make_url

from chassis import rpc
from chassis.auth import TokenSigner, audience_of
from chassis.clock import Clock, SystemClock
from chassis.config import Settings
from chassis.db import Database
from chassis.errors import ProsaError, from_status
from chassis.migrations import READER_ROLE, role
from chassis.process import Host
from chassis.system import SERVICES
from prosa.v1 import options_pb2

ROLE_PASSWORD = "only-for-tests"
PATIENCE_SECONDS = 60.0
"""How long a test waits for what must come. It measures nothing: a machine with other work is slow, and not wrong."""
ADMIN_CONNECTIONS = 4
QUICK_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
"""Hashes as the product does, in microseconds: every organization of a test has an owner with a password, and at the
product's cost most of a test would be that."""

Stub = TypeVar("Stub")
Fact = TypeVar("Fact", bound=Message)

OWNER, ADMIN, AGENT, VIEWER = (
    options_pb2.ROLE_OWNER,
    options_pb2.ROLE_ADMIN,
    options_pb2.ROLE_AGENT,
    options_pb2.ROLE_VIEWER,
)


@dataclass(frozen=True)
class FixedToken:
    """Signs nothing: sends the token it was given, or none."""

    token: str | None

    def service_token(self, audience: str, organization_id: UUID | None = None) -> str | None:
        """The token."""
        return self.token


@dataclass(frozen=True)
class ServiceTokens:
    """Signs as a service, always for the same organization or for none."""

    signer: TokenSigner
    organization_id: UUID | None

    def service_token(self, audience: str, organization_id: UUID | None = None) -> str:
        """A token for calls to one service."""
        return self.signer.service_token(audience, self.organization_id)


def unheard() -> None:
    """Wakes nobody: for an outbox whose relay, if there is one, looks by itself."""


def role_url(database_url: str, service: str) -> str:
    """The URL of a service's own role in a test's database."""
    url = make_url(database_url).set(username=role(service), password=ROLE_PASSWORD)
    return url.render_as_string(hide_password=False)


def reader_url(database_url: str) -> str:
    """The URL of the role that reads everything."""
    url = make_url(database_url).set(username=READER_ROLE, password=ROLE_PASSWORD)
    return url.render_as_string(hide_password=False)


def settings_for(database_url: str, nats_url: str, redis_url: str, keys_dir: Path, **changes: Any) -> Settings:
    """Settings of a process on ports drawn at start."""
    values: dict[str, Any] = {f"{service}_database_url": role_url(database_url, service) for service in SERVICES}
    values |= {
        "nats_url": SecretStr(nats_url),
        "redis_url": SecretStr(redis_url),
        "keys_dir": keys_dir,
        "grpc_address": "127.0.0.1:0",
        "http_port": 0,
        "metrics_port": 0,
        "drain_seconds": 2.0,
        "allowed_hosts": "127.0.0.1,localhost",
        "public_url": "http://prosa.invalid",
    }
    return Settings(**(values | changes))


@dataclass
class World:
    """One running process with the chosen targets, and hands to act in it as anybody."""

    database_url: str
    settings: Settings
    host: Host
    clock: Clock
    _channel: grpc.aio.Channel | None = None
    _databases: dict[str, Database] = field(default_factory=dict)
    _pool: psycopg_pool.AsyncConnectionPool[Any] | None = None

    def as_service(self, name: str, organization_id: UUID | None = None) -> Act:
        """Acts as a service, for one organization or across them."""
        return self._act(ServiceTokens(self.host.signer(name), organization_id))

    def as_user(self, organization_id: UUID, user_role: int = OWNER) -> Act:
        """Acts as a person with a role, who has just shown a second factor."""
        token, _ = self.host.signer("identity").person_token(
            kind="user",
            principal=f"user:{uuid4()}",
            organization_id=organization_id,
            role=user_role,
            mfa_time=self.clock.now(),
            mfa_set_up=True,
        )
        return self._act(FixedToken(token))

    def as_key(self, organization_id: UUID, *scopes: str) -> Act:
        """Acts as an API key with scopes."""
        token, _ = self.host.signer("identity").person_token(
            kind="key", principal=f"key:{uuid4()}", organization_id=organization_id, scopes=scopes
        )
        return self._act(FixedToken(token))

    def as_nobody(self) -> Act:
        """Acts without a token."""
        return self._act(FixedToken(None))

    def with_token(self, token: str) -> Act:
        """Acts with a token of the test's own."""
        return self._act(FixedToken(token))

    def _act(self, tokens: FixedToken | ServiceTokens) -> Act:
        if self._channel is None:
            # One for all: a connection each would take four files each, of which an ordinary user has 1024.
            self._channel = rpc.open_channel(self.host.grpc_address, None)
        return Act(self._channel, tokens)

    def database(self, service: str) -> Database:
        """The database as the service's own role sees it."""
        if service not in self._databases:
            self._databases[service] = Database.connect(role_url(self.database_url, service))
        return self._databases[service]

    async def admin(self) -> psycopg.AsyncConnection[Any]:
        """A connection that sees everything; to be used with ``async with``."""
        url = make_url(self.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
        return await psycopg.AsyncConnection.connect(url, autocommit=True, row_factory=psycopg.rows.dict_row)

    async def rows(self, query: str, *parameters: Any) -> list[dict[str, Any]]:
        """What a query finds when it may see everything."""
        if self._pool is None:
            url = make_url(self.database_url).set(drivername="postgresql").render_as_string(hide_password=False)
            self._pool = psycopg_pool.AsyncConnectionPool(
                url,
                min_size=1,
                max_size=ADMIN_CONNECTIONS,
                open=False,
                kwargs={"autocommit": True, "row_factory": psycopg.rows.dict_row},
            )
            await self._pool.open()
        async with self._pool.connection() as connection:
            found: list[dict[str, Any]] = await (await connection.execute(query.encode(), parameters)).fetchall()
            return found

    async def announced(self, fact: type[Fact], organization_id: UUID) -> list[Fact]:
        """The facts of one type that an organization's services have left in their outbox, oldest first."""
        name = fact.DESCRIPTOR.full_name
        service = name.split(".")[1]
        found = await self.rows(
            f"select payload from {service}.outbox where type = %s and organization_id = %s order by position",
            name,
            organization_id,
        )
        return [fact.FromString(row["payload"]) for row in found]

    async def all_announced(self, service: str, organization_id: UUID) -> list[Message]:
        """Every fact that a service has left in its outbox for an organization, oldest first."""
        found = await self.rows(
            f"select type, payload from {service}.outbox where organization_id = %s order by position", organization_id
        )
        events = importlib.import_module(f"prosa.{service}.v1.events_pb2")
        return [getattr(events, row["type"].rpartition(".")[2]).FromString(row["payload"]) for row in found]

    async def until_waiting_on_locks(self, count: int) -> None:
        """Waits until so many connections of this database wait for a lock that another holds."""
        async with asyncio.timeout(PATIENCE_SECONDS), await self.admin() as connection:
            while True:
                found = await connection.execute(
                    "select count(*) as waiting from pg_stat_activity"
                    " where datname = current_database() and wait_event_type = 'Lock'"
                )
                row = await found.fetchone()
                assert row is not None
                if row["waiting"] >= count:
                    return
                await asyncio.sleep(0.01)

    async def until(self, query: str, *parameters: Any, seconds: float = PATIENCE_SECONDS) -> list[dict[str, Any]]:
        """Waits until a query, which sees everything, finds rows; answers them."""
        async with asyncio.timeout(seconds):
            while True:
                if found := await self.rows(query, *parameters):
                    return found
                await asyncio.sleep(0.02)

    async def close(self) -> None:
        """Closes what was opened by acting."""
        if self._pool is not None:
            await self._pool.close()
        if self._channel is not None:
            await self._channel.close()
        for database in self._databases.values():
            await database.close()


@dataclass(frozen=True)
class Act:
    """Calls as somebody."""

    shared: grpc.aio.Channel
    tokens: FixedToken | ServiceTokens

    @property
    def channel(self) -> grpc.aio.Channel:
        """A channel on which every call is made as this somebody; it has what stubs ask of one."""
        return self  # type: ignore[return-value]

    def stub(self, stub: Callable[[grpc.aio.Channel], Stub]) -> Stub:
        """A stub on which every call is made as this somebody."""
        return stub(self.channel)

    def unary_unary(self, method: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """A call that brings the token."""
        return self._bringing(method, self.shared.unary_unary(method, *arguments, **options))

    def unary_stream(self, method: str, *arguments: Any, **options: Any) -> Callable[..., Any]:
        """A stream that brings the token."""
        return self._bringing(method, self.shared.unary_stream(method, *arguments, **options))

    def _bringing(self, method: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def bring(request: Message, *, metadata: Sequence[tuple[str, Any]] | None = None, **options: Any) -> Any:
            brought = dict(metadata or ())
            token = self.tokens.service_token(audience_of(method))
            own = () if token is None or "authorization" in brought else (("authorization", f"Bearer {token}"),)
            return call(request, metadata=grpc.aio.Metadata(*own, *brought.items()), **options)

        return bring


def error_info(error: grpc.aio.AioRpcError) -> ProsaError:
    """The error as its service raised it: code, reason, message, violations."""
    status = rpc_status.from_call(error)  # type: ignore[arg-type]
    assert status is not None, error
    return from_status(status)


async def start_world(
    settings: Settings,
    database_url: str,
    targets: Sequence[str],
    clock: Clock | None = None,
    webhook_limits: Any = None,
) -> World:
    """Starts the targets in one process; the gateway with its own `WebhookLimits` unless there are others."""
    chosen = {}
    for target in targets:
        # Imported one by one, so that a service's tests run while another's module is being worked on.
        package = "gateway" if target == "gateway" else f"services.{target.partition('-')[0]}"
        module = importlib.import_module(f"{package}.module")
        chosen[target] = module.start_accept if target == "ingest-accept" else module.start
        if target == "gateway":
            chosen[target] = functools.partial(module.start, webhook_limits=webhook_limits)
        if target == "identity":
            hashing = importlib.import_module("services.identity.access.passwords")
            chosen[target] = functools.partial(module.start, passwords=hashing.Passwords(QUICK_HASHER))
    host = Host(settings, clock=clock or SystemClock())
    await host.start(chosen)
    host.revocations.update([], complete=True)
    if "identity" not in targets:
        # Nobody is there to be asked again: a module that takes longer than a minute would be refused every token.
        host.revocations.DEAF_SECONDS = math.inf
    return World(database_url, settings, host, host.clock)
