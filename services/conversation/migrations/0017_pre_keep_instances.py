"""Keep the numbers that are connected through Evolution, and when each is looked at next."""

from __future__ import annotations

from alembic import op

from chassis.migrations import organization_table, owner
from chassis.queues.tables import create_queue, drop_queue

revision = "conversation_0017"
down_revision = "conversation_0016"
branch_labels = None
depends_on = None

SERVICE, QUEUE = "conversation", "instance_queue"
TABLE = """
create table conversation.instances (
  organization_id uuid not null,
  instance_id uuid not null,
  connection_id uuid not null,
  channel_id uuid not null,
  name text not null,
  provider_instance_name text not null,
  base_url text not null,
  webhook_url text not null,
  wanted_phone text not null,
  access_token_sealed bytea not null,
  webhook_secret_sealed bytea not null,
  -- The instance's own, drawn here.
  own_token_sealed bytea not null,
  state text not null,
  state_time timestamptz not null,
  create_time timestamptz not null,
  cause text not null,
  advice text not null,
  phone text not null,
  profile_name text not null,
  last_event_time timestamptz,
  last_probe_time timestamptz,
  qr_count bigint not null,
  qr_sealed bytea,
  qr_expire_time timestamptz,
  made boolean not null,
  connect_wanted boolean not null,
  failed_probes bigint not null,
  version bigint not null,
  primary key (organization_id, instance_id),
  constraint instances_channel unique (organization_id, channel_id),
  constraint instances_connection unique (organization_id, connection_id),
  constraint instances_state_known check (state in (
    'CREATING', 'QR', 'CONNECTING', 'OPEN', 'CLOSED', 'BANNED', 'UNREACHABLE', 'FAILED'))
);
-- squawk-ignore require-concurrent-index-creation
create index instances_by_name on conversation.instances (organization_id, name, instance_id);
"""


def upgrade() -> None:
    """Makes the table and the queue."""
    run = op.get_bind().exec_driver_sql
    run(TABLE)
    run(f"alter table {SERVICE}.instances owner to {owner(SERVICE)}")
    run(organization_table(SERVICE, "instances"))
    run(create_queue(SERVICE, QUEUE, timed=True))


def downgrade() -> None:
    """Forgets the numbers: Evolution keeps them."""
    run = op.get_bind().exec_driver_sql
    run(drop_queue(SERVICE, QUEUE))
    run(f"drop table {SERVICE}.instances")
