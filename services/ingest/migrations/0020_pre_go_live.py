"""Keeps how far organizations are, and in reports how far they were before and after."""

from __future__ import annotations

from alembic import op

from chassis.migrations import organization_table, owner

revision = "ingest_0020"
down_revision = "ingest_0019"
branch_labels = None
depends_on = None

SERVICE = "ingest"

TABLE = """
create table ingest.rollouts (
  organization_id uuid primary key,
  state text not null,
  activate_time timestamptz,
  roll_back_time timestamptz,
  reason text not null,
  principal text not null,
  principal_name text not null,
  update_time timestamptz not null,
  version bigint not null,
  constraint rollouts_state_known check (state in ('PREPARING', 'LIVE', 'ROLLED_BACK'))
);
"""
COLUMNS = """
alter table ingest.rollout_reports
  add column reason text not null default '',
  add column rollout_before bytea,
  add column rollout_after bytea;
"""


def upgrade() -> None:
    """Makes table and columns."""
    run = op.get_bind().exec_driver_sql
    run(TABLE)
    run(f"alter table {SERVICE}.rollouts owner to {owner(SERVICE)}")
    run(organization_table(SERVICE, "rollouts"))
    run(COLUMNS)


def downgrade() -> None:
    """Forgets how far organizations are."""
    run = op.get_bind().exec_driver_sql
    run("alter table ingest.rollout_reports drop column reason, drop column rollout_before, drop column rollout_after")
    run("drop table ingest.rollouts")
