"""Lets upkeep be done in steps, a transaction for each table, and ask a queue for what waits instead of all rows."""

from __future__ import annotations

from chassis import upkeep_functions
from chassis.tables import run

revision = "chassis_0007"
down_revision = "chassis_0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the steps; who runs the release before calls all of them alike."""
    run(upkeep_functions.in_steps)


def downgrade() -> None:
    """Puts the one function back."""
    run(upkeep_functions.in_one)
