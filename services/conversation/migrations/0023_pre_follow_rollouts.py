"""Keeps with an organization's settings which going live or back switched its automation last."""

from __future__ import annotations

from alembic import op

revision = "conversation_0023"
down_revision = "conversation_0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Makes the column."""
    op.get_bind().exec_driver_sql(
        "alter table conversation.conversation_settings add column rollout_version bigint not null default 0"
    )


def downgrade() -> None:
    """Forgets it."""
    op.get_bind().exec_driver_sql("alter table conversation.conversation_settings drop column rollout_version")
