"""Runs child processes: starts them in order, restarts those that die, stops all of them, and leaves none behind."""

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import structlog

from embedded.child import (
    ChildSpec,
    find_owned,
    freeze_tree,
    kill_all,
    launched,
    process_tree,
    read_record,
    signal_process,
    thaw_tree,
    write_record,
)
from embedded.errors import EmbeddedError
from embedded.forks import collect_nothing_in_forks
from embedded.logs import LogFiles

BACKOFF_MIN_SECONDS = 0.2
BACKOFF_MAX_SECONDS = 5.0
# A child that has run this long is taken to have recovered: its next death is restarted at once again.
STABLE_AFTER_SECONDS = 10.0
START_ATTEMPT_COUNT_MAX = 3
PROBE_INTERVAL_SECONDS = 0.05
PROBE_TIMEOUT_SECONDS = 5.0
LOG_CHECK_SECONDS = 5.0
LOG_TAIL_LINES = 15
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ChildState:
    """How a child is: `state` is waiting, starting, ready, restarting, held, stopped or failed."""

    name: str
    state: str
    pid: int | None
    restart_count: int
    uptime_seconds: float


class StopSignals:
    """While entered, the first SIGINT, SIGTERM or SIGHUP sets `asked`, and each further one calls `impatient`.

    SIGHUP (the terminal is closed) stays ignored where it was: `nohup` means that the suite goes on without a terminal.
    """

    def __init__(self, impatient: Callable[[], None]) -> None:
        self.asked = asyncio.Event()
        self._impatient = impatient
        self._loop = asyncio.get_running_loop()
        hangup_ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._numbers = [number for number in STOP_SIGNALS if number is not signal.SIGHUP or not hangup_ignored]

    def __enter__(self) -> Self:
        for number in self._numbers:
            self._loop.add_signal_handler(number, self._signalled)
        return self

    def __exit__(self, *_: object) -> None:
        for number in self._numbers:
            self._loop.remove_signal_handler(number)

    def _signalled(self) -> None:
        if self.asked.is_set():
            self._impatient()
        self.asked.set()


class Supervisor:
    """Keeps the children of one directory running. `start` and `stop` them from the main thread's event loop.

    On Linux the kernel ends the children when the thread that started them ends, so a supervisor killed with -9 leaves
    none behind; a supervisor in a short-lived thread would lose its children with that thread.
    """

    def __init__(self, directory: Path, specs: Sequence[ChildSpec]) -> None:
        # Whoever supervises may call services as well: the demo does.
        collect_nothing_in_forks()
        self._directory = directory
        self._records = directory / "run"
        self._logs = LogFiles(directory / "logs")
        self._children = {spec.name: _Child(spec, self._records, self._logs) for spec in specs}
        self._log_task: asyncio.Task[None] | None = None

    async def start(self, *names: str) -> None:
        """Starts the named children (all by default), each after those it needs; returns when all of them are ready.

        Raises EmbeddedError CHILD_NOT_READY, with the end of its log, if one does not come up; call `stop` then.
        """
        self._records.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._logs.open()
        await self.clear_leftovers(*names)
        if self._log_task is None:
            self._log_task = asyncio.create_task(self._bound_logs())
        tasks = [asyncio.create_task(self._start_one(child)) for child in self._chosen(names)]
        try:
            await asyncio.gather(*tasks)
        finally:
            # A failure of one makes the others' readiness pointless to wait for.
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def clear_leftovers(self, *names: str) -> None:
        """Kills what a former run on this directory left alive of the named children (of all by default)."""
        for child in self._chosen(names):
            if child.pid is None:
                await child.clear()

    async def stop(self) -> None:
        """Stops all children, those that need others first; returns when no process of theirs lives."""
        outcomes: list[BaseException | None] = []
        for wave in reversed(self._waves()):
            # One that cannot be stopped must not keep the others running.
            outcomes += await asyncio.gather(*(child.stop() for child in wave), return_exceptions=True)
        if self._log_task is not None:
            self._log_task.cancel()
            await asyncio.gather(self._log_task, return_exceptions=True)
            self._log_task = None
        for outcome in outcomes:
            if outcome is not None:
                raise outcome

    async def run_until_stopped(self) -> None:
        """Waits for SIGINT or SIGTERM, then stops everything; a second signal kills."""
        with StopSignals(self.kill_all) as signals:
            await signals.asked.wait()
            await self.stop()

    def kill_all(self) -> None:
        """Kills every child at once. Those that are not being stopped are restarted."""
        for child in self._children.values():
            child.kill_tree()

    def kill(self, name: str, number: signal.Signals = signal.SIGKILL) -> None:
        """Sends a signal to the child's main process; if it dies of it, it is restarted."""
        pid = self._running_pid(name)
        for process in process_tree(pid)[:1]:
            signal_process(process, number)

    def freeze(self, name: str) -> None:
        """Stops every process of the child with SIGSTOP: it keeps its sockets but answers nothing."""
        freeze_tree(self._running_pid(name))

    def thaw(self, name: str) -> None:
        """Lets a frozen child run on."""
        thaw_tree(self._running_pid(name))

    async def hold(self, name: str, *, graceful: bool = False) -> None:
        """Kills the child (or stops it gracefully) and does not restart it until `release`; returns when it is gone."""
        await self._children[name].stop(graceful=graceful, state="held")

    async def release(self, name: str) -> None:
        """Starts a held child again; returns when it is ready."""
        child = self._children[name]
        child.launch()
        await child.wait_ready()

    def restart_count(self, name: str) -> int:
        """How often the child has been restarted after it died."""
        return self._children[name].restart_count

    async def wait_restarted(self, name: str, after: int) -> None:
        """Waits until the child is ready and has been restarted more than `after` times."""
        child = self._children[name]
        async with child.changed:
            await child.changed.wait_for(lambda: child.restart_count > after and child.state == "ready")

    def pid(self, name: str) -> int | None:
        """The child's main process; none while it is down."""
        return self._children[name].pid

    def states(self) -> list[ChildState]:
        """How each child is, in the order of the specs."""
        return [child.describe() for child in self._children.values()]

    async def _start_one(self, child: "_Child") -> None:
        for need in child.spec.needs:
            await self._children[need].wait_ready()
        child.launch()
        await child.wait_ready()

    async def _bound_logs(self) -> None:
        while True:
            await asyncio.sleep(LOG_CHECK_SECONDS)
            await asyncio.to_thread(self._logs.bound, list(self._children))

    def _chosen(self, names: Iterable[str]) -> list["_Child"]:
        return [self._children[name] for name in (tuple(names) or self._children)]

    def _waves(self) -> list[list["_Child"]]:
        waves: dict[int, list[_Child]] = {}
        for child in self._children.values():
            waves.setdefault(self._depth(child.spec), []).append(child)
        return [waves[depth] for depth in sorted(waves)]

    def _depth(self, spec: ChildSpec) -> int:
        return 1 + max((self._depth(self._children[need].spec) for need in spec.needs), default=-1)

    def _running_pid(self, name: str) -> int:
        pid = self._children[name].pid
        if pid is None:
            raise EmbeddedError("CHILD_NOT_RUNNING", f"{name} is not running.")
        return pid


class _Child:
    """One child's life: a task that spawns it, waits for its end and spawns it again until it is told not to."""

    def __init__(self, spec: ChildSpec, records: Path, logs: LogFiles) -> None:
        self.spec = spec
        self.state = "waiting"
        self.restart_count = 0
        self.changed = asyncio.Condition()
        self._record = records / f"{spec.name}.json"
        self._logs = logs
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None
        self._since = 0.0
        self._failure: EmbeddedError | None = None

    @property
    def pid(self) -> int | None:
        if self._process is None or self._process.returncode is not None:
            return None
        return self._process.pid

    def describe(self) -> ChildState:
        uptime = asyncio.get_running_loop().time() - self._since if self.pid is not None else 0.0
        return ChildState(self.spec.name, self.state, self.pid, self.restart_count, uptime)

    def launch(self) -> None:
        """Begins to keep the child running; nothing changes if that is so already."""
        if self._task is None or self._task.done():
            self._failure = None
            self.state = "starting"
            self._task = asyncio.create_task(self._keep_running(), name=f"supervise {self.spec.name}")

    async def wait_ready(self) -> None:
        """Returns when the child is ready; raises EmbeddedError CHILD_NOT_READY when it failed or took too long."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.spec.ready_timeout_seconds), self.changed:
                await self.changed.wait_for(lambda: self.state == "ready" or self._failure is not None)
        if self._failure is not None:
            raise self._failure
        if self.state != "ready":
            raise self._not_ready(f"is not ready after {self.spec.ready_timeout_seconds:g} s")

    async def stop(self, *, graceful: bool = True, state: str = "stopped") -> None:
        """Ends the child and everything it started; no restart follows."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        process = self._process
        if process is not None:
            descendants = process_tree(process.pid) if process.returncode is None else []
            if graceful and process.returncode is None:
                await self._stop_gracefully(process)
            self.kill_tree()
            await process.wait()
            await kill_all(descendants[1:])
            await kill_all(find_owned(self.spec.owns))
            self._record.unlink(missing_ok=True)
            self._process = None
        await self._set_state(state)

    def kill_tree(self) -> None:
        """Kills the child with all its descendants, frozen or not."""
        pid = self.pid
        if pid is None:
            return
        for process in process_tree(pid):
            signal_process(process, signal.SIGKILL)

    async def clear(self) -> None:
        """Kills what a former run left alive of this child."""
        leftovers = read_record(self._record) + find_owned(self.spec.owns)
        if leftovers:
            logger.warning("leftovers_killed", child=self.spec.name, pids=[process.pid for process in leftovers])
        await kill_all(leftovers)
        self._record.unlink(missing_ok=True)

    async def _stop_gracefully(self, process: asyncio.subprocess.Process) -> None:
        for main in process_tree(process.pid)[:1]:
            signal_process(main, self.spec.stop_signal)
        # A frozen child would sleep through its own end.
        thaw_tree(process.pid)
        try:
            async with asyncio.timeout(self.spec.stop_timeout_seconds):
                await process.wait()
        except TimeoutError:
            logger.warning("child_killed", child=self.spec.name, after_seconds=self.spec.stop_timeout_seconds)

    async def _keep_running(self) -> None:
        """Spawns the child again and again. One that fails a few times before it was ever ready is given up."""
        loop = asyncio.get_running_loop()
        backoff = BACKOFF_MIN_SECONDS
        failed_attempt_count = 0
        was_ready = False
        while True:
            try:
                reason = await self._run_once()
            except EmbeddedError as refusal:
                if not was_ready:
                    self._failure = refusal
                    await self._set_state("failed")
                    return
                reason = refusal.message
            was_ready = was_ready or self.state == "ready"
            if self.state == "ready" and loop.time() - self._since >= STABLE_AFTER_SECONDS:
                backoff = BACKOFF_MIN_SECONDS
            logger.warning("child_ended", child=self.spec.name, reason=reason, restart_count=self.restart_count)
            if not was_ready:
                failed_attempt_count += 1
                if failed_attempt_count >= START_ATTEMPT_COUNT_MAX:
                    self._failure = self._not_ready(reason)
                    await self._set_state("failed")
                    return
            await self._set_state("restarting")
            await asyncio.sleep(backoff)
            backoff = min(backoff * 2, BACKOFF_MAX_SECONDS)
            self.restart_count += 1

    async def _run_once(self) -> str:
        """Runs the child until it ends; answers why it did. Raises EmbeddedError when another attempt is useless."""
        try:
            await self.spec.prepare()
        except OSError as error:
            return f"could not be prepared: {error!r}"
        spawning = asyncio.create_task(self._spawn())
        try:
            process = await asyncio.shield(spawning)
        except asyncio.CancelledError:
            # Half a spawn would leave a process that nobody knows of: finish it, so that `stop` finds it.
            await asyncio.gather(spawning, return_exceptions=True)
            raise
        self._since = asyncio.get_running_loop().time()
        write_record(self._record, process.pid)
        probe = asyncio.create_task(self._probe())
        try:
            code = await process.wait()
        finally:
            probe.cancel()
            await asyncio.gather(probe, return_exceptions=True)
        return f"ended with code {code}" if code >= 0 else f"ended by signal {signal.Signals(-code).name}"

    async def _spawn(self) -> asyncio.subprocess.Process:
        command = launched(
            self.spec.command,
            account=self.spec.account,
            death_signal=self.spec.death_signal,
            listening=self.spec.listening,
        )
        with self._logs.append(self.spec.name) as output:
            # A session of its own, so that Ctrl-C in the terminal reaches the supervisor alone.
            self._process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=dict(self.spec.environment),
                pass_fds=self.spec.listening,
                start_new_session=True,
            )
        return self._process

    async def _probe(self) -> None:
        while not await self._answers():  # noqa: ASYNC110 another process has no event to wait for
            await asyncio.sleep(PROBE_INTERVAL_SECONDS)
        await self._set_state("ready")

    async def _answers(self) -> bool:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_SECONDS):
                return await self.spec.ready()
        except (OSError, TimeoutError, ValueError, asyncio.IncompleteReadError):
            return False

    async def _set_state(self, state: str) -> None:
        async with self.changed:
            self.state = state
            self.changed.notify_all()

    def _not_ready(self, reason: str) -> EmbeddedError:
        tail = self._logs.tail(self.spec.name, LOG_TAIL_LINES)
        return EmbeddedError("CHILD_NOT_READY", f"{self.spec.name} {reason}. The end of its log:\n{tail}")
