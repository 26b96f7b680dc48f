"""Merges contacts and takes merges back: everything about both is held, then their rows move.

Whoever resolves a message holds what it may be found by before it looks, so no message is half with one contact and
half with the other, whichever of the two comes first.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from chassis.db import Tx
from chassis.errors import Aborted, FailedPrecondition, NotFound
from chassis.ids import Ids
from chassis.outbox import Fact, Outbox
from services.identity.contacts import facts, merge_domain, merge_messages, merge_store, resolution_store
from services.identity.contacts.domain import PROVISIONAL_KINDS, WHATSAPP, AliasKind, Contact, Identity
from services.identity.contacts.merge_domain import Actor, Merge
from services.identity.contacts.resolution_batch import PROVISIONAL_PREFIXES, Person
from services.identity.contacts.store import no_contact


class Pair(NamedTuple):
    """Two contacts that are to become one, and what the second brings along."""

    survivor: Contact
    loser: Contact
    identities: list[Identity]
    alias_keys: list[str]


class Merging:
    """The rules of merging, on rows."""

    def __init__(self, outbox: Outbox, ids: Ids) -> None:
        self._outbox, self._ids = outbox, ids

    async def look(self, tx: Tx, organization_id: UUID, surviving: UUID, losing: UUID) -> Pair:
        """Who would become one, without holding anybody. Raises as MergeContacts says."""
        survivor_id, loser_id = await self._both(tx, organization_id, surviving, losing)
        found = await merge_store.contacts_by_id(tx, organization_id, [survivor_id, loser_id])
        return await self._pair(tx, organization_id, found[survivor_id], found[loser_id])

    async def merge(
        self,
        tx: Tx,
        organization_id: UUID,
        surviving: UUID,
        losing: UUID,
        merger: Actor,
        now: datetime,
        *,
        reason: str = "",
        conflict_id: UUID | None = None,
        etag: str = "",
    ) -> Merge:
        """Makes one of two. Raises as MergeContacts says, and Aborted where somebody wrote either meanwhile."""
        survivor_id, loser_id = await self._both(tx, organization_id, surviving, losing)
        held = await self.hold(tx, organization_id, [survivor_id, loser_id])
        if (await self._both(tx, organization_id, surviving, losing)) != (survivor_id, loser_id):
            raise _met()
        pair = await self._pair(tx, organization_id, held[survivor_id], held[loser_id])
        if etag and etag != str(pair.survivor.version):
            raise Aborted("ETAG_STALE", "The contact was changed since it was looked at. Look again.")
        taken = merge_domain.taken_over(pair.survivor, pair.loser)
        merge = Merge(
            organization_id=organization_id,
            id=self._ids.new(),
            surviving_contact_id=survivor_id,
            losing_contact_id=loser_id,
            moved_identity_ids=tuple(identity.id for identity in pair.identities),
            moved_alias_keys=tuple(pair.alias_keys),
            taken=taken,
            conflict_id=conflict_id,
            merger=merger,
            reason=reason,
            create_time=now,
        )
        await merge_store.insert_merge(tx, merge)
        await self._move(tx, merge, merge.moved_identity_ids, giver=loser_id, taker=survivor_id)
        redirects = await merge_store.lead_on(tx, organization_id, loser_id, survivor_id)
        changed = await self._write(tx, pair.survivor, merge_domain.with_taken(pair.survivor, taken, now))
        told = merge_messages.merged_fact(merge, pair.identities, redirects)
        await self._outbox.add(tx, [told, *changed], now)
        return merge

    async def undo(self, tx: Tx, organization_id: UUID, merge_id: UUID, undoer: Actor, now: datetime) -> Merge:
        """Makes two of one again. Raises as UndoContactMerge says, and Aborted where somebody wrote either."""
        merge = await merge_store.find_merge(tx, organization_id, merge_id)
        if merge is None:
            raise NotFound("CONTACT_MERGE_NOT_FOUND", "No such merge.")
        survivor_id, loser_id = merge.surviving_contact_id, merge.losing_contact_id
        held = await self.hold(tx, organization_id, [survivor_id, loser_id])
        merge = await merge_store.find_merge(tx, organization_id, merge_id)
        assert merge is not None, "merges are kept"
        if merge.undo_time is not None:
            raise FailedPrecondition(
                "MERGE_ALREADY_UNDONE",
                f"{merge.undoer.name or 'Somebody'} has undone this merge already.",
                undo_time=merge.undo_time.isoformat(),
            )
        topmost = (await merge_store.topmost_merges(tx, organization_id, [survivor_id]))[survivor_id]
        if topmost != merge.id:
            raise FailedPrecondition(
                "MERGE_NOT_LATEST",
                f"Another merge of this contact came later. Undo {topmost} first.",
                contact_merge_id=str(topmost),
            )
        led = merge_domain.led_back(await merge_store.holding_merges(tx, organization_id, survivor_id), loser_id)
        moved = await self._move(tx, merge, merge.moved_identity_ids, giver=survivor_id, taker=loser_id)
        redirects = await merge_store.lead_back(tx, organization_id, loser_id, led)
        survivor = held[survivor_id]
        changed = await self._write(tx, survivor, merge_domain.without_taken(survivor, merge.taken, now))
        await merge_store.mark_undone(tx, merge, undoer, now)
        undone = await merge_store.find_merge(tx, organization_id, merge_id)
        assert undone is not None, "merges are kept"
        identities = await merge_store.identities_by_id(tx, organization_id, moved)
        told = merge_messages.undone_fact(undone, list(identities.values()), redirects)
        await self._outbox.add(tx, [told, *changed], now)
        return undone

    async def hold(
        self, tx: Tx, organization_id: UUID, contact_ids: Collection[UUID], *, identities: Sequence[Person] = ()
    ) -> dict[UUID, Contact]:
        """Holds contacts, and all that they may be found by, until commit. Raises Aborted where that grew meanwhile."""
        known = await self._found_by(tx, organization_id, contact_ids)
        await resolution_store.lock_keys(tx, [*known.values(), *identities])
        held = await merge_store.hold_contacts(tx, organization_id, contact_ids)
        if (await self._found_by(tx, organization_id, contact_ids)).keys() - known.keys():
            raise _met()
        return held

    async def _found_by(
        self, tx: Tx, organization_id: UUID, contact_ids: Collection[UUID]
    ) -> dict[tuple[str, str, str, str], Person]:
        """All by which somebody may be found to be one of these contacts."""
        contacts = await merge_store.contacts_by_id(tx, organization_id, contact_ids)
        identities = await merge_store.identities_of(tx, organization_id, contact_ids)
        aliases = await merge_store.aliases_of(tx, organization_id, contact_ids)
        people = [
            *(nobody(organization_id, phone=each.phone, email=each.email) for each in contacts.values()),
            *(nobody(organization_id, source=each.source, external_id=each.external_id) for each in identities),
            *(nobody(organization_id, alias=(AliasKind(kind), value)) for _, kind, value in aliases),
        ]
        return {
            (each.source, each.external_id, f"{each.phone}/{each.email}", "/".join(map(str, each.aliases))): each
            for each in people
        }

    async def _both(self, tx: Tx, organization_id: UUID, surviving: UUID, losing: UUID) -> tuple[UUID, UUID]:
        standing = await merge_store.survivors_of(tx, organization_id, [surviving, losing])
        if surviving not in standing or losing not in standing:
            raise no_contact()
        if standing[surviving] == standing[losing]:
            raise merge_domain.merge_of_one()
        return standing[surviving], standing[losing]

    async def _pair(self, tx: Tx, organization_id: UUID, survivor: Contact, loser: Contact) -> Pair:
        identities = await merge_store.identities_of(tx, organization_id, [survivor.id, loser.id])
        losing = [identity for identity in identities if identity.contact_id == loser.id]
        merge_domain.require_places([each for each in identities if each.contact_id == survivor.id], losing)
        aliases = await merge_store.aliases_of(tx, organization_id, [loser.id])
        return Pair(survivor, loser, losing, [f"{kind}:{value}" for _, kind, value in aliases])

    async def _move(
        self, tx: Tx, merge: Merge, identity_ids: Sequence[UUID], *, giver: UUID, taker: UUID
    ) -> Sequence[UUID]:
        organization_id = merge.organization_id
        moved = await merge_store.move_identities(tx, organization_id, identity_ids, giver=giver, taker=taker)
        await merge_store.move_aliases(
            tx, organization_id, merge.moved_alias_keys, giver=giver, taker=taker, with_identities=moved
        )
        return moved

    async def _write(self, tx: Tx, before: Contact, after: Contact) -> list[Fact]:
        if after is before:
            return []
        await merge_store.update_profile(tx, after)
        return [facts.updated_fact(after)]


def nobody(
    organization_id: UUID,
    *,
    source: str = "",
    external_id: str = "",
    phone: str = "",
    email: str = "",
    alias: tuple[AliasKind, str] | None = None,
) -> Person:
    """Whoever may be found by this: for the locks alone."""
    aliases = [alias] if alias is not None else []
    if source == WHATSAPP:
        # A message that names it names it as an alias.
        aliases += [
            (kind, external_id.removeprefix(PROVISIONAL_PREFIXES[kind]))
            for kind in sorted(PROVISIONAL_KINDS)
            if external_id.startswith(PROVISIONAL_PREFIXES[kind])
        ]
    return Person(
        organization_id=organization_id,
        source=source,
        external_id=external_id,
        address="",
        name="",
        phone=phone,
        email=email,
        aliases=tuple(aliases),
        create_missing=False,
        update_profile=False,
        cause_id="",
    )


def _met() -> Aborted:
    return Aborted("WRITE_CONFLICT", "Somebody else wrote one of these contacts at the same moment. Try again.")
