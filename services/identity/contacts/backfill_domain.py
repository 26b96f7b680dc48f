"""The rule of the backfill: which contacts get the WhatsApp identity that their own phone says. Pure: no I/O, no clock.

A phone that one contact has, and whose identity nobody has, is that contact's. Where two have it, or somebody else has
the identity, or the contact has numbers enough, nobody is picked and nothing is overwritten: people decide.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from services.identity.contacts.domain import Identity


class Standing(StrEnum):
    """How one contact stands with the identity that its phone says."""

    CREATED = "created"
    """It gets the identity now, or would without the dry run."""
    EXISTING = "existing"
    CONFLICTING = "conflicting"
    UNREADABLE = "unreadable"
    WITHOUT_PHONE = "without_phone"


@dataclass(slots=True)
class Claims:
    """Who has a claim to one phone's identity: of all contacts of the organization, not only of those in the batch."""

    owner: Identity | None = None
    holders: tuple[UUID, ...] = ()
    """Contacts with the phone in their profile, oldest first, as many as are looked at."""
    full: frozenset[UUID] = frozenset()
    """Holders that have as many WhatsApp numbers as a contact may come by without people."""
    reported: set[UUID] = field(default_factory=set)
    """Contacts that earlier conflicts on the identity named already."""
    open_conflict_id: UUID | None = None

    def standing(self, contact_id: UUID) -> Standing:
        """How a contact with this phone stands."""
        if self.owner is not None:
            return Standing.EXISTING if self.owner.contact_id == contact_id else Standing.CONFLICTING
        return Standing.CONFLICTING if len(self.holders) > 1 or contact_id in self.full else Standing.CREATED

    def candidates(self) -> tuple[UUID, ...]:
        """All who could be meant; first who has the identity, then oldest first."""
        owner = () if self.owner is None else (self.owner.contact_id,)
        return tuple(dict.fromkeys((*owner, *self.holders)))

    def unasked(self) -> bool:
        """Whether somebody could be meant about whom no conflict has asked yet."""
        owner = set() if self.owner is None else {self.owner.contact_id}
        return not (self.reported | owner).issuperset(self.holders)


@dataclass(slots=True)
class Batch:
    """What a batch of contacts came to."""

    standings: dict[UUID, Standing] = field(default_factory=dict)
    """By contact, in the order of the batch."""
    phones: dict[UUID, str] = field(default_factory=dict)
    """By contact, in the one form of the key; only of those whose phone can be one."""
    claims: dict[str, Claims] = field(default_factory=dict)
    """By phone."""

    def stand(self) -> None:
        """Says anew how everybody with a phone stands, by the claims as they are now."""
        for contact_id, phone in self.phones.items():
            self.standings[contact_id] = self.claims[phone].standing(contact_id)

    def of(self, standing: Standing) -> list[UUID]:
        """The contacts that stand so."""
        return [contact_id for contact_id, each in self.standings.items() if each is standing]

    def conflicts(self) -> dict[str, Claims]:
        """The claims to each phone that people must decide about, in the order of the contacts."""
        phones = dict.fromkeys(self.phones[contact_id] for contact_id in self.of(Standing.CONFLICTING))
        return {phone: self.claims[phone] for phone in phones}

    def changing(self) -> list[str]:
        """The phones for which there is something to write: an identity, or a question to people."""
        linked = [self.phones[contact_id] for contact_id in self.of(Standing.CREATED)]
        asked = [phone for phone, claims in self.conflicts().items() if claims.unasked()]
        return [*linked, *asked]
