"""What the supervisor must know of a child process, and the few acts on processes that need the operating system."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import psutil  # type: ignore[import-untyped]  # no stubs are published with it

LAUNCHER = Path(__file__).with_name("launch.py")
LEFTOVER_WAIT_SECONDS = 10.0
LEFTOVER_POLL_SECONDS = 0.02
START_TIME_TOLERANCE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Account:
    """A user of the operating system whom a child runs as.

    `walks` leaves it the capability to walk through closed folders: for root's own, whose data it keeps.
    """

    uid: int
    gid: int
    name: str = ""
    walks: bool = True


async def _nothing() -> None:
    return None


async def _at_once() -> bool:
    return True


def _owns_none(_: Sequence[str]) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """One child: how it starts, how it shows that it is ready, how it stops. Durations are seconds.

    `ready` answers whether the child serves; it is asked again until it says yes and may raise OSError meanwhile.
    `prepare` runs before every start, also after a crash. `owns` recognizes, by their command lines, processes
    of a former run that its recorded pid does not lead to, such as the backends of a killed PostgreSQL.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=lambda: MappingProxyType(dict(os.environ)))
    ready: Callable[[], Awaitable[bool]] = _at_once
    prepare: Callable[[], Awaitable[None]] = _nothing
    owns: Callable[[Sequence[str]], bool] = _owns_none
    needs: tuple[str, ...] = ()
    account: Account | None = None
    # Descriptors of listening sockets that the supervisor keeps open, whatever becomes of the child.
    listening: tuple[int, ...] = ()
    stop_signal: signal.Signals = signal.SIGTERM
    death_signal: signal.Signals = signal.SIGKILL
    stop_timeout_seconds: float = 10.0
    ready_timeout_seconds: float = 60.0


def launched(
    command: Iterable[str],
    *,
    account: Account | None = None,
    death_signal: signal.Signals = signal.SIGKILL,
    listening: Sequence[int] = (),
) -> tuple[str, ...]:
    """Wraps a command so that it runs as the account and dies with this process (on Linux), whatever kills this one.

    The wish to die is bound to the thread that spawns: spawn from the main thread, whose end is the process's.
    """
    order = {
        **_identity(account),
        "death_signal": int(death_signal),
        "parent": os.getpid(),
        "listening": list(listening),
    }
    return (sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(order), *command)


def probe_command(account: Account, question: str, paths: Iterable[Path]) -> tuple[str, ...]:
    """A command that ends with 0 if the account may `run` (and read) all of the paths, or `enter` them."""
    order = {**_identity(account), "probe": question}
    return (sys.executable, "-I", "-S", str(LAUNCHER), json.dumps(order), *(str(path) for path in paths))


def _identity(account: Account | None) -> dict[str, object]:
    if account is None:
        return {"uid": None, "gid": None, "walks": False}
    return {"uid": account.uid, "gid": account.gid, "walks": account.walks}


def process_tree(pid: int) -> list[psutil.Process]:
    """The process and all its living descendants, parents first; empty when it is gone."""
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def signal_process(process: psutil.Process, number: signal.Signals) -> None:
    """Sends a signal to exactly this process, or does nothing when it has gone (psutil guards against a reused pid)."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def freeze_tree(pid: int) -> None:
    """Stops every process of the tree. Parents come first, so that none can fork a child that is overlooked."""
    frozen: set[int] = set()
    while found := [process for process in process_tree(pid) if process.pid not in frozen]:
        for process in found:
            signal_process(process, signal.SIGSTOP)
            frozen.add(process.pid)


def thaw_tree(pid: int) -> None:
    """Lets every process of the tree run again, children first, so that a parent finds them able to answer."""
    for process in reversed(process_tree(pid)):
        signal_process(process, signal.SIGCONT)


async def kill_all(processes: Iterable[psutil.Process]) -> None:
    """Kills the processes and returns when none of them lives; raises TimeoutError if one will not go."""
    remaining = list(processes)
    for process in remaining:
        signal_process(process, signal.SIGKILL)
    async with asyncio.timeout(LEFTOVER_WAIT_SECONDS):
        while remaining := [process for process in remaining if _lives(process)]:  # noqa: ASYNC110 not our children
            await asyncio.sleep(LEFTOVER_POLL_SECONDS)


def find_owned(owns: Callable[[Sequence[str]], bool]) -> list[psutil.Process]:
    """All living processes of this machine that the predicate recognizes; those we may not look at are skipped."""
    if owns is _owns_none:
        return []
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if owns(process.cmdline()) and _lives(process):
                found.append(process)
    return found


def write_record(file: Path, pid: int) -> None:
    """Notes which process a child is, so that a later run can tell it from a stranger with the same pid."""
    try:
        started = psutil.Process(pid).create_time()
    except psutil.NoSuchProcess:
        return
    file.write_text(json.dumps({"pid": pid, "start_time": started}), encoding="utf-8")


def read_record(file: Path) -> list[psutil.Process]:
    """The recorded process and its descendants if it still lives and is the very same, else nothing."""
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
        process = psutil.Process(int(record["pid"]))
        if abs(process.create_time() - float(record["start_time"])) > START_TIME_TOLERANCE_SECONDS:
            return []
    except (OSError, ValueError, KeyError, TypeError, psutil.Error):
        # A missing or torn record leads to no process; the server's own checks come after it.
        return []
    return process_tree(process.pid)


async def clear_records(directory: Path) -> None:
    """Kills every process that a former run has recorded in the directory and that still lives."""
    for file in sorted(directory.glob("*.json")):  # noqa: ASYNC240 a handful of files, before anything runs
        await kill_all(read_record(file))
        file.unlink(missing_ok=True)


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
