"""How much memory the embedded PostgreSQL may use for its buffers."""

from __future__ import annotations

import pytest

from chassis.embedded.postgres import SETTINGS, shared_buffers_mb


@pytest.mark.parametrize(
    ("memory_mb", "buffers_mb"), [(400, 128), (2_048, 512), (4_096, 1_024), (8_192, 2_048), (262_144, 2_048)]
)
def test_buffers_are_a_quarter_of_the_memory_within_bounds(memory_mb: int, buffers_mb: int) -> None:
    assert shared_buffers_mb(memory_mb) == buffers_mb


def test_the_setting_follows_this_machine() -> None:
    assert 128 <= int(SETTINGS["shared_buffers"].removesuffix("MB")) <= 2_048
