"""How much memory the embedded PostgreSQL may use for its buffers."""

from __future__ import annotations

from pathlib import Path

import psutil  # type: ignore[import-untyped]  # no stubs are published with it
import pytest

from embedded.postgres import SETTINGS, shared_buffers_mb, usable_memory_mb


@pytest.mark.parametrize(
    ("memory_mb", "buffers_mb"), [(400, 128), (2_048, 512), (4_096, 1_024), (8_192, 2_048), (262_144, 2_048)]
)
def test_buffers_are_a_quarter_of_the_memory_within_bounds(memory_mb: int, buffers_mb: int) -> None:
    assert shared_buffers_mb(memory_mb) == buffers_mb


def test_the_setting_follows_this_machine() -> None:
    assert 128 <= int(SETTINGS["shared_buffers"].removesuffix("MB")) <= 2_048


@pytest.mark.parametrize(
    ("limit", "usable_mb"), [("536870912\n", 512), ("max\n", None), ("9223372036854771712\n", None), (None, None)]
)
def test_a_container_has_what_it_may_use_and_no_more(tmp_path: Path, limit: str | None, usable_mb: int | None) -> None:
    file = tmp_path / "memory.max"
    if limit is not None:
        file.write_text(limit)
    machine = psutil.virtual_memory().total // 2**20
    assert usable_memory_mb(file) == pytest.approx(machine if usable_mb is None else usable_mb, abs=1)
