"""Index what may have left of a conversation, and what waits of it: all else that was ever sent in it is left alone."""

from __future__ import annotations

from alembic import op

revision = "conversation_0021"
down_revision = "conversation_0020"
branch_labels = None
depends_on = None

INDEXES = {
    "deliveries_in_flight": "(organization_id, conversation_id, send_time)"
    " where state in ('SENDING', 'UNCERTAIN', 'FAILED')",
    "deliveries_queued": "(organization_id, conversation_id) where state = 'QUEUED'",
}


def upgrade() -> None:
    """Builds them beside what runs."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        for name, definition in INDEXES.items():
            # A build that was interrupted leaves an invalid index behind.
            run(f"drop index concurrently if exists conversation.{name}")
            run(f"create index concurrently {name} on conversation.deliveries {definition}")


def downgrade() -> None:
    """Takes them away."""
    with op.get_context().autocommit_block():
        for name in INDEXES:
            op.get_bind().exec_driver_sql(f"drop index concurrently if exists conversation.{name}")
