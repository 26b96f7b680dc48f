"""The ledger of reservations and the epoch of an organization's counts in SQL; every function runs in the caller's
transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.outreach.sending.quota_store import Unit

Key = tuple[UUID, UUID, int]
"""Organization, delivery and attempt: what a reservation is kept under."""


@dataclass(frozen=True, slots=True)
class Reserve:
    """A unit that was taken, to be written down."""

    reservation_id: UUID
    unit: Unit
    epoch: int
    send_class: str

    @property
    def key(self) -> Key:
        """What it is kept under."""
        return (self.unit.organization_id, self.unit.delivery_id, self.unit.attempt)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A line of the ledger."""

    id: UUID
    state: str
    """OPEN, USED or RELEASED."""


@dataclass(frozen=True, slots=True)
class Open:
    """A reservation that nobody has settled."""

    reservation_id: UUID
    organization_id: UUID
    delivery_id: UUID
    attempt: int
    create_time: datetime


# Who raises the epoch waits for whoever writes under it, and whoever comes later sees the new one.
_INSERT = """
with fresh as (
  select organization_id, epoch from outreach.quota_epochs
  where organization_id = any (%(organization_ids)b::uuid[]) order by organization_id for share
), asked as (
  select * from unnest(
    %(organization_ids)b::uuid[], %(delivery_ids)b::uuid[], %(attempts)b::int[], %(ids)b::uuid[], %(epochs)b::bigint[],
    %(send_classes)b::text[], %(channel_ids)b::uuid[], %(recipients)b::text[], %(release_counts)b::int[]
  ) as asked (organization_id, delivery_id, attempt, id, epoch, send_class, channel_id, recipient, release_count)
)
insert into outreach.reservations as kept
  (organization_id, delivery_id, attempt, id, epoch, send_class, channel_id, recipient, release_count, state,
    create_time)
select asked.organization_id, asked.delivery_id, asked.attempt, asked.id, asked.epoch, asked.send_class,
  asked.channel_id, asked.recipient, asked.release_count, 'OPEN', %(now)s::timestamptz
from asked join fresh using (organization_id, epoch)
order by asked.organization_id, asked.delivery_id, asked.attempt
on conflict (organization_id, delivery_id, attempt) do update
  set id = excluded.id, epoch = excluded.epoch, send_class = excluded.send_class, channel_id = excluded.channel_id,
    recipient = excluded.recipient, state = 'OPEN', create_time = excluded.create_time, settle_time = null
  where kept.state = 'RELEASED' and kept.release_count = excluded.release_count
"""

_FIND = """
select kept.organization_id, kept.delivery_id, kept.attempt, kept.id, kept.state
from unnest(%(organization_ids)b::uuid[], %(delivery_ids)b::uuid[], %(attempts)b::int[])
  as asked (organization_id, delivery_id, attempt)
join outreach.reservations kept using (organization_id, delivery_id, attempt)
"""

_SETTLE = """
with asked as (
  select * from unnest(%(organization_ids)b::uuid[], %(delivery_ids)b::uuid[], %(attempts)b::int[], %(used)b::bool[])
    as asked (organization_id, delivery_id, attempt, used)
), open as (
  select kept.organization_id, kept.delivery_id, kept.attempt, asked.used
  from outreach.reservations kept join asked using (organization_id, delivery_id, attempt)
  where kept.state = 'OPEN'
  order by kept.organization_id, kept.delivery_id, kept.attempt for update of kept
)
update outreach.reservations kept
set state = case when open.used then 'USED' else 'RELEASED' end, settle_time = %(now)s::timestamptz,
  release_count = kept.release_count + (not open.used)::int
from open
where (kept.organization_id, kept.delivery_id, kept.attempt) = (open.organization_id, open.delivery_id, open.attempt)
returning kept.organization_id, kept.channel_id, kept.recipient, kept.delivery_id, kept.attempt, kept.release_count,
  open.used
"""

_CONFIRM = """
update outreach.suppressions
set confirm_time = coalesce(confirm_time, %(now)s::timestamptz), confirm_delivery_id = %(delivery_id)s::uuid
where organization_id = %(organization_id)s and id = %(id)s
  and (confirm_delivery_id is null or confirm_delivery_id = %(delivery_id)s::uuid)
returning 1
"""

_RAISE_EPOCH = """
insert into outreach.quota_epochs as known (organization_id, epoch) values (%(organization_id)s, 1)
on conflict (organization_id) do update set epoch = known.epoch + 1 where known.epoch = %(seen)s
returning epoch
"""

_UNITS = """
select organization_id, channel_id, recipient, delivery_id, attempt, release_count, create_time
from outreach.reservations
where organization_id = %(organization_id)s and state in ('OPEN', 'USED') and create_time > %(since)s::timestamptz
order by create_time
"""

_OPEN = """
select open_id, open_organization_id, open_delivery_id, open_attempt, open_create_time
from outreach.open_reservations(%(before)s::timestamptz, %(after)s::uuid, %(row_limit)s::int)
"""


async def reserve(tx: Tx, reserves: Sequence[Reserve], now: datetime) -> Mapping[Key, Reservation]:
    """Writes units down, each once and only under the epoch that holds; answers what the ledger has of them then.

    What has no line then was taken under an epoch that is over.
    """
    asked = sorted({reserve.key: reserve for reserve in reserves}.values(), key=lambda reserve: reserve.key)
    keys = {
        "organization_ids": [reserve.unit.organization_id for reserve in asked],
        "delivery_ids": [reserve.unit.delivery_id for reserve in asked],
        "attempts": [reserve.unit.attempt for reserve in asked],
    }
    await tx.execute(
        _INSERT,
        keys
        | {
            "ids": [reserve.reservation_id for reserve in asked],
            "epochs": [reserve.epoch for reserve in asked],
            "send_classes": [reserve.send_class for reserve in asked],
            "channel_ids": [reserve.unit.channel_id for reserve in asked],
            "recipients": [reserve.unit.recipient for reserve in asked],
            "release_counts": [reserve.unit.release_count for reserve in asked],
            "now": now,
        },
    )
    found = await tx.execute(_FIND, keys)
    return {
        (row.organization_id, row.delivery_id, row.attempt): Reservation(row.id, row.state)
        for row in found
        if row.state != "RELEASED"
    }


async def confirm(tx: Tx, organization_id: UUID, suppression_id: UUID, delivery_id: UUID, now: datetime) -> bool:
    """Lets one message confirm an opt-out; False where another one may."""
    values = {"organization_id": organization_id, "id": suppression_id, "delivery_id": delivery_id, "now": now}
    return (await tx.execute(_CONFIRM, values)).first() is not None


async def settle(tx: Tx, used: Mapping[Key, bool], now: datetime) -> list[Unit]:
    """Settles reservations that are open; answers the units of those that are given back, as they were counted."""
    keys = sorted(used)
    settled = await tx.execute(
        _SETTLE,
        {
            "organization_ids": [organization_id for organization_id, _, _ in keys],
            "delivery_ids": [delivery_id for _, delivery_id, _ in keys],
            "attempts": [attempt for _, _, attempt in keys],
            "used": [used[key] for key in keys],
            "now": now,
        },
    )
    return [_unit(row, row.release_count - 1) for row in settled if not row.used]


async def raise_epoch(tx: Tx, organization_id: UUID, seen: int) -> int | None:
    """The next epoch of an organization's counts, which nobody writes under before this transaction ends; None where
    it is another than the one that was seen already."""
    raised = await tx.execute(_RAISE_EPOCH, {"organization_id": organization_id, "seen": seen})
    row = raised.first()
    return None if row is None else int(row.epoch)


async def units_since(tx: Tx, organization_id: UUID, since: datetime) -> list[tuple[Unit, datetime]]:
    """All that counts, with when it was taken."""
    found = await tx.execute(_UNITS, {"organization_id": organization_id, "since": since})
    return [(_unit(row, row.release_count), row.create_time) for row in found]


async def open_reservations(tx: Tx, before: datetime, after: UUID, row_limit: int) -> list[Open]:
    """Reservations of all organizations that nobody has settled, made before then, oldest first."""
    found = await tx.execute(_OPEN, {"before": before, "after": after, "row_limit": row_limit})
    return [Open(*row) for row in found]


def _unit(row: Any, release_count: int) -> Unit:
    return Unit(row.organization_id, row.channel_id, row.recipient, row.delivery_id, row.attempt, release_count)
