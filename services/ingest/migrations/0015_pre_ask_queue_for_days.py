"""Lets upkeep ask the queue whether a day of webhooks has one that is not done, instead of looking at all of the day's.

Who accepts or puts back a webhook puts it into the queue in the same statement, and who is done with it takes it out.
"""

from __future__ import annotations

from alembic import op

revision = "ingest_0015"
down_revision = "ingest_0014"
branch_labels = None
depends_on = None

WAITING = "update ingest.partitioned_tables set waiting_within = {query} where table_name = 'webhook_events'"
QUEUED = "'select from ingest.webhook_queue where receive_time >= $1 and receive_time < $2'"


def upgrade() -> None:
    """Names the queue."""
    op.get_bind().exec_driver_sql(WAITING.format(query=QUEUED))


def downgrade() -> None:
    """Lets the day's rows be looked at again."""
    op.get_bind().exec_driver_sql(WAITING.format(query="null"))
