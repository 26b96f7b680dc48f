"""`prosa serve` as a process's whole life: up, told to stop, or ended by a job that failed."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

import services.targets
from chassis import process as process_module
from chassis import telemetry
from chassis.process import Process, Start
from chassis.system import ISSUERS
from cli import serve
from cli.failures import Refused
from embedded.servers import EmbeddedServers
from tests.unit.cli.running import prosa
from tests.world import settings_for

STOP_SECONDS_MAX = 60.0


@pytest.fixture
def serving(
    servers: EmbeddedServers, database_url: str, keys_dir: object, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Start], None]:
    """Makes `prosa serve` start one module, against this worker's servers."""
    settings = partial(settings_for, database_url, servers.nats_url, servers.redis_url, keys_dir)  # type: ignore[arg-type]
    monkeypatch.setattr(serve, "read_settings", lambda *_of_the_process: settings())
    # The collector and the log belong to the test run.
    monkeypatch.setattr(serve, "_spare_the_collector", lambda: None)
    monkeypatch.setattr(telemetry, "configure_logging", lambda *_arguments, **_options: None)

    def choose(start: Start) -> None:
        monkeypatch.setattr(services.targets, "chosen", lambda _target: {"crm": start})

    return choose


@pytest.mark.case("O15")
async def test_sigterm_ends_it_gracefully(serving: Callable[[Start], None]) -> None:
    started, ended = asyncio.Event(), asyncio.Event()

    async def job() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def start(process: Process) -> None:
        process.run("works", job)

    serving(start)
    running = asyncio.create_task(serve.run("crm"))
    async with asyncio.timeout(STOP_SECONDS_MAX):
        await started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert ended.is_set()


@pytest.mark.case("O15")
async def test_sigterm_while_it_starts_ends_what_has_begun(
    serving: Callable[[Start], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the start of the first job and the last step of starting: a job at work must be told to end."""
    started, ended, reached = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def job() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def start(process: Process) -> None:
        process.run("works", job)

    async def never(*_: object) -> tuple[object, int]:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    serving(start)
    monkeypatch.setattr(process_module, "start_inner_listener", never)
    running = asyncio.create_task(serve.run("crm"))
    async with asyncio.timeout(STOP_SECONDS_MAX):
        await reached.wait()
        await started.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await running
    assert ended.is_set()


async def test_a_start_that_fails_after_its_jobs_began_ends_them(
    serving: Callable[[Start], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another process has the port for metrics, which comes after the jobs: leases are given back."""
    started, ended = asyncio.Event(), asyncio.Event()

    async def job() -> None:
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async def start(process: Process) -> None:
        process.run("works", job)

    async def taken(*_: object) -> None:
        await started.wait()
        raise LookupError("no such label")

    serving(start)
    monkeypatch.setattr(process_module, "start_inner_listener", taken)
    with pytest.raises(LookupError, match="no such label"):
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await serve.run("crm")
    assert ended.is_set()


async def test_sigterm_before_there_is_anything_to_end(
    serving: Callable[[Start], None],
) -> None:
    reached = asyncio.Event()

    async def never(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    async def start(process: Process) -> None:
        process.database()
        await never()

    serving(start)
    running = asyncio.create_task(serve.run("crm"))
    async with asyncio.timeout(STOP_SECONDS_MAX):
        await reached.wait()
        os.kill(os.getpid(), signal.SIGTERM)
        await running


async def test_a_job_that_fails_ends_the_process_with_its_error(serving: Callable[[Start], None]) -> None:
    async def job() -> None:
        raise LookupError("the lanes are gone")

    async def start(process: Process) -> None:
        process.run("breaks", job)

    serving(start)
    with pytest.raises(Refused, match="the lanes are gone") as refused:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await serve.run("crm")
    assert refused.value.exit_code == 1


async def test_a_module_that_cannot_start_ends_the_process(serving: Callable[[Start], None]) -> None:
    async def start(_process: Process) -> None:
        raise ValueError("PROSA_CRM_DATABASE_URL is not set")

    serving(start)
    with pytest.raises(ValueError, match="PROSA_CRM_DATABASE_URL"):
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await serve.run("crm")


@pytest.mark.case("S13")
async def test_a_process_needs_and_is_given_no_keys_but_its_own(
    servers: EmbeddedServers, database_url: str, keys_dir: Path, tmp_path: Path
) -> None:
    own = tmp_path / "keys"
    from_all = ("--source", str(keys_dir))
    exported = prosa("keys", "export", str(own), "--target", "crm", *from_all)
    assert exported.exit_code == 0, exported.stdout
    assert private_keys(own) == {"crm.key"}
    settings = settings_for(database_url, servers.nats_url, servers.redis_url, own)
    host = process_module.Host(settings)
    await host.start({"crm": services.targets.TARGETS["crm"]})
    await host.stop()
    with pytest.raises(FileNotFoundError):
        process_module.Host(settings).signer("identity")
    # Nothing that is there is written over.
    again = prosa("keys", "export", str(own), "--target", "crm,ingest", *from_all)
    assert again.exit_code != 0
    assert private_keys(own) == {"crm.key"}
    receiver = tmp_path / "receiver"
    assert prosa("keys", "export", str(receiver), "--target", "ingest-accept,gateway", *from_all).exit_code == 0
    assert private_keys(receiver) == {"encryption.json", "gateway.key", "ingest.key"}


def private_keys(directory: Path) -> set[str]:
    """The names of what only its owner may read; the public halves of all are there as well."""
    assert {path.stem for path in directory.glob("*.pub")} == set(ISSUERS)
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    return {path.name for path in directory.iterdir() if path.suffix != ".pub"}
