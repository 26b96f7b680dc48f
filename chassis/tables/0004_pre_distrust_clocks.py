"""Lets upkeep drop nothing that waits, and nothing at a time that is far from the server's and the newest row's."""

from __future__ import annotations

from chassis import upkeep_functions
from chassis.tables import run

revision = "chassis_0004"
down_revision = "chassis_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Replaces the function; who runs the release before calls the new one alike."""
    run(upkeep_functions.distrust_clocks)


def downgrade() -> None:
    """Puts the function back that believed any time."""
    run(upkeep_functions.trust_clocks)
