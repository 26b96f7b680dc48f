"""Upkeep of a service's tables: partitions are ready before their time comes, and what has expired goes.

It is told the time, and a clock may be wrong. So it drops nothing where the time it is told is far from that of the
database's server or from the newest row, nothing that still waits, never the current partition, and at most one
partition of a table in a run: whoever sets a clock right within hours has lost nothing.
"""

from __future__ import annotations

from chassis.migrations import CHASSIS_SCHEMA, OUTBOX_DAYS, PARTITIONS_AHEAD, maintain_by_the_clock, own_function

CLOCK_APART_SECONDS_MAX = 3_600
"""How far a process's clock and that of the database's server may be apart. Not asked of a simulated clock."""
SILENCE_DAYS_MAX = 7
"""How long ago the newest row may be. Longer than facts are kept, so that those of a quiet service go in time; an
installation that rested for longer drops nothing until something is written again."""

CLOCK_DIFFERS = "CLOCK_DIFFERS"
NEWEST_ROW_FAR = "NEWEST_ROW_FAR"

EXPLANATIONS = {
    CLOCK_DIFFERS: (
        f"This process's clock and that of the database's server are more than {CLOCK_APART_SECONDS_MAX // 60} minutes "
        "apart. Nothing that has expired is dropped until the clocks are set right."
    ),
    NEWEST_ROW_FAR: (
        f"The newest row is more than {SILENCE_DAYS_MAX} days old. Nothing that has expired is dropped until something "
        "new is written."
    ),
}
"""What each refusal means, and what ends it."""


def distrust_clocks(service: str, waiting: dict[str, str] | None = None) -> str:
    """Replaces the service's upkeep by one that believes no clock by itself.

    ``waiting`` says by table which rows must not be dropped yet, as a condition on a row called ``held``; the outbox's
    is known. ``upkeep`` answers why it dropped nothing, or null; ``maintain`` does the same and says nothing.
    """
    conditions = {
        "outbox": f"exists (select from {service}.outbox_queue queued where queued.position = held.position)"
    } | (waiting or {})
    registered = "\n".join(
        f"update {service}.partitioned_tables set waiting = $waiting${condition}$waiting$ where table_name = '{table}';"
        for table, condition in conditions.items()
    )
    return f"""
    alter table {service}.partitioned_tables add column waiting text not null default 'false';
    {registered}
    {_upkeep(service)}
    {own_function(service, "upkeep(timestamptz)")}
    -- As the release before calls it.
    create or replace function {service}.maintain(as_of timestamptz) returns void
      language plpgsql security definer set search_path = pg_catalog as
      $$ begin perform {service}.upkeep(as_of); end $$;
    """


def trust_clocks(service: str) -> str:
    """Takes ``distrust_clocks`` back."""
    return f"""
    {maintain_by_the_clock(service)}
    drop function {service}.upkeep(timestamptz);
    alter table {service}.partitioned_tables drop column waiting;
    """


def _upkeep(schema: str) -> str:
    return f"""
    -- Keeps partitions ready ahead of time, drops one that has expired of each table, deletes expired rows. Answers why
    -- nothing was dropped or deleted, or null.
    create function {schema}.upkeep(as_of timestamptz) returns text
      language plpgsql security definer set search_path = pg_catalog as $$
    declare
      entry record; part record; start_time timestamptz; step interval; name text;
      simulated boolean; newest timestamptz; today timestamptz; found boolean;
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
      end loop;

      select simulated_clock into simulated from {CHASSIS_SCHEMA}.installation;
      today := as_of;
      if not coalesce(simulated, false) then
        if abs(extract(epoch from as_of - clock_timestamp())) > {CLOCK_APART_SECONDS_MAX} then
          return '{CLOCK_DIFFERS}';
        end if;
        today := least(as_of, clock_timestamp());
      end if;

      -- The end of the newest partition that holds a row; days tell more than months.
      for entry in select * from {schema}.partitioned_tables order by unit, table_name loop
        exit when entry.unit = 'month' and newest is not null;
        for part in
          select child.relname, to_timestamp(right(child.relname, 8), 'YYYYMMDD') + ('1 ' || entry.unit)::interval
            as end_time
          from pg_inherits join pg_class child on child.oid = inhrelid
          where inhparent = format('{schema}.%I', entry.table_name)::regclass and child.relname ~ '_[0-9]{{8}}$'
          order by child.relname desc
        loop
          execute format('select exists (select from {schema}.%I)', part.relname) into found;
          if found then
            newest := greatest(newest, part.end_time);
            exit;
          end if;
        end loop;
      end loop;
      if as_of > newest + interval '{SILENCE_DAYS_MAX} days' then
        return '{NEWEST_ROW_FAR}';
      end if;

      for entry in select * from {schema}.partitioned_tables where keep is not null loop
        step := ('1 ' || entry.unit)::interval;
        for part in
          select child.relname from pg_inherits
          join pg_class child on child.oid = inhrelid
          where inhparent = format('{schema}.%I', entry.table_name)::regclass
            and child.relname ~ '_[0-9]{{8}}$'
            and to_timestamp(right(child.relname, 8), 'YYYYMMDD') + step
              <= least(as_of - entry.keep * step, date_trunc(entry.unit, today))
          order by child.relname
        loop
          execute format('select exists (select from {schema}.%I held where %s)', part.relname, entry.waiting)
            into found;
          continue when found;
          -- A row may be put back between this look and the drop, so once more with the partition to ourselves.
          execute format('lock table {schema}.%I in access exclusive mode', part.relname);
          execute format('select exists (select from {schema}.%I held where %s)', part.relname, entry.waiting)
            into found;
          continue when found;
          execute format('drop table {schema}.%I', part.relname);
          exit;
        end loop;
      end loop;
      delete from {schema}.outbox_queue where event_time < as_of - interval '{OUTBOX_DAYS + 1} days'
        and not exists (select from {schema}.outbox kept where kept.position = outbox_queue.position);
      for entry in select * from {schema}.expiring_tables loop
        execute format('delete from {schema}.%I where %I < $1 and (%s)', entry.table_name, entry.time_column,
          entry.condition) using as_of - make_interval(days => entry.keep_days);
      end loop;
      return null;
    end $$;
    """
