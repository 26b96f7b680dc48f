"""An operator of the module's world."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.cli.operator import Operator
from tests.world import World


@pytest.fixture
def operator(world: World, keys_dir: Path, tmp_path: Path) -> Operator:
    """Somebody who may use the world's keys."""
    environment = {
        "PROSA_HOME": str(tmp_path / "no-home"),
        "PROSA_GRPC_ADDRESS": world.host.grpc_address,
        "PROSA_KEYS_DIR": str(keys_dir),
    }
    return Operator(environment, tmp_path)
