"""Keeps scripts, and the rounds in which they are said."""

from __future__ import annotations

from alembic import op

from chassis import migrations
from chassis.queues.tables import create_queue, drop_queue

revision = "conversation_0018"
down_revision = "conversation_0017"
branch_labels = None
depends_on = None

SERVICE = "conversation"

SCRIPTS = """
create table conversation.scripts (
  organization_id uuid not null,
  script_id uuid not null,
  name text not null,
  state text not null,
  -- [channel, persona, phone] each; the first begins.
  participants jsonb not null,
  topics jsonb not null,
  -- [weekday, start minute, end minute, rounds, daypart] each.
  windows jsonb not null,
  time_zone text not null,
  exchanges_min bigint not null,
  exchanges_max bigint not null,
  delay_min_seconds bigint not null,
  delay_max_seconds bigint not null,
  round_gap_seconds bigint not null,
  catch_up text not null,
  grace_seconds bigint not null,
  create_time timestamptz not null,
  version bigint not null,
  primary key (organization_id, script_id),
  constraint scripts_name unique (organization_id, name),
  constraint scripts_state_known check (state in ('ACTIVE', 'PAUSED')),
  constraint scripts_catch_up_known check (catch_up in ('SKIP', 'LATEST', 'GRACE'))
);
"""

# A round's id follows from script, date, window and place: planned again it is the same one.
ROUNDS = """
create table conversation.rounds (
  organization_id uuid not null,
  round_id uuid not null,
  script_id uuid not null,
  window_date date not null,
  due_time timestamptz not null,
  window_end_time timestamptz not null,
  topic text not null,
  exchange_count bigint not null,
  state text not null,
  reason text not null,
  start_time timestamptz,
  end_time timestamptz,
  sent_count bigint not null,
  conversation_id uuid,
  version bigint not null,
  primary key (organization_id, round_id),
  constraint rounds_state_known check (
    state in ('PLANNED', 'RUNNING', 'DONE', 'SKIPPED', 'BROKEN_OFF', 'CANCELLED'))
);
-- squawk-ignore require-concurrent-index-creation
create index rounds_by_due_time on conversation.rounds (organization_id, due_time, round_id);
-- squawk-ignore require-concurrent-index-creation
create index rounds_by_script on conversation.rounds (organization_id, script_id, due_time);
"""

ROUND_MESSAGES = """
create table conversation.round_messages (
  organization_id uuid not null,
  round_id uuid not null,
  position bigint not null,
  channel_id uuid not null,
  text text not null,
  due_time timestamptz not null,
  message_id uuid not null,
  primary key (organization_id, round_id, position)
);
"""

# Which round a number is talking in.
ROUND_LOCKS = """
create table conversation.round_locks (
  organization_id uuid not null,
  channel_id uuid not null,
  round_id uuid not null,
  primary key (organization_id, channel_id)
);
"""

QUEUES = ("script_queue", "round_queue")


def run(statements: str) -> None:
    """Runs statements as they stand: no parameters, hence no percent sign or colon to escape."""
    op.get_bind().exec_driver_sql(statements, execution_options={"no_parameters": True})


def upgrade() -> None:
    for statement in (SCRIPTS, ROUNDS, ROUND_MESSAGES, ROUND_LOCKS):
        run(statement)
    for table in ("scripts", "rounds", "round_messages", "round_locks"):
        run(f"alter table conversation.{table} owner to {migrations.owner(SERVICE)}")
        run(migrations.organization_table(SERVICE, table))
    for queue in QUEUES:
        run(create_queue(SERVICE, queue, timed=True))


def downgrade() -> None:
    for queue in QUEUES:
        run(drop_queue(SERVICE, queue))
    for table in ("round_locks", "round_messages", "rounds", "scripts"):
        run(f"drop table conversation.{table}")
