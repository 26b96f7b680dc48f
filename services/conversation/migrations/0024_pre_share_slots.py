"""Shares the slots of whoever calls organizations' servers out among the organizations."""

from __future__ import annotations

from alembic import op

from chassis.queues.tables import share_slots, unshare_slots

revision = "conversation_0024"
down_revision = "conversation_0023"
branch_labels = None
depends_on = None

SERVICE = "conversation"
QUEUES = (
    ("delivery_queue", True),
    ("provider_write_queue", False),
    ("instance_queue", True),
    ("turn_queue", True),
)
"""Each with whether it is timed."""


def upgrade() -> None:
    """Makes the functions by which workers look."""
    for queue, timed in QUEUES:
        op.get_bind().exec_driver_sql(share_slots(SERVICE, queue, timed=timed))


def downgrade() -> None:
    """Drops them."""
    for queue, _ in QUEUES:
        op.get_bind().exec_driver_sql(unshare_slots(SERVICE, queue))
