"""Suppressions in SQL; every function runs in the caller's transaction. Those that have ended lie in a table apart."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.canonical import split_key
from chassis.db import Tx
from chassis.redirects import Redirects
from services.outreach.domain import Lifting, Origin, Speaker, Suppression

REDIRECTS = Redirects("outreach")
_WRITTEN = (
    "organization_id, id, source, external_id, contact_id, reason, create_time, origin, message_id, evidence, ask_time"
)
_KEPT = f"{_WRITTEN}, confirm_time"
_HOLDING = f"{_KEPT}, null::timestamptz as lift_time, '' as lift_reason, '' as principal, '' as principal_name"
_LIFTED = f"{_KEPT}, lift_time, lift_reason, principal, principal_name"

# An address has one row here, and what has another origin beside it; reading the one table reads both.
_TABLES = ("suppressions", "suppressions_beside")
_INSERT = f"""
insert into outreach.{{table}} ({_WRITTEN})
select %(organization_id)s::uuid, %(id)s::uuid, %(source)s, %(external_id)s, %(contact_id)s::uuid, %(reason)s,
  %(create_time)s::timestamptz, %(origin)s, %(message_id)s, %(evidence)s, %(ask_time)s::timestamptz
where not exists (
  select from outreach.suppressions held
  where held.organization_id = %(organization_id)s and held.source = %(source)s and held.external_id = %(external_id)s
    and held.origin = %(origin)s
)
on conflict do nothing
returning id
"""

_ASK_AGAIN = """
update outreach.suppressions set ask_time = greatest(coalesce(ask_time, create_time), %(ask_time)s)
where organization_id = %(organization_id)s and source = %(source)s and external_id = %(external_id)s
  and origin = 'CONTACT'
"""

# Several addresses are locked in one order by everybody.
_LOCK = """
select pg_advisory_xact_lock(key) from (
  select distinct hashtextextended(
    concat_ws(':', 'outreach.suppressions', %(organization_id)s::uuid, source, external_id), 0
  ) as key
  from unnest(%(sources)b::text[], %(external_ids)b::text[]) as address (source, external_id) order by key
) wanted
"""

_FIND_OWN = f"""
select {_HOLDING} from outreach.suppressions
where organization_id = %(organization_id)s and source = %(source)s and external_id = %(external_id)s
  and origin = %(origin)s
for update
"""

_EVERY = f"""
select {_HOLDING} from outreach.suppressions union all select {_LIFTED} from outreach.lifted_suppressions
"""

_FIND = f"select * from ({_EVERY}) kept where organization_id = %(organization_id)s and id = %(id)s"

_LIFT = f"""
with ended as (
  delete from outreach.suppressions where organization_id = %(organization_id)s and {{condition}} returning {_KEPT}
)
insert into outreach.lifted_suppressions ({_LIFTED}, lift_key)
select {_KEPT}, %(lift_time)s, %(lift_reason)s, %(principal)s, %(principal_name)s, %(lift_key)s from ended
returning {_LIFTED}
"""

_ASKED = """
select exists (
  select from outreach.suppressions where organization_id = %(organization_id)s and contact_id = any (%(contact_ids)b)
    and origin = 'CONTACT'
)
"""

_ADDRESSES = "(select * from unnest(%(sources)b::text[], %(external_ids)b::text[]) as moved (source, external_id))"

_FOLLOW = f"""
update outreach.{{table}} held set contact_id = %(losing_id)s from {_ADDRESSES} moved
where held.organization_id = %(organization_id)s and held.source = moved.source
  and held.external_id = moved.external_id and held.contact_id = %(surviving_id)s
"""

_OF_EACH = _KEPT.replace("contact_id,", "case when of_loser then %(losing_id)s else contact_id end,")
# What one of the two ended for the other while they were one.
_HOLD_AGAIN = f"""
with moved as {_ADDRESSES}, ended as (
  select lifted.id, moved.source is not null as of_loser from outreach.lifted_suppressions lifted
  left join moved using (source, external_id)
  where lifted.organization_id = %(organization_id)s and lifted.contact_id = %(surviving_id)s
    and lifted.origin = 'CONTACT' and lifted.lift_key <> ''
    and (moved.source is not null) <> (lifted.lift_key = any (%(keys)b::text[]))
), again as (
  delete from outreach.lifted_suppressions lifted using ended
  where lifted.organization_id = %(organization_id)s and lifted.id = ended.id returning lifted.*, ended.of_loser
), newest as (
  select distinct on (source, external_id) * from again
  where not exists (
    select from outreach.suppressions held
    where (held.organization_id, held.source, held.external_id, held.origin)
      = (again.organization_id, again.source, again.external_id, again.origin)
  )
  order by source, external_id, create_time desc, id
), first as (
  insert into outreach.suppressions ({_KEPT}) select {_OF_EACH} from newest
  on conflict do nothing returning {_HOLDING}
), beside as (
  insert into outreach.suppressions_beside ({_KEPT})
  select {_OF_EACH} from newest where id not in (select id from first)
  on conflict do nothing returning {_HOLDING}
)
select * from first union all select * from beside
"""


def suppressed(organization: str, source: str, external_id: str, contact_id: str) -> str:
    """SQL for whether a suppression holds at an address, or for any that is one with its contact; all are columns."""
    return f"""(
  exists (
    select from outreach.suppressions held
    where held.organization_id = {organization} and held.source = {source} and held.external_id = {external_id}
  ) or exists (
    select from {REDIRECTS.one_with_of(contact_id, organization)} person
    join outreach.suppressions held
      on held.organization_id = {organization} and held.contact_id = person.contact_id
  )
)"""


async def lock_addresses(tx: Tx, organization_id: UUID, addresses: Collection[tuple[str, str]]) -> None:
    """Of whoever else suppresses one of these, sources with external ids, one waits for the other until commit."""
    await tx.execute(
        _LOCK,
        {
            "organization_id": organization_id,
            "sources": [source for source, _ in addresses],
            "external_ids": [external_id for _, external_id in addresses],
        },
    )


async def insert_suppression(tx: Tx, suppression: Suppression) -> Suppression | None:
    """Writes a suppression unless its address, which is locked, has one of its origin.

    Answers that one, which nobody ends until commit; None where this one was written.
    """
    values = {
        "organization_id": suppression.organization_id,
        "id": suppression.id,
        "source": suppression.source,
        "external_id": suppression.external_id,
        "contact_id": suppression.contact_id,
        "reason": suppression.reason,
        "create_time": suppression.create_time,
        "origin": suppression.origin.value,
        "message_id": suppression.message_id,
        "evidence": suppression.evidence,
        "ask_time": suppression.ask_time,
    }
    if (own := (await tx.execute(_FIND_OWN, values)).first()) is not None:
        return _suppression(own)
    # Two statements: the second sees whom the first has waited for.
    for table in _TABLES:
        inserted = await tx.execute(_INSERT.format(table=table), values)
        if inserted.first() is not None:
            return None
    # By whom the lock does not hold up: an undone merge, or the release before.
    return _suppression((await tx.execute(_FIND_OWN, values)).one())


async def ask_again(tx: Tx, again: Suppression) -> None:
    """Notes that a contact asked once more for what holds already."""
    await tx.execute(
        _ASK_AGAIN,
        {
            "organization_id": again.organization_id,
            "source": again.source,
            "external_id": again.external_id,
            "ask_time": again.ask_time,
        },
    )


async def find_suppression(tx: Tx, organization_id: UUID, suppression_id: UUID) -> Suppression | None:
    """One of the organization's suppressions, whether or not it holds."""
    found = await tx.execute(_FIND, {"organization_id": organization_id, "id": suppression_id})
    row = found.one_or_none()
    return None if row is None else _suppression(row)


async def contact_asked(tx: Tx, organization_id: UUID, contact_id: UUID) -> bool:
    """Whether a contact's own word holds, or that of whom the contact stands for, at whichever address."""
    contact_ids = await REDIRECTS.one_with(tx, contact_id)
    found = await tx.execute(_ASKED, {"organization_id": organization_id, "contact_ids": contact_ids})
    holds: bool = found.scalar_one()
    return holds


async def lift_one(tx: Tx, organization_id: UUID, suppression_id: UUID, lifting: Lifting) -> Suppression | None:
    """Ends a suppression; None where none of this id holds."""
    ended = await _lift(tx, organization_id, "id = %(id)s", {"id": suppression_id}, lifting)
    return ended[0] if ended else None


async def lift_own(
    tx: Tx,
    organization_id: UUID,
    source: str,
    external_id: str,
    speaker: Speaker,
    asked: datetime,
    lifting: Lifting,
) -> list[Suppression]:
    """Ends what a contact asked for until a time, of the address and of what was asked for under the contact's id.

    What others decided holds on, and so does what the contact wrote later. Where a merge gave the address to the
    contact, what was first asked for elsewhere before it holds on too: whoever speaks is known to be one of two alone.
    """
    condition = (
        "origin = 'CONTACT' and ((source = %(source)s and external_id = %(external_id)s)"
        " or (contact_id = %(contact_id)s::uuid"
        # Providers tell whole seconds. Who asks again asks as before: the first time counts.
        " and (%(since)s::timestamptz is null"
        " or least(ask_time, create_time) >= date_trunc('second', %(since)s::timestamptz))))"
        " and coalesce(ask_time, create_time) <= %(asked)s"
    )
    values = {
        "source": source,
        "external_id": external_id,
        "contact_id": speaker.contact_id,
        "since": speaker.since,
        "asked": asked,
    }
    return await _lift(tx, organization_id, condition, values, lifting)


async def undo_merge(
    tx: Tx, organization_id: UUID, surviving_id: UUID, losing_id: UUID, keys: Collection[str]
) -> list[Suppression]:
    """Gives what holds at a contact's own addresses back to the contact; answers what holds again.

    ``keys`` are the conversation keys of whom the survivor stood for. What one of the two ended for the other holds
    again: nobody knows that the other wanted it.
    """
    addresses = [split_key(key) for key in sorted(keys)]
    values = {
        "organization_id": organization_id,
        "surviving_id": surviving_id,
        "losing_id": losing_id,
        "keys": sorted(keys),
        "sources": [source.value for source, _ in addresses],
        "external_ids": [external_id for _, external_id in addresses],
    }
    again = [_suppression(row) for row in await tx.execute(_HOLD_AGAIN, values)]
    for table in ("suppressions", "lifted_suppressions"):
        await tx.execute(_FOLLOW.format(table=table), values)
    return again


async def list_suppressions(
    tx: Tx,
    organization_id: UUID,
    contact_id: UUID | None,
    before: UUID | None,
    row_limit: int,
    *,
    include_lifted: bool = False,
) -> list[Suppression]:
    """Suppressions of a contact and of whom it stands for (None: all) that are older than ``before``, newest first."""
    values: dict[str, object] = {"organization_id": organization_id, "row_limit": row_limit}
    conditions = ["organization_id = %(organization_id)s"]
    if contact_id is not None:
        conditions.append("contact_id = any (%(contact_ids)b::uuid[])")
        values["contact_ids"] = await REDIRECTS.one_with(tx, contact_id)
    if before is not None:
        conditions.append("id < %(before)s")
        values["before"] = before
    of = _EVERY if include_lifted else f"select {_HOLDING} from outreach.suppressions"
    found = await tx.execute(
        f"select * from ({of}) kept where {' and '.join(conditions)} order by id desc limit %(row_limit)s", values
    )
    kept = [_suppression(row) for row in found]
    standing = await REDIRECTS.resolve(tx, [each.contact_id for each in kept if each.contact_id is not None])
    return [each if each.contact_id is None else replace(each, contact_id=standing[each.contact_id]) for each in kept]


async def find_locale(tx: Tx, organization_id: UUID) -> str:
    """The organization's language as far as it is kept here; Brazil's where it is not."""
    found = await tx.execute(
        "select locale from outreach.organization_profiles where organization_id = %(organization_id)s",
        {"organization_id": organization_id},
    )
    locale: str | None = found.scalar()
    return locale or "pt-BR"


async def _lift(
    tx: Tx, organization_id: UUID, condition: str, values: Mapping[str, object], lifting: Lifting
) -> list[Suppression]:
    ended = await tx.execute(
        _LIFT.format(condition=condition),
        {
            "organization_id": organization_id,
            "lift_time": lifting.time,
            "lift_reason": lifting.reason,
            "principal": lifting.principal,
            "principal_name": lifting.principal_name,
            "lift_key": lifting.key,
            **values,
        },
    )
    return [_suppression(row) for row in ended]


def _suppression(row: Any) -> Suppression:
    lifting = (
        None if row.lift_time is None else Lifting(row.lift_time, row.lift_reason, row.principal, row.principal_name)
    )
    return Suppression(
        organization_id=row.organization_id,
        id=row.id,
        source=row.source,
        external_id=row.external_id,
        contact_id=row.contact_id,
        reason=row.reason,
        create_time=row.create_time,
        origin=Origin(row.origin),
        message_id=row.message_id,
        evidence=row.evidence,
        ask_time=row.ask_time,
        confirm_time=row.confirm_time,
        lifting=lifting,
    )
