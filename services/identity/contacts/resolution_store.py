"""SQL of resolving a batch: finding what exists for its people, holding what will be written, and writing it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from chassis.errors import Aborted
from services.identity.contacts.domain import WHATSAPP, AliasLink, Contact, Identity
from services.identity.contacts.resolution_batch import PHONES, Changes, Conflict, Person, ResolutionBatch

CANDIDATES_MAX = 20
"""How many contacts with one phone or e-mail are looked at; two are too many to pick from anyway."""
_Link = tuple[int, UUID, UUID | None]
"""An alias that was found: its place in what was asked for, its contact, and the identity it was learnt with."""

# Rows are narrow and name the place of what was asked for: a batch has several for each of its people.
_FIND = """
select 'i' as what, wanted.place, identity.contact_id, identity.contact_identity_id, null as state, identity.address,
  identity.create_time, null::uuid[] as candidates, identity.username
from unnest(%(identity_organizations)b::uuid[], %(identity_sources)b::text[], %(identity_ids)b::text[])
  with ordinality as wanted (organization_id, source, external_id, place)
join identity.contact_identities identity using (organization_id, source, external_id)
union all
select 'c', wanted.place, coalesce(asked.merged_into, conflict.contact_id), conflict.identity_conflict_id,
  conflict.state, null, null, conflict.candidate_contact_ids || array(
    select candidate.merged_into from identity.contacts candidate
    where candidate.organization_id = conflict.organization_id and candidate.merged_into is not null
      and candidate.contact_id = any (conflict.candidate_contact_ids)
  ), null
from unnest(%(identity_organizations)b::uuid[], %(identity_sources)b::text[], %(identity_ids)b::text[])
  with ordinality as wanted (organization_id, source, external_id, place)
join identity.identity_conflicts conflict using (organization_id, source, external_id)
left join identity.contacts asked on asked.organization_id = conflict.organization_id
  and asked.contact_id = conflict.contact_id
union all
select 'a', wanted.place, alias.contact_id, alias.contact_identity_id, null, null, null, null, null
from unnest(%(alias_organizations)b::uuid[], %(alias_kinds)b::text[], %(alias_values)b::text[])
  with ordinality as wanted (organization_id, kind, value, place)
join identity.contact_aliases alias using (organization_id, kind, value)
union all
select 'p', wanted.place, holder.contact_id, null, null, null, null, null, null
from unnest(%(phone_organizations)b::uuid[], %(phones)b::text[])
  with ordinality as wanted (organization_id, phone, place)
cross join lateral (
  select coalesce(contact.merged_into, contact.contact_id) as contact_id from identity.contacts contact
  where contact.organization_id = wanted.organization_id and contact.phone = wanted.phone and contact.phone <> ''
  order by contact.contact_id limit %(candidates_max)s
) holder
union all
select 'e', wanted.place, holder.contact_id, null, null, null, null, null, null
from unnest(%(email_organizations)b::uuid[], %(emails)b::text[])
  with ordinality as wanted (organization_id, email, place)
cross join lateral (
  select coalesce(contact.merged_into, contact.contact_id) as contact_id from identity.contacts contact
  where contact.organization_id = wanted.organization_id and contact.email = wanted.email and contact.email <> ''
  order by contact.contact_id limit %(candidates_max)s
) holder
"""

_HELD = """
select contact_id, source, count(*) as ids, count(*) filter (where source = %(whatsapp)s and external_id like '+%%')
from unnest(%(organizations)b::uuid[], %(contacts)b::uuid[]) as wanted (organization_id, contact_id)
join identity.contact_identities using (organization_id, contact_id)
group by contact_id, source
"""

_CONTACTS = """
select contact.contact_id, contact.organization_id, contact.name, contact.phone, contact.email, contact.tags,
  contact.version, contact.create_time, contact.update_time, contact.profile_time
from unnest(%(organizations)b::uuid[], %(contacts)b::uuid[]) as wanted (organization_id, contact_id)
join identity.contacts contact using (organization_id, contact_id)
"""


async def regions(tx: Tx, organization_ids: Iterable[UUID]) -> dict[UUID, str]:
    """The region of each of the organizations that exist."""
    rows = await tx.execute(
        "select organization_id, region from identity.organizations where organization_id = any (%(ids)b)",
        {"ids": list(organization_ids)},
    )
    return {row.organization_id: row.region for row in rows}


class _Wanted:
    """What is asked for, each thing once; its place in a list is its place in the statement's array."""

    def __init__(self, people: Sequence[Person]) -> None:
        identities: dict[tuple[UUID, str, str], None] = {}
        aliases: dict[tuple[UUID, str, str], None] = {}
        phones: dict[tuple[UUID, str], None] = {}
        emails: dict[tuple[UUID, str], None] = {}
        for person in people:
            organization_id = person.organization_id
            if person.external_id:
                identities[(organization_id, person.source, person.external_id)] = None
            for external_id in person.provisionals():
                identities[(organization_id, WHATSAPP, external_id)] = None
            for phone in person.phones():
                phones[(organization_id, phone)] = None
                identities[(organization_id, WHATSAPP, phone)] = None
            for alias in person.aliases:
                aliases[(organization_id, *alias)] = None
            if person.email:
                emails[(organization_id, person.email)] = None
        self.identities, self.aliases = list(identities), list(aliases)
        self.phones, self.emails = list(phones), list(emails)

    def parameters(self) -> dict[str, Any]:
        """The arrays of the statement."""
        return {
            "identity_organizations": [key[0] for key in self.identities],
            "identity_sources": [key[1] for key in self.identities],
            "identity_ids": [key[2] for key in self.identities],
            "alias_organizations": [key[0] for key in self.aliases],
            "alias_kinds": [key[1] for key in self.aliases],
            "alias_values": [key[2] for key in self.aliases],
            "phone_organizations": [key[0] for key in self.phones],
            "phones": [key[1] for key in self.phones],
            "email_organizations": [key[0] for key in self.emails],
            "emails": [key[1] for key in self.emails],
            "candidates_max": CANDIDATES_MAX,
        }


async def load(
    tx: Tx, people: Sequence[Person], new_id: Callable[[], UUID], now: datetime, *, lock: bool = False
) -> ResolutionBatch:
    """All that exists for these people, mostly in two statements; ``lock`` holds the contacts found until commit."""
    wanted = _Wanted(people)
    found = await tx.execute(_FIND, wanted.parameters())
    resolution_batch = ResolutionBatch(new_id, now)
    owners, identities, links = _fill(resolution_batch, wanted, found.all())
    # An alias nearly always names the identity that the person writes with, which has been found by then.
    further = {
        identity_id: owners[contact_id]
        for _, contact_id, identity_id in links
        if identity_id is not None and identity_id not in identities
    }
    if further:
        identities |= await _load_identities(tx, further)
    _link(resolution_batch, wanted, links, identities)
    if owners:
        # Held in one order by everybody, so that nobody waits in a circle.
        held = " order by contact.organization_id, contact.contact_id for no key update of contact" if lock else ""
        contacts = await tx.execute(
            _CONTACTS + held, {"organizations": list(owners.values()), "contacts": list(owners)}
        )
        for row in contacts.all():
            resolution_batch.contacts[row[0]] = Contact(*tuple(row))
    # Once they are held: nobody links them another id between the count and the write.
    if possible := resolution_batch.possible(people):
        await _count_held(tx, resolution_batch, possible)
    return resolution_batch


async def _count_held(tx: Tx, resolution_batch: ResolutionBatch, possible: Mapping[UUID, UUID]) -> None:
    """Counts the ids of the contacts that somebody new may be, given with their organizations."""
    counted = await tx.execute(
        _HELD, {"organizations": list(possible.values()), "contacts": list(possible), "whatsapp": WHATSAPP}
    )
    for contact_id, organization_id in possible.items():
        resolution_batch.indexes[organization_id].held[contact_id] = {}
    for contact_id, source, ids, phones in counted.all():
        held = resolution_batch.indexes[possible[contact_id]].held[contact_id]
        held[source] = ids
        if phones:
            held[PHONES] = phones


def _fill(
    resolution_batch: ResolutionBatch, wanted: _Wanted, rows: Sequence[Any]
) -> tuple[dict[UUID, UUID], dict[UUID, Identity], list[_Link]]:
    """Puts what was found in its place, but for aliases; answers the organization of each contact that was named, the
    identities by their ids, and the aliases."""
    indexes = resolution_batch.indexes
    owners: dict[UUID, UUID] = {}
    identities: dict[UUID, Identity] = {}
    links: list[_Link] = []
    for what, place, contact_id, other_id, state, address, since, candidates, username in rows:
        if what == "a":
            organization_id = wanted.aliases[place - 1][0]
            links.append((place, contact_id, other_id))
        elif what == "i":
            organization_id, source, external_id = wanted.identities[place - 1]
            identity = Identity(other_id, contact_id, source, external_id, address, since, username)
            indexes[organization_id].identities[(source, external_id)] = identities[other_id] = identity
        elif what == "c":
            organization_id, *key = wanted.identities[place - 1]
            index = indexes[organization_id]
            index.reported.setdefault((key[0], key[1]), set()).update(candidates)
            if state == "OPEN":
                index.open_conflicts[(key[0], key[1])] = other_id
        elif what == "p":
            organization_id, phone = wanted.phones[place - 1]
            indexes[organization_id].by_phone.setdefault(phone, {})[contact_id] = None
        else:
            organization_id, email = wanted.emails[place - 1]
            indexes[organization_id].by_email.setdefault(email, {})[contact_id] = None
        owners[contact_id] = organization_id
    return owners, identities, links


def _link(
    resolution_batch: ResolutionBatch, wanted: _Wanted, links: Sequence[_Link], identities: Mapping[UUID, Identity]
) -> None:
    """Lets the aliases lead to the very identities that were found, where they name one that still exists."""
    for place, contact_id, identity_id in links:
        organization_id, kind, value = wanted.aliases[place - 1]
        identity = None if identity_id is None else identities.get(identity_id)
        resolution_batch.indexes[organization_id].aliases[(kind, value)] = AliasLink(contact_id, identity)


async def _load_identities(tx: Tx, owners: Mapping[UUID, UUID]) -> dict[UUID, Identity]:
    """Of these identities, given with their organizations, those that exist."""
    rows = await tx.execute(
        """
        select contact_identity_id, contact_id, source, external_id, address, create_time, username
        from unnest(%(organizations)b::uuid[], %(ids)b::uuid[]) as wanted (organization_id, contact_identity_id)
        join identity.contact_identities using (organization_id, contact_identity_id)
        """,
        {"organizations": list(owners.values()), "ids": list(owners)},
    )
    return {row[0]: Identity(*row) for row in rows}


async def lock_keys(tx: Tx, people: Sequence[Person]) -> None:
    """Holds all that these people may be found by until commit, so that whoever else looks for them waits.

    The locks are taken in one order by everybody; unique keys alone would not keep two people with one new phone apart.
    """
    names: set[str] = set()
    for person in people:
        organization_id = person.organization_id
        names.update(f"{organization_id}/{phone}" for phone in person.phones())
        names.update(f"{organization_id}/{kind}/{value}" for kind, value in person.aliases)
        if person.external_id:
            names.add(f"{organization_id}/{person.source}/{person.external_id}")
        if person.email:
            names.add(f"{organization_id}/{person.email}")
    await tx.execute(
        "select pg_advisory_xact_lock(key) from unnest(%(keys)b::bigint[]) as wanted (key)",
        {"keys": sorted({_lock_key(name) for name in names})},
    )


def _lock_key(name: str) -> int:
    digest = hashlib.blake2b(b"identity/" + name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


async def write(tx: Tx, changes: Changes, now: datetime) -> None:
    """Writes what a batch changes, set by set. Raises Aborted where somebody wrote a key that was not locked."""
    await insert_contacts(tx, list(changes.new_contacts.values()))
    await _update_contacts(tx, list(changes.learnt_contacts.values()))
    await _keep_profile_times(tx, list(changes.dated_contacts.values()))
    await _promote(tx, changes, now)
    await insert_identities(tx, changes.new_identities, now)
    await _write_aliases(tx, changes, now)
    await _write_conflicts(tx, list(changes.conflicts.values()), now)


async def insert_contacts(tx: Tx, contacts: Sequence[Contact]) -> None:
    """Inserts contacts without tags."""
    if contacts:
        await tx.execute(
            """
            insert into identity.contacts
              (organization_id, contact_id, name, phone, email, tags, version, create_time, update_time)
            select organization_id, contact_id, name, phone, email, '{}', version, create_time, create_time
            from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(names)b::text[], %(phones)b::text[],
              %(emails)b::text[], %(versions)b::bigint[], %(times)b::timestamptz[])
              as new (organization_id, contact_id, name, phone, email, version, create_time)
            """,
            _contact_columns(contacts) | {"times": [contact.create_time for contact in contacts]},
        )


async def _update_contacts(tx: Tx, contacts: Sequence[Contact]) -> None:
    if contacts:
        await tx.execute(
            """
            update identity.contacts contact
            set name = learnt.name, phone = learnt.phone, email = learnt.email, version = learnt.version,
              update_time = learnt.update_time
            from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(names)b::text[], %(phones)b::text[],
              %(emails)b::text[], %(versions)b::bigint[], %(times)b::timestamptz[])
              as learnt (organization_id, contact_id, name, phone, email, version, update_time)
            where contact.organization_id = learnt.organization_id and contact.contact_id = learnt.contact_id
            """,
            _contact_columns(contacts) | {"times": [contact.update_time for contact in contacts]},
        )


async def _keep_profile_times(tx: Tx, contacts: Sequence[Contact]) -> None:
    if contacts:
        await tx.execute(
            """
            update identity.contacts contact set profile_time = heard.profile_time
            from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(times)b::timestamptz[])
              as heard (organization_id, contact_id, profile_time)
            where contact.organization_id = heard.organization_id and contact.contact_id = heard.contact_id
            """,
            {
                "organizations": [contact.organization_id for contact in contacts],
                "ids": [contact.id for contact in contacts],
                "times": [contact.profile_time for contact in contacts],
            },
        )


def _contact_columns(contacts: Sequence[Contact]) -> dict[str, list[Any]]:
    return {
        "organizations": [contact.organization_id for contact in contacts],
        "ids": [contact.id for contact in contacts],
        "names": [contact.name for contact in contacts],
        "phones": [contact.phone for contact in contacts],
        "emails": [contact.email for contact in contacts],
        "versions": [contact.version for contact in contacts],
    }


async def insert_identities(tx: Tx, identities: Sequence[tuple[UUID, Identity]], now: datetime) -> None:
    """Inserts identities, each with its organization. Raises Aborted when one of the keys was taken meanwhile."""
    if not identities:
        return
    inserted = await tx.execute(
        """
        insert into identity.contact_identities
          (organization_id, contact_identity_id, contact_id, source, external_id, address, username, create_time,
           update_time)
        select organization_id, contact_identity_id, contact_id, source, external_id, address, username, %(now)s,
          %(now)s
        from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(contacts)b::uuid[], %(sources)b::text[],
          %(external_ids)b::text[], %(addresses)b::text[], %(usernames)b::text[])
          as new (organization_id, contact_identity_id, contact_id, source, external_id, address, username)
        on conflict (organization_id, source, external_id) do nothing
        """,
        _identity_columns(identities) | {"now": now},
    )
    if inserted.rowcount != len(identities):
        raise Aborted("WRITE_CONFLICT", "Somebody else wrote the same identity at the same moment. Try again.")


def _identity_columns(identities: Sequence[tuple[UUID, Identity]]) -> dict[str, list[Any]]:
    return {
        "organizations": [organization_id for organization_id, _ in identities],
        "ids": [identity.id for _, identity in identities],
        "contacts": [identity.contact_id for _, identity in identities],
        "sources": [identity.source for _, identity in identities],
        "external_ids": [identity.external_id for _, identity in identities],
        "addresses": [identity.address for _, identity in identities],
        "usernames": [identity.username for _, identity in identities],
    }


async def _promote(tx: Tx, changes: Changes, now: datetime) -> None:
    """Gives provisional ids their new key, and gives up those for which there is an heir."""
    retired = [promotion for promotion in changes.promotions if promotion.retired_id is not None]
    if retired:
        params = {
            "organizations": [promotion.organization_id for promotion in retired],
            "ids": [promotion.retired_id for promotion in retired],
            "heirs": [promotion.identity.id for promotion in retired],
            "contacts": [promotion.identity.contact_id for promotion in retired],
        }
        await tx.execute(
            """
            update identity.contact_aliases alias set contact_identity_id = given_up.heir_id
            from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(heirs)b::uuid[], %(contacts)b::uuid[])
              as given_up (organization_id, contact_identity_id, heir_id, contact_id)
            where alias.organization_id = given_up.organization_id and alias.contact_id = given_up.contact_id
              and alias.contact_identity_id = given_up.contact_identity_id
            """,
            params,
        )
        await tx.execute(
            """
            delete from identity.contact_identities identity
            using unnest(%(organizations)b::uuid[], %(ids)b::uuid[]) as given_up (organization_id, contact_identity_id)
            where identity.organization_id = given_up.organization_id
              and identity.contact_identity_id = given_up.contact_identity_id
            """,
            params,
        )
    changed = dict(changes.addressed)
    for promotion in changes.promotions:
        if promotion.retired_id is None:
            changed[promotion.identity.id] = (promotion.organization_id, promotion.identity)
    if changed:
        await tx.execute(
            """
            update identity.contact_identities identity
            set external_id = changed.external_id, address = changed.address, username = changed.username,
              update_time = %(now)s
            from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(external_ids)b::text[], %(addresses)b::text[],
              %(usernames)b::text[])
              as changed (organization_id, contact_identity_id, external_id, address, username)
            where identity.organization_id = changed.organization_id
              and identity.contact_identity_id = changed.contact_identity_id
            """,
            _identity_columns(list(changed.values())) | {"now": now},
        )


async def _write_aliases(tx: Tx, changes: Changes, now: datetime) -> None:
    if not changes.aliases:
        return
    links = sorted(changes.aliases.items(), key=lambda entry: entry[0])
    await tx.execute(
        """
        insert into identity.contact_aliases as alias
          (organization_id, kind, value, contact_id, contact_identity_id, create_time)
        select organization_id, kind, value, contact_id, contact_identity_id, %(now)s
        from unnest(%(organizations)b::uuid[], %(kinds)b::text[], %(values)b::text[], %(contacts)b::uuid[],
          %(identities)b::uuid[]) as new (organization_id, kind, value, contact_id, contact_identity_id)
        on conflict (organization_id, kind, value) do update set contact_identity_id = excluded.contact_identity_id
        where alias.contact_id = excluded.contact_id
        """,
        {
            "organizations": [key[0] for key, _ in links],
            "kinds": [key[1] for key, _ in links],
            "values": [key[2] for key, _ in links],
            "contacts": [link.contact_id for _, link in links],
            "identities": [link.identity.id if link.identity is not None else None for _, link in links],
            "now": now,
        },
    )


async def _write_conflicts(tx: Tx, conflicts: Sequence[Conflict], now: datetime) -> None:
    """Opens conflicts, or adds candidates to those that are open."""
    if not conflicts:
        return
    await tx.execute(
        """
        insert into identity.identity_conflicts as open
          (organization_id, identity_conflict_id, source, external_id, contact_id, candidate_contact_ids, state,
           create_time)
        select organization_id, id, source, external_id, contact_id, string_to_array(candidates, ',')::uuid[], 'OPEN',
          %(now)s
        from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(sources)b::text[], %(external_ids)b::text[],
          %(contacts)b::uuid[], %(candidates)b::text[])
          as new (organization_id, id, source, external_id, contact_id, candidates)
        on conflict (organization_id, source, external_id) where state = 'OPEN' do update
        set candidate_contact_ids = array(
          select distinct candidate from unnest(open.candidate_contact_ids || excluded.candidate_contact_ids)
            as every (candidate) order by candidate)
        """,
        {
            "organizations": [conflict.organization_id for conflict in conflicts],
            "ids": [conflict.id for conflict in conflicts],
            "sources": [conflict.source for conflict in conflicts],
            "external_ids": [conflict.external_id for conflict in conflicts],
            "contacts": [conflict.contact_id for conflict in conflicts],
            "candidates": [",".join(map(str, conflict.candidates)) for conflict in conflicts],
            "now": now,
        },
    )
