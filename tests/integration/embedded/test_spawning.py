"""Spawning under uvloop, whatever waits to be collected."""

from __future__ import annotations

import contextlib
import os
import signal

import pytest

from tests.integration.embedded.fakes import line_of, program


@pytest.mark.case("O15")
async def test_a_child_collects_no_channel_of_its_parents_before_it_becomes_its_program() -> None:
    """It would spin for ever, and its parent would wait for it where no signal reaches."""
    async with program("run_spawning") as process:
        try:
            assert await line_of(process) == "spawned 0"
            assert await process.wait() == 0
        finally:
            # The child of a parent that was killed would spin on.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
