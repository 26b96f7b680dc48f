"""Fake children, programs run beside the test, and questions about processes."""

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from embedded.child import Account, ChildSpec, launched
from embedded.shapes import AppProcess

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
WAIT_SECONDS = 60.0
"""A machine with other work is slow, and not wrong."""


def fake_child(directory: Path, name: str, *habits: str, needs: tuple[str, ...] = (), **changes: Any) -> ChildSpec:
    """A child that writes `NAME.ready` when it runs."""
    ready_file = directory / f"{name}.ready"

    async def ready() -> bool:
        return ready_file.exists()

    async def prepare() -> None:
        ready_file.unlink(missing_ok=True)

    return ChildSpec(
        name=name,
        command=(sys.executable, "-I", "-S", str(HERE / "fake_child.py"), str(directory), name, *habits),
        ready=ready,
        prepare=prepare,
        needs=needs,
        **changes,
    )


def fake_app(app: AppProcess) -> tuple[str, ...]:
    """The command of an application that only answers /readyz."""
    return (sys.executable, "-I", "-S", str(HERE / "fake_app.py"), app.name, str(app.metrics_port))


@contextlib.asynccontextmanager
async def program(
    name: str, *arguments: str, account: Account | None = None, path: Path | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Runs one of the programs of this folder with pipes; killed at the end if it still runs.

    Another account still reads this checkout and this Python when they lie in root's home: the launcher sees to that.
    Modules are looked for in `path` first.
    """
    command = [sys.executable, "-m", f"tests.integration.embedded.{name}", *arguments]
    process = await asyncio.create_subprocess_exec(
        *(launched(command, account=account) if account else command),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}" if path else str(ROOT)},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        # Its pipe is read to the end, or the transport would complain when it is collected.
        assert process.stdout is not None
        await process.stdout.read()


async def line_of(process: asyncio.subprocess.Process) -> str:
    """The next line the program prints that is not a log line."""
    assert process.stdout is not None
    async with asyncio.timeout(WAIT_SECONDS):
        while line := (await process.stdout.readline()).decode():
            if "[" not in line:
                return line.strip()
    return "(the program ended)"


def alive(pid: int) -> bool:
    """Whether the process runs; one that nobody has waited for yet does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def descendants(pid: int) -> list[int]:
    """Everything the process has started."""
    return [process.pid for process in psutil.Process(pid).children(recursive=True)]


def describe(pid: int) -> list[tuple[int, str, int]]:
    """Pid, name and user of everything the process has started; without those that end while we look."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found.append((process.pid, process.name(), process.uids().real))
    return found


def status(pid: int) -> str:
    """`sleeping`, `running`, `stopped` …; `gone` where it has ended."""
    try:
        return str(psutil.Process(pid).status())
    except psutil.NoSuchProcess:
        return "gone"


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    """Waits for something another process does; fails after a while."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            outcome = condition()
            if outcome if isinstance(outcome, bool) else await outcome:
                return
            await asyncio.sleep(0.01)
