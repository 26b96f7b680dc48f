"""Lets upkeep drop nothing that waits, and nothing at a time that is far from the server's and the newest row's."""

from __future__ import annotations

from alembic import op

from chassis import upkeep

revision = "crm_0004"
down_revision = "crm_0003"
branch_labels = None
depends_on = None

SERVICE = "crm"


def upgrade() -> None:
    """Replaces the function; who runs the release before calls the new one alike."""
    op.get_bind().exec_driver_sql(upkeep.distrust_clocks(SERVICE), execution_options={"no_parameters": True})


def downgrade() -> None:
    """Puts the function back that believed any time."""
    op.get_bind().exec_driver_sql(upkeep.trust_clocks(SERVICE), execution_options={"no_parameters": True})
