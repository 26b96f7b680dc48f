"""Keeps who is told of facts: endpoints with their secrets, what they were sent, and what waits to be."""

from __future__ import annotations

from alembic import op

from chassis.migrations import expiring, organization_table, owner
from chassis.queues.tables import create_queue, drop_queue

revision = "ingest_0014"
down_revision = "ingest_0013"
branch_labels = None
depends_on = None

SERVICE, QUEUE = "ingest", "outbound_queue"
DELIVERY_DAYS = 30

TABLES = """
create table ingest.outbound_endpoints (
  organization_id uuid not null,
  id uuid not null,
  name text not null,
  url text not null,
  types text[] not null,
  enabled boolean not null,
  disabled_reason text not null default '',
  -- Everything up to here was posted at least once, or passed over.
  position bigint not null,
  version bigint not null default 1,
  failure_count bigint not null default 0,
  failing_since timestamptz,
  -- Nothing is posted before.
  resume_time timestamptz,
  create_time timestamptz not null,
  last_success_time timestamptz,
  last_failure_time timestamptz,
  last_failure_explanation text not null default '',
  primary key (organization_id, id),
  constraint outbound_endpoints_name_length check (length(name) between 1 and 200)
);

create table ingest.outbound_secrets (
  organization_id uuid not null,
  id uuid not null,
  outbound_endpoint_id uuid not null,
  secret_sealed bytea not null,
  create_time timestamptz not null,
  primary key (organization_id, id),
  foreign key (organization_id, outbound_endpoint_id) references ingest.outbound_endpoints (organization_id, id)
);
-- squawk-ignore require-concurrent-index-creation
create index outbound_secrets_by_endpoint on ingest.outbound_secrets (organization_id, outbound_endpoint_id, id);

create table ingest.outbound_deliveries (
  organization_id uuid not null,
  id uuid not null,
  outbound_endpoint_id uuid not null,
  event_id uuid not null,
  type text not null,
  position bigint not null,
  ordering_key text not null,
  state text not null,
  attempt_count bigint not null,
  retry_time timestamptz,
  hold_reason text not null,
  create_time timestamptz not null,
  settle_time timestamptz,
  status_code bigint not null,
  explanation text not null,
  primary key (organization_id, id),
  foreign key (organization_id, outbound_endpoint_id) references ingest.outbound_endpoints (organization_id, id),
  constraint outbound_deliveries_event unique (organization_id, outbound_endpoint_id, event_id),
  constraint outbound_deliveries_state_known check (state in ('PENDING', 'SUCCEEDED', 'FAILED', 'CANCELLED'))
);
-- squawk-ignore require-concurrent-index-creation
create index outbound_deliveries_by_endpoint on ingest.outbound_deliveries
  (organization_id, outbound_endpoint_id, id);
-- squawk-ignore require-concurrent-index-creation
create index outbound_deliveries_pending on ingest.outbound_deliveries
  (organization_id, outbound_endpoint_id, retry_time) where state = 'PENDING';
"""


def upgrade() -> None:
    """Makes the tables and the queue."""
    run = op.get_bind().exec_driver_sql
    run(TABLES)
    for table in ("outbound_endpoints", "outbound_secrets", "outbound_deliveries"):
        run(f"alter table {SERVICE}.{table} owner to {owner(SERVICE)}")
        run(organization_table(SERVICE, table, owner_sweeps=table == "outbound_deliveries"))
    run(expiring(SERVICE, "outbound_deliveries", time_column="create_time", keep_days=DELIVERY_DAYS))
    run(create_queue(SERVICE, QUEUE, timed=True))


def downgrade() -> None:
    """Forgets endpoints, and what they were sent."""
    run = op.get_bind().exec_driver_sql
    run(drop_queue(SERVICE, QUEUE))
    run(f"delete from {SERVICE}.expiring_tables where table_name = 'outbound_deliveries'")
    for table in ("outbound_deliveries", "outbound_secrets", "outbound_endpoints"):
        run(f"drop table {SERVICE}.{table}")
