"""Keep the numbers that are to be begun at conversation, and those that are the organization's own."""

from __future__ import annotations

from alembic import op

from chassis.migrations import all_rows, organization_table, owner
from chassis.queues.tables import create_queue, drop_queue

revision = "ingest_0017"
down_revision = "ingest_0016"
branch_labels = None
depends_on = None

SERVICE, QUEUE = "ingest", "instance_queue"
TABLES = """
create table ingest.new_instances (
  organization_id uuid not null,
  instance_id uuid not null,
  connection_id uuid not null references ingest.connections (id),
  channel_id uuid not null references ingest.channels (id),
  name text not null,
  webhook_url text not null,
  phone text not null,
  provider_instance_name text not null,
  create_time timestamptz not null,
  primary key (organization_id, instance_id)
);

create table ingest.own_numbers (
  organization_id uuid not null,
  instance_id uuid not null,
  phone text not null,
  version bigint not null,
  primary key (organization_id, instance_id)
);
"""
# A connection to Evolution has the one channel, so any number will do.
NUMBERED = "update ingest.channels set inbox_id = 1 where inbox_id is null and evolution_instance = provider_channel_id"
NAMED_AGAIN = (
    "update ingest.channels set inbox_id = null, provider_channel_id = evolution_instance"
    " where inbox_id = 1 and evolution_instance ~ '^prosa-[0-9a-f]{16}$'"
)


def upgrade() -> None:
    """Makes the tables and the queue."""
    run = op.get_bind().exec_driver_sql
    run(TABLES)
    for table in ("new_instances", "own_numbers"):
        run(f"alter table {SERVICE}.{table} owner to {owner(SERVICE)}")
        run(organization_table(SERVICE, table))
    run(create_queue(SERVICE, QUEUE))
    with all_rows(run, SERVICE, "channels"):
        run(NAMED_AGAIN)


def downgrade() -> None:
    """Forgets both; connections and channels stay, under a number, since earlier releases know no other key."""
    run = op.get_bind().exec_driver_sql
    with all_rows(run, SERVICE, "channels"):
        run(NUMBERED)
    run(drop_queue(SERVICE, QUEUE))
    for table in ("own_numbers", "new_instances"):
        run(f"drop table {SERVICE}.{table}")
