"""What every service's migrations are made of: roles, row-level security, and the tables of the chassis itself.

Two roles per service. ``prosa_<service>`` signs in, may only read and write rows, and is bound by forced row-level
security. ``prosa_<service>_owner`` cannot sign in; it owns schema, tables and the few SECURITY DEFINER functions that
must look before an organization is known, and has policies of its own on just the tables those functions read.
``prosa_reader`` reads everything, for checks on a machine of one's own; only ``prosa up`` lets it sign in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

SERVICES = ("identity", "ingest", "conversation", "outreach", "crm")
READER_ROLE = "prosa_reader"
CHASSIS_SCHEMA = "chassis"
"""Belongs to no service; holds the installation's id and nothing else."""

OUTBOX_DAYS = 3
REQUEST_DAYS = 7
CONSUMED_DAYS = 7
PARTITIONS_AHEAD = 2
"""How many partitions are kept ready before their time comes."""

MEMBERSHIP = (
    "organization_id in (select unnest(string_to_array(current_setting('app.organization_ids', true), ',')::uuid[]))"
)
"""True for rows of the transaction's organizations. The sub-select is hashed once a statement; an emptied setting is an
empty list and matches nothing."""


def role(service: str) -> str:
    """The role the service signs in with."""
    return f"prosa_{service}"


def owner(service: str) -> str:
    """The role that owns the service's schema."""
    return f"prosa_{service}_owner"


def create_schema(service: str) -> str:
    """The service's schema, which only its own roles and the reader may enter."""
    return f"""
    create schema if not exists {service} authorization {owner(service)};
    grant usage on schema {service} to {role(service)}, {READER_ROLE};
    """


def create_installation(installation_id: UUID, *, simulated_clock: bool = False) -> str:
    """The chassis' own schema with the installation's id, where there is none yet.

    It stays as it is from then on, also when everything else is taken back: the streams carry it. So does whether the
    installation was made to run by a simulated clock, which upkeep then believes though the server's says otherwise.
    """
    return f"""
    create schema if not exists {CHASSIS_SCHEMA};
    create table if not exists {CHASSIS_SCHEMA}.installation (
      singleton boolean primary key default true,
      installation_id uuid not null,
      constraint one_row check (singleton)
    );
    alter table {CHASSIS_SCHEMA}.installation
      add column if not exists simulated_clock boolean not null default false;
    insert into {CHASSIS_SCHEMA}.installation (installation_id, simulated_clock)
      values ('{installation_id}', {str(simulated_clock).lower()}) on conflict do nothing;
    """


def know_installation(service: str) -> str:
    """Lets the service ask for the installation's id without entering any schema but its own."""
    return f"""
    grant usage on schema {CHASSIS_SCHEMA} to {owner(service)};
    grant select on {CHASSIS_SCHEMA}.installation to {owner(service)};
    create function {service}.installation_id() returns uuid
      language sql stable security definer set search_path = pg_catalog as
      $$ select installation_id from {CHASSIS_SCHEMA}.installation $$;
    {own_function(service, "installation_id()")}
    """


def forget_installation(service: str) -> str:
    """Takes back what ``know_installation`` gave; the id itself stays."""
    return f"""
    drop function {service}.installation_id();
    revoke select on {CHASSIS_SCHEMA}.installation from {owner(service)};
    revoke usage on schema {CHASSIS_SCHEMA} from {owner(service)};
    """


def organization_table(service: str, table: str, *, owner_reads: bool = False, owner_sweeps: bool = False) -> str:
    """Binds a table to organizations: forced row-level security, the service's policy, the reader's policy, grants.

    ``owner_reads`` lets the look-up functions see it before an organization is known; ``owner_sweeps`` lets the
    maintenance function delete what has expired.
    """
    name = f"{service}.{table}"
    statements = [
        f"alter table {name} enable row level security",
        f"alter table {name} force row level security",
        f"create policy organization on {name} to {role(service)} using ({MEMBERSHIP}) with check ({MEMBERSHIP})",
        f"create policy reader on {name} for select to {READER_ROLE} using (true)",
        grants(service, table),
    ]
    if owner_reads or owner_sweeps:
        statements.append(f"create policy owner_reads on {name} for select to {owner(service)} using (true)")
    if owner_sweeps:
        statements.append(f"create policy owner_sweeps on {name} for delete to {owner(service)} using (true)")
    return ";\n".join(statements) + ";"


def grants(service: str, table: str) -> str:
    """What the service and the reader may do with a table."""
    name = f"{service}.{table}"
    return (
        f"grant select, insert, update, delete on {name} to {role(service)};\ngrant select on {name} to {READER_ROLE}"
    )


@contextmanager
def all_rows(run: Callable[[str], object], service: str, *tables: str) -> Iterator[None]:
    """Lets whoever migrates read and change the rows of every organization, within the block.

    Whoever is no superuser migrates as a member of the owner, whom forced row-level security lets see no row: without
    this an update changes none, and says nothing. ``run`` runs one statement. What an interrupted run left is replaced.
    """
    for table in tables:
        run(f"drop policy if exists migrating on {service}.{table}")
        run(f"create policy migrating on {service}.{table} to {owner(service)} using (true)")
    yield
    for table in tables:
        run(f"drop policy migrating on {service}.{table}")


def partitioned(service: str, table: str, *, unit: str, keep: int | None) -> str:
    """Registers a table that is partitioned by time; ``keep`` counts units of ``day`` or ``month``, None keeps all."""
    keep_text = "null" if keep is None else str(keep)
    return (
        f"insert into {service}.partitioned_tables (table_name, unit, keep) values ('{table}', '{unit}', {keep_text});"
    )


def expiring(service: str, table: str, *, time_column: str, keep_days: int, condition: str = "true") -> str:
    """Registers a table whose rows are deleted after some days where the condition holds; needs ``owner_sweeps``."""
    quoted = condition.replace("'", "''")
    return (
        f"insert into {service}.expiring_tables (table_name, time_column, keep_days, condition)"
        f" values ('{table}', '{time_column}', {keep_days}, '{quoted}');"
    )


def create_chassis_tables(service: str) -> str:
    """Outbox and its queue, relay state, leases, stored answers, consumer cursors, partitions and their upkeep."""
    schema = service
    return f"""
    create table {schema}.partitioned_tables (table_name text primary key, unit text not null, keep int,
      check (unit in ('day', 'month')));
    grant select on {schema}.partitioned_tables to {role(service)}, {READER_ROLE};

    create table {schema}.expiring_tables (table_name text primary key, time_column text not null,
      keep_days int not null, condition text not null);
    grant select on {schema}.expiring_tables to {role(service)}, {READER_ROLE};

    create table {schema}.outbox (
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
    {partitioned(service, "outbox", unit="day", keep=OUTBOX_DAYS)}
    {organization_table(service, "outbox", owner_reads=True)}

    create table {schema}.outbox_queue (
      position bigint primary key,
      organization_id uuid not null,
      event_time timestamptz not null
    );
    {organization_table(service, "outbox_queue", owner_reads=True)}
    create policy owner_requeues on {schema}.outbox_queue for insert to {owner(service)} with check (true);
    create policy owner_sweeps on {schema}.outbox_queue for delete to {owner(service)} using (true);

    create table {schema}.relay_state (
      stream text primary key,
      epoch bigint not null,
      stream_created text not null,
      last_sequence bigint not null
    );
    {grants(service, "relay_state")};

    create table {schema}.leases (
      name text primary key,
      holder uuid not null,
      fence bigint not null,
      expire_time timestamptz not null
    );
    {grants(service, "leases")};

    create table {schema}.consumer_cursors (
      consumer text not null,
      stream text not null,
      epoch bigint not null,
      last_sequence bigint not null,
      primary key (consumer, stream)
    );
    {grants(service, "consumer_cursors")};

    create table {schema}.consumed_events (
      consumer text not null,
      event_id uuid not null,
      organization_id uuid not null,
      consume_time timestamptz not null,
      failure text,
      primary key (consumer, event_id)
    );
    create index consumed_events_by_time on {schema}.consumed_events using brin (consume_time);
    {organization_table(service, "consumed_events", owner_sweeps=True)}
    {expiring(service, "consumed_events", time_column="consume_time", keep_days=CONSUMED_DAYS)}

    create table {schema}.request_answers (
      organization_id uuid not null,
      request_id uuid not null,
      method text not null,
      body_hash bytea not null,
      answer bytea,
      create_time timestamptz not null,
      primary key (organization_id, request_id)
    );
    create index request_answers_by_time on {schema}.request_answers using brin (create_time);
    {organization_table(service, "request_answers", owner_sweeps=True)}
    {expiring(service, "request_answers", time_column="create_time", keep_days=REQUEST_DAYS)}

    -- What waits for the relay, oldest first: ids only.
    create function {schema}.outbox_pending(row_limit int)
      returns table (pending_position bigint, pending_organization_id uuid, pending_event_time timestamptz)
      language sql stable security definer set search_path = pg_catalog as
      $$ select position, organization_id, event_time from {schema}.outbox_queue order by position limit row_limit $$;

    -- Puts everything that is kept back into the queue, after the stream lost facts; answers how many.
    create function {schema}.outbox_requeue() returns bigint
      language sql security definer set search_path = pg_catalog as
      $$ with requeued as (
           insert into {schema}.outbox_queue (position, organization_id, event_time)
           select position, organization_id, event_time from {schema}.outbox
           on conflict do nothing returning 1)
         select count(*) from requeued $$;

    {maintain_by_the_clock(service)}
    """


def maintain_by_the_clock(service: str) -> str:
    """Upkeep as it was first made: it believes the time it is given. See ``chassis.upkeep`` for what it is now."""
    schema = service
    return f"""
    -- Keeps partitions ready ahead of time, drops those that have expired, deletes expired rows.
    create or replace function {schema}.maintain(as_of timestamptz) returns void
      language plpgsql security definer set search_path = pg_catalog as $$
    declare
      entry record; part record; start_time timestamptz; step interval; name text;
    begin
      -- All partitions are counted in UTC, whatever the session's time zone.
      perform set_config('timezone', 'UTC', true);
      for entry in select * from {schema}.partitioned_tables loop
        step := ('1 ' || entry.unit)::interval;
        for ahead in -1 .. {PARTITIONS_AHEAD} loop
          start_time := date_trunc(entry.unit, as_of) + ahead * step;
          name := entry.table_name || to_char(start_time, '_YYYYMMDD');
          if to_regclass(format('{schema}.%I', name)) is null then
            execute format('create table {schema}.%I partition of {schema}.%I for values from (%L) to (%L)',
              name, entry.table_name, start_time, start_time + step);
          end if;
        end loop;
        if entry.keep is not null then
          for part in
            select child.relname from pg_inherits
            join pg_class child on child.oid = inhrelid
            where inhparent = format('{schema}.%I', entry.table_name)::regclass
              and child.relname ~ '_[0-9]{{8}}$'
              and to_timestamp(right(child.relname, 8), 'YYYYMMDD') + step <= as_of - entry.keep * step
          loop
            execute format('drop table {schema}.%I', part.relname);
          end loop;
        end if;
      end loop;
      delete from {schema}.outbox_queue where event_time < as_of - interval '{OUTBOX_DAYS + 1} days'
        and not exists (select from {schema}.outbox kept where kept.position = outbox_queue.position);
      for entry in select * from {schema}.expiring_tables loop
        execute format('delete from {schema}.%I where %I < $1 and (%s)', entry.table_name, entry.time_column,
          entry.condition) using as_of - make_interval(days => entry.keep_days);
      end loop;
    end $$;
    """


def index_failed_facts(service: str) -> tuple[str, str]:
    """An index over the facts that no handler could consume, which are few among a week's facts; to be run outside of a
    transaction, one statement at a time, so that nobody waits for it to be built."""
    return (
        # A build that was interrupted leaves an invalid index behind.
        f"drop index concurrently if exists {service}.consumed_events_failed",
        (
            f"create index concurrently consumed_events_failed on {service}.consumed_events (consumer, consume_time)"
            " where failure is not null"
        ),
    )


def drop_failed_facts_index(service: str) -> str:
    """Takes the index back; to be run outside of a transaction."""
    return f"drop index concurrently if exists {service}.consumed_events_failed"


def finish(service: str, functions: Sequence[str] = ()) -> str:
    """Hands everything in the schema to the owner role and opens the functions, chassis' and named, to the service."""
    opened = ["outbox_pending(int)", "outbox_requeue()", "maintain(timestamptz)", *functions]
    grants_text = "\n".join(
        f"revoke all on function {service}.{signature} from public;"
        f" grant execute on function {service}.{signature} to {role(service)};"
        for signature in opened
    )
    return f"""
    do $$
    declare item record;
    begin
      for item in select format('{service}.%I', relname) as name from pg_class
        where relnamespace = '{service}'::regnamespace and relkind in ('r', 'p') and not relispartition
        and relname <> 'alembic_version' loop
        execute format('alter table %s owner to {owner(service)}', item.name);
      end loop;
      for item in select format('{service}.%I', relname) as name from pg_class
        where relnamespace = '{service}'::regnamespace and relkind = 'v' loop
        execute format('alter view %s owner to {owner(service)}', item.name);
      end loop;
      for item in select oid::regprocedure::text as name from pg_proc
        where pronamespace = '{service}'::regnamespace loop
        execute format('alter function %s owner to {owner(service)}', item.name);
      end loop;
    end $$;
    {grants_text}
    """


def own_function(service: str, signature: str) -> str:
    """Hands one look-up function to the owner role and opens it to the service alone."""
    name = f"{service}.{signature}"
    return f"""
    alter function {name} owner to {owner(service)};
    revoke all on function {name} from public;
    grant execute on function {name} to {role(service)};
    """


def drop_everything(service: str) -> str:
    """Empties the schema but for the table in which Alembic keeps its place."""
    return f"""
    do $$
    declare item record;
    begin
      for item in select format('drop view {service}.%I cascade', relname) as command from pg_class
        where relnamespace = '{service}'::regnamespace and relkind = 'v' loop
        execute item.command;
      end loop;
      for item in select format('drop table {service}.%I cascade', relname) as command from pg_class
        where relnamespace = '{service}'::regnamespace and relkind in ('r', 'p') and not relispartition
        and relname <> 'alembic_version' loop
        execute item.command;
      end loop;
      for item in select format('drop function %s cascade', oid::regprocedure) as command from pg_proc
        where pronamespace = '{service}'::regnamespace loop
        execute item.command;
      end loop;
    end $$;
    """
