"""SQL of contacts, their identities and the resolution log, as people and programs read and write them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from chassis.errors import Aborted, NotFound
from services.identity.contacts.domain import Contact, Identity

IDENTITIES_PER_CONTACT_MAX = 100
"""How many of a contact's identities are shown with it; the list of identities pages through all."""

_CONTACT = "contact_id, organization_id, name, phone, email, tags, version, create_time, update_time"
_IDENTITY = "contact_identity_id, contact_id, source, external_id, address, create_time, username"


_SURVIVOR = (
    "(select coalesce(asked.merged_into, asked.contact_id) from identity.contacts asked"
    " where asked.organization_id = %(organization_id)s and asked.contact_id = %(contact_id)s)"
)
"""Who stands for a contact that is asked for; itself where it was not merged."""

_LEADING = (
    f"select {_SURVIVOR} union all select led.contact_id from identity.contacts led"
    f" where led.organization_id = %(organization_id)s and led.merged_into = {_SURVIVOR}"
)
"""Under which ids the log may know a contact that is asked for."""

_SHOWN = (
    "coalesce((select known.merged_into from identity.contacts known where known.organization_id = %(organization_id)s"
    " and known.contact_id = entry.contact_id), entry.contact_id) as contact_id"
)

_NAMED = """(name ilike %(name)s or contact_id in (
  select merged_into from identity.contacts
  where organization_id = %(organization_id)s and merged_into is not null and name ilike %(name)s
  union all
  select contact_id from identity.contact_identities
  where organization_id = %(organization_id)s and username <> '' and username ilike %(username)s
  union all
  select identity.contact_id from identity.former_usernames former
  join identity.contact_identities identity using (organization_id, contact_identity_id)
  where former.organization_id = %(organization_id)s and former.end_time > %(former_since)s
    and former.username ilike %(username)s))"""
"""A username that was given up is kept by a trigger, until upkeep takes it away."""

_HAS = """contact_id in (
  select coalesce(holder.merged_into, holder.contact_id) from identity.contacts holder
  where holder.organization_id = %(organization_id)s and holder.{column} = %({column})s and holder.{column} <> '')"""
"""What a contact had that was merged since lies with its own row, and leads to the survivor."""


@dataclass(frozen=True, slots=True)
class LoggedResolution:
    """One row of the resolution log."""

    id: UUID
    source: str
    external_id: str
    outcome: str
    contact_id: UUID | None
    contact_identity_id: UUID | None
    candidates: list[UUID]
    error_message: str
    cause_id: str
    create_time: datetime


async def region_of(tx: Tx, organization_id: UUID) -> str:
    """The organization's region. Raises NotFound ORGANIZATION_NOT_FOUND."""
    found = await tx.execute(
        "select region from identity.organizations where organization_id = %(organization_id)s",
        {"organization_id": organization_id},
    )
    region: str | None = found.scalar()
    if region is None:
        raise NotFound("ORGANIZATION_NOT_FOUND", "No such organization.")
    return region


async def find_contact(tx: Tx, organization_id: UUID, contact_id: UUID) -> Contact:
    """One contact, or who stands for it. Raises NotFound CONTACT_NOT_FOUND."""
    found = await tx.execute(
        f"select {_CONTACT} from identity.contacts"
        f" where organization_id = %(organization_id)s and contact_id = {_SURVIVOR}",
        {"organization_id": organization_id, "contact_id": contact_id},
    )
    row = found.first()
    if row is None:
        raise no_contact()
    return Contact(*tuple(row))


def no_contact() -> NotFound:
    """The organization has no such contact."""
    return NotFound("CONTACT_NOT_FOUND", "No such contact.")


async def insert_contact(tx: Tx, contact: Contact) -> None:
    """Inserts a contact made by hand."""
    await tx.execute(
        f"insert into identity.contacts ({_CONTACT}) values (%(id)s, %(organization_id)s, %(name)s, %(phone)s,"
        " %(email)s, %(tags)s, %(version)s, %(create_time)s, %(update_time)s)",
        {
            "id": contact.id,
            "organization_id": contact.organization_id,
            "name": contact.name,
            "phone": contact.phone,
            "email": contact.email,
            "tags": contact.tags,
            "version": contact.version,
            "create_time": contact.create_time,
            "update_time": contact.update_time,
        },
    )


async def hold_contact(tx: Tx, organization_id: UUID, contact_id: UUID) -> UUID:
    """Holds a contact, or who stands for it, until commit, and answers which.

    Raises NotFound CONTACT_NOT_FOUND, and Aborted where it is merged at this moment.
    """
    held = await tx.execute(
        "select contact_id, merged_into from identity.contacts"
        f" where organization_id = %(organization_id)s and contact_id = {_SURVIVOR} for no key update",
        {"organization_id": organization_id, "contact_id": contact_id},
    )
    row = held.first()
    if row is None:
        raise no_contact()
    if row.merged_into is not None:
        raise Aborted("WRITE_CONFLICT", "Somebody merged this contact at the same moment. Try again.")
    survivor: UUID = row.contact_id
    return survivor


async def find_identity(
    tx: Tx, organization_id: UUID, source: str, external_id: str, aliases: Sequence[tuple[str, str]] = ()
) -> Identity | None:
    """The identity with a key, or the one that its aliases have become."""
    found = await tx.execute(
        f"select {_IDENTITY} from identity.contact_identities"
        " where organization_id = %(organization_id)s and source = %(source)s and external_id = %(external_id)s"
        " union all "
        f"select {', '.join(f'learnt.{column}' for column in _IDENTITY.split(', '))}"
        " from unnest(%(kinds)b::text[], %(values)b::text[]) as wanted (kind, value)"
        " join identity.contact_aliases alias using (kind, value)"
        " join identity.contact_identities learnt on learnt.organization_id = alias.organization_id"
        "   and learnt.contact_identity_id = alias.contact_identity_id"
        " where alias.organization_id = %(organization_id)s and learnt.source = %(source)s limit 1",
        {
            "organization_id": organization_id,
            "source": source,
            "external_id": external_id,
            "kinds": [kind for kind, _ in aliases],
            "values": [value for _, value in aliases],
        },
    )
    row = found.first()
    return None if row is None else Identity(*tuple(row))


async def ids_of_kind(tx: Tx, organization_id: UUID, contact_id: UUID, source: str, external_id: str) -> int:
    """How many ids a contact has of the kind of this one: numbers of WhatsApp count apart from its other ids."""
    found = await tx.execute(
        "select count(*) from identity.contact_identities where organization_id = %(organization_id)s"
        " and contact_id = %(contact_id)s and source = %(source)s"
        " and starts_with(external_id, '+') = starts_with(%(external_id)s, '+')",
        {
            "organization_id": organization_id,
            "contact_id": contact_id,
            "source": source,
            "external_id": external_id,
        },
    )
    return int(found.scalar_one())


async def insert_alias(tx: Tx, organization_id: UUID, kind: str, value: str, identity: Identity, now: datetime) -> None:
    """Keeps an alias of an identity; one that is there already stays as it is."""
    await tx.execute(
        "insert into identity.contact_aliases"
        " (organization_id, kind, value, contact_id, contact_identity_id, create_time)"
        " values (%(organization_id)s, %(kind)s, %(value)s, %(contact_id)s, %(identity_id)s, %(now)s)"
        " on conflict do nothing",
        {
            "organization_id": organization_id,
            "kind": kind,
            "value": value,
            "contact_id": identity.contact_id,
            "identity_id": identity.id,
            "now": now,
        },
    )


async def identities_of(tx: Tx, organization_id: UUID, contact_id: UUID) -> list[Identity]:
    """A contact's identities, oldest first."""
    found = await tx.execute(
        f"select {_IDENTITY} from identity.contact_identities"
        " where organization_id = %(organization_id)s and contact_id = %(contact_id)s"
        " order by contact_identity_id limit %(limit)s",
        {"organization_id": organization_id, "contact_id": contact_id, "limit": IDENTITIES_PER_CONTACT_MAX},
    )
    return [Identity(*tuple(row)) for row in found]


async def list_contacts(
    tx: Tx,
    organization_id: UUID,
    *,
    after: UUID | None,
    limit: int,
    phone: str = "",
    email: str = "",
    tag: str = "",
    name: str = "",
    former_since: datetime | None = None,
) -> list[Contact]:
    """Contacts, newest first, that meet every filter given; those that were merged are shown as who stands for them.

    ``name`` is a part, in any case, of the name or of a username: one of now, or one given up after ``former_since``.
    """
    conditions = ["organization_id = %(organization_id)s", "merged_into is null"]
    parameters: dict[str, Any] = {"organization_id": organization_id, "limit": limit}
    if name:
        parameters |= {"username": f"%{_escaped(name.removeprefix('@'))}%", "former_since": former_since}
    filters = (
        ("contact_id < %(after)s", "after", after),
        (_HAS.format(column="phone"), "phone", phone),
        (_HAS.format(column="email"), "email", email),
        ("tags @> %(tag)b::text[]", "tag", [tag] if tag else None),
        (_NAMED, "name", f"%{_escaped(name)}%" if name else None),
    )
    for condition, key, value in filters:
        if value:
            conditions.append(condition)
            parameters[key] = value
    found = await tx.execute(
        f"select {_CONTACT} from identity.contacts where {' and '.join(conditions)}"
        " order by contact_id desc limit %(limit)s",
        parameters,
    )
    return [Contact(*tuple(row)) for row in found]


def _escaped(text: str) -> str:
    """Text in which LIKE finds no wildcards."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


async def list_identities(
    tx: Tx,
    organization_id: UUID,
    *,
    after: UUID | None,
    limit: int,
    contact_id: UUID | None = None,
    source: str = "",
    external_ids: Sequence[str] | None = None,
) -> list[Identity]:
    """Identities, newest first, that meet every filter given."""
    conditions = ["organization_id = %(organization_id)s"]
    parameters: dict[str, Any] = {"organization_id": organization_id, "limit": limit}
    filters = (
        ("contact_identity_id < %(after)s", "after", after),
        (f"contact_id = {_SURVIVOR}", "contact_id", contact_id),
        ("source = %(source)s", "source", source or None),
        ("external_id = any (%(external_ids)b)", "external_ids", None if external_ids is None else list(external_ids)),
    )
    for condition, key, value in filters:
        if value is not None:
            conditions.append(condition)
            parameters[key] = value
    found = await tx.execute(
        f"select {_IDENTITY} from identity.contact_identities where {' and '.join(conditions)}"
        " order by contact_identity_id desc limit %(limit)s",
        parameters,
    )
    return [Identity(*tuple(row)) for row in found]


async def list_resolutions(
    tx: Tx,
    organization_id: UUID,
    *,
    after: UUID | None,
    limit: int,
    contact_id: UUID | None = None,
    outcome: str = "",
) -> list[LoggedResolution]:
    """The resolution log, newest first, of all contacts or of one."""
    conditions = ["organization_id = %(organization_id)s"]
    parameters: dict[str, Any] = {"organization_id": organization_id, "limit": limit}
    if after is not None:
        conditions.append("identity_resolution_id < %(after)s")
        parameters["after"] = after
    if outcome:
        conditions.append("outcome = %(outcome)s")
        parameters["outcome"] = outcome
    if contact_id is not None:
        conditions.append(f"contact_id in ({_LEADING})")
        parameters["contact_id"] = contact_id
    rows = " union all ".join(
        f"(select identity_resolution_id, source, external_id, outcome, {_SHOWN}, contact_identity_id,"
        f" candidate_contact_ids, error_message, cause_id, create_time from identity.{table} entry"
        f" where {' and '.join(conditions)} order by identity_resolution_id desc limit %(limit)s)"
        for table in ("identity_resolutions", "identity_resolution_problems")
    )
    found = await tx.execute(
        f"select * from ({rows}) as entry order by identity_resolution_id desc limit %(limit)s", parameters
    )
    return [LoggedResolution(*tuple(row)) for row in found]
