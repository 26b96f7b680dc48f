"""Outbox and its queue, relay state, leases, stored answers, consumers' positions, partitions and their upkeep."""

from __future__ import annotations

from chassis import migrations, upkeep_functions
from chassis.tables import run

revision = "chassis_0001"
down_revision = None
branch_labels = None
depends_on = None


def tables(service: str) -> str:
    """The tables, and the functions that look before an organization is known."""
    return f"""
    create table {service}.partitioned_tables (table_name text primary key, unit text not null, keep int,
      check (unit in ('day', 'month')));
    grant select on {service}.partitioned_tables to {migrations.role(service)}, {migrations.READER_ROLE};

    create table {service}.expiring_tables (table_name text primary key, time_column text not null,
      keep_days int not null, condition text not null);
    grant select on {service}.expiring_tables to {migrations.role(service)}, {migrations.READER_ROLE};

    create table {service}.outbox (
      position bigint generated always as identity,
      event_id uuid not null,
      organization_id uuid not null,
      type text not null,
      payload bytea not null,
      event_time timestamptz not null,
      correlation_id text not null,
      trace_parent text not null,
      primary key (position, event_time)
    ) partition by range (event_time);
    {migrations.partitioned(service, "outbox", unit="day", keep=migrations.OUTBOX_DAYS)}
    {migrations.organization_table(service, "outbox", owner_reads=True)}

    create table {service}.outbox_queue (
      position bigint primary key,
      organization_id uuid not null,
      event_time timestamptz not null
    );
    {migrations.organization_table(service, "outbox_queue", owner_reads=True)}
    create policy owner_requeues on {service}.outbox_queue for insert to {migrations.owner(service)} with check (true);
    create policy owner_sweeps on {service}.outbox_queue for delete to {migrations.owner(service)} using (true);

    create table {service}.relay_state (
      stream text primary key,
      epoch bigint not null,
      stream_created text not null,
      last_sequence bigint not null
    );
    {migrations.grants(service, "relay_state")};

    create table {service}.leases (
      name text primary key,
      holder uuid not null,
      fence bigint not null,
      expire_time timestamptz not null
    );
    {migrations.grants(service, "leases")};

    create table {service}.consumer_cursors (
      consumer text not null,
      stream text not null,
      epoch bigint not null,
      last_sequence bigint not null,
      primary key (consumer, stream)
    );
    {migrations.grants(service, "consumer_cursors")};

    create table {service}.consumed_events (
      consumer text not null,
      event_id uuid not null,
      organization_id uuid not null,
      consume_time timestamptz not null,
      failure text,
      primary key (consumer, event_id)
    );
    create index consumed_events_by_time on {service}.consumed_events using brin (consume_time);
    {migrations.organization_table(service, "consumed_events", owner_sweeps=True)}
    {migrations.expiring(service, "consumed_events", time_column="consume_time", keep_days=migrations.CONSUMED_DAYS)}

    create table {service}.request_answers (
      organization_id uuid not null,
      request_id uuid not null,
      method text not null,
      body_hash bytea not null,
      answer bytea,
      create_time timestamptz not null,
      primary key (organization_id, request_id)
    );
    create index request_answers_by_time on {service}.request_answers using brin (create_time);
    {migrations.organization_table(service, "request_answers", owner_sweeps=True)}
    {migrations.expiring(service, "request_answers", time_column="create_time", keep_days=migrations.REQUEST_DAYS)}

    -- What waits for the relay, oldest first: ids only.
    create function {service}.outbox_pending(row_limit int)
      returns table (pending_position bigint, pending_organization_id uuid, pending_event_time timestamptz)
      language sql stable security definer set search_path = pg_catalog as
      $$ select position, organization_id, event_time from {service}.outbox_queue order by position limit row_limit $$;

    -- Puts everything that is kept back into the queue, after the stream lost facts; answers how many.
    create function {service}.outbox_requeue() returns bigint
      language sql security definer set search_path = pg_catalog as
      $$ with requeued as (
           insert into {service}.outbox_queue (position, organization_id, event_time)
           select position, organization_id, event_time from {service}.outbox
           on conflict do nothing returning 1)
         select count(*) from requeued $$;
    """


def upgrade() -> None:
    """Makes them, in a schema that is empty."""
    run(tables)
    run(upkeep_functions.by_the_clock)
    run(migrations.finish)


def downgrade() -> None:
    """Empties the schema."""
    run(migrations.drop_tables)
