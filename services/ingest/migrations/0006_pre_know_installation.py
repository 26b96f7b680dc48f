"""Lets the service know which installation it belongs to, so that it never takes another one's stream for its own."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "ingest_0006"
down_revision = "ingest_0005"
branch_labels = None
depends_on = None

SERVICE = "ingest"


def upgrade() -> None:
    op.get_bind().exec_driver_sql(migrations.know_installation(SERVICE))


def downgrade() -> None:
    op.get_bind().exec_driver_sql(migrations.forget_installation(SERVICE))
