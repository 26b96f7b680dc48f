"""Has conversation told what connections' messages are sent with: of all that have something, and of each change."""

from __future__ import annotations

from alembic import op

from chassis import migrations
from chassis.queues.queue import lane_of
from chassis.queues.tables import create_queue, drop_queue

revision = "ingest_0016"
down_revision = "ingest_0015"
branch_labels = None
depends_on = None

SERVICE, QUEUE = "ingest", "account_queue"
KNOWN = "select id::text, organization_id::text from ingest.connections where access_token_sealed is not null"


def upgrade() -> None:
    """Makes the queue, with every connection in it that can be sent through."""
    run = op.get_bind().exec_driver_sql
    run(create_queue(SERVICE, QUEUE))
    with migrations.all_rows(run, SERVICE, "connections", QUEUE):
        for connection_id, organization_id in run(KNOWN).all():
            run(
                f"insert into {SERVICE}.{QUEUE}"
                " (lane, ordering_key, item_id, put_time, organization_id, attempt_count)"
                f" values ({lane_of(connection_id)}, '{connection_id}', '{connection_id}', now(),"
                f" '{organization_id}', 0)"
            )


def downgrade() -> None:
    """Forgets whom to tell of."""
    op.get_bind().exec_driver_sql(drop_queue(SERVICE, QUEUE))
