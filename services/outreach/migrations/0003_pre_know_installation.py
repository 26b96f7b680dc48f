"""Lets the service know which installation it belongs to, so that it never takes another one's stream for its own."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "outreach_0003"
down_revision = "outreach_0002"
branch_labels = None
depends_on = None

SERVICE = "outreach"


def upgrade() -> None:
    op.get_bind().exec_driver_sql(migrations.know_installation(SERVICE))


def downgrade() -> None:
    op.get_bind().exec_driver_sql(migrations.forget_installation(SERVICE))
