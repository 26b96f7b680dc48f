"""How any service runs: one process hosts one or more modules on one gRPC listener, with everything they share.

A module's ``start(process)`` is one plain function that says what it needs, serves and runs. Stubs always dial, also in
one process: there is one path. A background job that fails stops the process, to be restarted by whoever started it.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import grpc
import grpc.aio
import structlog
from aiohttp import web
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from chassis import auth, outbox, rpc, sockets, telemetry
from chassis.addresses import AllowedHosts
from chassis.clock import Clock, SystemClock
from chassis.config import Settings, address_taken
from chassis.consumer import Consumer
from chassis.crypto import Vault
from chassis.db import Database
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids, Uuid7Ids
from chassis.inner import Readiness, start_inner_listener
from chassis.interceptors import ServerInterceptor
from chassis.keys import Fingerprints
from chassis.leases import Leases
from chassis.nats_connection import NatsConnection
from chassis.outbox import Outbox
from chassis.outgoing import Outgoing
from chassis.queues.items import Attempts
from chassis.queues.queue import Queue
from chassis.queues.watch import QueueWatch
from chassis.queues.worker import BATCH_MAX as QUEUE_BATCH_MAX
from chassis.queues.worker import SLOTS, Worker
from chassis.queues.worker import Handler as QueueHandler
from chassis.redis import Redis
from chassis.relay import Relay
from chassis.streams import Waker
from chassis.system import CALLS, service_of
from chassis.upkeep import Upkeep
from prosa.identity.v1 import access_service_pb2, access_service_pb2_grpc

REVOCATION_SECONDS = 20.0
CANCEL_AGAIN_SECONDS = 1.0

Stub = TypeVar("Stub")
Job = Callable[[], Awaitable[None]]
Start = Callable[["Process"], Awaitable[None]]
OpenSite = Callable[[web.AppRunner, Sequence[socket.socket]], web.BaseSite]
"""Makes what accepts connections from listening sockets."""

logger = structlog.get_logger(__name__)


class JobFailed(RuntimeError):
    """A background job ended that never should; the process must be started again."""


class Host:
    """What all modules of one process share, and their life: start, serve, drain, close."""

    def __init__(self, settings: Settings, *, clock: Clock | None = None, ids: Ids | None = None) -> None:
        self.settings = settings
        self.clock = clock or SystemClock()
        self.ids = ids or Uuid7Ids(self.clock)
        self.metrics = telemetry.Metrics()
        self.readiness = Readiness()
        self.revocations = auth.Revocations(self.clock)
        self.verifier = auth.TokenVerifier(auth.load_public_keys(settings.keys_dir), self.clock)
        self._nats = NatsConnection(settings.nats_url.get_secret_value())
        self.nats = self._nats.client
        self.grpc_address = settings.grpc_address
        self.metrics_port = 0
        self.http_port = 0
        self._server: grpc.aio.Server
        self._listening = False
        self._interceptor: ServerInterceptor
        self._health = health.aio.HealthServicer()
        self._served: list[str] = [health.SERVICE_NAME, reflection.SERVICE_NAME]
        self._databases: dict[str, Database] = {}
        self._channels: dict[tuple[str | None, str, bool], grpc.aio.Channel] = {}
        self._outgoing: Outgoing | None = None
        self._redis: Redis | None = None
        self._jobs: dict[str, Job] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._runners: list[web.AppRunner] = []
        self._inner: web.AppRunner | None = None
        self._preparing: list[Job] = []
        self._draining: list[Callable[[], None]] = []
        self._closing: list[Job] = []
        self._failed: asyncio.Future[BaseException] | None = None
        self._stopping = False
        self._turn = asyncio.Lock()
        """Held by who stops."""
        self._stopped = False

    async def start(self, modules: Mapping[str, Start]) -> None:
        """Starts the modules, then the listener, then the jobs; ready once it returns.

        Raises RuntimeError where it was started before, or stopped: a host lives once.
        """
        if self._failed is not None or self._stopping:
            raise RuntimeError("A host is started once, and not after it was stopped. Make another one.")
        self._failed = asyncio.get_running_loop().create_future()
        self.readiness.add("nats", self._nats.check, needed=False)
        self._spawn("nats", self._nats.keep)
        await self._nats.wait_for_answer()
        self._interceptor = ServerInterceptor(self.verifier, self.revocations, self.metrics)
        self._server = grpc.aio.server(
            interceptors=[self._interceptor],
            options=[
                *rpc.CHANNEL_OPTIONS,
                ("grpc.so_reuseport", 0),
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ],
        )
        try:
            port = self._server.add_insecure_port(self.settings.grpc_address)
        except RuntimeError as error:
            raise address_taken("PROSA_GRPC_ADDRESS", self.settings.grpc_address) from error
        host, _, wanted = self.settings.grpc_address.rpartition(":")
        if wanted == "0":
            self.grpc_address = f"{host}:{port}"
        for name, start in modules.items():
            await start(Process(self, name))
        Process(self, next(iter(modules))).watch_revocations()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(self._served, self._server)
        for prepare in self._preparing:
            await prepare()
        await self._server.start()
        self._listening = True
        for name, job in self._jobs.items():
            self._spawn(name, job)
        host, wanted_port = self.settings.metrics_host, self.settings.metrics_port
        try:
            self._inner, self.metrics_port = await start_inner_listener(
                host, wanted_port, self.metrics.registry, self.readiness
            )
        except OSError as error:
            raise address_taken("PROSA_METRICS_HOST:PROSA_METRICS_PORT", f"{host}:{wanted_port}") from error
        for service in ["", *self._served]:
            await self._health.set(service, health_pb2.HealthCheckResponse.SERVING)
        self.readiness.serving = True
        logger.info("process_ready", modules=sorted(modules), grpc_address=self.grpc_address)

    async def failed(self) -> BaseException:
        """Waits until a background job fails."""
        assert self._failed is not None
        return await asyncio.shield(self._failed)

    async def stop(self) -> None:
        """Not ready, drain, close; returns when nothing of it is left.

        Also before ``start``, where that was cut short, where an earlier stop was, and once more after the last.
        """
        self._stopping = True
        self.readiness.serving = False
        async with self._turn:
            if not self._stopped:
                await self._stop()
                self._stopped = True

    async def _stop(self) -> None:
        await self._health.enter_graceful_shutdown()
        drain: float | None = self.settings.drain_seconds
        for end in self._draining:
            end()
        for runner in reversed(self._runners):
            await runner.cleanup()
        if hasattr(self, "_server"):
            self._interceptor.end_streams()
            if not self._listening:
                # gRPC lets go of the port of no server but one that was started.
                drain = None
                await self._server.start()
            await self._server.stop(grace=drain)
        await self._cancel_jobs()
        while self._closing:
            await self._closing[0]()
            del self._closing[0]
        for channel in self._channels.values():
            await channel.close()
        for database in self._databases.values():
            await database.close()
        await self._nats.close()
        # The inner listener goes last: it says "not ready" until the end.
        if self._inner is not None:
            await self._inner.cleanup()
        logger.info("process_stopped")

    async def _cancel_jobs(self) -> None:
        # Under Python 3.11 wait_for, which the NATS client rests on, swallows a cancellation that comes in the moment
        # of its answer (gh-86296): a job that goes on is told again.
        running = set(self._tasks)
        while running:
            for task in running:
                task.cancel()
            _, running = await asyncio.wait(running, timeout=CANCEL_AGAIN_SECONDS)

    def database(self, service: str) -> Database:
        """The service's pool, one per process."""
        if service not in self._databases:
            settings = self.settings
            database = Database.connect(
                settings.database_url(service),
                service=service,
                application_name=f"prosa-{service}",
                prepared=settings.prepared_statements,
            )
            self._databases[service] = database
            self.readiness.add(f"postgres.{service}", database.check)
        return self._databases[service]

    def channel(self, issuer: str | None, address: str, *, bare: bool = False) -> grpc.aio.Channel:
        """A channel on which calls are signed by the issuer; without one, they carry only what the call brings."""
        key = (issuer, address, bare)
        if key not in self._channels:
            signer = None if issuer is None else self.signer(issuer)
            self._channels[key] = rpc.open_channel(address, signer, bare=bare)
        return self._channels[key]

    def signer(self, issuer: str) -> auth.TokenSigner:
        """Signs as one of the modules that run here."""
        return auth.TokenSigner(issuer, auth.load_private_key(self.settings.keys_dir, issuer), self.clock)

    def outgoing(self) -> Outgoing:
        """Calls addresses that somebody else gave us; one per process."""
        if self._outgoing is None:
            self._outgoing = Outgoing(AllowedHosts(self.settings.allowed_hosts))
            self.on_stop(self._outgoing.close)
        return self._outgoing

    def redis(self) -> Redis:
        """The client of Redis; one per process."""
        if self._redis is None:
            self._redis = Redis(self.settings.redis_url.get_secret_value(), self.metrics.registry)
            # What needs it is refused by itself; to send the process no work would stop all else with it.
            self.readiness.add("redis", self._redis.check, needed=False, decides=False)
            self.on_stop(self._redis.close)
        return self._redis

    def serve(self, add_to_server: Callable[[Any, grpc.aio.Server], None], servicer: Any, names: Sequence[str]) -> None:
        """Hosts a servicer under its full service names."""
        add_to_server(servicer, self._server)
        self._served.extend(names)

    def run(self, name: str, job: Job) -> None:
        """Runs a job for as long as the process lives; it must not end."""
        self._jobs.setdefault(name, job)

    def prepare(self, job: Job) -> None:
        """Does something once, before anything is served."""
        self._preparing.append(job)

    def on_drain(self, end: Callable[[], None]) -> None:
        """Ends what calls under way wait for when the process begins to stop, before its servers wait for the calls."""
        self._draining.append(end)

    def on_stop(self, close: Job) -> None:
        """Closes something when the process stops, after its servers and jobs."""
        self._closing.append(close)

    async def serve_http(self, runner: web.AppRunner, open_site: OpenSite, host: str, port: int) -> int:
        """Serves HTTP on the sockets that this process inherited, else on its own; answers the port."""
        await runner.setup()
        self._runners.append(runner)
        try:
            listening = sockets.inherited() or sockets.listen(host, port)
        except OSError as error:
            raise address_taken("PROSA_HTTP_HOST:PROSA_HTTP_PORT", f"{host}:{port}") from error
        self.http_port = int(listening[0].getsockname()[1])
        await open_site(runner, listening).start()
        return self.http_port

    def _spawn(self, name: str, job: Job) -> None:
        async def guarded() -> None:
            try:
                await job()
                error: BaseException = JobFailed(f"The job {name} ended.")
            except asyncio.CancelledError:
                if self._stopping:
                    raise
                error = JobFailed(f"The job {name} was cancelled by itself.")
            except Exception as raised:
                error = raised
            self.metrics.job_failures.labels(name).inc()
            logger.error("job_failed", job=name, exc_info=error)
            assert self._failed is not None
            if not self._failed.done():
                self._failed.set_result(error)

        self._tasks.append(asyncio.create_task(guarded(), name=name))


class Process:
    """One module's view of the process that hosts it: what ``start(process)`` is given."""

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self.name = name
        """The target's name; ``ingest-accept`` acts as the service ``ingest``."""
        self.service = service_of(name)
        self.settings = host.settings
        self.clock = host.clock
        self.ids = host.ids
        self.metrics = host.metrics
        self.nats = host.nats
        self.readiness = host.readiness
        self.verifier = host.verifier
        self.revocations = host.revocations
        self.signer = host.signer(self.service)
        self._outbox: Outbox | None = None

    def database(self, service: str | None = None) -> Database:
        """The pool of the service's own role."""
        return self._host.database(service or self.service)

    def vault(self) -> Vault:
        """Seals and opens secrets at rest, with the keys that the service has always done so with."""
        vault = Vault.load(self.settings.keys_dir)
        fingerprints = Fingerprints(self.database(), self.service, self.settings.keys_dir, vault, self.clock)
        self._host.prepare(fingerprints.compare_first)
        self.readiness.add(f"keys.{self.service}", fingerprints.check)
        return vault

    def outgoing(self) -> Outgoing:
        """Calls addresses that somebody else gave us."""
        return self._host.outgoing()

    def redis(self) -> Redis:
        """Limits and quotas; each call says what holds while Redis is away. The target's name belongs into
        ``REDIS_TARGETS``, for `prosa up` to start one."""
        return self._host.redis()

    def outbox(self) -> Outbox:
        """Where the service leaves its facts; they are published for as long as the process lives."""
        if self._outbox is not None:
            return self._outbox
        relay = Relay(self.service, self.database(), self.leases(), self.nats, self.metrics)
        self.readiness.add(f"streams.{self.name}.relay", relay.refusals.check, needed=False)
        self.run("relay", relay.run)
        self._outbox = Outbox(self.service, self.ids, Waker(self.nats, outbox.wake_subject(self.service)).wake)
        return self._outbox

    def idempotency(self) -> IdempotencyStore:
        """The service's stored answers."""
        return IdempotencyStore(self.service)

    def leases(self) -> Leases:
        """Leases under a holder's id of their own."""
        return Leases(self.database(), self.service, self.ids.new())

    def stub(self, stub: Callable[[grpc.aio.Channel], Stub], service: str) -> Stub:
        """A stub of another service; it always dials."""
        return stub(self.channel(service))

    def channel(self, service: str, *, signed: bool = True, bare: bool = False) -> grpc.aio.Channel:
        """A channel to another service; on a signed one every call that brings no token carries this service's own.

        On a bare one calls go as they are made, without token, ids or deadline but their own.
        """
        called = service_of(service.replace("_", "-"))
        if called not in CALLS[self.service]:
            raise ValueError(f"{self.service} may not call {called}: chassis.system says who may call whom.")
        # A process that serves on a port drawn at start dials itself there.
        address = self.settings.address(service)
        if address == self.settings.grpc_address:
            address = self._host.grpc_address
        return self._host.channel(self.service if signed and not bare else None, address, bare=bare)

    def serve(self, add_to_server: Callable[[Any, Any], None], servicer: Any, *names: str) -> None:
        """Hosts a servicer under its full service names."""
        self._host.serve(add_to_server, servicer, names)

    async def serve_http(self, runner: web.AppRunner, open_site: OpenSite, host: str, port: int) -> int:
        """Serves HTTP on the sockets that this process inherited, else on its own; answers the port."""
        return await self._host.serve_http(runner, open_site, host, port)

    def on_drain(self, end: Callable[[], None]) -> None:
        """Ends what calls under way wait for when the process begins to stop, before its servers wait for the calls."""
        self._host.on_drain(end)

    def on_stop(self, close: Job) -> None:
        """Closes something when the process stops, after its servers and jobs."""
        self._host.on_stop(close)

    def run(self, name: str, job: Job) -> None:
        """Runs a job for as long as the process lives."""
        self._host.run(f"{self.name}.{name}", job)

    def consumer(self, name: str) -> Consumer:
        """Reads other services' events from when the process is served; handlers are named by ``on``."""
        consumer = Consumer(
            name,
            self.service,
            db=self.database(),
            leases=self.leases(),
            nats=self.nats,
            clock=self.clock,
            metrics=self.metrics,
        )
        self.readiness.add(f"streams.{self.name}.{name}", consumer.refusals.check, needed=False)
        self.run(f"consumer.{name}", consumer.run)
        return consumer

    def queue(self, queue: Queue) -> Queue:
        """The service's queue, whose puts wake its workers, in whatever process they run."""
        return replace(queue, wake=Waker(self.nats, queue.wake_subject).wake)

    def work(
        self,
        queue: Queue,
        handler: QueueHandler[Any],
        attempts: Attempts | None = None,
        *,
        slots: int = SLOTS,
        batch_max: int = QUEUE_BATCH_MAX,
    ) -> None:
        """Works the queue off for as long as the process lives, see `chassis.queues.worker.Worker`."""
        worker: Worker[Any] = Worker(
            queue,
            handler,
            db=self.database(),
            leases=self.leases(),
            clock=self.clock,
            nats=self.nats,
            metrics=self.metrics,
            attempts=attempts,
            slots=slots,
            batch_max=batch_max,
        )
        self.run(f"queue.{queue.name}", worker.run)
        self.run(f"queue.{queue.name}.watch", QueueWatch(queue, self.database(), self.clock, self.metrics).run)

    def maintain(self) -> None:
        """Keeps the service's partitions ready, before anything is served, and hourly drops what has expired."""
        upkeep = Upkeep(self.service, self.database(), self.clock)
        self._host.prepare(upkeep.first)
        self.run("maintain", upkeep.run)

    def watch_revocations(self) -> None:
        """Learns of revoked keys by event, and asks identity for all of them every 20 s."""
        self._host.run("revocations", self._watch_revocations)

    async def _watch_revocations(self) -> None:
        stub = self.stub(access_service_pb2_grpc.AccessServiceStub, "identity")
        woken = asyncio.Event()

        async def on_revoked(_message: Any) -> None:
            woken.set()

        await self.nats.listen(outbox.subject("prosa.identity.v1.PrincipalRevoked"), on_revoked)
        while True:
            woken.clear()
            try:
                answer = await stub.ListRevocations(access_service_pb2.ListRevocationsRequest(), timeout=5.0)
                self._host.revocations.update(
                    ((item.principal, item.revoke_time.ToMicroseconds() / 1e6) for item in answer.revocations),
                    complete=True,
                )
            except grpc.aio.AioRpcError as error:
                logger.info("revocations_not_heard", code=error.code().name)
                await asyncio.sleep(1.0)
                continue
            try:
                async with asyncio.timeout(REVOCATION_SECONDS):
                    await woken.wait()
            except TimeoutError:
                continue
