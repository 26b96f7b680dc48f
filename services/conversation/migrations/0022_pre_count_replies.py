"""Index the automatic replies of a conversation by time: each turn counts those of the last hour."""

from __future__ import annotations

from alembic import op

revision = "conversation_0022"
down_revision = "conversation_0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Builds the index beside what runs."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        # A build that was interrupted leaves an invalid index behind.
        run("drop index concurrently if exists conversation.deliveries_replies")
        run(
            "create index concurrently deliveries_replies on conversation.deliveries"
            " (organization_id, conversation_id, create_time) where send_class = 'REPLY'"
        )


def downgrade() -> None:
    """Takes it away."""
    with op.get_context().autocommit_block():
        op.get_bind().exec_driver_sql("drop index concurrently if exists conversation.deliveries_replies")
