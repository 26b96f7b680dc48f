"""Lets the chassis' queue look into the table in which webhook events wait; the table and its rows stay as they are.

A process of the release before works on with the functions it knows. Both hold the same leases: a lane is one's alone.
"""

from __future__ import annotations

from alembic import op

from chassis.queues.tables import drop_queue_functions, queue_functions

revision = "ingest_0013"
down_revision = "ingest_0012"
branch_labels = None
depends_on = None

SERVICE, QUEUE = "ingest", "webhook_queue"


def upgrade() -> None:
    """Adds the functions."""
    functions = queue_functions(SERVICE, QUEUE, item_column="webhook_event_id", time_column="receive_time")
    op.get_bind().exec_driver_sql(functions)


def downgrade() -> None:
    """Takes them away."""
    op.get_bind().exec_driver_sql(drop_queue_functions(SERVICE, QUEUE))
