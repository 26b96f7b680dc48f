"""Keeps campaigns, their touches and what those count."""

from __future__ import annotations

from alembic import op

from chassis import migrations
from chassis.queues.tables import create_queue, drop_queue

revision = "outreach_0009"
down_revision = "outreach_0008"
branch_labels = None
depends_on = None

SERVICE = "outreach"

CAMPAIGNS = """
create table outreach.campaigns (
  organization_id uuid not null,
  id uuid not null,
  name text not null,
  contact_list_id uuid not null,
  channel_id uuid not null,
  text text not null,
  state text not null,
  reason text not null,
  start_time timestamptz,
  end_time timestamptz,
  stop_on_reply boolean not null,
  planned_after uuid,
  principal text not null,
  principal_name text not null,
  create_time timestamptz not null,
  tell_time timestamptz,
  version bigint not null,
  primary key (organization_id, id),
  constraint campaigns_state_known
    check (state in ('DRAFT', 'PLANNING', 'RUNNING', 'PAUSED', 'DONE', 'CANCELLED')),
  constraint campaigns_name_length check (length(name) between 1 and 200),
  constraint campaigns_text_length check (length(text) between 1 and 4096)
);
"""

TOUCHES = """
create table outreach.touches (
  organization_id uuid not null,
  campaign_id uuid not null,
  contact_id uuid not null,
  id uuid not null,
  source text not null,
  external_id text not null,
  text text not null,
  state text not null,
  reason text not null,
  explanation text not null,
  retry_time timestamptz,
  hand_count bigint not null,
  withdraw_reason text not null,
  delivery_version bigint not null,
  send_time timestamptz,
  reply_time timestamptz,
  opted_out boolean not null,
  primary key (organization_id, campaign_id, contact_id),
  constraint touches_id unique (organization_id, id),
  constraint touches_state_known check (state in ('PLANNED', 'HANDED_OVER', 'SENT', 'DELIVERED', 'READ', 'FAILED',
    'SUPPRESSED', 'CANCELLED', 'UNCERTAIN'))
);
-- squawk-ignore require-concurrent-index-creation
create index touches_by_state on outreach.touches (organization_id, campaign_id, state, id);
-- squawk-ignore require-concurrent-index-creation
create index touches_by_contact on outreach.touches (organization_id, contact_id);
"""

COUNTS = """
create table outreach.touch_counts (
  organization_id uuid not null,
  campaign_id uuid not null,
  state text not null,
  reason text not null,
  count bigint not null,
  primary key (organization_id, campaign_id, state, reason)
);
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    for statement in (CAMPAIGNS, TOUCHES, COUNTS):
        run(statement)
    for table in ("campaigns", "touches", "touch_counts"):
        run(f"alter table outreach.{table} owner to {migrations.owner(SERVICE)}")
        run(migrations.organization_table(SERVICE, table))
    run(create_queue(SERVICE, "touch_queue", timed=True))


def downgrade() -> None:
    run(drop_queue(SERVICE, "touch_queue"))
    run("drop table outreach.touch_counts; drop table outreach.touches; drop table outreach.campaigns;")
