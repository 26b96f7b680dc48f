"""Keeps the channels that ingest tells of, and with whom each has a conversation."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "outreach_0013"
down_revision = "outreach_0012"
branch_labels = None
depends_on = None

SERVICE = "outreach"

CHANNELS = """
create table outreach.channels (
  organization_id uuid not null,
  id uuid not null,
  source text not null,
  begins_conversations boolean not null,
  version bigint not null,
  primary key (organization_id, id)
);
"""

THREADS = """
create table outreach.channel_threads (
  organization_id uuid not null,
  channel_id uuid not null,
  conversation_key text not null,
  primary key (organization_id, channel_id, conversation_key)
);
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    run(CHANNELS)
    run(THREADS)
    for table in ("channels", "channel_threads"):
        run(f"alter table outreach.{table} owner to {migrations.owner(SERVICE)}")
        run(migrations.organization_table(SERVICE, table))


def downgrade() -> None:
    run("drop table outreach.channel_threads; drop table outreach.channels;")
