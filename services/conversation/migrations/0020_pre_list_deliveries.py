"""Index deliveries in the order in which they are listed: not all ids grow with time."""

from __future__ import annotations

from alembic import op

revision = "conversation_0020"
down_revision = "conversation_0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Builds the index beside what runs."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        # A build that was interrupted leaves an invalid index behind.
        run("drop index concurrently if exists conversation.deliveries_by_create_time")
        run(
            "create index concurrently deliveries_by_create_time on conversation.deliveries"
            " (organization_id, create_time, delivery_id)"
        )


def downgrade() -> None:
    """Takes it away."""
    with op.get_context().autocommit_block():
        op.get_bind().exec_driver_sql("drop index concurrently if exists conversation.deliveries_by_create_time")
