"""Keeps how people decided reconciliation tasks, and what that did."""

from __future__ import annotations

from alembic import op

revision = "crm_0006"
down_revision = "crm_0005"
branch_labels = None
depends_on = None

COLUMNS = (
    "surviving_contact_id",
    "merged",
    "contact_merge_ids",
    "decide_time",
    "decider_principal",
    "decider_name",
    "version",
)


def upgrade() -> None:
    """Adds the columns; an older process opens tasks without them."""
    op.get_bind().exec_driver_sql("""
    alter table crm.reconciliation_tasks
      add column surviving_contact_id uuid,
      add column merged boolean not null default false,
      add column contact_merge_ids uuid[] not null default '{}',
      add column decide_time timestamptz,
      add column decider_principal text not null default '',
      add column decider_name text not null default '',
      add column version bigint not null default 1;
    """)


def downgrade() -> None:
    """Forgets who decided; the state stays."""
    dropped = ", ".join(f"drop column {column}" for column in COLUMNS)
    op.get_bind().exec_driver_sql(f"alter table crm.reconciliation_tasks {dropped}")
