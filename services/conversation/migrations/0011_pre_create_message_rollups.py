"""Create the table of figures: messages by number, direction and quarter of an hour."""

from __future__ import annotations

from alembic import op

from chassis import migrations

revision = "conversation_0011"
down_revision = "conversation_0010"
branch_labels = None
depends_on = None

SERVICE = "conversation"

# A row of now is added to by every batch: space in its page keeps its new versions there, for no index holds a count.
TABLE = """
create table conversation.message_rollups (
  organization_id uuid not null,
  -- The beginning of fifteen minutes, by when the provider says the message was written.
  quarter timestamptz not null,
  channel_id uuid not null,
  direction text not null,
  count bigint not null,
  failed_count bigint not null,
  -- Figures are asked for by time, of one number or of all.
  constraint message_rollups_pkey primary key (organization_id, quarter, channel_id, direction),
  constraint message_rollups_direction_known check (direction in ('INBOUND', 'OUTBOUND'))
) with (fillfactor = 50);
"""


def run(statements: str) -> None:
    """Runs statements as they stand: without parameters a percent sign is one."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    """Makes the table."""
    run(TABLE)
    run(migrations.organization_table(SERVICE, "message_rollups"))
    run(migrations.finish(SERVICE))


def downgrade() -> None:
    """Takes it away; what it holds can be counted anew."""
    run("drop table conversation.message_rollups")
