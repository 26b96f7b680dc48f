"""Keeps what was seen before organizations went live."""

from __future__ import annotations

from alembic import op

from chassis.migrations import organization_table, owner

revision = "ingest_0018"
down_revision = "ingest_0017"
branch_labels = None
depends_on = None

SERVICE = "ingest"

TABLE = """
create table ingest.rollout_reports (
  organization_id uuid not null,
  id uuid not null,
  phase text not null,
  passed boolean not null,
  items bytea not null,
  principal text not null,
  principal_name text not null,
  create_time timestamptz not null,
  duration_ms bigint not null,
  primary key (organization_id, id),
  constraint rollout_reports_phase_known check (phase in ('DOCTOR', 'ACTIVATE', 'ROLL_BACK'))
);
"""


def upgrade() -> None:
    """Makes the table."""
    run = op.get_bind().exec_driver_sql
    run(TABLE)
    run(f"alter table {SERVICE}.rollout_reports owner to {owner(SERVICE)}")
    run(organization_table(SERVICE, "rollout_reports"))


def downgrade() -> None:
    """Forgets the evidence."""
    op.get_bind().exec_driver_sql(f"drop table {SERVICE}.rollout_reports")
