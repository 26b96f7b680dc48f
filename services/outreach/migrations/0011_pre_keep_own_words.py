"""Index the suppressions of an address by origin: a contact's own word holds beside what others decided."""

from __future__ import annotations

from alembic import op

revision = "outreach_0011"
down_revision = "outreach_0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Builds the index beside what runs."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        # A build that was interrupted leaves an invalid index behind.
        run("drop index concurrently if exists outreach.suppressions_by_origin")
        run(
            "create unique index concurrently suppressions_by_origin on outreach.suppressions"
            " (organization_id, source, external_id, origin)"
        )


def downgrade() -> None:
    """Takes it away."""
    with op.get_context().autocommit_block():
        op.get_bind().exec_driver_sql("drop index concurrently if exists outreach.suppressions_by_origin")
