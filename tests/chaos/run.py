"""One run: the system, the sender and the faults, and at the end the invariants."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from embedded.errors import EmbeddedError
from embedded.shapes import Shape
from tests.chaos import invariants
from tests.chaos.correspondence import Correspondence, draw_correspondences
from tests.chaos.hand import Done, Hand
from tests.chaos.invariants import Check
from tests.chaos.observer import Observer
from tests.chaos.pace import Pace
from tests.chaos.plan import Fault
from tests.chaos.reader import Reader
from tests.chaos.sender import Outages, Sender
from tests.chaos.sending import Provider, Sending, open_provider
from tests.chaos.system import SECRET, System, running_system

CAUGHT_UP_SECONDS_MAX = 30.0
"""After a fault is lifted, what was stored until then is processed and told within this long."""
QUIET_SECONDS_MAX = 90.0
SEND_SECONDS_MAX = 240.0
"""How long the letters that are left after the last fault may take."""

Say = Callable[[str], None]


@dataclass(slots=True)
class Report:
    """What a run did and found."""

    seed: int
    shape: Shape
    letter_count: int
    faults: list[Done] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    checks: list[Check] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failures(self) -> list[str]:
        """Everything that is not as it must be."""
        complaints = [
            f"{done.fault.kind} {done.fault.target} at {done.begun:.0f} s: {complaint}"
            for done in self.faults
            for complaint in done.complaints
        ]
        return complaints + [f"{check.sentence}: {check.counted}" for check in self.checks if not check.holds]


async def run(
    home: Path,
    *,
    seed: int,
    shape: Shape,
    event_count: int,
    plan: Sequence[Fault],
    kill_count: int = 0,
    say: Say = print,
) -> Report:
    """Runs once in an empty directory, which keeps data and logs; a run that gets stuck says so in its report.

    After the plan, what sends is killed ``kill_count`` times while Chatwoot has its messages.
    """
    begun = time.monotonic()
    correspondences = draw_correspondences(seed, event_count, datetime.now(UTC))
    letter_count = sum(len(item.letters) for item in correspondences)
    report = Report(seed, shape, letter_count)
    say(
        f"seed {seed}, shape {shape}: {letter_count} events of {len(correspondences)} conversations,"
        f" {len(plan)} faults, in {home}"
    )
    async with open_provider(seed) as provider, running_system(home, shape, provider.host) as system:
        say(f"{time.monotonic() - begun:7.1f} s  the system is ready")
        try:
            await _Run(system, provider, correspondences, report, begun, home, say).drive(plan, kill_count)
        except* (TimeoutError, EmbeddedError) as stuck:
            told = "; ".join(f"{type(error).__name__}: {error}" for error in stuck.exceptions)
            report.checks.append(Check("the run came to its end", False, told))
    report.seconds = time.monotonic() - begun
    for check in report.checks:
        say(f"  {'ok  ' if check.holds else 'FAIL'}  {check.sentence}: {check.counted}")
    say(
        f"seed {seed}, shape {shape}: {'green' if not report.failures else 'RED'} after {report.seconds:.0f} s,"
        f" {len(report.faults)} faults, answers {dict(report.answers)}"
    )
    return report


class _Run:
    """What goes on while the system runs."""

    def __init__(
        self,
        system: System,
        provider: Provider,
        correspondences: Sequence[Correspondence],
        report: Report,
        begun: float,
        home: Path,
        say: Say,
    ) -> None:
        self._system = system
        self._provider = provider
        self._correspondences = correspondences
        self._report = report
        self._begun = begun
        self._home = home
        self._say = say
        self._outages = Outages()
        self._observer = Observer(system.suite.database_url)

    async def drive(self, plan: Sequence[Fault], kill_count: int) -> None:
        """Sends and breaks side by side, waits until it is quiet, and looks; then at messages whose sender dies."""
        report, system = self._report, self._system
        pace = Pace(report.letter_count, len(plan))
        sender = Sender(system.webhook_url, SECRET, self._correspondences, pace, report.seed)
        share = report.letter_count // max(1, len(plan))
        hand = Hand(system, self._observer, self._outages, report.seed, self._home, share)
        reader = Reader(system.stream_url, system.api_key)
        reading = asyncio.create_task(reader.run())
        try:
            await self._send_and_break(plan, pace, sender, hand)
            self._say(f"{self._now():7.1f} s  all {sender.accepted_count} events were answered 200")
            quiet = await self._observer.caught_up(datetime.now(UTC), QUIET_SECONDS_MAX)
            self._say(f"{self._now():7.1f} s  " + ("all is quiet" if quiet is not None else "it does not get quiet"))
            last = await self._observer.number("select coalesce(max(position), 0) from ingest.feed")
            await reader.until(last, QUIET_SECONDS_MAX)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        report.answers = sender.statuses()
        await self._check(sender, reader)
        report.checks.append(Check("it got quiet", quiet is not None, f"within {QUIET_SECONDS_MAX:g} s"))
        if kill_count:
            sending = Sending(system, self._provider, self._observer, hand)
            report.checks += await sending.run(kill_count)
            self._say(f"{self._now():7.1f} s  what was sent is settled")
        report.checks += [
            invariants.processes_lived(system.restart_counts(), hand.kill_counts),
            invariants.logs_are_calm(system.logs),
        ]

    async def _send_and_break(self, plan: Sequence[Fault], pace: Pace, sender: Sender, hand: Hand) -> None:
        async with asyncio.TaskGroup() as group:
            pacing = group.create_task(pace.run())
            sending = group.create_task(sender.run())
            for fault in plan:
                pace.fault_begins()
                await self._do(hand, fault)
                async with asyncio.timeout(SEND_SECONDS_MAX):
                    # The next fault meets a system that is at work on what this one's share has left.
                    await sender.until_accepted(pace.fault_ends())
            pace.no_more_faults()
            async with asyncio.timeout(SEND_SECONDS_MAX):
                await asyncio.gather(pacing, sending)

    async def _do(self, hand: Hand, fault: Fault) -> None:
        done = Done(fault, self._now())
        self._report.faults.append(done)
        try:
            await hand.do(fault, done)
        except (TimeoutError, EmbeddedError):
            done.complaints.append("it did not come back")
            raise
        if fault.isolated:
            done.caught_up_seconds = await self._observer.caught_up(datetime.now(UTC), CAUGHT_UP_SECONDS_MAX)
            if done.caught_up_seconds is None:
                done.complaints.append(f"the system had not caught up {CAUGHT_UP_SECONDS_MAX:g} s after it")
        self._say(_line(done))

    async def _check(self, sender: Sender, reader: Reader) -> None:
        observer, correspondences = self._observer, self._correspondences
        self._report.checks = [
            *invariants.answers_in_time(sender.answers, self._outages),
            *await invariants.stored_and_done(observer, sender.accepted),
            *await invariants.one_of_each(observer, correspondences),
            *await invariants.messages_in_order(observer, correspondences),
            *await invariants.feed_is_whole(observer, correspondences),
            await invariants.reader_saw_all(observer, reader),
        ]

    def _now(self) -> float:
        return time.monotonic() - self._begun


def _line(done: Done) -> str:
    parts = [f"back after {done.back_seconds:.1f} s"]
    if done.taken_up_seconds is not None:
        parts.append(f"work taken up after {done.taken_up_seconds:.1f} s")
    if done.caught_up_seconds is not None:
        parts.append(f"caught up {done.caught_up_seconds:.1f} s later")
    parts += [f"BUT {complaint}" for complaint in done.complaints]
    target = f"{done.fault.target} ({done.fault.away})" if done.fault.away else done.fault.target
    return f"{done.begun:7.1f} s  {done.fault.kind:14} {target:24} {', '.join(parts)}"
