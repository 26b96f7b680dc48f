"""One durable queue: items wait in a table of the service's schema, put there by the transaction that wants them done.

An item names a row of the service's own. Items of one key are worked on one after the other, in the order in which they
were put, of a timed queue in that of their due times; other keys go on beside it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID
from zlib import crc32

from chassis.db import SCOPED, Effect, Tx
from chassis.leases import Leases
from chassis.queues.items import Dead, DeadLetter, Done, Item, Outcome, Place, Retry, storable
from chassis.queues.tables import checked

LANE_COUNT = 64
"""Changing it sends waiting items to other lanes than new ones."""


def lane_of(key: str) -> int:
    """The lane, 0 to LANE_COUNT - 1, of a key: whoever puts, works off or replays comes to the same."""
    return crc32(key.encode()) % LANE_COUNT


@dataclass(frozen=True)
class Queue:
    """A queue made by ``create_queue(schema, name)``, with the same ``timed``.

    What comes after ``timed`` is for a table that was there before: two columns under names of its own, dead letters
    that the service keeps itself, leases without the queue's name.
    """

    name: str
    schema: str
    timed: bool = False
    item_column: str = "item_id"
    time_column: str = "put_time"
    own_dead_letters: bool = False
    bare_leases: bool = False
    shared: bool = False
    """Of its workers' slots no organization holds more than its share, see ``share_slots``: for who calls servers that
    organizations name, and takes one item at a time."""
    wake: Effect = lambda: None
    """Tells the queue's workers that there is something to do; `Process.queue` sets it."""

    def __post_init__(self) -> None:
        checked(self.name)

    @property
    def label(self) -> str:
        """What metrics and logs call it."""
        return f"{self.schema}.{self.name}"

    @property
    def wake_subject(self) -> str:
        """Where its workers are told over NATS: best effort, their own look every second is the truth."""
        return f"prosa.wake.queue.{self.label}"

    @property
    def into(self) -> str:
        """How a statement of the service's own begins that puts items, each with attempt_count 0; not of a timed one.

        For who cannot afford a statement more; such a one calls ``wake`` after its commit.
        """
        return (
            f"insert into {self.label}"
            f" (lane, ordering_key, {self.item_column}, {self.time_column}, organization_id, attempt_count)"
        )

    async def put(self, tx: Tx, places: Sequence[Place], now: datetime) -> int:
        """Puts items in their order, and wakes the workers after the commit; answers how many are new.

        An item that waits already keeps its place. The transaction names the items' organizations.
        """
        if not places:
            return 0
        if not self.timed and any(place.due_time is not None for place in places):
            raise ValueError(f"{self.label} is not timed: its items are due when they are put.")
        put = await tx.execute(
            self._put,
            {
                "lanes": [lane_of(place.key) for place in places],
                "keys": [place.key for place in places],
                "item_ids": [place.item_id for place in places],
                "organization_ids": [place.organization_id for place in places],
                # Never before what is due already, whose place may be held.
                "due_times": [max(place.due_time or now, now) for place in places],
                "now": now,
            },
        )
        tx.after_commit(self.wake)
        return put.rowcount

    async def remove(self, tx: Tx, item_ids: Collection[UUID]) -> int:
        """Takes items out that are not wanted any more, wherever they stand; answers how many."""
        removed = await tx.execute(
            f"delete from {self.label} where {self.item_column} = any (%(item_ids)b)", {"item_ids": list(item_ids)}
        )
        return removed.rowcount

    async def claim(
        self,
        tx: Tx,
        lanes: Collection[int],
        busy_keys: Collection[str],
        now: datetime,
        limit: int,
        busy_organizations: Collection[UUID] = (),
    ) -> list[Item]:
        """What the holder of the lanes may work on, in order, of keys that it does not work on yet.

        Nothing of ``busy_organizations``, where the queue is shared.
        The rest of the transaction sees the organizations of what was found.
        """
        parameters = {"lanes": sorted(lanes), "busy": list(busy_keys), "now": now, "limit": limit}
        if self.shared:
            parameters["organizations"] = list(busy_organizations)
        found = await tx.execute(self._claim, parameters)
        return [Item(*row) for row in found]

    async def next_time(self, tx: Tx, now: datetime) -> datetime | None:
        """When something of a timed queue comes due next, or is to be tried again; None where nothing does."""
        found: datetime | None = (await tx.execute(f"select {self.label}_next(%(now)s)", {"now": now})).scalar_one()
        return found

    async def settle(
        self, tx: Tx, outcomes: Sequence[Outcome[Any]], leases: Leases, fences: Mapping[str, int], now: datetime
    ) -> None:
        """Takes out what is done or dead, and postpones what is to be tried again. Raises LeaseLost."""
        retries = [outcome for outcome in outcomes if isinstance(outcome, Retry)]
        if not self.timed and any(retry.gives_way for retry in retries):
            raise ValueError(f"{self.label} is not timed: nothing in it gives way.")
        dead = [outcome for outcome in outcomes if isinstance(outcome, Dead)]
        parameters: dict[str, Any] = {
            "gone": [outcome.item.sequence for outcome in outcomes if isinstance(outcome, Done | Dead)],
            "retried": [retry.item.sequence for retry in retries],
            "times": [retry.at for retry in retries],
            "counts": [int(retry.counted) for retry in retries],
            "give_way": [retry.gives_way for retry in retries],
        }
        statement = self._settle
        if dead and not self.own_dead_letters:
            statement += self._keep_dead
            parameters |= {
                "dead_ids": [outcome.item.item_id for outcome in dead],
                "dead_keys": [outcome.item.key for outcome in dead],
                "dead_put_times": [outcome.item.put_time for outcome in dead],
                "dead_organizations": [outcome.item.organization_id for outcome in dead],
                "dead_attempts": [outcome.item.attempt_count + 1 for outcome in dead],
                "dead_reasons": [outcome.reason for outcome in dead],
                "dead_details": [storable(outcome.detail) for outcome in dead],
                "now": now,
            }
        # In one statement, so that a batch makes no trip for its leases alone.
        held = await tx.execute(statement + leases.held_sql, parameters | leases.held_parameters(fences))
        leases.require(fences, held)

    async def dead_letters(
        self, tx: Tx, organization_id: UUID, limit: int, before: UUID | None = None
    ) -> list[DeadLetter]:
        """The organization's dead letters, newest item first; ``before`` is the last item of the page before."""
        found = await tx.execute(
            f"""
            select item_id, ordering_key, attempt_count, reason, detail, put_time, dead_time from {self.label}_dead
            where organization_id = %(organization_id)s and (%(before)s::uuid is null or item_id < %(before)s)
            order by item_id desc limit %(limit)s
            """,
            {"organization_id": organization_id, "before": before, "limit": limit},
        )
        return [DeadLetter(*row) for row in found]

    async def replay(self, tx: Tx, item_ids: Collection[UUID], now: datetime) -> int:
        """Puts dead letters back, oldest item first, as if they had just come; answers how many there were."""
        found = await tx.execute(
            f"""
            with revived as (
              delete from {self.label}_dead where item_id = any (%(item_ids)b)
              returning item_id, organization_id, ordering_key
            )
            select item_id, organization_id, ordering_key from revived order by item_id
            """,
            {"item_ids": list(item_ids)},
        )
        return await self.put(tx, [Place(*row) for row in found], now)

    @cached_property
    def _put(self) -> str:
        # Columns of a timed queue; the others' are due as they are put.
        column, value = (", due_time", ", due_time") if self.timed else ("", "")
        return f"""
            {self.into[:-1]}{column})
            select lane, ordering_key, item_id, %(now)s, organization_id, 0{value}
            from unnest(%(lanes)b::smallint[], %(keys)b::text[], %(item_ids)b::uuid[], %(organization_ids)b::uuid[],
                %(due_times)b::timestamptz[])
              with ordinality as place (lane, ordering_key, item_id, organization_id, due_time, ordinality)
            order by ordinality
            on conflict ({self.item_column}) do nothing
            """

    @cached_property
    def _claim(self) -> str:
        look, others = ("shared", "%(organizations)b::uuid[],") if self.shared else ("pending", "")
        return f"""
            with pending as materialized (
              select * from {self.label}_{look}(%(lanes)b::smallint[], %(busy)b::text[], {others} %(now)s, %(limit)s)
            ), {SCOPED}
            select pending_sequence, pending_lane, pending_key, pending_item_id, pending_put_time,
              pending_organization_id, pending_attempt_count
            from pending cross join scoped
            """

    @cached_property
    def _settle(self) -> str:
        moved = ", due_time = case when give_way then at else queued.due_time end" if self.timed else ""
        return f"""
            with gone as (
              delete from {self.label} where sequence = any (%(gone)b::bigint[])
            ), postponed as (
              update {self.label} queued
              set attempt_count = queued.attempt_count + counted,
                next_attempt_time = case when give_way then null else at end{moved}
              from unnest(%(retried)b::bigint[], %(times)b::timestamptz[], %(counts)b::int[], %(give_way)b::bool[])
                as retry (sequence, at, counted, give_way)
              where queued.sequence = retry.sequence
            )"""

    @cached_property
    def _keep_dead(self) -> str:
        return f""", dead as (
              insert into {self.label}_dead (item_id, ordering_key, put_time, organization_id, attempt_count, reason,
                detail, dead_time)
              select letter.*, %(now)s
              from unnest(%(dead_ids)b::uuid[], %(dead_keys)b::text[], %(dead_put_times)b::timestamptz[],
                %(dead_organizations)b::uuid[], %(dead_attempts)b::int[], %(dead_reasons)b::text[],
                %(dead_details)b::text[]) as letter
              on conflict (item_id) do update set attempt_count = excluded.attempt_count, reason = excluded.reason,
                detail = excluded.detail, dead_time = excluded.dead_time
            )"""
