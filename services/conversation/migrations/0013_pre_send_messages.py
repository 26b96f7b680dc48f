"""Keep what is to be sent, with what each connection's messages are sent with, and let messages have the states of it.

The checks of messages are widened without a look at what is there, which fits them; the next step has it looked at.
"""

from __future__ import annotations

from alembic import op

from chassis import migrations
from chassis.queues.tables import create_queue, drop_queue

revision = "conversation_0013"
down_revision = "conversation_0012"
branch_labels = None
depends_on = None

SERVICE, QUEUE = "conversation", "delivery_queue"
STATES = ("UNSPECIFIED", "SENT", "DELIVERED", "READ", "FAILED")
SENDING_STATES = ("QUEUED", "SENDING", "UNCERTAIN", "SUPPRESSED", "CANCELLED")
AUTHORS = ("UNSPECIFIED", "CONTACT", "AGENT", "BOT", "AUTOMATION", "NATIVE_APP")

TABLES = """
create table conversation.deliveries (
  organization_id uuid not null,
  -- Its message's too.
  delivery_id uuid not null,
  conversation_id uuid not null,
  connection_id uuid not null,
  channel_id uuid not null,
  contact_id uuid,
  -- With the conversation it finds the month that the message lies in.
  message_time timestamptz not null,
  send_class text not null,
  cause text not null,
  actor_principal text not null,
  actor_name text not null,
  state text not null,
  reason text not null default '',
  explanation text not null default '',
  retry_time timestamptz,
  attempt_count bigint not null default 0,
  look_count bigint not null default 0,
  reservation_id uuid,
  suppression_id uuid,
  internal boolean not null default false,
  answers_message_id uuid,
  network_id text not null default '',
  create_time timestamptz not null,
  send_time timestamptz,
  settle_time timestamptz,
  end_time timestamptz not null,
  version bigint not null default 1,
  primary key (organization_id, delivery_id),
  constraint deliveries_state_known check (state in (
    'QUEUED', 'SENDING', 'UNCERTAIN', 'SENT', 'DELIVERED', 'READ', 'FAILED', 'SUPPRESSED', 'CANCELLED')),
  constraint deliveries_class_known check (send_class in (
    'PERSON', 'REPLY', 'SCHEDULED', 'MARKETING', 'CONFIRMATION'))
);
-- squawk-ignore require-concurrent-index-creation
create index deliveries_by_cause on conversation.deliveries (organization_id, cause, delivery_id);
-- squawk-ignore require-concurrent-index-creation
create index deliveries_by_state on conversation.deliveries (organization_id, state, delivery_id);
-- squawk-ignore require-concurrent-index-creation
create index deliveries_by_conversation on conversation.deliveries (organization_id, conversation_id, delivery_id);

create table conversation.provider_accounts (
  organization_id uuid not null,
  connection_id uuid not null,
  provider text not null,
  base_url text not null,
  provider_account_id text not null,
  access_token_sealed bytea,
  -- Counts the connection's writes at ingest.
  version bigint not null,
  primary key (organization_id, connection_id)
);
"""


def known(column: str, values: tuple[str, ...], condition: str = "") -> str:
    """Replaces the check of a column of messages."""
    listed = ", ".join(f"'{value}'" for value in values)
    return (
        "-- squawk-ignore ban-drop-constraint\n"
        f"alter table conversation.messages drop constraint if exists messages_{column}_known,"
        f" add constraint messages_{column}_known check ({column} in ({listed})) {condition}"
    )


def upgrade() -> None:
    """Makes the tables and the queue."""
    run = op.get_bind().exec_driver_sql
    run("alter table conversation.messages add column sent_here boolean not null default false")
    run("alter table conversation.conversations add column last_send_time timestamptz")
    run(known("state", STATES + SENDING_STATES, "not valid"))
    run(known("author", (*AUTHORS, "API"), "not valid"))
    run(TABLES)
    for table in ("deliveries", "provider_accounts"):
        run(f"alter table {SERVICE}.{table} owner to {migrations.owner(SERVICE)}")
        run(migrations.organization_table(SERVICE, table))
    run(create_queue(SERVICE, QUEUE, timed=True))


def downgrade() -> None:
    """Forgets what was to be sent: what may not have left is a failed message then."""
    run = op.get_bind().exec_driver_sql
    run(drop_queue(SERVICE, QUEUE))
    for table in ("provider_accounts", "deliveries"):
        run(f"drop table {SERVICE}.{table}")
    never_sent = ", ".join(f"'{state}'" for state in SENDING_STATES)
    with migrations.all_rows(run, SERVICE, "messages"):
        run(
            "update conversation.messages set state = case when state in ("
            + never_sent
            + ") then 'FAILED' else state end, author = case author when 'API' then 'AUTOMATION' else author end"
            " where sent_here"
        )
    run(known("state", STATES))
    run(known("author", AUTHORS))
    run("alter table conversation.conversations drop column last_send_time")
    run("alter table conversation.messages drop column sent_here")
