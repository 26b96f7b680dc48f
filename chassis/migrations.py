"""What migrations are made of: roles, row-level security, and the registers that upkeep goes by.

Two roles per service. ``prosa_<service>`` signs in, may only read and write rows, and is bound by forced row-level
security. ``prosa_<service>_owner`` cannot sign in; it owns schema, tables and the few SECURITY DEFINER functions that
must look before an organization is known, and has policies of its own on just the tables those functions read.
``prosa_reader`` reads everything, for checks on a machine of one's own; only ``prosa up`` lets it sign in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

READER_ROLE = "prosa_reader"
CHASSIS_SCHEMA = "chassis"
"""Belongs to no service; holds the installation's id and nothing else."""

VERSION_TABLES = ("alembic_version", "chassis_version")
"""Where a schema's two lines of migrations keep their places: the service's own, and the chassis'."""

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
        and relname <> all (array{list(VERSION_TABLES)}) loop
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
    """Empties the schema, the chassis' tables with it, whose line stands at its beginning then."""
    return f"{drop_tables(service)} delete from {service}.chassis_version;"


def drop_tables(service: str) -> str:
    """Empties the schema but for the tables in which Alembic keeps its places."""
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
        and relname <> all (array{list(VERSION_TABLES)}) loop
        execute item.command;
      end loop;
      for item in select format('drop function %s cascade', oid::regprocedure) as command from pg_proc
        where pronamespace = '{service}'::regnamespace loop
        execute item.command;
      end loop;
    end $$;
    """
