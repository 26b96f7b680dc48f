"""What is known of the people of one batch, and what resolving them changes.

A batch is loaded, folded person by person in memory with the rule of ``domain``, and written back set by set. So a
person who appears twice in a batch is found the second time, though nothing has been written yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.identity.domain import (
    STAND_IN_KINDS,
    WHATSAPP,
    AliasKind,
    AliasLink,
    Contact,
    Decision,
    Findings,
    Identity,
    Outcome,
    decide,
    is_phone_key,
)

IdentityKey = tuple[UUID, str, str]
"""Organization, source, external id."""
AliasKey = tuple[UUID, str, str]
"""Organization, kind, value."""
ValueKey = tuple[UUID, str]
"""Organization and a phone or an e-mail."""

STAND_IN_PREFIXES = {AliasKind.WHATSAPP_LID: "lid:", AliasKind.WHATSAPP_BSUID: "bsuid:"}


@dataclass(slots=True)
class Person:
    """One person as a provider described them, in canonical form."""

    organization_id: UUID
    source: str
    external_id: str
    address: str
    name: str
    phone: str
    email: str
    aliases: tuple[tuple[AliasKind, str], ...]
    create_missing: bool
    update_profile: bool
    cause_id: str

    @property
    def key(self) -> IdentityKey | None:
        """The identity, where there is one."""
        return (self.organization_id, self.source, self.external_id) if self.external_id else None

    def stand_in_keys(self) -> list[IdentityKey]:
        """Identities that the person's own LIDs and BSUIDs may be known as, besides the key itself."""
        if self.source != WHATSAPP:
            return []
        return [
            (self.organization_id, WHATSAPP, external_id)
            for kind, value in self.aliases
            if kind in STAND_IN_KINDS and (external_id := STAND_IN_PREFIXES[kind] + value) != self.external_id
        ]

    def phones(self) -> list[str]:
        """Phones by which the person may be known: the one they write with, and the one they are described with."""
        own = self.external_id if is_phone_key(self.source, self.external_id) else ""
        return list(dict.fromkeys(phone for phone in (own, self.phone) if phone))


@dataclass(slots=True)
class Conflict:
    """A question for people: whose is this identity?"""

    id: UUID
    organization_id: UUID
    source: str
    external_id: str
    contact_id: UUID
    candidates: tuple[UUID, ...]
    announced: bool
    """Open already: the candidates are added to it, and nothing is announced again."""


@dataclass(slots=True)
class Promotion:
    """A stand-in whose phone became known."""

    organization_id: UUID
    identity: Identity
    previous_key: str
    retired_id: UUID | None = None
    """Set where the identity was there already, and this stand-in is given up for it."""


@dataclass(slots=True)
class Changes:
    """All that a batch writes."""

    new_contacts: dict[UUID, Contact] = field(default_factory=dict)
    learnt_contacts: dict[UUID, Contact] = field(default_factory=dict)
    new_identities: list[tuple[UUID, Identity]] = field(default_factory=list)
    promotions: list[Promotion] = field(default_factory=list)
    addressed: dict[UUID, tuple[UUID, Identity]] = field(default_factory=dict)
    """Identities whose address became known, with their organization."""
    aliases: dict[AliasKey, AliasLink] = field(default_factory=dict)
    conflicts: dict[IdentityKey, Conflict] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.new_contacts
            or self.learnt_contacts
            or self.new_identities
            or self.promotions
            or self.addressed
            or self.aliases
            or self.conflicts
        )


@dataclass(slots=True)
class Resolution:
    """Who one person is."""

    person: Person
    outcome: Outcome
    contact: Contact | None
    identity: Identity | None
    previous_key: str
    candidates: tuple[UUID, ...]
    settled: bool
    """True when nothing had to be written for it, and nothing it names is still unwritten."""


class Directory:
    """What was loaded for a batch; resolving people in it gathers the changes."""

    def __init__(self, new_id: Callable[[], UUID], now: datetime) -> None:
        self._new_id = new_id
        self._now = now
        self.contacts: dict[UUID, Contact] = {}
        self.identities: dict[IdentityKey, Identity] = {}
        self.aliases: dict[AliasKey, AliasLink] = {}
        self.by_phone: defaultdict[ValueKey, dict[UUID, None]] = defaultdict(dict)
        self.by_email: defaultdict[ValueKey, dict[UUID, None]] = defaultdict(dict)
        self.reported: defaultdict[IdentityKey, set[UUID]] = defaultdict(set)
        self.open_conflicts: dict[IdentityKey, UUID] = {}
        self.changes = Changes()
        self._touched: set[UUID] = set()

    def resolve(self, person: Person) -> Resolution:
        """Decides who a person is and notes what that changes. Raises InvalidArgument EXTERNAL_ID_INVALID."""
        found = self._find(person)
        decision = decide(found)
        contact = self._contact(person, decision)
        if contact is None:
            return Resolution(person, decision.outcome, None, None, "", decision.candidates, settled=True)
        identity, previous_key = self._identity(person, decision, contact)
        changed = self._learn(person, decision, contact)
        changed |= self._learn_aliases(person, contact, identity)
        changed |= self._report(person, decision, contact)
        if changed or previous_key or decision.link or decision.make_contact:
            self._touched.add(contact.id)
        settled = contact.id not in self._touched
        return Resolution(person, decision.outcome, contact, identity, previous_key, decision.candidates, settled)

    def _find(self, person: Person) -> Findings:
        organization_id, key = person.organization_id, person.key
        identity = None if key is None else self.identities.get(key)
        stand_ins = [self.identities[other] for other in person.stand_in_keys() if other in self.identities]
        stand_ins.sort(key=lambda stand_in: stand_in.id)
        aliases = [
            link
            for kind, value in person.aliases
            if (link := self.aliases.get((organization_id, kind, value))) is not None
        ]
        phones: dict[UUID, None] = {}
        for phone in person.phones():
            phones |= self.by_phone.get((organization_id, phone), {})
            holder = self.identities.get((organization_id, WHATSAPP, phone))
            if holder is not None:
                phones[holder.contact_id] = None
        emails = self.by_email.get((organization_id, person.email), {}) if person.email else {}
        reported = self.reported.get(key) if key is not None else None
        return Findings(
            source=person.source,
            external_id=person.external_id,
            identity=identity,
            stand_ins=tuple(stand_ins),
            aliases=tuple(aliases),
            phone_contacts=tuple(phones),
            email_contacts=tuple(emails),
            reported=frozenset(reported or ()),
            create_missing=person.create_missing,
        )

    def _contact(self, person: Person, decision: Decision) -> Contact | None:
        if decision.contact_id is not None:
            return self.contacts[decision.contact_id]
        if not decision.make_contact:
            return None
        contact = Contact(
            self._new_id(),
            person.organization_id,
            "",
            "",
            "",
            [],
            version=1,
            create_time=self._now,
            update_time=self._now,
        )
        self.contacts[contact.id] = contact
        self.changes.new_contacts[contact.id] = contact
        return contact

    def _identity(self, person: Person, decision: Decision, contact: Contact) -> tuple[Identity | None, str]:
        """The identity that answers, and the key it had before this person, if that changed."""
        key, identity = person.key, decision.identity
        if key is not None and decision.link:
            identity = Identity(
                self._new_id(), contact.id, person.source, person.external_id, person.address, self._now
            )
            self.identities[key] = identity
            self.changes.new_identities.append((person.organization_id, identity))
            return identity, ""
        previous_key = ""
        if key is not None and decision.promote is not None:
            identity, previous_key = decision.promote, decision.promote.key
            del self.identities[(person.organization_id, identity.source, identity.external_id)]
            identity.external_id = person.external_id
            identity.address = person.address or identity.address
            self.identities[key] = identity
            self.changes.promotions.append(Promotion(person.organization_id, identity, previous_key))
        if identity is not None:
            for retired in decision.retire:
                self._retire(person.organization_id, retired, identity)
                previous_key = previous_key or retired.key
            if person.address and not identity.address and person.external_id == identity.external_id:
                identity.address = person.address
                self.changes.addressed[identity.id] = (person.organization_id, identity)
                self._touched.add(contact.id)
        return identity, previous_key

    def _retire(self, organization_id: UUID, retired: Identity, heir: Identity) -> None:
        del self.identities[(organization_id, retired.source, retired.external_id)]
        for link in self.aliases.values():
            if link.identity is retired:
                link.identity = heir
        self.changes.promotions.append(Promotion(organization_id, heir, retired.key, retired_id=retired.id))

    def _learn(self, person: Person, decision: Decision, contact: Contact) -> bool:
        """Takes over the profile; a phone that somebody else has is not taken over before people have decided."""
        own = person.external_id if is_phone_key(person.source, person.external_id) else ""
        phone = person.phone or own
        replace = person.update_profile or decision.make_contact
        news = not decision.make_contact and phone and phone != contact.phone
        if news and (decision.candidates or self._has_other_holders(contact, phone)):
            phone = ""
        old = contact.phone, contact.email
        if not contact.learn(name=person.name, phone=phone, email=person.email, replace=replace):
            return False
        self._reindex(contact, *old)
        if contact.id not in self.changes.new_contacts:
            if contact.id not in self.changes.learnt_contacts:
                contact.version += 1
                contact.update_time = self._now
            self.changes.learnt_contacts[contact.id] = contact
        return True

    def _has_other_holders(self, contact: Contact, phone: str) -> bool:
        holder = self.identities.get((contact.organization_id, WHATSAPP, phone))
        if holder is not None and holder.contact_id != contact.id:
            return True
        return any(other != contact.id for other in self.by_phone.get((contact.organization_id, phone), ()))

    def _reindex(self, contact: Contact, old_phone: str, old_email: str) -> None:
        organization_id = contact.organization_id
        if old_phone != contact.phone:
            self.by_phone[(organization_id, old_phone)].pop(contact.id, None)
            self.by_phone[(organization_id, contact.phone)][contact.id] = None
        if old_email != contact.email:
            self.by_email[(organization_id, old_email)].pop(contact.id, None)
            self.by_email[(organization_id, contact.email)][contact.id] = None

    def _learn_aliases(self, person: Person, contact: Contact, identity: Identity | None) -> bool:
        """Keeps what the person is also known by; an alias that leads to somebody else is left as it is."""
        changed = False
        for kind, value in person.aliases:
            key = (person.organization_id, kind, value)
            link = self.aliases.get(key)
            if link is None:
                link = self.aliases[key] = AliasLink(contact.id, identity)
            elif link.contact_id != contact.id or not _outdated(kind, link, identity):
                continue
            link.identity = identity
            self.changes.aliases[key] = link
            changed = True
        return changed

    def _report(self, person: Person, decision: Decision, contact: Contact) -> bool:
        key = person.key
        if key is None or not decision.candidates:
            return False
        conflict = self.changes.conflicts.get(key)
        if conflict is None:
            open_id = self.open_conflicts.get(key)
            conflict = Conflict(open_id or self._new_id(), *key, contact.id, (), announced=open_id is not None)
            self.changes.conflicts[key] = conflict
        conflict.candidates = tuple(dict.fromkeys((*conflict.candidates, *decision.candidates)))
        self.reported[key].update(decision.candidates)
        return True


def _outdated(kind: AliasKind, link: AliasLink, identity: Identity | None) -> bool:
    """A WhatsApp alias follows the phone; a provider's reference keeps the identity it was first learnt with."""
    if identity is None or link.identity is identity:
        return False
    if link.identity is None:
        return True
    return kind in STAND_IN_KINDS and is_phone_key(identity.source, identity.external_id)
