"""What identity answers and announces, as protobuf messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from chassis import wire
from chassis.enums import enum_number
from chassis.outbox import Fact
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1 import events_pb2
from prosa.v1 import options_pb2
from services.identity.contacts.domain import Contact, Identity, Outcome, conversation_key
from services.identity.contacts.people import SOURCE_NUMBERS
from services.identity.contacts.resolution_batch import Changes, Resolution
from services.identity.contacts.store import LoggedResolution

OUTCOMES: dict[Outcome, pb.ResolutionOutcome.ValueType] = {
    outcome: enum_number(pb.ResolutionOutcome, outcome.name) for outcome in Outcome
}


def contact_message(contact: Contact, identities: Sequence[pb.ContactIdentity] = ()) -> pb.Contact:
    """A contact on the wire."""
    return pb.Contact(
        contact_id=str(contact.id),
        organization_id=str(contact.organization_id),
        name=contact.name,
        phone=contact.phone,
        email=contact.email,
        tags=contact.tags,
        create_time=wire.to_timestamp(contact.create_time),
        update_time=wire.to_timestamp(contact.update_time),
        etag=str(contact.version),
        identities=identities,
    )


def identity_message(organization_id: UUID, identity: Identity) -> pb.ContactIdentity:
    """An identity on the wire."""
    return pb.ContactIdentity(
        contact_identity_id=str(identity.id),
        organization_id=str(organization_id),
        contact_id=str(identity.contact_id),
        source=SOURCE_NUMBERS[identity.source],
        external_id=identity.external_id,
        conversation_key=identity.key,
        address=identity.address,
        create_time=wire.to_timestamp(identity.create_time),
        username=identity.username,
    )


def resolved_message(resolution: Resolution) -> pb.ResolvedContact:
    """The answer for one person."""
    message = pb.ResolvedContact()
    write_resolved(message, resolution)
    return message


def write_resolved(message: pb.ResolvedContact, resolution: Resolution) -> None:
    """Writes the answer for one person where it belongs."""
    person, contact, identity = resolution.person, resolution.contact, resolution.identity
    message.outcome = OUTCOMES[resolution.outcome]
    if contact is not None:
        message.contact_id = str(contact.id)
        message.name = contact.name
        message.phone = contact.phone
    if identity is not None:
        message.contact_identity_id = str(identity.id)
        message.conversation_key = identity.key
    else:
        message.conversation_key = conversation_key(person.source, person.external_id)
    message.previous_conversation_key = resolution.previous_key
    message.candidate_contact_ids.extend([str(candidate) for candidate in resolution.candidates])
    for ignored in person.ignored:
        message.ignored_fields.add(field=ignored.field, reason=ignored.reason, message=ignored.message)


def resolution_message(entry: LoggedResolution) -> pb.IdentityResolution:
    """A row of the log on the wire."""
    return pb.IdentityResolution(
        identity_resolution_id=str(entry.id),
        source=SOURCE_NUMBERS.get(entry.source, options_pb2.SOURCE_UNSPECIFIED),
        external_id=entry.external_id,
        outcome=OUTCOMES[Outcome(entry.outcome)],
        contact_id=wire.text(entry.contact_id),
        contact_identity_id=wire.text(entry.contact_identity_id),
        candidate_contact_ids=[str(candidate) for candidate in entry.candidates],
        error_message=entry.error_message,
        cause_id=entry.cause_id,
        create_time=wire.to_timestamp(entry.create_time),
    )


def linked_fact(organization_id: UUID, identity: Identity) -> Fact:
    """Announces an identity that a contact did not have."""
    message = events_pb2.ContactIdentityLinked(
        organization_id=str(organization_id), identity=identity_message(organization_id, identity)
    )
    return Fact(organization_id, message)


def updated_fact(contact: Contact) -> Fact:
    """Announces that a contact's profile is another."""
    message = events_pb2.ContactUpdated(
        organization_id=str(contact.organization_id), contact=contact_message(contact), version=contact.version
    )
    return Fact(contact.organization_id, message)


def facts_of(changes: Changes, now: datetime) -> list[Fact]:
    """What a batch announces: contacts first, then their identities, then what people must decide."""
    facts = []
    for contact in changes.new_contacts.values():
        created = events_pb2.ContactCreated(
            organization_id=str(contact.organization_id), contact=contact_message(contact), version=contact.version
        )
        facts.append(Fact(contact.organization_id, created))
    facts.extend(updated_fact(contact) for contact in changes.learnt_contacts.values())
    facts.extend(linked_fact(organization_id, identity) for organization_id, identity in changes.new_identities)
    for promotion in changes.promotions:
        promoted = events_pb2.ContactIdentityPromoted(
            organization_id=str(promotion.organization_id),
            identity=identity_message(promotion.organization_id, promotion.identity),
            previous_conversation_key=promotion.previous_key,
        )
        facts.append(Fact(promotion.organization_id, promoted))
    for conflict in changes.conflicts.values():
        if conflict.announced:
            continue
        detected = events_pb2.IdentityConflictDetected(
            organization_id=str(conflict.organization_id),
            identity_conflict_id=str(conflict.id),
            source=SOURCE_NUMBERS[conflict.source],
            external_id=conflict.external_id,
            contact_id=str(conflict.contact_id),
            candidate_contact_ids=[str(candidate) for candidate in conflict.candidates],
            create_time=wire.to_timestamp(now),
        )
        facts.append(Fact(conflict.organization_id, detected))
    return facts
