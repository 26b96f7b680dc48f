"""Lets the service see how many webhook events wait and since when, over all organizations: what an alert looks at."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "ingest_0002"
down_revision = "ingest_0001"
branch_labels = None
depends_on = None

SERVICE = "ingest"


def upgrade() -> None:
    run = op.get_bind().exec_driver_sql
    run(
        """
        create function ingest.webhooks_waiting() returns table (waiting_count bigint, oldest_receive_time timestamptz)
          language sql stable security definer set search_path = pg_catalog as
          $$ select count(*), min(receive_time) from ingest.webhook_queue $$;
        """
    )
    run(migrations.own_function(SERVICE, "webhooks_waiting()"))


def downgrade() -> None:
    op.get_bind().exec_driver_sql("drop function ingest.webhooks_waiting()")
