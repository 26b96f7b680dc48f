"""A queue's table, its dead letters and the functions that look into it before an organization is known."""

from __future__ import annotations

import re

from chassis.migrations import expiring, organization_table, own_function, owner

DEAD_DAYS = 30
"""How long a dead letter is kept."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def create_queue(service: str, name: str, *, timed: bool = False) -> str:
    """A queue of the service's, for a migration; `Queue` with the same name works with it.

    Its items take their places in the order in which they were put, of a ``timed`` one at their due times.
    """
    table, dead = f"{service}.{checked(name)}", f"{service}.{name}_dead"
    due, place = ("due_time timestamptz not null,", "due_time, sequence") if timed else ("", "sequence")
    by_place = f"on {table} (due_time, sequence)" if timed else f"on {table} (lane, sequence)"
    return f"""
    create table {table} (
      sequence bigint generated always as identity primary key,
      -- squawk-ignore prefer-bigint-over-smallint
      lane smallint not null,
      ordering_key text not null,
      item_id uuid not null,
      put_time timestamptz not null,
      organization_id uuid not null,
      -- squawk-ignore prefer-bigint-over-int
      attempt_count int not null,
      next_attempt_time timestamptz,
      {due}
      constraint {name}_item unique (item_id)
    );
    -- squawk-ignore require-concurrent-index-creation
    create index {name}_by_place {by_place};
    -- squawk-ignore require-concurrent-index-creation
    create index {name}_held on {table} (ordering_key, {place}) where next_attempt_time is not null;
    create table {dead} (
      item_id uuid primary key,
      ordering_key text not null,
      put_time timestamptz not null,
      organization_id uuid not null,
      -- squawk-ignore prefer-bigint-over-int
      attempt_count int not null,
      reason text not null,
      detail text not null,
      dead_time timestamptz not null
    );
    -- squawk-ignore require-concurrent-index-creation
    create index {name}_dead_by_organization on {dead} (organization_id, item_id);
    alter table {table} owner to {owner(service)};
    alter table {dead} owner to {owner(service)};
    {organization_table(service, name, owner_reads=True)}
    {organization_table(service, f"{name}_dead", owner_sweeps=True)}
    {expiring(service, f"{name}_dead", time_column="dead_time", keep_days=DEAD_DAYS)}
    {queue_functions(service, name, timed=timed)}
    """


def drop_queue(service: str, name: str) -> str:
    """Takes ``create_queue`` back, with all that waits."""
    return f"""
    {drop_queue_functions(service, name)}
    delete from {service}.expiring_tables where table_name = '{name}_dead';
    drop table {service}.{name}_dead;
    drop table {service}.{name};
    """


def queue_functions(
    service: str, name: str, *, timed: bool = False, item_column: str = "item_id", time_column: str = "put_time"
) -> str:
    """The functions alone, for a table that was there before and calls two of its columns by names of its own."""
    table = f"{service}.{checked(name)}"
    waiting, since = ("where due_time <= as_of", "due_time") if timed else ("", time_column)
    look = _pending(service, name, timed=timed, item_column=item_column, time_column=time_column)
    pending, depth = f"{name}_pending(smallint[], text[], timestamptz, int)", f"{name}_waiting(timestamptz)"
    return f"""
    {_next_time(service, name) if timed else ""}
    -- What the holder of some lanes may work on now, in order. An item that waits for its next attempt holds back the
    -- later ones of its own key, and nothing else; of a key that is being worked on nothing is answered.
    create function {service}.{name}_pending(
        wanted_lanes smallint[], busy_keys text[], as_of timestamptz, row_limit int)
      {look}
    {own_function(service, pending)}

    -- How many items are due, and since when the first of them has been.
    create function {service}.{name}_waiting(as_of timestamptz)
      returns table (waiting_count bigint, oldest_due_time timestamptz)
      language sql stable security definer set search_path = pg_catalog as
      $$ select count(*), min({since}) from {table} {waiting} $$;
    {own_function(service, depth)}
    """


def share_slots(service: str, name: str, *, timed: bool = False) -> str:
    """The function by which a `Queue` that is ``shared`` is looked into, for a migration after that of the queue."""
    signature = f"{name}_shared(smallint[], text[], uuid[], timestamptz, int)"
    return f"""
    -- As {name}_pending, but nothing of some organizations: those that hold their share of the slots.
    create function {service}.{name}_shared(
        wanted_lanes smallint[], busy_keys text[], busy_organizations uuid[], as_of timestamptz, row_limit int)
      {_pending(service, checked(name), "and queued.organization_id <> all (busy_organizations)", timed=timed)}
    {own_function(service, signature)}
    """


def unshare_slots(service: str, name: str) -> str:
    """Takes ``share_slots`` back."""
    return f"drop function {service}.{checked(name)}_shared(smallint[], text[], uuid[], timestamptz, int);"


def _pending(
    service: str,
    name: str,
    condition: str = "",
    *,
    timed: bool,
    item_column: str = "item_id",
    time_column: str = "put_time",
) -> str:
    table = f"{service}.{name}"
    if timed:
        due, place = "and queued.due_time <= as_of", "queued.due_time, queued.sequence"
        earlier = "(held.due_time, held.sequence) <= (queued.due_time, queued.sequence)"
    else:
        due, place = "", "queued.sequence"
        earlier = "held.sequence <= queued.sequence"
    return f"""returns table (pending_sequence bigint, pending_lane smallint, pending_key text, pending_item_id uuid,
        pending_put_time timestamptz, pending_organization_id uuid, pending_attempt_count int)
      language sql stable security definer set search_path = pg_catalog as
      $$ select queued.sequence, queued.lane, queued.ordering_key, queued.{item_column}, queued.{time_column},
           queued.organization_id, queued.attempt_count
         from {table} queued
         where queued.lane = any (wanted_lanes) {due} {condition}
           and queued.ordering_key <> all (busy_keys)
           and not exists (
             select from {table} held
             where held.next_attempt_time > as_of and held.ordering_key = queued.ordering_key
               and {earlier})
         order by {place} limit row_limit $$;"""


def _next_time(service: str, name: str) -> str:
    table = f"{service}.{name}"
    return f"""
    -- When something comes due next, or is to be tried again.
    create function {service}.{name}_next(as_of timestamptz) returns timestamptz
      language sql stable security definer set search_path = pg_catalog as
      $$ select least(
           (select min(due_time) from {table} where due_time > as_of),
           (select min(next_attempt_time) from {table} where next_attempt_time > as_of)) $$;
    {own_function(service, f"{name}_next(timestamptz)")}
    """


def drop_queue_functions(service: str, name: str) -> str:
    """Takes ``queue_functions`` back."""
    return f"""
    drop function {service}.{name}_pending(smallint[], text[], timestamptz, int);
    drop function {service}.{name}_waiting(timestamptz);
    drop function if exists {service}.{name}_next(timestamptz);
    """


def checked(name: str) -> str:
    """The name, which becomes part of statements. Raises ValueError where it is none."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is no name of a queue: small letters, digits and _, at most 40.")
    return name
