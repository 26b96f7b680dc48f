"""SQL of the backfill: the contacts of a batch, who has a claim to their phones, and holding those that are written."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from uuid import UUID

from chassis.db import Tx
from services.identity.contacts.backfill_domain import Claims
from services.identity.contacts.domain import PHONES_PER_CONTACT_MAX, WHATSAPP, Contact, Identity
from services.identity.contacts.resolution_store import CANDIDATES_MAX

_CONTACT = "contact_id, organization_id, name, phone, email, tags, version, create_time, update_time"

_CLAIMS = """
select 'p' as what, wanted.phone, holder.contact_id, null::uuid as other_id, null::text as address,
  null::timestamptz as create_time, null::uuid[] as candidates, (
    select count(*) >= %(phones_max)s from identity.contact_identities linked
    where linked.organization_id = %(organization_id)s and linked.contact_id = holder.contact_id
      and linked.source = %(source)s and starts_with(linked.external_id, '+')
  ) as is_full
from unnest(%(phones)b::text[], %(writings)b::text[]) as wanted (phone, writing)
cross join lateral (
  select coalesce(contact.merged_into, contact.contact_id) as contact_id from identity.contacts contact
  where contact.organization_id = %(organization_id)s and contact.phone = wanted.writing and contact.phone <> ''
  order by contact.contact_id limit %(candidates_max)s
) holder
union all
select 'i', wanted.phone, identity.contact_id, identity.contact_identity_id, identity.address, identity.create_time,
  null, null
from unnest(%(keys)b::text[]) as wanted (phone)
join identity.contact_identities identity on identity.organization_id = %(organization_id)s
  and identity.source = %(source)s and identity.external_id = wanted.phone
union all
select case conflict.state when 'OPEN' then 'o' else 'c' end, wanted.phone, conflict.contact_id,
  conflict.identity_conflict_id, null, null, conflict.candidate_contact_ids || array(
    select candidate.merged_into from identity.contacts candidate
    where candidate.organization_id = conflict.organization_id and candidate.merged_into is not null
      and candidate.contact_id = any (conflict.candidate_contact_ids)
  ), null
from unnest(%(keys)b::text[]) as wanted (phone)
join identity.identity_conflicts conflict on conflict.organization_id = %(organization_id)s
  and conflict.source = %(source)s and conflict.external_id = wanted.phone
"""


async def list_contacts(tx: Tx, organization_id: UUID, *, after: UUID | None, limit: int) -> list[Contact]:
    """Contacts, oldest first, with a phone or without: so a batch reads no more rows than it answers."""
    condition = "and contact_id > %(after)s" if after is not None else ""
    found = await tx.execute(
        f"select {_CONTACT} from identity.contacts"
        f" where organization_id = %(organization_id)s and merged_into is null {condition}"
        " order by contact_id limit %(limit)s",
        {"organization_id": organization_id, "limit": limit} | ({"after": after} if after is not None else {}),
    )
    return [Contact(*tuple(row)) for row in found]


async def load_claims(tx: Tx, organization_id: UUID, writings: Mapping[str, Sequence[str]]) -> dict[str, Claims]:
    """Who has a claim to each phone, whatever writing of it a profile has."""
    claims = {phone: Claims() for phone in writings}
    pairs = [(phone, writing) for phone, known in writings.items() for writing in known]
    found = await tx.execute(
        _CLAIMS,
        {
            "organization_id": organization_id,
            "source": WHATSAPP,
            "phones": [phone for phone, _ in pairs],
            "writings": [writing for _, writing in pairs],
            "keys": list(writings),
            "candidates_max": CANDIDATES_MAX,
            "phones_max": PHONES_PER_CONTACT_MAX,
        },
    )
    holders: dict[str, set[UUID]] = {phone: set() for phone in writings}
    for what, phone, contact_id, other_id, address, create_time, candidates, is_full in found.all():
        if what == "p":
            holders[phone].add(contact_id)
            if is_full:
                claims[phone].full |= {contact_id}
        elif what == "i":
            claims[phone].owner = Identity(other_id, contact_id, WHATSAPP, phone, address, create_time)
        else:
            claims[phone].reported.update(candidates)
            if what == "o":
                claims[phone].open_conflict_id = other_id
    for phone, found_holders in holders.items():
        claims[phone].holders = tuple(sorted(found_holders)[:CANDIDATES_MAX])
    return claims


async def hold_contacts(tx: Tx, organization_id: UUID, contact_ids: Collection[UUID]) -> dict[UUID, Contact]:
    """Holds contacts until commit, in the order in which everybody holds them; answers them as they are now."""
    found = await tx.execute(
        f"select {_CONTACT} from identity.contacts"
        " where organization_id = %(organization_id)s and contact_id = any (%(contact_ids)b) and merged_into is null"
        " order by contact_id for no key update",
        {"organization_id": organization_id, "contact_ids": list(contact_ids)},
    )
    return {row[0]: Contact(*tuple(row)) for row in found}
