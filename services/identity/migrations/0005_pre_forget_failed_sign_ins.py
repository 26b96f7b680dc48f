"""Forgets failed sign-ins once their window is over, not a day later: anybody may add one for a made-up e-mail."""

from __future__ import annotations

from alembic import op

revision = "identity_0005"
down_revision = "identity_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Days are too long a unit: upkeep deletes with $1 as the moment, from which the condition takes the window."""
    op.get_bind().exec_driver_sql(
        "update identity.expiring_tables set keep_days = 0, condition = 'window_start < $1 - interval ''15 minutes'''"
        " where table_name = 'sign_in_failures'"
    )


def downgrade() -> None:
    """Keeps them for a day again."""
    op.get_bind().exec_driver_sql(
        "update identity.expiring_tables set keep_days = 1, condition = 'true' where table_name = 'sign_in_failures'"
    )
