"""The hand that does the faults, lifts them, and says how long the system took to come back."""

from __future__ import annotations

import asyncio
import random
import shutil
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from embedded.suite import APP_STOP_TIMEOUT_SECONDS, answers_ready
from tests.chaos.observer import LOOK_SECONDS, Observer
from tests.chaos.plan import WORKERS, Fault, Kind, serves_http
from tests.chaos.sender import Outages
from tests.chaos.system import System

FREEZE_SECONDS = 10.0
TAKEOVER_SECONDS_MAX = 30.0
"""Within this long another must have taken up what a dead or frozen worker held."""
AWAY_SECONDS = 6.0
"""How long a server is down while a process starts."""
HANG_WORK_SECONDS = 3.0
"""What was stored in so many seconds after a worker's hanging counts as its work too."""
BACK_SECONDS_MAX = 90.0
"""How long a process may take to be ready again; the machine may be busy with other things."""
COPIES_MAX = 3
UNREAD_FACTS = 15
"""How many facts stand in the store, read by nobody, when it is lost; more than the reader may have in its hands."""
READY_PROBE_SECONDS = 0.1


@dataclass(slots=True)
class Done:
    """One fault that was done, with its times; ``begun`` is in seconds of the run."""

    fault: Fault
    begun: float
    back_seconds: float = 0.0
    """From its beginning until the process was ready again."""
    taken_up_seconds: float | None = None
    """From the death of a worker until another had processed its work; None where no other worker was there."""
    caught_up_seconds: float | None = None
    """From the moment the fault was lifted until all that was stored by then stood in the feed."""
    complaints: list[str] = field(default_factory=list)


class Hand:
    """Kills, freezes and robs."""

    def __init__(
        self, system: System, observer: Observer, outages: Outages, seed: int, copies: Path, letters_per_fault: int
    ) -> None:
        self._system = system
        self._supervisor = system.supervisor
        self._observer = observer
        self._outages = outages
        self._draw = random.Random(f"{seed} hand")
        self._copies_directory = copies
        self._copies: list[Path] = []
        self._copy_count = 0
        # Most letters make one fact each, and no more letters come than the fault's share.
        self._unread_count = max(1, min(UNREAD_FACTS, letters_per_fault // 2))
        self.kill_counts: dict[str, int] = {}

    async def do(self, fault: Fault, done: Done) -> None:
        """Does the fault and lifts it; returns when the process is ready again. Raises TimeoutError when it is not."""
        begun, moment = time.monotonic(), datetime.now(UTC)
        if serves_http(fault.target):
            self._outages.begin()
        try:
            async with asyncio.timeout(BACK_SECONDS_MAX):
                match fault.kind:
                    case Kind.KILL:
                        await self._kill(fault.target)
                    case Kind.FREEZE:
                        await self._freeze(fault.target)
                    case Kind.HANG:
                        await self._hang(fault.target, done)
                    case Kind.RESTART:
                        await self._restart(fault, done)
                    case Kind.COLD_FROZEN | Kind.COLD_DEAD:
                        await self._start_cold(fault)
                    case Kind.STORE_DELETED:
                        await self._delete_store()
                    case Kind.STORE_PUT_BACK:
                        await self._put_store_back()
        finally:
            if serves_http(fault.target):
                self._outages.end()
        done.back_seconds = time.monotonic() - begun
        if fault.kind in (Kind.KILL, Kind.RESTART) and fault.target in WORKERS:
            left = TAKEOVER_SECONDS_MAX - done.back_seconds
            await self._note_takeover(done, begun, moment, left)

    def kill(self, target: str) -> Callable[[], Awaitable[None]]:
        """Kills at once, which may be in the middle of anything; what is answered waits until it was started again."""
        self.kill_counts[target] = self.kill_counts.get(target, 0) + 1
        before = self._supervisor.restart_count(target)
        self._supervisor.kill(target)
        return partial(self._supervisor.wait_restarted, target, before)

    async def _kill(self, target: str) -> None:
        await self.kill(target)()

    async def _freeze(self, target: str) -> None:
        self._supervisor.freeze(target)
        try:
            # The length of the fault itself.
            await asyncio.sleep(FREEZE_SECONDS)
        finally:
            self._supervisor.thaw(target)
        await self._ready(target)

    async def _restart(self, fault: Fault, done: Done) -> None:
        begun = time.monotonic()
        if fault.away:
            self._supervisor.freeze(fault.away)
        try:
            await self._supervisor.hold(fault.target, graceful=True)
        finally:
            if fault.away:
                self._supervisor.thaw(fault.away)
        if time.monotonic() - begun >= APP_STOP_TIMEOUT_SECONDS:
            done.complaints.append(f"it had not stopped {APP_STOP_TIMEOUT_SECONDS:g} s after SIGTERM")
        await self._supervisor.release(fault.target)

    async def _start_cold(self, fault: Fault) -> None:
        """Kills the process while a server that it needs at its start is away, and brings the server back."""
        self.kill_counts[fault.target] = self.kill_counts.get(fault.target, 0) + 1
        before = self._supervisor.restart_count(fault.target)
        dead = fault.kind is Kind.COLD_DEAD
        if dead:
            await self._supervisor.hold(fault.away)
        else:
            self._supervisor.freeze(fault.away)
        try:
            self._supervisor.kill(fault.target)
            # The length of the fault itself: long enough for the new process to want what is not there.
            await asyncio.sleep(AWAY_SECONDS if dead else FREEZE_SECONDS)
        finally:
            if dead:
                await self._supervisor.release(fault.away)
            else:
                self._supervisor.thaw(fault.away)
        await self._supervisor.wait_restarted(fault.target, before)

    async def _hang(self, target: str, done: Done) -> None:
        # Only a worker that holds something leaves something behind.
        while await self._observer.worker_count() < len(WORKERS):  # noqa: ASYNC110 another process
            await asyncio.sleep(LOOK_SECONDS)
        begun, moment = time.monotonic(), datetime.now(UTC)
        self._supervisor.freeze(target)
        try:
            await asyncio.sleep(HANG_WORK_SECONDS)
            left = TAKEOVER_SECONDS_MAX - HANG_WORK_SECONDS
            await self._note_takeover(done, begun, moment + timedelta(seconds=HANG_WORK_SECONDS), left)
        finally:
            self._supervisor.thaw(target)
        await self._ready(target)

    async def _note_takeover(self, done: Done, begun: float, until: datetime, limit_seconds: float) -> None:
        if await self._observer.processed(until, max(0.0, limit_seconds)) is None:
            done.complaints.append(f"its work was not taken up within {TAKEOVER_SECONDS_MAX:g} s")
        else:
            done.taken_up_seconds = time.monotonic() - begun

    async def _delete_store(self) -> None:
        async with self._observer.unread_facts(self._unread_count):
            await self._supervisor.hold("nats")
            await self._copy_store()
            await asyncio.to_thread(shutil.rmtree, self._system.suite.nats_store)
        await self._supervisor.release("nats")

    async def _put_store_back(self) -> None:
        if not self._copies:
            await self._supervisor.hold("nats")
            await self._copy_store()
            await self._supervisor.release("nats")
        copy = self._draw.choice(self._copies)
        store = self._system.suite.nats_store
        # Facts that were published after the copy was taken, and that nobody has read, are lost with the newer store.
        async with self._observer.unread_facts(self._unread_count):
            await self._supervisor.hold("nats")
            await asyncio.to_thread(shutil.rmtree, store)
            await asyncio.to_thread(shutil.copytree, copy, store)
        await self._supervisor.release("nats")

    async def _copy_store(self) -> None:
        """Keeps a copy of the store, which must not be in use."""
        self._copy_count += 1
        copy = self._copies_directory / f"store-{self._copy_count}"
        await asyncio.to_thread(shutil.copytree, self._system.suite.nats_store, copy)
        self._copies = [*self._copies, copy][-COPIES_MAX:]

    async def _ready(self, target: str) -> None:
        """Waits until a thawed process answers again; servers are asked through those that need them."""
        ports = [self._system.metrics_port(target)]
        if ports == [None]:
            ports = [app.metrics_port for app in self._system.suite.apps]
        for port in ports:
            assert port is not None
            while not await _is_ready(port):  # noqa: ASYNC110 another process has no event to wait for
                await asyncio.sleep(READY_PROBE_SECONDS)


async def _is_ready(port: int) -> bool:
    try:
        async with asyncio.timeout(FREEZE_SECONDS):
            return await answers_ready(port)
    except (OSError, TimeoutError):
        return False
