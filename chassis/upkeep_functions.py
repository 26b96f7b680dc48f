"""The SQL functions of upkeep, of every version of the chassis' line. See ``chassis.upkeep`` for what they do.

What a released version made is only changed by a later one; a function that running processes call stays callable.
"""

from __future__ import annotations

from chassis.migrations import CHASSIS_SCHEMA, OUTBOX_DAYS, PARTITIONS_AHEAD, expiring, own_function

CLOCK_APART_SECONDS_MAX = 3_600
"""How far a process's clock and that of the database's server may be apart. Not asked of a simulated clock."""
SILENCE_DAYS_MAX = 7
"""How long ago the newest row may be. Longer than facts are kept, so that those of a quiet service go in time; an
installation that rested for longer drops nothing until something is written again."""
SWEPT_ROWS_MAX = 10_000
"""How many expired rows one transaction deletes: as long as a few hundred milliseconds hold."""
CLOCK_DIFFERS = "CLOCK_DIFFERS"
NEWEST_ROW_FAR = "NEWEST_ROW_FAR"
STEPS = (
    "make_partitions(timestamptz, text)",
    "upkeep_refused(timestamptz)",
    "drop_expired(timestamptz, text)",
    "sweep(timestamptz, text)",
)
"""What upkeep is made of; each names the table but for the second."""
_START = "to_timestamp(right(child.relname, 8), 'YYYYMMDD')"
"""When a partition ``child`` begins."""


def by_the_clock(service: str) -> str:
    """Upkeep as it was first made, one function: it believes the time it is given."""
    return f"""
    -- Keeps partitions ready ahead of time, drops those that have expired, deletes expired rows.
    create or replace function {service}.maintain(as_of timestamptz) returns void
      language plpgsql security definer set search_path = pg_catalog as $$
    declare
      entry record; part record; start_time timestamptz; step interval; name text;
    begin
      -- All partitions are counted in UTC, whatever the session's time zone.
      perform set_config('timezone', 'UTC', true);
      {_partitions_ahead(service)}
      for entry in select * from {service}.partitioned_tables loop
        step := ('1 ' || entry.unit)::interval;
        if entry.keep is not null then
          for part in
            select child.relname from pg_inherits
            join pg_class child on child.oid = inhrelid
            where inhparent = format('{service}.%I', entry.table_name)::regclass
              and child.relname ~ '_[0-9]{{8}}$'
              and to_timestamp(right(child.relname, 8), 'YYYYMMDD') + step <= as_of - entry.keep * step
          loop
            execute format('drop table {service}.%I', part.relname);
          end loop;
        end if;
      end loop;
      delete from {service}.outbox_queue where event_time < as_of - interval '{OUTBOX_DAYS + 1} days'
        and not exists (select from {service}.outbox kept where kept.position = outbox_queue.position);
      for entry in select * from {service}.expiring_tables loop
        execute format('delete from {service}.%I where %I < $1 and (%s)', entry.table_name, entry.time_column,
          entry.condition) using as_of - make_interval(days => entry.keep_days);
      end loop;
    end $$;
    """


def distrust_clocks(service: str) -> str:
    """Replaces it by one that believes no clock by itself, and drops no partition with a row that waits.

    Which rows these are says a condition on a row called ``held``.
    """
    return f"""
    alter table {service}.partitioned_tables add column waiting text not null default 'false';
    update {service}.partitioned_tables
      set waiting = 'exists (select from {service}.outbox_queue queued where queued.position = held.position)'
      where table_name = 'outbox';
    {_in_one(service, create="create")}
    {own_function(service, "upkeep(timestamptz)")}
    -- As the release before calls it.
    create or replace function {service}.maintain(as_of timestamptz) returns void
      language plpgsql security definer set search_path = pg_catalog as
      $$ begin perform {service}.upkeep(as_of); end $$;
    """


def trust_clocks(service: str) -> str:
    """Takes ``distrust_clocks`` back."""
    return f"""
    {by_the_clock(service)}
    drop function {service}.upkeep(timestamptz);
    alter table {service}.partitioned_tables drop column waiting;
    """


def in_steps(service: str) -> str:
    """Takes it apart, for each step to be a transaction that holds what one table needs and nothing else.

    ``waiting_within`` is a query over a queue, which answers something where a row between the times $1 and $2 waits:
    it takes the place of ``waiting``, for which every row of a partition has to be looked at.
    """
    return f"""
    alter table {service}.partitioned_tables add column waiting_within text;
    update {service}.partitioned_tables
      set waiting_within = 'select from {service}.outbox_queue where event_time >= $1 and event_time < $2'
      where table_name = 'outbox';
    {expiring(service, "outbox_queue", time_column="event_time", keep_days=OUTBOX_DAYS + 1, condition=_unkept(service))}
    {_steps(service)}
    {_all_steps(service)}
    """


def in_one(service: str) -> str:
    """Takes ``in_steps`` back."""
    dropped = "".join(f"drop function {service}.{signature};" for signature in STEPS)
    return f"""
    {_in_one(service, create="create or replace")}
    {dropped}
    delete from {service}.expiring_tables where table_name = 'outbox_queue';
    alter table {service}.partitioned_tables drop column waiting_within;
    """


def _unkept(service: str) -> str:
    """True for what waits in the outbox' queue without being in the outbox any more."""
    return f"not exists (select from {service}.outbox kept where kept.position = outbox_queue.position)"


def _steps(service: str) -> str:
    # One at a time for each table, also against the release before, which takes all steps in one transaction.
    alone = f"perform pg_advisory_xact_lock(hashtext('{service}.upkeep.' || wanted_table));"
    # All partitions are counted in UTC, whatever the session's time zone.
    utc = "perform set_config('timezone', 'UTC', true);"
    still = f"if {service}.upkeep_refused(as_of) is not null then"
    rights = "language plpgsql security definer set search_path = pg_catalog as"
    return f"""
    -- Keeps a table's partitions ready ahead of time.
    create function {service}.make_partitions(as_of timestamptz, wanted_table text) returns void {rights} $$
    declare
      entry record; start_time timestamptz; step interval; name text;
    begin
      {utc}
      {alone}
      {_partitions_ahead(service, where="where table_name = wanted_table")}
    end $$;

    -- Why nothing may be dropped or deleted at a time, or null.
    create function {service}.upkeep_refused(as_of timestamptz) returns text {rights} $$
    declare
      entry record; part record; simulated boolean; newest timestamptz; today timestamptz; found boolean;
    begin
      {utc}
      {_refusals(service)}
      return null;
    end $$;

    -- Drops the oldest of a table's partitions that has expired and in which nothing waits; answers its name.
    create function {service}.drop_expired(as_of timestamptz, wanted_table text) returns text {rights} $$
    declare
      entry record; part record; step interval; today timestamptz; waits text; found boolean;
    begin
      {utc}
      {still} return null; end if;
      {alone}
      today := as_of;
      if not coalesce((select simulated_clock from {CHASSIS_SCHEMA}.installation), false) then
        today := least(as_of, clock_timestamp());
      end if;
      for entry in select * from {service}.partitioned_tables where table_name = wanted_table and keep is not null loop
        step := ('1 ' || entry.unit)::interval;
        for part in {_expired(service, f"child.relname, {_START} as start_time")}
        loop
          waits := coalesce(
            'select exists (' || entry.waiting_within || ')',
            format('select exists (select from {service}.%I held where %s)', part.relname, entry.waiting));
          execute waits into found using part.start_time, part.start_time + step;
          continue when found;
          -- A row may be put back between this look and the drop, so once more with the partition to ourselves. The
          -- table comes first, as for everybody who reads it: the other way round each would wait for the other.
          execute format('lock table only {service}.%I in access exclusive mode', entry.table_name);
          execute format('lock table {service}.%I in access exclusive mode', part.relname);
          execute waits into found using part.start_time, part.start_time + step;
          continue when found;
          execute format('drop table {service}.%I', part.relname);
          return part.relname;
        end loop;
      end loop;
      return null;
    end $$;

    -- Deletes a table's rows that have expired, {SWEPT_ROWS_MAX} at most; answers whether there may be more.
    create function {service}.sweep(as_of timestamptz, wanted_table text) returns boolean {rights} $$
    declare
      entry record; deleted bigint; more boolean := false;
    begin
      {utc}
      {still} return false; end if;
      {alone}
      for entry in select * from {service}.expiring_tables where table_name = wanted_table loop
        execute format('delete from {service}.%1$I where ctid = any(array('
          'select ctid from {service}.%1$I where %2$I < $1 and (%3$s) limit {SWEPT_ROWS_MAX}))',
          entry.table_name, entry.time_column, entry.condition)
          using as_of - make_interval(days => entry.keep_days);
        get diagnostics deleted = row_count;
        more := more or deleted = {SWEPT_ROWS_MAX};
      end loop;
      return more;
    end $$;
    {"".join(own_function(service, signature) for signature in STEPS)}
    """


def _all_steps(service: str) -> str:
    return f"""
    -- All steps in one transaction, as the release before calls them. Answers as ``upkeep_refused``.
    create or replace function {service}.upkeep(as_of timestamptz) returns text
      language plpgsql security definer set search_path = pg_catalog as $$
    declare
      refused text;
    begin
      perform {service}.make_partitions(as_of, table_name)
        from (select table_name from {service}.partitioned_tables order by table_name) entry;
      refused := {service}.upkeep_refused(as_of);
      if refused is null then
        perform {service}.drop_expired(as_of, table_name)
          from (select table_name from {service}.partitioned_tables where keep is not null order by table_name) entry;
        perform {service}.sweep(as_of, table_name)
          from (select table_name from {service}.expiring_tables order by table_name) entry;
      end if;
      return refused;
    end $$;
    """


def _partitions_ahead(service: str, *, where: str = "") -> str:
    """Part of a function: makes the partitions that are missing around a time."""
    return f"""
      for entry in select * from {service}.partitioned_tables {where} loop
        step := ('1 ' || entry.unit)::interval;
        for ahead in -1 .. {PARTITIONS_AHEAD} loop
          start_time := date_trunc(entry.unit, as_of) + ahead * step;
          name := entry.table_name || to_char(start_time, '_YYYYMMDD');
          if to_regclass(format('{service}.%I', name)) is null then
            execute format('create table {service}.%I partition of {service}.%I for values from (%L) to (%L)',
              name, entry.table_name, start_time, start_time + step);
          end if;
        end loop;
      end loop;
    """.strip()


def _refusals(service: str) -> str:
    """Part of a function: answers why nothing may be dropped or deleted, where there is a reason."""
    return f"""
      select simulated_clock into simulated from {CHASSIS_SCHEMA}.installation;
      today := as_of;
      if not coalesce(simulated, false) then
        if abs(extract(epoch from as_of - clock_timestamp())) > {CLOCK_APART_SECONDS_MAX} then
          return '{CLOCK_DIFFERS}';
        end if;
        today := least(as_of, clock_timestamp());
      end if;

      -- The end of the newest partition that holds a row; days tell more than months.
      for entry in select * from {service}.partitioned_tables order by unit, table_name loop
        exit when entry.unit = 'month' and newest is not null;
        for part in
          select child.relname, to_timestamp(right(child.relname, 8), 'YYYYMMDD') + ('1 ' || entry.unit)::interval
            as end_time
          from pg_inherits join pg_class child on child.oid = inhrelid
          where inhparent = format('{service}.%I', entry.table_name)::regclass and child.relname ~ '_[0-9]{{8}}$'
          order by child.relname desc
        loop
          execute format('select exists (select from {service}.%I)', part.relname) into found;
          if found then
            newest := greatest(newest, part.end_time);
            exit;
          end if;
        end loop;
      end loop;
      if as_of > newest + interval '{SILENCE_DAYS_MAX} days' then
        return '{NEWEST_ROW_FAR}';
      end if;
    """.strip()


def _expired(service: str, columns: str) -> str:
    """Part of a function: the partitions of ``entry`` that have expired, oldest first, never the current one."""
    return f"""
          select {columns} from pg_inherits
          join pg_class child on child.oid = inhrelid
          where inhparent = format('{service}.%I', entry.table_name)::regclass
            and child.relname ~ '_[0-9]{{8}}$'
            and {_START} + step
              <= least(as_of - entry.keep * step, date_trunc(entry.unit, today))
          order by child.relname
    """.strip()


def _in_one(service: str, *, create: str) -> str:
    return f"""
    -- Keeps partitions ready ahead of time, drops one that has expired of each table, deletes expired rows. Answers why
    -- nothing was dropped or deleted, or null.
    {create} function {service}.upkeep(as_of timestamptz) returns text
      language plpgsql security definer set search_path = pg_catalog as $$
    declare
      entry record; part record; start_time timestamptz; step interval; name text;
      simulated boolean; newest timestamptz; today timestamptz; found boolean;
    begin
      -- All partitions are counted in UTC, whatever the session's time zone.
      perform set_config('timezone', 'UTC', true);
      {_partitions_ahead(service)}

      {_refusals(service)}

      for entry in select * from {service}.partitioned_tables where keep is not null loop
        step := ('1 ' || entry.unit)::interval;
        for part in {_expired(service, "child.relname")}
        loop
          execute format('select exists (select from {service}.%I held where %s)', part.relname, entry.waiting)
            into found;
          continue when found;
          -- A row may be put back between this look and the drop, so once more with the partition to ourselves.
          execute format('lock table {service}.%I in access exclusive mode', part.relname);
          execute format('select exists (select from {service}.%I held where %s)', part.relname, entry.waiting)
            into found;
          continue when found;
          execute format('drop table {service}.%I', part.relname);
          exit;
        end loop;
      end loop;
      delete from {service}.outbox_queue where event_time < as_of - interval '{OUTBOX_DAYS + 1} days'
        and not exists (select from {service}.outbox kept where kept.position = outbox_queue.position);
      for entry in select * from {service}.expiring_tables loop
        execute format('delete from {service}.%I where %I < $1 and (%s)', entry.table_name, entry.time_column,
          entry.condition) using as_of - make_interval(days => entry.keep_days);
      end loop;
      return null;
    end $$;
    """
