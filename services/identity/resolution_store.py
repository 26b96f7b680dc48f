"""SQL of resolving a batch: finding what exists for its people, holding what will be written, and writing it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from chassis.errors import Aborted
from services.identity.directory import AliasKey, Changes, Conflict, Directory, Person, Resolution, ValueKey
from services.identity.domain import AliasLink, Contact, Identity, Outcome

CANDIDATES_MAX = 20
"""How many contacts with one phone or e-mail are looked at; two are too many to pick from anyway."""
ERROR_MESSAGE_LENGTH_MAX = 500
_PROBLEMS = frozenset({Outcome.AMBIGUOUS, Outcome.ERROR})

_FIND = """
with found as (
  select 'identity' as what, identity.organization_id, identity.contact_id, identity.contact_identity_id,
    identity.source, identity.external_id, identity.address, identity.create_time as link_time,
    null::text as kind, null::text as value, null::uuid[] as candidates
  from unnest(%(identity_organizations)b::uuid[], %(identity_sources)s::text[], %(identity_ids)s::text[])
    as wanted (organization_id, source, external_id)
  join identity.contact_identities identity using (organization_id, source, external_id)
  union all
  select 'alias', alias.organization_id, alias.contact_id, learnt.contact_identity_id,
    learnt.source, learnt.external_id, learnt.address, learnt.create_time, alias.kind, alias.value, null
  from unnest(%(alias_organizations)b::uuid[], %(alias_kinds)s::text[], %(alias_values)s::text[])
    as wanted (organization_id, kind, value)
  join identity.contact_aliases alias using (organization_id, kind, value)
  left join identity.contact_identities learnt
    on learnt.organization_id = alias.organization_id and learnt.contact_identity_id = alias.contact_identity_id
  union all
  select 'phone', wanted.organization_id, holder.contact_id, null, null, null, null, null, null, wanted.phone, null
  from unnest(%(phone_organizations)b::uuid[], %(phones)s::text[]) as wanted (organization_id, phone)
  cross join lateral (
    select contact_id from identity.contacts contact
    where contact.organization_id = wanted.organization_id and contact.phone = wanted.phone and contact.phone <> ''
    order by contact_id limit %(candidates_max)s
  ) holder
  union all
  select 'email', wanted.organization_id, holder.contact_id, null, null, null, null, null, null, wanted.email, null
  from unnest(%(email_organizations)b::uuid[], %(emails)s::text[]) as wanted (organization_id, email)
  cross join lateral (
    select contact_id from identity.contacts contact
    where contact.organization_id = wanted.organization_id and contact.email = wanted.email and contact.email <> ''
    order by contact_id limit %(candidates_max)s
  ) holder
  union all
  select 'conflict', conflict.organization_id, conflict.contact_id, conflict.identity_conflict_id,
    conflict.source, conflict.external_id, null, null, conflict.state, null, conflict.candidate_contact_ids
  from unnest(%(identity_organizations)b::uuid[], %(identity_sources)s::text[], %(identity_ids)s::text[])
    as wanted (organization_id, source, external_id)
  join identity.identity_conflicts conflict using (organization_id, source, external_id)
)
select found.*, contact.name, contact.phone, contact.email, contact.tags, contact.version, contact.create_time,
  contact.update_time
from found join identity.contacts contact
  on contact.organization_id = found.organization_id and contact.contact_id = found.contact_id
"""


async def regions(tx: Tx, organization_ids: Iterable[UUID]) -> dict[UUID, str]:
    """The region of each of the organizations that exist."""
    rows = await tx.exec_driver_sql(
        "select organization_id, region from identity.organizations where organization_id = any (%(ids)b)",
        {"ids": list(organization_ids)},
    )
    return {row.organization_id: row.region for row in rows}


async def load(tx: Tx, people: Sequence[Person], new_id: Callable[[], UUID], now: datetime) -> Directory:
    """All that exists for these people, in one statement."""
    identities = {key for person in people if (key := person.key) is not None}
    aliases: set[AliasKey] = set()
    phones: set[ValueKey] = set()
    emails: set[ValueKey] = set()
    for person in people:
        organization_id = person.organization_id
        identities.update(person.stand_in_keys())
        aliases.update((organization_id, kind, value) for kind, value in person.aliases)
        for phone in person.phones():
            phones.add((organization_id, phone))
            identities.add((organization_id, "WHATSAPP", phone))
        if person.email:
            emails.add((organization_id, person.email))
    rows = await tx.exec_driver_sql(
        _FIND,
        {
            **_columns(identities, "identity_organizations", "identity_sources", "identity_ids"),
            **_columns(aliases, "alias_organizations", "alias_kinds", "alias_values"),
            **_columns(phones, "phone_organizations", "phones"),
            **_columns(emails, "email_organizations", "emails"),
            "candidates_max": CANDIDATES_MAX,
        },
    )
    directory = Directory(new_id, now)
    _fill(directory, rows.all())
    return directory


def _columns(keys: set[Any], *names: str) -> dict[str, list[Any]]:
    ordered = sorted(keys)
    return {name: [key[place] for key in ordered] for place, name in enumerate(names)}


def _fill(directory: Directory, rows: Sequence[Any]) -> None:
    by_id: dict[UUID, Identity] = {}
    for row in rows:
        what, organization_id, contact_id, other_id, source, external_id, address, since, kind, value, candidates = row[
            :11
        ]
        if contact_id not in directory.contacts:
            directory.contacts[contact_id] = Contact(contact_id, organization_id, *row[11:])
        if what == "phone":
            directory.by_phone[(organization_id, value)][contact_id] = None
        elif what == "email":
            directory.by_email[(organization_id, value)][contact_id] = None
        elif what == "conflict":
            key = (organization_id, source, external_id)
            directory.reported[key].update(candidates)
            if kind == "OPEN":
                directory.open_conflicts[key] = other_id
        else:
            identity = by_id.get(other_id)
            if identity is None and other_id is not None:
                identity = by_id[other_id] = Identity(other_id, contact_id, source, external_id, address, since)
            if what == "alias":
                directory.aliases[(organization_id, kind, value)] = AliasLink(contact_id, identity)
            elif identity is not None:
                directory.identities[(organization_id, source, external_id)] = identity


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
    await tx.exec_driver_sql(
        "select pg_advisory_xact_lock(key) from unnest(%(keys)b::bigint[]) as wanted (key)",
        {"keys": sorted({_lock_key(name) for name in names})},
    )


def _lock_key(name: str) -> int:
    digest = hashlib.blake2b(b"identity/" + name.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


async def lock_contacts(tx: Tx, directory: Directory) -> None:
    """Holds the contacts of the directory until commit and brings them up to date."""
    rows = await tx.exec_driver_sql(
        """
        select contact.contact_id, contact.organization_id, contact.name, contact.phone, contact.email, contact.tags,
          contact.version, contact.create_time, contact.update_time
        from unnest(%(organizations)b::uuid[], %(contacts)b::uuid[]) as wanted (organization_id, contact_id)
        join identity.contacts contact using (organization_id, contact_id)
        order by contact.organization_id, contact.contact_id
        for no key update of contact
        """,
        {
            "organizations": [contact.organization_id for contact in directory.contacts.values()],
            "contacts": list(directory.contacts),
        },
    )
    for row in rows.all():
        directory.contacts[row.contact_id] = Contact(*tuple(row))


async def write(tx: Tx, changes: Changes, now: datetime) -> None:
    """Writes what a batch changes, set by set. Raises Aborted where somebody wrote a key that was not locked."""
    await insert_contacts(tx, list(changes.new_contacts.values()))
    await _update_contacts(tx, list(changes.learnt_contacts.values()))
    await _promote(tx, changes, now)
    await insert_identities(tx, changes.new_identities, now)
    await _write_aliases(tx, changes, now)
    await _write_conflicts(tx, list(changes.conflicts.values()), now)


async def insert_contacts(tx: Tx, contacts: Sequence[Contact]) -> None:
    """Inserts contacts without tags."""
    if contacts:
        await tx.exec_driver_sql(
            """
            insert into identity.contacts
              (organization_id, contact_id, name, phone, email, tags, version, create_time, update_time)
            select organization_id, contact_id, name, phone, email, '{}', version, create_time, create_time
            from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(names)s::text[], %(phones)s::text[],
              %(emails)s::text[], %(versions)s::bigint[], %(times)s::timestamptz[])
              as new (organization_id, contact_id, name, phone, email, version, create_time)
            """,
            _contact_columns(contacts) | {"times": [contact.create_time for contact in contacts]},
        )


async def _update_contacts(tx: Tx, contacts: Sequence[Contact]) -> None:
    if contacts:
        await tx.exec_driver_sql(
            """
            update identity.contacts contact
            set name = learnt.name, phone = learnt.phone, email = learnt.email, version = learnt.version,
              update_time = learnt.update_time
            from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(names)s::text[], %(phones)s::text[],
              %(emails)s::text[], %(versions)s::bigint[], %(times)s::timestamptz[])
              as learnt (organization_id, contact_id, name, phone, email, version, update_time)
            where contact.organization_id = learnt.organization_id and contact.contact_id = learnt.contact_id
            """,
            _contact_columns(contacts) | {"times": [contact.update_time for contact in contacts]},
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
    inserted = await tx.exec_driver_sql(
        """
        insert into identity.contact_identities
          (organization_id, contact_identity_id, contact_id, source, external_id, address, create_time, update_time)
        select organization_id, contact_identity_id, contact_id, source, external_id, address, %(now)s, %(now)s
        from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(contacts)b::uuid[], %(sources)s::text[],
          %(external_ids)s::text[], %(addresses)s::text[])
          as new (organization_id, contact_identity_id, contact_id, source, external_id, address)
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
    }


async def _promote(tx: Tx, changes: Changes, now: datetime) -> None:
    """Gives stand-ins their new key, and gives up those for which there is an heir."""
    retired = [promotion for promotion in changes.promotions if promotion.retired_id is not None]
    if retired:
        params = {
            "organizations": [promotion.organization_id for promotion in retired],
            "ids": [promotion.retired_id for promotion in retired],
            "heirs": [promotion.identity.id for promotion in retired],
            "contacts": [promotion.identity.contact_id for promotion in retired],
        }
        await tx.exec_driver_sql(
            """
            update identity.contact_aliases alias set contact_identity_id = given_up.heir_id
            from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(heirs)b::uuid[], %(contacts)b::uuid[])
              as given_up (organization_id, contact_identity_id, heir_id, contact_id)
            where alias.organization_id = given_up.organization_id and alias.contact_id = given_up.contact_id
              and alias.contact_identity_id = given_up.contact_identity_id
            """,
            params,
        )
        await tx.exec_driver_sql(
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
        await tx.exec_driver_sql(
            """
            update identity.contact_identities identity
            set external_id = changed.external_id, address = changed.address, update_time = %(now)s
            from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(external_ids)s::text[], %(addresses)s::text[])
              as changed (organization_id, contact_identity_id, external_id, address)
            where identity.organization_id = changed.organization_id
              and identity.contact_identity_id = changed.contact_identity_id
            """,
            _identity_columns(list(changed.values())) | {"now": now},
        )


async def _write_aliases(tx: Tx, changes: Changes, now: datetime) -> None:
    if not changes.aliases:
        return
    links = sorted(changes.aliases.items(), key=lambda entry: entry[0])
    await tx.exec_driver_sql(
        """
        insert into identity.contact_aliases as alias
          (organization_id, kind, value, contact_id, contact_identity_id, create_time)
        select organization_id, kind, value, contact_id, contact_identity_id, %(now)s
        from unnest(%(organizations)b::uuid[], %(kinds)s::text[], %(values)s::text[], %(contacts)b::uuid[],
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
    """Opens conflicts, or adds candidates to those that are open: one row per statement, as conflicts are rare."""
    for conflict in conflicts:
        await tx.exec_driver_sql(
            """
            insert into identity.identity_conflicts as open
              (organization_id, identity_conflict_id, source, external_id, contact_id, candidate_contact_ids, state,
               create_time)
            values (%(organization_id)s, %(id)s, %(source)s, %(external_id)s, %(contact_id)s, %(candidates)s, 'OPEN',
              %(now)s)
            on conflict (organization_id, source, external_id) where state = 'OPEN' do update
            set candidate_contact_ids = array(
              select distinct candidate from unnest(open.candidate_contact_ids || excluded.candidate_contact_ids)
                as every (candidate) order by candidate)
            """,
            {
                "organization_id": conflict.organization_id,
                "id": conflict.id,
                "source": conflict.source,
                "external_id": conflict.external_id,
                "contact_id": conflict.contact_id,
                "candidates": list(conflict.candidates),
                "now": now,
            },
        )


async def log(tx: Tx, resolutions: Sequence[tuple[Resolution, str]], new_id: Callable[[], UUID], now: datetime) -> None:
    """Adds one row per resolution to the log, each with its error message, empty where there was no error."""
    for table, wanted in (("identity_resolutions", False), ("identity_resolution_problems", True)):
        entries = [entry for entry in resolutions if (entry[0].outcome in _PROBLEMS) is wanted]
        if not entries:
            continue
        await tx.exec_driver_sql(
            f"""
            insert into identity.{table}
              (organization_id, identity_resolution_id, source, external_id, outcome, contact_id, contact_identity_id,
               candidate_contact_ids, error_message, cause_id, create_time)
            select organization_id, id, source, external_id, outcome, contact_id, contact_identity_id,
              string_to_array(candidates, ',')::uuid[], error_message, cause_id, %(now)s
            from unnest(%(organizations)b::uuid[], %(ids)b::uuid[], %(sources)s::text[], %(external_ids)s::text[],
              %(outcomes)s::text[], %(contacts)b::uuid[], %(identities)b::uuid[], %(candidates)s::text[],
              %(messages)s::text[], %(causes)s::text[])
              as entry (organization_id, id, source, external_id, outcome, contact_id, contact_identity_id, candidates,
                error_message, cause_id)
            """,
            {
                "organizations": [entry.person.organization_id for entry, _ in entries],
                "ids": [new_id() for _ in entries],
                "sources": [entry.person.source for entry, _ in entries],
                "external_ids": [entry.person.external_id for entry, _ in entries],
                "outcomes": [entry.outcome.value for entry, _ in entries],
                "contacts": [entry.contact.id if entry.contact is not None else None for entry, _ in entries],
                "identities": [entry.identity.id if entry.identity is not None else None for entry, _ in entries],
                "candidates": [",".join(map(str, entry.candidates)) for entry, _ in entries],
                "messages": [message[:ERROR_MESSAGE_LENGTH_MAX] for _, message in entries],
                "causes": [entry.person.cause_id for entry, _ in entries],
                "now": now,
            },
        )
