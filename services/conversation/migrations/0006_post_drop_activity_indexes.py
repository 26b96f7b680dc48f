"""Drop the two indexes that every message had to move; lists are read through ``conversation_activity``.

A release that still reads through them sorts an organization's conversations for each page until it is replaced.
"""

from __future__ import annotations

from alembic import op

revision = "conversation_0006"
down_revision = "conversation_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Drops them beside what runs."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        run("drop index concurrently if exists conversation.conversations_by_activity")
        run("drop index concurrently if exists conversation.conversations_unresolved")


def downgrade() -> None:
    """Builds them again, beside what runs."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        # A build that was interrupted leaves an invalid index behind.
        run("drop index concurrently if exists conversation.conversations_by_activity")
        run("drop index concurrently if exists conversation.conversations_unresolved")
        run(
            "create index concurrently conversations_by_activity"
            " on conversation.conversations (organization_id, activity_time desc, conversation_id desc)"
        )
        run(
            "create index concurrently conversations_unresolved"
            " on conversation.conversations (organization_id, state, activity_time desc, conversation_id desc)"
            " where state <> 'RESOLVED'"
        )
