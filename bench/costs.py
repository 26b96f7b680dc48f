"""Processor time: what a process and its children have used, and what that comes to for each webhook.

Other load on a machine takes processors away from whoever is measured and so moves a rate; what a webhook costs it
moves much less. A rate is what musts were first stated in, and `within` says the same in processor time.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]  # no stubs are published with it

Cost = dict[str, float]
"""Microseconds of processor time for each webhook, by who used them."""


@dataclass(frozen=True, slots=True)
class Used:
    """Seconds that a tree of processes has used: by each that lives, and by those that have ended before."""

    living: Mapping[int, float]
    ended: float


def used(processes: Iterable[psutil.Process]) -> Used:
    """What each process has used, in its own code and in the kernel; those that have gone meanwhile are left out."""
    living, ended = {}, 0.0
    for process in processes:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            living[process.pid] = float(times.user + times.system)
            ended += float(times.children_user + times.children_system)
    return Used(living, ended)


def since(before: Used, after: Used) -> float:
    """Seconds used between two looks by those that live at the second: whoever only came to look has gone by then."""
    return sum(seconds - before.living.get(pid, 0.0) for pid, seconds in after.living.items())


def since_with_ended(before: Used, after: Used) -> float:
    """Seconds used between two looks by all, those that have ended meanwhile among them."""
    # What a process has used passes to its parent when it ends, so nothing is counted twice.
    return sum(after.living.values()) + after.ended - sum(before.living.values()) - before.ended


def each(seconds: float, count: int) -> float:
    """Microseconds for each of so many webhooks."""
    return seconds / count * 1e6


def at_work(rate: float, cost: Cost) -> float:
    """How many processors a rate kept busy."""
    return rate * sum(cost.values()) / 1e6


def within(rate_ratio: float, cost_ratio_seen: float, rate_ratio_seen: float) -> float:
    """How many times the limit's processor time a webhook may cost where so much of the limit's rate is a must.

    A rate is the processors at work divided by the processor time of a webhook. Product and limit do not keep as many
    at work, so it takes one code of which both ratios are known: what costs so much more slows down by as much.
    """
    return cost_ratio_seen * rate_ratio_seen / rate_ratio
