"""Keeps kill switches, and what organizations allow themselves to send."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "outreach_0005"
down_revision = "outreach_0004"
branch_labels = None
depends_on = None

SERVICE = "outreach"

KILL_SWITCHES = """
create table outreach.kill_switches (
  organization_id uuid primary key,
  engaged boolean not null,
  reason text not null,
  principal text not null,
  principal_name text not null,
  change_time timestamptz not null,
  constraint kill_switches_reason_length check (length(reason) <= 500)
);
"""

# One row or none: the operator's own, for every organization.
GLOBAL_KILL = """
create table outreach.global_kill (
  singleton boolean primary key default true,
  engaged boolean not null,
  reason text not null,
  principal text not null,
  principal_name text not null,
  change_time timestamptz not null,
  constraint global_kill_one_row check (singleton),
  constraint global_kill_reason_length check (length(reason) <= 500)
);
"""

SEND_POLICIES = """
create table outreach.send_policies (
  organization_id uuid primary key,
  quiet_hours jsonb not null,
  reply_grace_seconds bigint not null,
  number_hour_limit bigint not null,
  number_day_limit bigint not null,
  burst_limit bigint not null,
  burst_seconds bigint not null,
  number_gap_seconds bigint not null,
  contact_gap_seconds bigint not null,
  update_time timestamptz not null,
  version bigint not null
);
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    for statement in (KILL_SWITCHES, GLOBAL_KILL, SEND_POLICIES):
        run(statement)
    for table in ("kill_switches", "global_kill", "send_policies"):
        run(f"alter table outreach.{table} owner to {migrations.owner(SERVICE)}")
    run(migrations.organization_table(SERVICE, "kill_switches"))
    run(migrations.organization_table(SERVICE, "send_policies"))
    run(migrations.grants(SERVICE, "global_kill"))


def downgrade() -> None:
    run("drop table outreach.send_policies; drop table outreach.global_kill; drop table outreach.kill_switches;")
