"""Lets an organization be on its way to live, so that what a crash cuts off is seen and finished."""

from __future__ import annotations

from alembic import op

revision = "ingest_0022"
down_revision = "ingest_0021"
branch_labels = None
depends_on = None

# The table has one row for each organization at most, so that checking them takes no time.
KNOWN = """
alter table ingest.rollouts
  -- squawk-ignore ban-drop-constraint
  drop constraint rollouts_state_known,
  -- squawk-ignore constraint-missing-not-valid
  add constraint rollouts_state_known check (state in ({states}));
"""


def upgrade() -> None:
    """Knows the state."""
    op.get_bind().exec_driver_sql(KNOWN.format(states="'PREPARING', 'ACTIVATING', 'LIVE', 'ROLLED_BACK'"))


def downgrade() -> None:
    """Whoever is on the way is not live."""
    run = op.get_bind().exec_driver_sql
    run(
        "update ingest.rollouts set version = version + 1,"
        " state = case when roll_back_time is null then 'PREPARING' else 'ROLLED_BACK' end where state = 'ACTIVATING'"
    )
    run(KNOWN.format(states="'PREPARING', 'LIVE', 'ROLLED_BACK'"))
