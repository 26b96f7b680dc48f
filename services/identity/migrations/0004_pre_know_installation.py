"""Lets the service know which installation it belongs to, so that it never takes another one's stream for its own."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "identity_0004"
down_revision = "identity_0003"
branch_labels = None
depends_on = None

SERVICE = "identity"


def upgrade() -> None:
    op.get_bind().exec_driver_sql(migrations.know_installation(SERVICE))


def downgrade() -> None:
    op.get_bind().exec_driver_sql(migrations.forget_installation(SERVICE))
