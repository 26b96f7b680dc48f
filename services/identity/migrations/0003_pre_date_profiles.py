"""Keep how new the newest profile is that a provider sent, so that one sent late does not replace it."""

from __future__ import annotations

from alembic import op

revision = "identity_0003"
down_revision = "identity_0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the column; empty, which costs no rewrite."""
    op.get_bind().exec_driver_sql("alter table identity.contacts add column profile_time timestamptz")


def downgrade() -> None:
    """Takes it away."""
    op.get_bind().exec_driver_sql("alter table identity.contacts drop column profile_time")
