"""What two contacts become as one, and what is theirs again afterwards. Pure: no I/O, no clock, no protobuf."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from chassis.errors import FailedPrecondition, InvalidArgument
from services.identity.contacts.domain import (
    IDS_BY_HAND_MAX,
    Contact,
    Identity,
    is_phone_key,
    kind_of,
    sorted_tags,
)


class Actor(NamedTuple):
    """Who did it."""

    principal: str
    name: str


UNKNOWN = Actor("", "")


class Taken(NamedTuple):
    """What a survivor had not and took over from whom it absorbed; what is empty it had itself, or neither had."""

    name: str = ""
    phone: str = ""
    email: str = ""
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Merge:
    """Two contacts that became one."""

    organization_id: UUID
    id: UUID
    surviving_contact_id: UUID
    losing_contact_id: UUID
    moved_identity_ids: tuple[UUID, ...]
    moved_alias_keys: tuple[str, ...]
    """Each "kind:value"."""
    taken: Taken
    conflict_id: UUID | None
    merger: Actor
    reason: str
    create_time: datetime
    undo_time: datetime | None = None
    undoer: Actor = UNKNOWN


@dataclass(frozen=True, slots=True)
class Redirect:
    """One contact's redirect as it is from now on."""

    contact_id: UUID
    surviving_contact_id: UUID | None
    version: int


def merge_of_one() -> InvalidArgument:
    """The two are one already."""
    return InvalidArgument("MERGE_OF_ONE", "These two are one contact already. Name two different ones.")


def require_places(surviving: Iterable[Identity], losing: Iterable[Identity]) -> None:
    """Raises FailedPrecondition IDENTITIES_LIMITED where the survivor would have more ids of a kind than may be."""
    counts = Counter(
        (identity.source, is_phone_key(identity.source, identity.external_id), kind_of(*_key(identity)))
        for identity in (*surviving, *losing)
    )
    for (_, _, words), count in sorted(counts.items()):
        if count > IDS_BY_HAND_MAX:
            raise FailedPrecondition(
                "IDENTITIES_LIMITED",
                f"Together they have {count} {words}; one contact may have at most {IDS_BY_HAND_MAX}."
                " Merge fewer of them.",
                limit=str(IDS_BY_HAND_MAX),
            )


def taken_over(survivor: Contact, loser: Contact) -> Taken:
    """What the survivor lacks and the loser has."""
    return Taken(
        name="" if survivor.name else loser.name,
        phone="" if survivor.phone else loser.phone,
        email="" if survivor.email else loser.email,
        tags=tuple(sorted_tags(set(loser.tags) - set(survivor.tags))),
    )


def with_taken(contact: Contact, taken: Taken, now: datetime) -> Contact:
    """The survivor with what it takes over; the very same where that is nothing."""
    if taken == Taken():
        return contact
    return replace(
        contact,
        name=contact.name or taken.name,
        phone=contact.phone or taken.phone,
        email=contact.email or taken.email,
        tags=sorted_tags([*contact.tags, *taken.tags]),
        version=contact.version + 1,
        update_time=now,
    )


def without_taken(contact: Contact, taken: Taken, now: datetime) -> Contact:
    """The survivor without what it had taken over; what was written there since is its own and stays."""
    left = replace(
        contact,
        name="" if taken.name and contact.name == taken.name else contact.name,
        phone="" if taken.phone and contact.phone == taken.phone else contact.phone,
        email="" if taken.email and contact.email == taken.email else contact.email,
        tags=[tag for tag in contact.tags if tag not in taken.tags],
    )
    return contact if left == contact else replace(left, version=contact.version + 1, update_time=now)


def led_back(merges: Sequence[Merge], contact_id: UUID) -> frozenset[UUID]:
    """All that lead to a contact by merges that hold, itself not among them."""
    by_survivor: dict[UUID, list[UUID]] = {}
    for merge in merges:
        by_survivor.setdefault(merge.surviving_contact_id, []).append(merge.losing_contact_id)
    found: set[UUID] = set()
    waiting = [contact_id]
    while waiting:
        for losing in by_survivor.get(waiting.pop(), ()):
            if losing not in found:
                found.add(losing)
                waiting.append(losing)
    return frozenset(found)


def require_survivor(surviving: UUID | None, parties: Collection[UUID]) -> UUID:
    """Raises InvalidArgument SURVIVOR_INVALID unless the survivor is one of those the conflict is about."""
    if surviving is None or surviving not in parties:
        raise InvalidArgument("SURVIVOR_INVALID", "The survivor must be one of the contacts that could be meant.")
    return surviving


def _key(identity: Identity) -> tuple[str, str]:
    return identity.source, identity.external_id
