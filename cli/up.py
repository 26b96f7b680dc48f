"""`prosa up`: the whole suite on this machine, with servers of its own, until Ctrl-C."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
from rich.console import Console

from chassis import auth, keys, migrate, open_files, telemetry
from chassis.clock import SystemClock
from chassis.system import SERVICES
from cli import bootstrap, streams
from cli.calls import PRINCIPAL, Calls
from cli.demo import answering, campaigning, fake_chatwoot, fake_evolution, live, selling, state, talking
from cli.demo.guide import guide, typed
from cli.demo.seed import seed_demo
from cli.failures import database_of, operation
from cli.grpc_proxy import GrpcProxy
from cli.home import HOME_DEFAULT, HTTP_PORT_DEFAULT, PUBLIC_VARIABLE, checked_public_url
from cli.metrics import MetricsPage
from cli.migrate import passwords
from cli.output import Json, print_json
from embedded.child import ChildSpec
from embedded.errors import EmbeddedError
from embedded.ports import LOOPBACK
from embedded.shapes import RECEIVERS_MAX, Shape, default_shape
from embedded.suite import READER_VARIABLE, Suite

METRICS_PORT = "metrics"
PROXY_PORT = "grpc"
WATCH_SECONDS = 1.0
ORGANIZATION_SECONDS = 2.0
SUPERVISOR_LOG = "supervisor.log"
AUTO = "auto"

logger = structlog.get_logger(__name__)


@operation
def up(
    home: Annotated[
        Path, typer.Option(envvar="PROSA_HOME", help="Where data, keys and logs lie.", show_default=True)
    ] = Path(HOME_DEFAULT),
    http_port: Annotated[
        int, typer.Option("--http-port", "--port", envvar="PROSA_HTTP_PORT", min=1, max=65535, help="The public port.")
    ] = HTTP_PORT_DEFAULT,
    demo: Annotated[bool, typer.Option("--demo", help="Make an organization and let conversations arrive.")] = False,
    shape: Annotated[str, typer.Option(help="Processes: auto, all, receiver or services.")] = AUTO,
    receivers: Annotated[
        int | None,
        typer.Option(
            envvar="PROSA_RECEIVERS",
            min=1,
            max=RECEIVERS_MAX,
            help="Processes that receive, with the shape receiver; 2 from 4 cores on.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start everything: PostgreSQL, NATS, migrations and all services. Ctrl-C stops all of it."""
    try:
        chosen = default_shape() if shape == AUTO else Shape(shape)
    except ValueError:
        raise typer.BadParameter(f"{shape} is none of: {AUTO}, {', '.join(Shape)}", param_hint="--shape") from None
    if demo and os.environ.get("PROSA_TLS_CERTIFICATE"):
        raise typer.BadParameter(
            "The demo's Chatwoot knows plain HTTP alone: unset PROSA_TLS_CERTIFICATE and PROSA_TLS_KEY.",
            param_hint="--demo",
        )
    streams.when_nobody_reads(streams.stop_in_order)
    asyncio.run(Up(home, http_port, chosen, receivers=receivers, demo=demo, as_json=as_json).run())


class WatchedSuite(Suite):
    """A suite that ends what watches it before it stops: a stream held open would make the services drain for long."""

    def __init__(
        self,
        *arguments: Any,
        before_stop: Callable[[], Awaitable[None]],
        complete: Callable[[WatchedSuite], None],
        **options: Any,
    ) -> None:
        super().__init__(*arguments, **options)
        self._before_stop = before_stop
        self._complete = complete

    def _choose(self) -> None:
        super()._choose()
        self._complete(self)

    async def stop(self) -> None:
        """As of any suite."""
        await self._before_stop()
        await super().stop()


class Up:
    """One run of the suite: what the supervisor does besides supervising."""

    def __init__(
        self, home: Path, http_port: int, shape: Shape, *, receivers: int | None, demo: bool, as_json: bool
    ) -> None:
        self._demo = demo
        self._as_json = as_json
        # With JSON, standard output is for the one document.
        self._console = Console(stderr=as_json, highlight=False, markup=False)
        scheme = "https" if os.environ.get("PROSA_TLS_CERTIFICATE") else "http"
        self._url = f"{scheme}://{LOOPBACK}:{http_port}"
        self._begun = time.monotonic()
        named = os.environ.get(PUBLIC_VARIABLE, "")
        self._public_url = checked_public_url(named) if named else ""
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = contextlib.AsyncExitStack()
        self._calls: Calls | None = None
        extra_ports = [METRICS_PORT]
        if demo:
            extra_ports += [fake_chatwoot.PORT_NAME, fake_evolution.PORT_NAME]
        if shape is Shape.SERVICES:
            extra_ports.append(PROXY_PORT)
        self._suite = WatchedSuite(
            home,
            http_port,
            shape,
            receivers=receivers,
            environment=os.environ,
            migrate=self._migrate,
            on_ready=self._on_ready,
            extra_ports=extra_ports,
            extra_children=self._children,
            before_stop=self._stop_watching,
            complete=self._complete,
        )

    async def run(self) -> None:
        """Starts, waits for a signal and stops. Raises EmbeddedError when it cannot start."""
        self._say(f"Prosa starts in {self._suite.directory} …")
        # Before anything is started: all processes of the suite inherit it.
        limit = open_files.raise_open_files()
        if limit < open_files.OPEN_FILES_FLOOR:
            self._say(f"  {open_files.advice(limit)}")
        async with self._closing:
            await self._suite.run()
        # The last words come when nothing of it runs any more.
        self._say("Prosa has stopped.")

    async def _stop_watching(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _complete(self, suite: Suite) -> None:
        # Evolution is told where its webhooks go; one on this machine reaches this address.
        suite.environment["PROSA_PUBLIC_URL"] = self._public_url or self._url
        if self._demo:
            # The fakes are on this machine, whose addresses outgoing calls do not reach otherwise: those ports alone.
            named = suite.environment.get("PROSA_ALLOWED_HOSTS", "")
            fakes = (fake_chatwoot.PORT_NAME, fake_evolution.PORT_NAME)
            places = ",".join(f"{LOOPBACK}:{suite.ports[name]}" for name in fakes)
            suite.environment["PROSA_ALLOWED_HOSTS"] = f"{named},{places}".lstrip(",")

    async def _migrate(self, suite: Suite) -> None:
        self._say(f"  servers are ready ({self._elapsed()})")
        try:
            await asyncio.to_thread(keys.create_keys, suite.directory / "keys", suite.database_url)
        except keys.KeysLost as error:
            raise EmbeddedError("KEYS_LOST", str(error)) from error
        await asyncio.to_thread(_migrate, suite)
        self._say(f"  the database is up to date ({self._elapsed()})")

    def _children(self, suite: Suite) -> Sequence[ChildSpec]:
        # The home is ours from here on, and nothing was logged yet.
        self._open_log(suite.directory / "logs")
        if not self._demo:
            return ()
        port = suite.ports[fake_chatwoot.PORT_NAME]

        async def make() -> state.DemoState:
            return await seed_demo(self._reach(suite), suite.directory, f"http://{LOOPBACK}:{port}")

        apps = [app.name for app in suite.apps]
        return [
            fake_chatwoot.child(suite.directory, port, self._url, apps, make),
            fake_evolution.child(
                suite.ports[fake_evolution.PORT_NAME],
                [*apps, fake_chatwoot.NAME],
                lambda: state.load(suite.directory),
            ),
        ]

    def _open_log(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, exist_ok=True)
        descriptor = os.open(directory / SUPERVISOR_LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        file = os.fdopen(descriptor, "a", encoding="utf-8")
        self._closing.callback(file.close)
        telemetry.configure_logging("info", stream=file)

    async def _on_ready(self, suite: Suite) -> None:
        metrics = MetricsPage({app.name: app.metrics_port for app in suite.apps}, suite.supervisor.states)
        await metrics.start(suite.ports[METRICS_PORT])
        self._closing.push_async_callback(metrics.stop)
        if suite.shape is Shape.SERVICES:
            proxy = GrpcProxy({service: _grpc_address(suite, service) for service in SERVICES})
            await proxy.start(f"{LOOPBACK}:{suite.ports[PROXY_PORT]}")
            self._closing.push_async_callback(proxy.stop)
        calls, known = self._reach(suite), state.load(suite.directory)
        endpoints = self._endpoints(suite)
        content = await bootstrap.describe(endpoints, calls, known)
        bootstrap.write(suite.bootstrap_file, content)
        logger.info("suite_ready", seconds=round(time.monotonic() - self._begun, 2), shape=suite.shape.value)
        self._announce(content)
        self._spawn(self._watch_children(suite))
        if not bootstrap.complete(content):
            self._spawn(self._watch_organizations(suite, endpoints, calls, content))
        if self._demo:
            self._spawn(fake_chatwoot.keep_writing(suite.ports[fake_chatwoot.PORT_NAME]))
            self._spawn(selling.keep_selling(calls, content["organization_id"]))
            self._spawn(
                fake_evolution.keep_connected(calls, state.load(suite.directory), suite.ports[fake_evolution.PORT_NAME])
            )
            self._spawn(talking.keep_talking(calls, content["organization_id"]))
            chatwoot_url = f"http://{LOOPBACK}:{suite.ports[fake_chatwoot.PORT_NAME]}"
            organization_id, url = content["organization_id"], content["url"]
            campaigner = campaigning.Campaigner(calls, organization_id, url, content["api_key"], chatwoot_url)
            self._spawn(campaigner.keep_on())
            begun = state.load(suite.directory)
            colleague = answering.Colleague(
                calls, organization_id, url, chatwoot_url, begun.colleague_password, run=begun.run_count
            )
            self._spawn(colleague.answer())
            if not self._as_json:
                self._spawn(live.show(calls, content["organization_id"], self._console, content["url"]))

    def _announce(self, content: dict[str, Any]) -> None:
        if self._as_json:
            print_json(content)
            return
        self._say(f"Prosa is ready after {self._elapsed()}: {content['url']}")
        fake_chatwoot_url = f"http://{LOOPBACK}:{self._suite.ports[fake_chatwoot.PORT_NAME]}" if self._demo else ""
        command = typed(sys.argv[0], self._suite.directory)
        for sentence in guide(content, self._suite.directory, fake_chatwoot_url, command):
            self._say(sentence)

    def _endpoints(self, suite: Suite) -> bootstrap.Endpoints:
        whole = suite.shape is not Shape.SERVICES
        address = _grpc_address(suite, "identity") if whole else f"{LOOPBACK}:{suite.ports[PROXY_PORT]}"
        return bootstrap.Endpoints(
            url=self._url,
            metrics_url=f"http://{LOOPBACK}:{suite.ports[METRICS_PORT]}/metrics",
            grpc_address=address,
            database_url=suite.reader_database_url,
            public_url=self._public_url,
            evolution_url=f"http://{LOOPBACK}:{suite.ports[fake_evolution.PORT_NAME]}" if self._demo else "",
        )

    def _reach(self, suite: Suite) -> Calls:
        if self._calls is None:
            key = auth.load_private_key(suite.directory / "keys", PRINCIPAL)
            addresses = {service: _grpc_address(suite, service) for service in SERVICES}
            self._calls = Calls(auth.TokenSigner(PRINCIPAL, key, SystemClock()), addresses)
            self._closing.push_async_callback(self._calls.close)
        return self._calls

    async def _watch_children(self, suite: Suite) -> None:
        """Says in the terminal what died and was started again."""
        seen = {child.name: child.restart_count for child in suite.supervisor.states()}
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            for child in suite.supervisor.states():
                if child.restart_count > seen[child.name]:
                    seen[child.name] = child.restart_count
                    log = suite.directory / "logs" / f"{child.name}.log"
                    self._say(f"{child.name} had ended and was started again; its log: {log}")

    async def _watch_organizations(
        self, suite: Suite, endpoints: bootstrap.Endpoints, calls: Calls, written: dict[str, Any]
    ) -> None:
        """Puts the first organization and its Chatwoot into the bootstrap file when they come to be."""
        content = written
        while not bootstrap.complete(content):
            await asyncio.sleep(ORGANIZATION_SECONDS)
            try:
                content = await bootstrap.describe(endpoints, calls, state.load(suite.directory))
            except Exception as error:
                # A service that is being restarted: there is another look in two seconds.
                logger.info("organizations_not_seen", error=repr(error))
                continue
            if content != written:
                bootstrap.write(suite.bootstrap_file, content)
                written = content

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(_log_failure)
        self._tasks.append(task)

    def _elapsed(self) -> str:
        return f"{time.monotonic() - self._begun:.1f} s"

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=True)


def _migrate(suite: Suite) -> None:
    environment = suite.operator_environment()
    assert environment[READER_VARIABLE]
    with database_of(suite.database_url, "PROSA_DATABASE_URL"):
        migrate.create_roles(suite.database_url, passwords(environment))
        migrate.migrate_up(suite.database_url)


def _grpc_address(suite: Suite, service: str) -> str:
    for app in suite.apps:
        if service in app.targets:
            return f"{LOOPBACK}:{app.grpc_port}"
    raise KeyError(service)


def _log_failure(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("supervisor_task_failed", task=task.get_name(), exc_info=error)
