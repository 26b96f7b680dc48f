"""Index connections in the order in which they are listed; so far only their names led to an organization's."""

from __future__ import annotations

from alembic import op

revision = "ingest_0004"
down_revision = "ingest_0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Builds the index beside what runs."""
    with op.get_context().autocommit_block():
        run = op.get_bind().exec_driver_sql
        # A build that was interrupted leaves an invalid index behind.
        run("drop index concurrently if exists ingest.connections_by_organization")
        run("create index concurrently connections_by_organization on ingest.connections (organization_id, id)")


def downgrade() -> None:
    """Takes it away."""
    with op.get_context().autocommit_block():
        op.get_bind().exec_driver_sql("drop index concurrently if exists ingest.connections_by_organization")
