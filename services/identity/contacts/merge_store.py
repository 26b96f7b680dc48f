"""SQL of merging contacts and taking merges back; every function runs in the caller's transaction."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from chassis.db import Tx
from services.identity.contacts.domain import Contact, Identity
from services.identity.contacts.merge_domain import Actor, Merge, Redirect, Taken

_CONTACT = "contact_id, organization_id, name, phone, email, tags, version, create_time, update_time"
_IDENTITY = "contact_identity_id, contact_id, source, external_id, address, create_time, username"
_MERGE = (
    "organization_id, contact_merge_id, surviving_contact_id, losing_contact_id, moved_identity_ids, moved_alias_keys,"
    " taken_name, taken_phone, taken_email, taken_tags, identity_conflict_id, principal, principal_name, reason,"
    " create_time, undo_time, undo_principal, undo_principal_name"
)


async def survivors_of(tx: Tx, organization_id: UUID, contact_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """Who stands for each of these contacts, itself where nobody else does; those that do not exist are left out."""
    found = await tx.execute(
        "select contact_id, coalesce(merged_into, contact_id) as survivor from identity.contacts"
        " where organization_id = %(organization_id)s and contact_id = any (%(ids)b::uuid[])",
        {"organization_id": organization_id, "ids": sorted(set(contact_ids))},
    )
    return {row.contact_id: row.survivor for row in found}


async def hold_contacts(tx: Tx, organization_id: UUID, contact_ids: Collection[UUID]) -> dict[UUID, Contact]:
    """Holds contacts until commit, in the order in which everybody holds them; answers them as they are now."""
    found = await tx.execute(
        f"select {_CONTACT} from identity.contacts where organization_id = %(organization_id)s"
        " and contact_id = any (%(ids)b::uuid[]) order by contact_id for no key update",
        {"organization_id": organization_id, "ids": sorted(set(contact_ids))},
    )
    return {row[0]: Contact(*tuple(row)) for row in found}


async def identities_of(tx: Tx, organization_id: UUID, contact_ids: Collection[UUID]) -> list[Identity]:
    """All identities of some contacts, oldest first: each contact has few of them."""
    found = await tx.execute(
        f"select {_IDENTITY} from identity.contact_identities where organization_id = %(organization_id)s"
        " and contact_id = any (%(ids)b::uuid[]) order by contact_identity_id",
        {"organization_id": organization_id, "ids": sorted(set(contact_ids))},
    )
    return [Identity(*tuple(row)) for row in found]


async def identities_by_id(tx: Tx, organization_id: UUID, identity_ids: Collection[UUID]) -> dict[UUID, Identity]:
    """Of these identities those that exist."""
    found = await tx.execute(
        f"select {_IDENTITY} from identity.contact_identities where organization_id = %(organization_id)s"
        " and contact_identity_id = any (%(ids)b::uuid[])",
        {"organization_id": organization_id, "ids": sorted(set(identity_ids))},
    )
    return {row[0]: Identity(*tuple(row)) for row in found}


async def aliases_of(tx: Tx, organization_id: UUID, contact_ids: Collection[UUID]) -> list[tuple[UUID, str, str]]:
    """The aliases of some contacts: contact, kind and value of each."""
    found = await tx.execute(
        "select contact_id, kind, value from identity.contact_aliases where organization_id = %(organization_id)s"
        " and contact_id = any (%(ids)b::uuid[]) order by kind, value",
        {"organization_id": organization_id, "ids": sorted(set(contact_ids))},
    )
    return [(row.contact_id, row.kind, row.value) for row in found]


async def move_identities(
    tx: Tx, organization_id: UUID, identity_ids: Collection[UUID], *, giver: UUID, taker: UUID
) -> list[UUID]:
    """Gives one contact's identities to another; answers those that did lie with the first."""
    moved = await tx.execute(
        "update identity.contact_identities set contact_id = %(taker)s where organization_id = %(organization_id)s"
        " and contact_identity_id = any (%(ids)b::uuid[]) and contact_id = %(giver)s returning contact_identity_id",
        {"organization_id": organization_id, "ids": sorted(identity_ids), "giver": giver, "taker": taker},
    )
    return sorted(row.contact_identity_id for row in moved)


async def move_aliases(
    tx: Tx, organization_id: UUID, keys: Sequence[str], *, giver: UUID, taker: UUID, with_identities: Collection[UUID]
) -> None:
    """Gives one contact's aliases to another: those of these identities, which have moved already, and those named.

    An alias stays with the identity that it was learnt with, or two contacts would be meant by one message.
    """
    await tx.execute(
        """
        update identity.contact_aliases alias set contact_id = %(taker)s
        where alias.organization_id = %(organization_id)s and alias.contact_id = %(giver)s and (
          alias.contact_identity_id = any (%(identities)b::uuid[])
          or (alias.kind || ':' || alias.value = any (%(keys)b::text[]) and not exists (
            select 1 from identity.contact_identities kept where kept.organization_id = alias.organization_id
            and kept.contact_identity_id = alias.contact_identity_id and kept.contact_id = %(giver)s)))
        """,
        {
            "organization_id": organization_id,
            "giver": giver,
            "taker": taker,
            "identities": sorted(with_identities),
            "keys": list(keys),
        },
    )


async def update_profile(tx: Tx, contact: Contact) -> None:
    """Writes what a merge or its undoing changes of a survivor's profile."""
    await tx.execute(
        "update identity.contacts set name = %(name)s, phone = %(phone)s, email = %(email)s, tags = %(tags)s,"
        " version = %(version)s, update_time = %(update_time)s"
        " where organization_id = %(organization_id)s and contact_id = %(id)s",
        {
            "organization_id": contact.organization_id,
            "id": contact.id,
            "name": contact.name,
            "phone": contact.phone,
            "email": contact.email,
            "tags": contact.tags,
            "version": contact.version,
            "update_time": contact.update_time,
        },
    )


async def lead_on(tx: Tx, organization_id: UUID, losing: UUID, survivor: UUID) -> list[Redirect]:
    """The loser, and all that led to it, lead to the survivor from now on."""
    return await _redirect(
        tx,
        "set merged_into = %(survivor)s where organization_id = %(organization_id)s"
        " and (contact_id = %(losing)s or merged_into = %(losing)s)",
        {"organization_id": organization_id, "losing": losing, "survivor": survivor},
    )


async def lead_back(tx: Tx, organization_id: UUID, losing: UUID, led: Collection[UUID]) -> list[Redirect]:
    """A contact stands for itself again, and ``led`` lead to it."""
    return await _redirect(
        tx,
        "set merged_into = case when contact_id = %(losing)s then null else %(losing)s end"
        " where organization_id = %(organization_id)s and contact_id = any (%(ids)b::uuid[])",
        {"organization_id": organization_id, "losing": losing, "ids": sorted({losing, *led})},
    )


async def _redirect(tx: Tx, change: str, values: dict[str, Any]) -> list[Redirect]:
    set_clause, _, condition = change.partition(" where ")
    changed = await tx.execute(
        f"update identity.contacts {set_clause}, redirect_version = redirect_version + 1 where {condition}"
        " returning contact_id, merged_into, redirect_version",
        values,
    )
    redirects = [Redirect(row.contact_id, row.merged_into, row.redirect_version) for row in changed]
    return sorted(redirects, key=lambda redirect: redirect.contact_id)


async def insert_merge(tx: Tx, merge: Merge) -> None:
    """Keeps what became one, and what moved."""
    await tx.execute(
        f"insert into identity.contact_merges ({_MERGE}) values (%(organization_id)s, %(id)s, %(surviving)s,"
        " %(losing)s, %(identities)b::uuid[], %(aliases)b::text[], %(name)s, %(phone)s, %(email)s, %(tags)b::text[],"
        " %(conflict)s, %(principal)s, %(principal_name)s, %(reason)s, %(create_time)s, null, '', '')",
        {
            "organization_id": merge.organization_id,
            "id": merge.id,
            "surviving": merge.surviving_contact_id,
            "losing": merge.losing_contact_id,
            "identities": list(merge.moved_identity_ids),
            "aliases": list(merge.moved_alias_keys),
            "name": merge.taken.name,
            "phone": merge.taken.phone,
            "email": merge.taken.email,
            "tags": list(merge.taken.tags),
            "conflict": merge.conflict_id,
            "principal": merge.merger.principal,
            "principal_name": merge.merger.name,
            "reason": merge.reason,
            "create_time": merge.create_time,
        },
    )


async def find_merge(tx: Tx, organization_id: UUID, merge_id: UUID) -> Merge | None:
    """One merge."""
    found = await tx.execute(
        f"select {_MERGE} from identity.contact_merges"
        " where organization_id = %(organization_id)s and contact_merge_id = %(id)s",
        {"organization_id": organization_id, "id": merge_id},
    )
    row = found.one_or_none()
    return None if row is None else _merge(row)


async def topmost_merges(tx: Tx, organization_id: UUID, contact_ids: Collection[UUID]) -> dict[UUID, UUID]:
    """The latest merge that holds of whoever stands for each contact: the one to be taken back first."""
    found = await tx.execute(
        """
        select contact.contact_id, (
          select merge.contact_merge_id from identity.contact_merges merge
          where merge.organization_id = contact.organization_id and merge.undo_time is null
            and merge.surviving_contact_id = coalesce(contact.merged_into, contact.contact_id)
          order by merge.contact_merge_id desc limit 1) as topmost
        from identity.contacts contact
        where contact.organization_id = %(organization_id)s and contact.contact_id = any (%(ids)b::uuid[])
        """,
        {"organization_id": organization_id, "ids": sorted(set(contact_ids))},
    )
    return {row.contact_id: row.topmost for row in found if row.topmost is not None}


async def holding_merges(tx: Tx, organization_id: UUID, survivor: UUID) -> list[Merge]:
    """All merges that hold among those who lead to a survivor, itself among them."""
    found = await tx.execute(
        f"""
        select {_MERGE} from identity.contact_merges
        where organization_id = %(organization_id)s and undo_time is null and losing_contact_id in (
          select contact_id from identity.contacts
          where organization_id = %(organization_id)s and merged_into = %(survivor)s)
        """,
        {"organization_id": organization_id, "survivor": survivor},
    )
    return [_merge(row) for row in found]


async def mark_undone(tx: Tx, merge: Merge, undoer: Actor, now: datetime) -> None:
    """Keeps that a merge holds no longer."""
    await tx.execute(
        "update identity.contact_merges set undo_time = %(now)s, undo_principal = %(principal)s,"
        " undo_principal_name = %(name)s where organization_id = %(organization_id)s and contact_merge_id = %(id)s",
        {
            "organization_id": merge.organization_id,
            "id": merge.id,
            "now": now,
            "principal": undoer.principal,
            "name": undoer.name,
        },
    )


async def list_merges(
    tx: Tx, organization_id: UUID, *, before: UUID | None, limit: int, contact_id: UUID | None = None
) -> list[Merge]:
    """Merges, newest first: all, or those in which a contact, or one that it stands for, was on either side."""
    conditions = ["organization_id = %(organization_id)s"]
    values: dict[str, Any] = {"organization_id": organization_id, "limit": limit}
    if before is not None:
        conditions.append("contact_merge_id < %(before)s")
        values["before"] = before
    if contact_id is not None:
        conditions.append(
            "contact_merge_id in (select touching.contact_merge_id from one join identity.contact_merges touching"
            " on touching.organization_id = %(organization_id)s and (touching.surviving_contact_id = one.contact_id"
            " or touching.losing_contact_id = one.contact_id))"
        )
        values["contact_id"] = contact_id
    one = (
        "with one as (select contact_id from identity.contacts where organization_id = %(organization_id)s"
        " and (contact_id = %(contact_id)s or merged_into = %(contact_id)s)) "
        if contact_id is not None
        else ""
    )
    found = await tx.execute(
        f"{one}select {_MERGE} from identity.contact_merges where {' and '.join(conditions)}"
        " order by contact_merge_id desc limit %(limit)s",
        values,
    )
    return [_merge(row) for row in found]


async def merged_into(tx: Tx, organization_id: UUID, contact_id: UUID, limit: int) -> list[UUID]:
    """The contacts that lead to one, the oldest first."""
    found = await tx.execute(
        "select contact_id from identity.contacts where organization_id = %(organization_id)s"
        " and merged_into = %(contact_id)s order by contact_id limit %(limit)s",
        {"organization_id": organization_id, "contact_id": contact_id, "limit": limit},
    )
    return [row.contact_id for row in found]


async def contacts_by_id(tx: Tx, organization_id: UUID, contact_ids: Collection[UUID]) -> dict[UUID, Contact]:
    """Contacts as they are."""
    found = await tx.execute(
        f"select {_CONTACT} from identity.contacts where organization_id = %(organization_id)s"
        " and contact_id = any (%(ids)b::uuid[])",
        {"organization_id": organization_id, "ids": sorted(set(contact_ids))},
    )
    return {row[0]: Contact(*tuple(row)) for row in found}


def _merge(row: Any) -> Merge:
    return Merge(
        organization_id=row.organization_id,
        id=row.contact_merge_id,
        surviving_contact_id=row.surviving_contact_id,
        losing_contact_id=row.losing_contact_id,
        moved_identity_ids=tuple(row.moved_identity_ids),
        moved_alias_keys=tuple(row.moved_alias_keys),
        taken=Taken(row.taken_name, row.taken_phone, row.taken_email, tuple(row.taken_tags)),
        conflict_id=row.identity_conflict_id,
        merger=Actor(row.principal, row.principal_name),
        reason=row.reason,
        create_time=row.create_time,
        undo_time=row.undo_time,
        undoer=Actor(row.undo_principal, row.undo_principal_name),
    )
