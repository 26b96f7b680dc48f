"""Keeps what contacts write in one go until it is answered, and what models took for answering."""

from __future__ import annotations

from alembic import op

from chassis import migrations
from chassis.queues.tables import create_queue, drop_queue

revision = "conversation_0019"
down_revision = "conversation_0018"
branch_labels = None
depends_on = None

SERVICE, QUEUE = "conversation", "turn_queue"
TURN_DAYS = 30

TURNS = """
create table conversation.turns (
  organization_id uuid not null,
  turn_id uuid not null,
  conversation_id uuid not null,
  begin_time timestamptz not null,
  due_time timestamptz not null,
  state text not null,
  reason text not null,
  message_ids jsonb not null,
  reply_message_id uuid,
  primary key (organization_id, turn_id),
  constraint turns_state_known check (state in ('OPEN', 'GATHERED', 'ANSWERED', 'DROPPED'))
);
-- squawk-ignore require-concurrent-index-creation
create unique index turns_open on conversation.turns (conversation_id, organization_id) where state = 'OPEN';
-- squawk-ignore require-concurrent-index-creation
create index turns_by_begin_time on conversation.turns (begin_time);
"""

MODEL_USAGE = """
create table conversation.model_usage (
  organization_id uuid not null,
  usage_date date not null,
  token_count bigint not null,
  primary key (organization_id, usage_date)
);
"""


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    run(TURNS)
    run(MODEL_USAGE)
    for table in ("turns", "model_usage"):
        run(f"alter table conversation.{table} owner to {migrations.owner(SERVICE)}")
    run(migrations.organization_table(SERVICE, "turns", owner_sweeps=True))
    run(migrations.organization_table(SERVICE, "model_usage"))
    run(migrations.expiring(SERVICE, "turns", time_column="begin_time", keep_days=TURN_DAYS))
    run(create_queue(SERVICE, QUEUE, timed=True))


def downgrade() -> None:
    run(drop_queue(SERVICE, QUEUE))
    run("delete from conversation.expiring_tables where table_name = 'turns'")
    run("drop table conversation.model_usage; drop table conversation.turns;")
