"""Merges and conflicts as protobuf messages, and the facts about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from chassis import wire
from chassis.outbox import Fact
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1 import events_pb2
from prosa.v1 import options_pb2
from services.identity.contacts import facts
from services.identity.contacts.conflict_store import Conflict, Decided
from services.identity.contacts.domain import Contact, Identity
from services.identity.contacts.merge_domain import Actor, Merge, Redirect, Taken, with_taken
from services.identity.contacts.people import SOURCE_NUMBERS

DECISIONS = {
    Decided.LINK: pb.CONFLICT_DECISION_LINK,
    Decided.MERGE: pb.CONFLICT_DECISION_MERGE,
    Decided.REJECT: pb.CONFLICT_DECISION_REJECT,
}
DECIDED = {number: decided for decided, number in DECISIONS.items()}


def merge_message(merge: Merge, identities: Sequence[Identity], *, undoable: bool) -> pb.ContactMerge:
    """A merge; of what moved, what is still there."""
    message = pb.ContactMerge(
        contact_merge_id=str(merge.id),
        organization_id=str(merge.organization_id),
        surviving_contact_id=str(merge.surviving_contact_id),
        losing_contact_id=str(merge.losing_contact_id),
        moved_identities=[facts.identity_message(merge.organization_id, identity) for identity in identities],
        moved_alias_count=len(merge.moved_alias_keys),
        create_time=wire.to_timestamp(merge.create_time),
        merged_by=actor_message(merge.merger),
        reason=merge.reason,
        undo_time=wire.to_timestamp(merge.undo_time),
        identity_conflict_id=wire.text(merge.conflict_id),
        undoable=undoable,
    )
    if merge.undo_time is not None:
        message.undone_by.CopyFrom(actor_message(merge.undoer))
    return message


def preview_message(
    survivor: Contact, loser: Contact, taken: Taken, identities: Sequence[Identity], alias_count: int
) -> pb.ContactMergePreview:
    """What a merge would make of two contacts."""
    merged = facts.contact_message(with_taken(survivor, taken, survivor.update_time))
    merged.etag = str(survivor.version)
    both = [(name, getattr(survivor, name), getattr(loser, name)) for name in ("name", "phone", "email")]
    return pb.ContactMergePreview(
        contact=merged,
        moved_identities=[facts.identity_message(survivor.organization_id, identity) for identity in identities],
        moved_alias_count=alias_count,
        values=[
            pb.MergedValue(field=name, surviving_value=kept, losing_value=beside)
            for name, kept, beside in both
            if kept and beside and kept != beside
        ],
    )


def conflict_message(
    conflict: Conflict, contacts: Sequence[Contact], evidence: Mapping[UUID, Sequence[str]], merge_ids: Sequence[UUID]
) -> pb.IdentityConflict:
    """A conflict, with those who could be meant as they are now."""
    message = pb.IdentityConflict(
        identity_conflict_id=str(conflict.id),
        organization_id=str(conflict.organization_id),
        source=SOURCE_NUMBERS[conflict.source],
        external_id=conflict.external_id,
        contact_id=str(conflict.contact_id),
        candidates=[
            pb.ConflictCandidate(contact=facts.contact_message(contact), evidence=evidence.get(contact.id, ()))
            for contact in contacts
        ],
        create_time=wire.to_timestamp(conflict.create_time),
        decide_time=wire.to_timestamp(conflict.decide_time),
        contact_merge_ids=[str(merge_id) for merge_id in merge_ids],
        surviving_contact_id=wire.text(conflict.surviving_contact_id),
    )
    if conflict.decision is not None:
        message.decision = DECISIONS[conflict.decision]
        message.decided_by.CopyFrom(actor_message(conflict.decider))
    return message


def merged_fact(merge: Merge, identities: Sequence[Identity], redirects: Sequence[Redirect]) -> Fact:
    """Two contacts became one."""
    message = events_pb2.ContactsMerged(
        organization_id=str(merge.organization_id),
        contact_merge=merge_message(merge, _moved(identities, merge.surviving_contact_id), undoable=True),
        redirects=[_redirect(redirect) for redirect in redirects],
    )
    return Fact(merge.organization_id, message)


def undone_fact(merge: Merge, identities: Sequence[Identity], redirects: Sequence[Redirect]) -> Fact:
    """A merge was taken back."""
    message = events_pb2.ContactMergeUndone(
        organization_id=str(merge.organization_id),
        contact_merge=merge_message(merge, identities, undoable=False),
        redirects=[_redirect(redirect) for redirect in redirects],
    )
    return Fact(merge.organization_id, message)


def decided_fact(conflict: Conflict, merge_ids: Sequence[UUID]) -> Fact:
    """People decided a conflict."""
    assert conflict.decision is not None, "told once it is decided"
    message = events_pb2.IdentityConflictDecided(
        organization_id=str(conflict.organization_id),
        identity_conflict_id=str(conflict.id),
        decision=DECISIONS[conflict.decision],
        surviving_contact_id=wire.text(conflict.surviving_contact_id),
        contact_merge_ids=[str(merge_id) for merge_id in merge_ids],
        decide_time=wire.to_timestamp(conflict.decide_time),
        decided_by=actor_message(conflict.decider),
    )
    return Fact(conflict.organization_id, message)


def actor_message(actor: Actor) -> options_pb2.Actor:
    """Who did it."""
    return options_pb2.Actor(principal=actor.principal, name=actor.name)


def _moved(identities: Sequence[Identity], contact_id: UUID) -> list[Identity]:
    """Identities as they are with the contact that they moved to."""
    for identity in identities:
        identity.contact_id = contact_id
    return list(identities)


def _redirect(redirect: Redirect) -> pb.ContactRedirect:
    return pb.ContactRedirect(
        contact_id=str(redirect.contact_id),
        surviving_contact_id=wire.text(redirect.surviving_contact_id),
        version=redirect.version,
    )
