"""Creates suppressions."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "outreach_0001"
down_revision = None
branch_labels = None
depends_on = None

SERVICE = "outreach"

# A suppression is an address first: it outlives the contact, who may be merged, erased or imported again.
SUPPRESSIONS = """
create table outreach.suppressions (
  organization_id uuid not null,
  id uuid not null,
  source text not null,
  external_id text not null,
  contact_id uuid,
  reason text not null,
  create_time timestamptz not null,
  primary key (organization_id, id),
  constraint suppressions_address unique (organization_id, source, external_id),
  constraint suppressions_source_known check (source in ('WHATSAPP', 'INSTAGRAM')),
  constraint suppressions_external_id_length check (length(external_id) between 1 and 256),
  constraint suppressions_reason_length check (length(reason) <= 500)
);
create index suppressions_by_contact on outreach.suppressions (organization_id, contact_id, id)
  where contact_id is not null;
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    run(SUPPRESSIONS)
    run(migrations.organization_table(SERVICE, "suppressions"))
    run(migrations.finish(SERVICE))
    run("select outreach.maintain(now())")


def downgrade() -> None:
    run(migrations.drop_everything(SERVICE))
