"""Keeps which addresses a merge gave to whom, and since when: what one of two asked for is not the other's."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "outreach_0014"
down_revision = "outreach_0013"
branch_labels = None
depends_on = None

SERVICE = "outreach"

MERGED_ADDRESSES = """
create table outreach.merged_addresses (
  organization_id uuid not null,
  conversation_key text not null,
  contact_merge_id uuid not null,
  surviving_contact_id uuid not null,
  losing_contact_id uuid not null,
  merge_time timestamptz not null,
  undone boolean not null,
  primary key (organization_id, conversation_key, contact_merge_id)
);
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    run(MERGED_ADDRESSES)
    run(f"alter table outreach.merged_addresses owner to {migrations.owner(SERVICE)}")
    run(migrations.organization_table(SERVICE, "merged_addresses"))


def downgrade() -> None:
    run("drop table outreach.merged_addresses")
