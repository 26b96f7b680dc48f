"""Counts the changes of connections and channels: the version is their etag, and tells late facts from new ones."""

from __future__ import annotations

from alembic import op

revision = "ingest_0005"
down_revision = "ingest_0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Adds the columns; with a constant default no row is rewritten, and the release before can still insert."""
    run = op.get_bind().exec_driver_sql
    for table in ("connections", "channels"):
        run(f"alter table ingest.{table} add column version bigint not null default 1")


def downgrade() -> None:
    """Takes them away."""
    run = op.get_bind().exec_driver_sql
    for table in ("connections", "channels"):
        run(f"alter table ingest.{table} drop column version")
