"""Keeps where a suppression comes from, and those that have ended."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "outreach_0008"
down_revision = "outreach_0007"
branch_labels = None
depends_on = None

SERVICE = "outreach"

ORIGIN = """
alter table outreach.suppressions
  add column origin text not null default 'STAFF',
  add column message_id text not null default '',
  add column evidence text not null default '';
"""

# Apart from those that hold: whoever asks what holds reads no others, and an address is unique among those alone.
LIFTED = """
create table outreach.lifted_suppressions (
  organization_id uuid not null,
  id uuid not null,
  source text not null,
  external_id text not null,
  contact_id uuid,
  reason text not null,
  create_time timestamptz not null,
  confirm_time timestamptz,
  origin text not null,
  message_id text not null,
  evidence text not null,
  lift_time timestamptz not null,
  lift_reason text not null,
  principal text not null,
  principal_name text not null,
  primary key (organization_id, id),
  constraint lifted_suppressions_reason_length check (length(lift_reason) <= 500)
);
-- squawk-ignore require-concurrent-index-creation
create index lifted_suppressions_by_contact on outreach.lifted_suppressions (organization_id, contact_id, id)
  where contact_id is not null;
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    run(ORIGIN)
    run(LIFTED)
    run(f"alter table outreach.lifted_suppressions owner to {migrations.owner(SERVICE)}")
    run(migrations.organization_table(SERVICE, "lifted_suppressions"))


def downgrade() -> None:
    run("drop table outreach.lifted_suppressions")
    run("alter table outreach.suppressions drop column origin, drop column message_id, drop column evidence")
