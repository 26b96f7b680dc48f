"""How long `prosa up` takes until it is ready, and how much memory and processor the suite takes that has no work."""

from __future__ import annotations

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs are published with it

from bench.accept import Effort
from bench.figures import Figure, at_most
from embedded.ports import free_port

SECOND_START_SECONDS = 6.0
READY_SECONDS_MAX = 120.0
LOOK_SECONDS = 0.02
SETTLE_SECONDS, IDLE_SECONDS = 5.0, 10.0
IDLE_SHARE_MAX = 0.05
"""Of one processor: a suite nobody writes to polls and renews its leases, and does nothing else."""
MEBIBYTE = 1024 * 1024


async def measure(effort: Effort, directory: Path | None) -> list[Figure]:
    """The first start in an empty home, then later ones in the same."""
    seconds, resident, proportional, idle = [], [], [], []
    with tempfile.TemporaryDirectory(prefix="prosa-bench-", dir=directory) as home:
        Path(home).chmod(0o755)  # noqa: ASYNC240 before anything runs
        port = free_port()
        first, *_ = await _start(Path(home) / "home", port)
        for _ in range(effort.runs):
            took, rss, pss, share = await _start(Path(home) / "home", port, idle=True)
            seconds.append(took)
            resident.append(rss)
            proportional.append(pss)
            idle.append(share)
    return [
        Figure("e first start of the suite, in an empty home", "s", [first]),
        Figure("e second start of the suite", "s", seconds, bounds=[at_most(SECOND_START_SECONDS)]),
        Figure("e memory of the idle suite, sum of RSS", "MiB", resident),
        Figure("e the same with shared pages counted once (PSS)", "MiB", proportional),
        Figure("e processor time of the idle suite", "of a second", idle, bounds=[at_most(IDLE_SHARE_MAX)]),
    ]


async def _start(home: Path, port: int, *, idle: bool = False) -> tuple[float, float, float, float]:
    """Seconds until it is ready, both sums of memory, and the processor's share where asked; it is stopped again."""
    started = time.monotonic()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cli.main", "up", "--home", str(home), "--http-port", str(port), "--shape", "receiver"),
        stdout=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(READY_SECONDS_MAX):
            while not (home / "bootstrap.json").exists():
                assert process.returncode is None, "prosa up has ended"
                await asyncio.sleep(LOOK_SECONDS)
        took = time.monotonic() - started
        root = psutil.Process(process.pid)
        suite = (root, *root.children(recursive=True))
        memory = [item.memory_full_info() for item in suite]
        share = await _idle_share(suite) if idle else 0.0
        return took, sum(item.rss for item in memory) / MEBIBYTE, sum(item.pss for item in memory) / MEBIBYTE, share
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        await process.wait()


async def _idle_share(suite: Sequence[psutil.Process]) -> float:
    """What the processes take of one processor while nothing is asked of them."""
    await asyncio.sleep(SETTLE_SECONDS)
    before, begun = _processor_seconds(suite), time.monotonic()
    await asyncio.sleep(IDLE_SECONDS)
    return (_processor_seconds(suite) - before) / (time.monotonic() - begun)


def _processor_seconds(suite: Sequence[psutil.Process]) -> float:
    return sum(sum(item.cpu_times()[:2]) for item in suite)
