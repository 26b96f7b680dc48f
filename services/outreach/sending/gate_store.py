"""What the gate must know of many messages, read in one statement: nothing of it is ever older than the question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import orjson

from chassis.db import Tx
from chassis.redirects import Redirects
from services.outreach.domain import Origin
from services.outreach.sending.ledger_store import Reservation
from services.outreach.sending.policy import SendPolicy
from services.outreach.sending.policy_store import COLUMNS, policy_of
from services.outreach.sending.rules import Held

_ONE_WITH = Redirects("outreach").one_with_of("asked.contact_id", "asked.organization_id")
_LOOK = f"""
with asked as (
  select * from unnest(
    %(places)b::int[], %(organization_ids)b::uuid[], %(delivery_ids)b::uuid[], %(attempts)b::int[],
    %(contact_ids)b::uuid[]
  ) as asked (place, organization_id, delivery_id, attempt, contact_id)
), address as (
  select * from unnest(
    %(key_places)b::int[], %(key_organization_ids)b::uuid[], %(key_sources)b::text[], %(key_external_ids)b::text[]
  ) as address (place, organization_id, source, external_id)
), held as (
  select address.place, found.id, found.create_time, found.confirm_delivery_id, found.origin
  from address join outreach.suppressions found using (organization_id, source, external_id)
  union
  select asked.place, found.id, found.create_time, found.confirm_delivery_id, found.origin
  from asked
  -- Whoever asked not to be written to is one with whom the message is for.
  cross join lateral {_ONE_WITH} person
  join outreach.suppressions found
    on found.organization_id = asked.organization_id and found.contact_id = person.contact_id
)
select asked.organization_id, coalesce(everywhere.engaged, false) as killed_globally,
  coalesce(own.engaged, false) as killed,
  exists (
    select from outreach.terms_acceptances terms
    where terms.organization_id = asked.organization_id and terms.terms_version = %(terms_version)s
  ) as terms_accepted,
  (
    select json_agg(json_build_array(held.id, held.create_time, held.confirm_delivery_id, held.origin)
      order by held.create_time, held.id)::text
    from held where held.place = asked.place
  ) as held,
  coalesce(known.epoch, 0) as epoch,
  kept.id as reservation_id, kept.state as reservation_state, coalesce(kept.release_count, 0) as release_count,
  policy.quiet_hours::text, {", ".join(f"policy.{column}" for column in COLUMNS[1:])}
from asked
left join outreach.global_kill everywhere on true
left join outreach.kill_switches own using (organization_id)
left join outreach.send_policies policy using (organization_id)
left join outreach.quota_epochs known using (organization_id)
left join outreach.reservations kept using (organization_id, delivery_id, attempt)
order by asked.place
"""


@dataclass(frozen=True, slots=True)
class Question:
    """Whose message it is, and by what its recipient is known."""

    organization_id: UUID
    delivery_id: UUID
    attempt: int
    contact_id: UUID | None
    addresses: Sequence[tuple[str, str]]
    """Sources and external ids."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is so of one message."""

    policy: SendPolicy
    killed: bool
    killed_globally: bool
    terms_accepted: bool
    suppressions: tuple[Held, ...]
    epoch: int
    """0 where nothing was ever counted."""
    reservation: Reservation | None
    release_count: int


async def look(tx: Tx, questions: Sequence[Question], terms_version: str) -> list[Found]:
    """What is so of each message, in their order."""
    addresses = [
        (place, question.organization_id, source, external_id)
        for place, question in enumerate(questions)
        for source, external_id in question.addresses
    ]
    found = await tx.execute(
        _LOOK,
        {
            "places": list(range(len(questions))),
            "organization_ids": [question.organization_id for question in questions],
            "delivery_ids": [question.delivery_id for question in questions],
            "attempts": [question.attempt for question in questions],
            "contact_ids": [question.contact_id for question in questions],
            "key_places": [place for place, _, _, _ in addresses],
            "key_organization_ids": [organization_id for _, organization_id, _, _ in addresses],
            "key_sources": [source for _, _, source, _ in addresses],
            "key_external_ids": [external_id for _, _, _, external_id in addresses],
            "terms_version": terms_version,
        },
    )
    return [_found(row) for row in found]


def _found(row: Any) -> Found:
    return Found(
        policy=SendPolicy(row.organization_id) if row.version is None else policy_of(row),
        killed=row.killed,
        killed_globally=row.killed_globally,
        terms_accepted=row.terms_accepted,
        suppressions=tuple(_held(*values) for values in orjson.loads(row.held or "[]")),
        epoch=row.epoch,
        reservation=None if row.reservation_id is None else Reservation(row.reservation_id, row.reservation_state),
        release_count=row.release_count,
    )


def _held(suppression_id: str, create_time: str, confirm_delivery_id: str | None, origin: str) -> Held:
    confirms = None if confirm_delivery_id is None else UUID(confirm_delivery_id)
    return Held(UUID(suppression_id), datetime.fromisoformat(create_time), confirms, origin == Origin.CONTACT)
