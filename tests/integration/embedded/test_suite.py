"""The suite: real servers and applications that only answer /readyz."""

import asyncio
import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import psycopg
import pytest
import redis.asyncio

from embedded.child import ChildSpec
from embedded.errors import EmbeddedError
from embedded.nats import nats_server
from embedded.ports import free_port
from embedded.redis import find_redis_server
from embedded.shapes import (
    TARGETS,
    Addresses,
    AppProcess,
    Shape,
    app_environment,
    default_receivers,
    default_shape,
    processes_of,
    with_role,
)
from embedded.suite import Suite
from tests.integration.embedded.fakes import (
    WAIT_SECONDS,
    alive,
    descendants,
    fake_app,
    fake_child,
    line_of,
    program,
    until,
)

CALLER = {"PATH": os.environ["PATH"], "PROSA_LOG_LEVEL": "debug"}
EXTERNAL = {
    "PROSA_DATABASE_URL": "postgresql://admin:secret@db.example:5433/prosa?sslmode=require",
    "PROSA_NATS_URL": "nats://nats.example:4222",
    "PROSA_REDIS_URL": "redis://redis.example:6379/0",
}


def environment_of(suite: Suite, process: str) -> dict[str, str]:
    content: dict[str, str] = json.loads((suite.directory / f"{process}.environment.json").read_text())
    return content


async def test_servers_come_up_then_migrations_then_one_process_per_target(tmp_path: Path) -> None:
    happened = []

    async def migrate(suite: Suite) -> None:
        happened.append("migrated")
        environment = suite.operator_environment()
        async with await psycopg.AsyncConnection.connect(environment["PROSA_DATABASE_URL"]) as connection:
            await connection.execute("select 1")
        assert not any(child.state == "ready" for child in suite.supervisor.states() if child.name in TARGETS)

    async def on_ready(suite: Suite) -> None:
        happened.append("ready")
        assert all(child.state == "ready" for child in suite.supervisor.states())
        assert not suite.bootstrap_file.exists()
        suite.bootstrap_file.write_text("{}")

    tmp_path.joinpath("bootstrap.json").write_text("of a former run")
    suite = Suite(
        tmp_path,
        free_port(),
        Shape.SERVICES,
        environment=CALLER,
        migrate=migrate,
        on_ready=on_ready,
        command=fake_app,
        durable=False,
    )
    # The worker's own servers run on.
    others = set(descendants(os.getpid()))
    try:
        await suite.start()
        pids = set(descendants(os.getpid())) - others
        assert happened == ["migrated", "ready"]
        assert [child.name for child in suite.supervisor.states()] == ["postgres", "nats", "redis", *TARGETS]

        ingest, gateway = environment_of(suite, "ingest"), environment_of(suite, "gateway")
        assert ingest["PROSA_LOG_LEVEL"] == "debug"
        assert [name for name in ingest if name.endswith("DATABASE_URL")] == ["PROSA_INGEST_DATABASE_URL"]
        assert ingest["PROSA_INGEST_DATABASE_URL"].startswith("postgresql://prosa_ingest:")
        assert [name for name in gateway if name.endswith("DATABASE_URL")] == []
        assert gateway["PROSA_INGEST_ADDRESS"] == ingest["PROSA_GRPC_ADDRESS"]
        accept = environment_of(suite, "ingest-accept")
        assert gateway["PROSA_INGEST_ACCEPT_ADDRESS"] == accept["PROSA_GRPC_ADDRESS"]
        assert "PROSA_INGEST_DATABASE_URL" in accept
        assert gateway["PROSA_HTTP_PORT"] == str(suite.http_port)

        with pytest.raises(EmbeddedError, match="Another prosa up"):
            await Suite(tmp_path, free_port(), command=fake_app).start()
        assert suite.bootstrap_file.exists()
    finally:
        await suite.stop()
    assert not suite.bootstrap_file.exists()
    assert not any(alive(pid) for pid in pids)


async def test_external_servers_replace_embedded_ones_and_further_children_run_along(
    tmp_path: Path,
) -> None:
    def fake(suite: Suite) -> list[ChildSpec]:
        assert suite.ports["fake"] not in {suite.http_port, *(app.grpc_port for app in suite.apps)}
        return [fake_child(tmp_path, "fake")]

    suite = Suite(
        tmp_path,
        free_port(),
        Shape.RECEIVER,
        environment={**CALLER, **EXTERNAL},
        extra_ports=["fake"],
        extra_children=fake,
        command=fake_app,
    )
    try:
        await suite.start()
        assert [child.name for child in suite.supervisor.states()] == ["receiver", "rest", "fake"]
        rest = environment_of(suite, "rest")
        assert rest["PROSA_NATS_URL"] == EXTERNAL["PROSA_NATS_URL"]
        assert rest["PROSA_REDIS_URL"] == EXTERNAL["PROSA_REDIS_URL"]
        assert rest["PROSA_CRM_DATABASE_URL"].startswith("postgresql://prosa_crm:")
        assert "PROSA_DATABASE_URL" not in rest  # may do everything, so only migrations get it
        assert rest["PROSA_CRM_DATABASE_URL"].endswith("@db.example:5433/prosa?sslmode=require")
        assert suite.operator_environment()["PROSA_DATABASE_URL"] == EXTERNAL["PROSA_DATABASE_URL"]
    finally:
        await suite.stop()


@pytest.mark.case("S14")
async def test_redis_is_started_where_something_uses_it_and_only_there(tmp_path: Path) -> None:
    environment = {**CALLER, **{name: url for name, url in EXTERNAL.items() if name != "PROSA_REDIS_URL"}}
    for targets in (["crm"], []):
        suite = Suite(
            tmp_path, free_port(), Shape.ALL, environment=environment, command=fake_app, redis_targets=targets
        )
        try:
            await suite.start()
            names = [child.name for child in suite.supervisor.states()]
            told = environment_of(suite, "all").get("PROSA_REDIS_URL", "")
            if targets:
                assert names == ["redis", "all"]
                store = redis.asyncio.from_url(told)
                assert await store.ping()
                await store.aclose()
            else:
                assert names == ["all"]
                assert told == ""
        finally:
            await suite.stop()


@pytest.mark.case("S14")
def test_the_embedded_servers_are_releases_of_this_year_for_every_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # the machine's own Redis would be preferred
    valkey = subprocess.check_output([find_redis_server.__wrapped__(), "--version"], text=True)
    nats = subprocess.check_output([nats_server(), "--version"], text=True)
    assert valkey.startswith("Valkey server v=9.")
    assert nats.startswith("nats-server: v2.15.")


async def test_a_taken_http_port_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        suite = Suite(tmp_path, listener.getsockname()[1], environment={**CALLER, **EXTERNAL}, command=fake_app)
        with pytest.raises(EmbeddedError) as refused:
            await suite.start()
        await suite.stop()
    assert refused.value.reason == "HTTP_PORT_TAKEN"
    assert not (tmp_path / "logs").exists()


async def test_a_full_disk_is_refused_before_anything_is_started(tmp_path: Path) -> None:
    suite = Suite(tmp_path, free_port(), environment=CALLER, command=fake_app, free_bytes=lambda _: 0)
    with pytest.raises(EmbeddedError) as refused:
        await suite.start()
    await suite.stop()
    assert refused.value.reason == "DISK_FULL"
    assert not (tmp_path / "logs").exists()


async def test_a_home_whose_passwords_are_gone_is_refused(tmp_path: Path) -> None:
    (tmp_path / "postgres" / "data").mkdir(parents=True)
    suite = Suite(tmp_path, free_port(), environment=CALLER, command=fake_app)
    with pytest.raises(EmbeddedError, match=r"secrets\.json is gone"):
        await suite.start()
    await suite.stop()


async def test_the_suite_starts_after_kill_minus_nine_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    http_port = str(free_port())
    async with program("run_suite", str(tmp_path), http_port) as first:
        assert await line_of(first) == "ready"
        killed = descendants(first.pid)
        first.kill()
        await first.wait()
        # At once, while its children may still be dying.
        async with program("run_suite", str(tmp_path), http_port) as second:
            assert await line_of(second) == "ready"
            assert not any(alive(pid) for pid in killed)
            async with program("run_suite", str(tmp_path), http_port) as third:
                assert await line_of(third) == "HOME_IN_USE"
            pids = descendants(second.pid)
            second.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(second.wait(), WAIT_SECONDS) == 0
            assert not any(alive(pid) for pid in pids)
            assert not (tmp_path / "bootstrap.json").exists()


async def test_a_signal_while_starting_stops_what_was_started(tmp_path: Path) -> None:
    async with program("run_suite", str(tmp_path), str(free_port())) as process:
        await until(lambda: (tmp_path / "run" / "nats.json").exists())
        pids = descendants(process.pid)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
        assert not any(alive(pid) for pid in pids)


def test_every_shape_runs_every_target_once() -> None:
    for shape in Shape:
        targets = [target for targets in processes_of(shape).values() for target in targets]
        assert sorted(targets) == sorted(TARGETS)
    assert (default_shape(1), default_shape(2)) == (Shape.ALL, Shape.RECEIVER)
    assert Shape("door") is Shape.RECEIVER, "start scripts may still say the former name"


@pytest.mark.case("S12")
def test_a_second_receiver_calls_what_it_serves_itself(tmp_path: Path) -> None:
    processes = processes_of(Shape.RECEIVER, receivers=2)
    assert {name for name, targets in processes.items() if "gateway" in targets} == {"receiver", "receiver-2"}
    assert (default_receivers(2), default_receivers(4)) == (1, 2)
    apps = tuple(AppProcess(name, targets, 100 + n, 200 + n) for n, (name, targets) in enumerate(processes.items()))
    addresses = Addresses(tmp_path, 80, "", "", {}, apps)
    for app in apps[:2]:
        environment = app_environment(app, addresses, {})
        assert environment["PROSA_INGEST_ACCEPT_ADDRESS"] == environment["PROSA_GRPC_ADDRESS"]
        assert environment["PROSA_INGEST_ADDRESS"] == f"127.0.0.1:{apps[2].grpc_port}"


def test_a_role_replaces_whoever_stood_in_the_url() -> None:
    assert with_role("postgresql://a:b@h:1/d?x=y", "r", "p@/") == "postgresql://r:p%40%2F@h:1/d?x=y"
    assert with_role("postgresql://h/d", "r", "p") == "postgresql://r:p@h/d"
