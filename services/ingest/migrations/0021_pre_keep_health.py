"""Counts what became of webhooks by organization and minute, and keeps alerts."""

from __future__ import annotations

from alembic import op

from chassis.migrations import expiring, organization_table, owner
from chassis.queues.tables import create_queue, drop_queue

revision = "ingest_0021"
down_revision = "ingest_0020"
branch_labels = None
depends_on = None

SERVICE, QUEUE = "ingest", "health_queue"
WINDOW_DAYS, ALERT_DAYS = 7, 180

TABLES = """
create table ingest.health_windows (
  organization_id uuid not null,
  start_time timestamptz not null,
  -- Workers hold different lanes: none waits for another one's row.
  lane bigint not null,
  processed_count bigint not null,
  ignored_count bigint not null,
  failed_count bigint not null,
  primary key (organization_id, start_time, lane)
);
-- squawk-ignore require-concurrent-index-creation
create index health_windows_by_time on ingest.health_windows using brin (start_time);

create table ingest.alerts (
  organization_id uuid not null,
  id uuid not null,
  kind text not null,
  state text not null,
  open_time timestamptz not null,
  resolve_time timestamptz,
  event_count bigint not null,
  failure_count bigint not null,
  threshold double precision not null,
  window_seconds bigint not null,
  version bigint not null,
  primary key (organization_id, id),
  constraint alerts_kind_known check (kind in ('WEBHOOK_FAILURES')),
  constraint alerts_state_known check (state in ('OPEN', 'RESOLVED')),
  constraint alerts_resolved_then check ((state = 'RESOLVED') = (resolve_time is not null))
);
-- squawk-ignore require-concurrent-index-creation
create unique index alerts_open on ingest.alerts (organization_id, kind) where state = 'OPEN';
"""


def upgrade() -> None:
    """Makes the tables and the queue."""
    run = op.get_bind().exec_driver_sql
    run(TABLES)
    for table in ("health_windows", "alerts"):
        run(f"alter table {SERVICE}.{table} owner to {owner(SERVICE)}")
        run(organization_table(SERVICE, table, owner_sweeps=True))
    run(expiring(SERVICE, "health_windows", time_column="start_time", keep_days=WINDOW_DAYS))
    run(
        expiring(
            SERVICE, "alerts", time_column="resolve_time", keep_days=ALERT_DAYS, condition="resolve_time is not null"
        )
    )
    run(create_queue(SERVICE, QUEUE, timed=True))


def downgrade() -> None:
    """Forgets counts and alerts."""
    run = op.get_bind().exec_driver_sql
    run(drop_queue(SERVICE, QUEUE))
    run(f"delete from {SERVICE}.expiring_tables where table_name in ('health_windows', 'alerts')")
    for table in ("alerts", "health_windows"):
        run(f"drop table {SERVICE}.{table}")
