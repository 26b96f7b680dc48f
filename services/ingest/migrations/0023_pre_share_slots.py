"""Shares the slots of whoever calls organizations' servers out among the organizations."""

from __future__ import annotations

from alembic import op

from chassis.queues.tables import share_slots, unshare_slots

revision = "ingest_0023"
down_revision = "ingest_0022"
branch_labels = None
depends_on = None

SERVICE = "ingest"
QUEUES = (("outbound_queue", True),)
"""Each with whether it is timed."""


def upgrade() -> None:
    """Makes the functions by which workers look."""
    for queue, timed in QUEUES:
        op.get_bind().exec_driver_sql(share_slots(SERVICE, queue, timed=timed))


def downgrade() -> None:
    """Drops them."""
    for queue, _ in QUEUES:
        op.get_bind().exec_driver_sql(unshare_slots(SERVICE, queue))
