"""Keeps who did what, in partitions by month; rows are added and read, and changed by nobody."""

from __future__ import annotations

from alembic import op

from chassis.migrations import PARTITIONS_AHEAD, organization_table, owner, partitioned, role

revision = "identity_0016"
down_revision = "identity_0015"
branch_labels = None
depends_on = None

SERVICE = "identity"
KEPT_MONTHS = 6


def upgrade() -> None:
    """Adds the table with its first partitions."""
    run = op.get_bind().execution_options(no_parameters=True).exec_driver_sql
    run(f"""
    create table identity.audit_entries (
      organization_id uuid not null,
      audit_entry_id uuid not null,
      create_time timestamptz not null,
      principal text not null,
      name text not null,
      action text not null,
      target_type text not null,
      target_id text not null,
      network text not null,
      correlation_id text not null,
      before_json text not null,
      after_json text not null,
      reason text not null,
      primary key (organization_id, create_time, audit_entry_id)
    ) partition by range (create_time);
    {organization_table(SERVICE, "audit_entries")}
    revoke update, delete on identity.audit_entries from {role(SERVICE)};
    alter table identity.audit_entries owner to {owner(SERVICE)};
    {partitioned(SERVICE, "audit_entries", unit="month", keep=KEPT_MONTHS)}
    -- As upkeep makes them, which would also drop what has expired.
    do $$
    declare start_time timestamptz; name text;
    begin
      perform set_config('timezone', 'UTC', true);
      for ahead in -1 .. {PARTITIONS_AHEAD} loop
        start_time := date_trunc('month', now()) + ahead * interval '1 month';
        name := 'audit_entries' || to_char(start_time, '_YYYYMMDD');
        execute format('create table identity.%I partition of identity.audit_entries for values from (%L) to (%L)',
          name, start_time, start_time + interval '1 month');
        execute format('alter table identity.%I owner to {owner(SERVICE)}', name);
      end loop;
    end $$;
    """)


def downgrade() -> None:
    """Forgets who did what."""
    op.get_bind().exec_driver_sql("""
    delete from identity.partitioned_tables where table_name = 'audit_entries';
    drop table identity.audit_entries;
    """)
