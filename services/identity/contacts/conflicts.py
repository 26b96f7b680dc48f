"""Conflicts as people read and decide them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from uuid import UUID

from chassis.db import Tx
from chassis.errors import Aborted, AlreadyExists, FailedPrecondition, NotFound
from chassis.ids import Ids
from chassis.outbox import Outbox
from prosa.identity.v1 import contact_service_pb2 as pb
from services.identity.contacts import (
    conflict_store,
    facts,
    merge_domain,
    merge_messages,
    merge_store,
    resolution_store,
)
from services.identity.contacts import store as contact_store
from services.identity.contacts.conflict_store import Conflict, Decided
from services.identity.contacts.domain import Contact, Identity, require_space
from services.identity.contacts.merge_domain import Actor
from services.identity.contacts.merging import Merging, nobody


class Conflicts:
    """Answers conflicts, and does what people decide."""

    def __init__(self, outbox: Outbox, ids: Ids, merging: Merging) -> None:
        self._outbox, self._ids, self._merging = outbox, ids, merging

    async def get(self, tx: Tx, organization_id: UUID, conflict_id: UUID) -> pb.IdentityConflict:
        """One conflict. Raises NotFound IDENTITY_CONFLICT_NOT_FOUND."""
        conflict = await self._find(tx, organization_id, conflict_id)
        standing = await merge_store.survivors_of(tx, organization_id, conflict.parties())
        order = list(dict.fromkeys(standing[party] for party in conflict.parties() if party in standing))
        contacts = await merge_store.contacts_by_id(tx, organization_id, order)
        identities = await merge_store.identities_of(tx, organization_id, order)
        merge_ids = await conflict_store.merges_of(tx, organization_id, conflict_id)
        shown = [contacts[contact_id] for contact_id in order if contact_id in contacts]
        owner = standing.get(conflict.contact_id, conflict.contact_id)
        return merge_messages.conflict_message(
            replace(conflict, contact_id=owner), shown, evidence_of(conflict, contacts, identities), merge_ids
        )

    async def decide(
        self,
        tx: Tx,
        organization_id: UUID,
        conflict_id: UUID,
        decision: Decided,
        surviving: UUID | None,
        decider: Actor,
        now: datetime,
    ) -> pb.IdentityConflict:
        """Does what people decided, once. Raises as DecideIdentityConflict says, and Aborted where others wrote."""
        conflict = await self._find(tx, organization_id, conflict_id)
        if decision is Decided.REJECT:
            surviving = None
        elif conflict.decision is None:
            surviving = await self._hold(tx, conflict, surviving)
        # Only now: whoever resolves people holds them before their conflicts.
        conflict = await self._find(tx, organization_id, conflict_id, lock=True)
        if conflict.decision is not None:
            self._same(conflict, decision, surviving)
            return await self.get(tx, organization_id, conflict_id)
        if surviving is not None:
            if decision is Decided.MERGE:
                await self._merge(tx, conflict, surviving, decider, now)
            await self._link(tx, conflict, surviving, now)
        decided = replace(conflict, decide_time=now, decision=decision, surviving_contact_id=surviving, decider=decider)
        await conflict_store.decide(tx, decided)
        merge_ids = await conflict_store.merges_of(tx, organization_id, conflict_id)
        await self._outbox.add(tx, [merge_messages.decided_fact(decided, merge_ids)], now)
        return await self.get(tx, organization_id, conflict_id)

    async def _hold(self, tx: Tx, conflict: Conflict, surviving: UUID | None) -> UUID:
        """Holds all whom it is about; answers who stands for the survivor that was named."""
        organization_id = conflict.organization_id
        standing = await merge_store.survivors_of(tx, organization_id, conflict.parties())
        named = merge_domain.require_survivor(surviving, [*standing, *standing.values()])
        identity = nobody(organization_id, source=conflict.source, external_id=conflict.external_id)
        await self._merging.hold(tx, organization_id, set(standing.values()), identities=[identity])
        if await merge_store.survivors_of(tx, organization_id, conflict.parties()) != standing:
            raise Aborted("WRITE_CONFLICT", "Somebody merged one of these contacts at the same moment. Try again.")
        return standing.get(named, named)

    async def _merge(self, tx: Tx, conflict: Conflict, surviving: UUID, decider: Actor, now: datetime) -> None:
        organization_id = conflict.organization_id
        standing = await merge_store.survivors_of(tx, organization_id, conflict.parties())
        for losing in sorted(set(standing.values()) - {surviving}):
            await self._merging.merge(tx, organization_id, surviving, losing, decider, now, conflict_id=conflict.id)

    async def _link(self, tx: Tx, conflict: Conflict, surviving: UUID, now: datetime) -> None:
        """The identity is the survivor's: it moves there from another party, or is made where nobody has it."""
        organization_id = conflict.organization_id
        identity = await contact_store.find_identity(tx, organization_id, conflict.source, conflict.external_id)
        if identity is not None and identity.contact_id == surviving:
            return
        standing = await merge_store.survivors_of(tx, organization_id, conflict.parties())
        if identity is not None and identity.contact_id not in standing.values():
            raise AlreadyExists(
                "IDENTITY_TAKEN",
                f"{identity.key} belongs by now to a contact that this is not about.",
                contact_id=str(identity.contact_id),
            )
        held = await contact_store.ids_of_kind(tx, organization_id, surviving, conflict.source, conflict.external_id)
        require_space(conflict.source, conflict.external_id, held)
        if identity is None:
            identity = Identity(self._ids.new(), surviving, conflict.source, conflict.external_id, "", now)
            await resolution_store.insert_identities(tx, [(organization_id, identity)], now)
        else:
            giver, identity.contact_id = identity.contact_id, surviving
            await merge_store.move_identities(tx, organization_id, [identity.id], giver=giver, taker=surviving)
            await merge_store.move_aliases(
                tx, organization_id, [], giver=giver, taker=surviving, with_identities=[identity.id]
            )
        await self._outbox.add(tx, [facts.linked_fact(organization_id, identity)], now)

    @staticmethod
    async def _find(tx: Tx, organization_id: UUID, conflict_id: UUID, *, lock: bool = False) -> Conflict:
        conflict = await conflict_store.find_conflict(tx, organization_id, conflict_id, lock=lock)
        if conflict is None:
            raise NotFound("IDENTITY_CONFLICT_NOT_FOUND", "No such conflict.")
        return conflict

    @staticmethod
    def _same(conflict: Conflict, decision: Decided, surviving: UUID | None) -> None:
        if conflict.decision is not decision or conflict.surviving_contact_id != surviving:
            raise FailedPrecondition(
                "IDENTITY_CONFLICT_DECIDED",
                f"{conflict.decider.name or 'Somebody'} has decided this otherwise already.",
                decision=str(conflict.decision),
                decided_by=conflict.decider.name,
            )


def evidence_of(
    conflict: Conflict, contacts: Mapping[UUID, Contact], identities: Sequence[Identity]
) -> dict[UUID, list[str]]:
    """What speaks for each now: that it has the identity, or a phone or e-mail of whoever has it."""
    owners = {
        identity.contact_id
        for identity in identities
        if (identity.source, identity.external_id) == (conflict.source, conflict.external_id)
    }
    phones = {contacts[owner].phone for owner in owners if owner in contacts} | {conflict.external_id}
    emails = {contacts[owner].email for owner in owners if owner in contacts}
    found = {}
    for contact_id, contact in contacts.items():
        numbers = {contact.phone} | {each.external_id for each in identities if each.contact_id == contact_id}
        said = [
            ("identity", contact_id in owners),
            ("phone", contact_id not in owners and bool((numbers & phones) - {""})),
            ("email", contact_id not in owners and bool(contact.email) and contact.email in emails),
        ]
        found[contact_id] = [word for word, holds in said if holds]
    return found
