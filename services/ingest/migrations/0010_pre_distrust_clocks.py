"""Lets upkeep drop no day of webhooks with one that was answered 200 and is not done yet, however old it is."""

from __future__ import annotations

from alembic import op

revision = "ingest_0010"
down_revision = "ingest_0009"
branch_labels = None
depends_on = None

WAITING = "update ingest.partitioned_tables set waiting = '{condition}' where table_name = 'webhook_events'"


def upgrade() -> None:
    """Says which rows wait."""
    op.get_bind().exec_driver_sql(WAITING.format(condition="held.state = ''PENDING''"))


def downgrade() -> None:
    """Says that none does, which is also what the chassis' tables say of one that they know nothing of."""
    op.get_bind().exec_driver_sql(WAITING.format(condition="false"))
