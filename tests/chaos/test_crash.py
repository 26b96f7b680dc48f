"""The crash test at the size of `make test`: 500 events and four faults, one process per service."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from embedded.shapes import Shape
from tests.chaos.plan import draw_short_plan
from tests.chaos.run import run

EVENT_COUNT = 500
KILL_COUNT = 1
SEED_VARIABLE = "PROSA_CHAOS_SEED"
"""Repeats a run: its seed is printed with every failure."""


@pytest.mark.timeout(600)
async def test_what_was_answered_200_has_its_effect_once_whatever_dies_meanwhile(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    seed = int(os.environ.get(SEED_VARIABLE) or random.SystemRandom().randrange(1_000_000))
    plan = draw_short_plan(seed, Shape.SERVICES)
    told: list[str] = []
    try:
        report = await run(
            tmp_path,
            seed=seed,
            shape=Shape.SERVICES,
            event_count=EVENT_COUNT,
            plan=plan,
            kill_count=KILL_COUNT,
            say=told.append,
        )
    finally:
        record_property("told", "\n".join(told))
    assert report.failures == []
