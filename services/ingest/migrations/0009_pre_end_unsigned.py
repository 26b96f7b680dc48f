"""Ends by a date that connections take webhooks without a signature, and keeps when they last did.

Connections that are there already get 30 days.
"""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "ingest_0009"
down_revision = "ingest_0008"
branch_labels = None
depends_on = None

DAYS = 30


def upgrade() -> None:
    """Adds the times. What an older process still makes has none, and is read as made with the default."""
    run = op.get_bind().exec_driver_sql
    run("alter table ingest.connections add column unsigned_end_time timestamptz")
    run("alter table ingest.connections add column last_unsigned_time timestamptz")
    with migrations.all_rows(run, "ingest", "connections"):
        run(f"update ingest.connections set unsigned_end_time = now() + interval '{DAYS} days'")


def downgrade() -> None:
    """Takes them away."""
    run = op.get_bind().exec_driver_sql
    run("alter table ingest.connections drop column last_unsigned_time")
    run("alter table ingest.connections drop column unsigned_end_time")
