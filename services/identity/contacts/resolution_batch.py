"""What is known of the people of one batch, and what resolving them changes.

A batch is loaded, folded person by person in memory with the rule of ``domain``, and written back set by set. So a
person who appears twice in a batch is found the second time, though nothing has been written yet.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from services.identity.contacts import evidence
from services.identity.contacts.domain import (
    IDS_PER_CONTACT_MAX,
    PHONES_PER_CONTACT_MAX,
    PROVISIONAL_KINDS,
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

PHONES = "PHONES"
"""Counts a contact's WhatsApp numbers, beside all its ids of WhatsApp."""

PROVISIONAL_PREFIXES = {AliasKind.WHATSAPP_LID: "lid:", AliasKind.WHATSAPP_BSUID: "bsuid:"}


@dataclass(frozen=True, slots=True)
class Ignored:
    """A field that was given and not taken over, and why."""

    field: str
    reason: str
    message: str


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
    profile_time: datetime | None = None
    """Where the profile may be updated: since when it is so; an older word than one heard before replaces nothing."""
    channel: str = ""
    """The source that was written through, also where no id of it is known."""
    unproven: bool = False
    """The external id is none that is believed: it may find who is known by it, and make nobody."""
    typed: bool = False
    """A caller says all this, and not the provider: no reference that a caller names changes anybody's number."""
    username: str = ""
    removed_phone: str = ""
    removed_email: str = ""
    removed_name: str = ""
    """Where the profile may be updated: what the provider's had and has no longer."""
    ignored: tuple[Ignored, ...] = ()

    @property
    def key(self) -> IdentityKey | None:
        """The identity, where there is one."""
        return (self.organization_id, self.source, self.external_id) if self.external_id else None

    def provisionals(self) -> list[str]:
        """WhatsApp ids that the person's own LIDs and BSUIDs may be known as, besides the person's own id."""
        if self.source != WHATSAPP:
            return []
        return [
            external_id
            for kind, value in self.aliases
            if kind in PROVISIONAL_KINDS and (external_id := PROVISIONAL_PREFIXES[kind] + value) != self.external_id
        ]

    def phones(self) -> list[str]:
        """Phones by which the person may be known: the one they write with, and the one they are described with."""
        own = self.external_id if is_phone_key(self.source, self.external_id) else ""
        if not own or not self.phone or own == self.phone:
            return [own or self.phone] if own or self.phone else []
        return [own, self.phone]


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
    """A provisional id whose phone became known."""

    organization_id: UUID
    identity: Identity
    previous_key: str
    retired_id: UUID | None = None
    """Set where the identity was there already, and this provisional id is given up for it."""


@dataclass(slots=True)
class Changes:
    """All that a batch writes."""

    new_contacts: dict[UUID, Contact] = field(default_factory=dict)
    learnt_contacts: dict[UUID, Contact] = field(default_factory=dict)
    dated_contacts: dict[UUID, Contact] = field(default_factory=dict)
    """Contacts of whom a newer word came, whether or not it said anything new."""
    new_identities: list[tuple[UUID, Identity]] = field(default_factory=list)
    promotions: list[Promotion] = field(default_factory=list)
    addressed: dict[UUID, tuple[UUID, Identity]] = field(default_factory=dict)
    """Identities whose address or username became known, with their organization."""
    aliases: dict[AliasKey, AliasLink] = field(default_factory=dict)
    conflicts: dict[IdentityKey, Conflict] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(
            self.new_contacts
            or self.learnt_contacts
            or self.dated_contacts
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


_NOBODY: AbstractSet[UUID] = frozenset()


class OrganizationIndex:
    """What was loaded of one organization."""

    __slots__ = ("aliases", "by_email", "by_phone", "held", "identities", "open_conflicts", "reported")

    def __init__(self) -> None:
        self.identities: dict[tuple[str, str], Identity] = {}
        """By source and external id."""
        self.aliases: dict[tuple[str, str], AliasLink] = {}
        """By kind and value."""
        self.by_phone: dict[str, dict[UUID, None]] = {}
        self.by_email: dict[str, dict[UUID, None]] = {}
        self.reported: dict[tuple[str, str], set[UUID]] = {}
        """Contacts that conflicts have named, by the identity's source and external id."""
        self.open_conflicts: dict[tuple[str, str], UUID] = {}
        self.held: dict[UUID, dict[str, int]] = {}
        """By contact, how many ids it has of each source, PHONES apart; only of those whom somebody new may be."""

    def hold(self, contact_id: UUID, identity: Identity, *, more: int = 1) -> None:
        """Counts an id that a contact has now, or has no longer."""
        counts = self.held.get(contact_id)
        if counts is not None:
            kinds = (
                (identity.source, PHONES) if is_phone_key(identity.source, identity.external_id) else (identity.source,)
            )
            for kind in kinds:
                counts[kind] = counts.get(kind, 0) + more

    def holders(self, phone: str) -> list[UUID]:
        """The contacts with a phone: in their profile, or as a WhatsApp identity; perhaps one of them twice."""
        holders = list(self.by_phone.get(phone, ()))
        identity = self.identities.get((WHATSAPP, phone))
        if identity is not None:
            holders.append(identity.contact_id)
        return holders


class ResolutionBatch:
    """What was loaded for a batch; resolving people in it gathers the changes."""

    def __init__(self, new_id: Callable[[], UUID], now: datetime) -> None:
        self._new_id = new_id
        self._now = now
        self.contacts: dict[UUID, Contact] = {}
        self.indexes: defaultdict[UUID, OrganizationIndex] = defaultdict(OrganizationIndex)
        self.changes = Changes()
        self._touched: set[UUID] = set()

    def possible(self, people: Sequence[Person]) -> dict[UUID, UUID]:
        """The contacts that people whose id is new may be, by phone, e-mail or reference, with their organizations."""
        found: dict[UUID, UUID] = {}
        for person in people:
            organization_id, index = person.organization_id, self.indexes[person.organization_id]
            if not person.external_id or (person.source, person.external_id) in index.identities:
                continue
            for phone in person.phones():
                found.update(dict.fromkeys(index.by_phone.get(phone, ()), organization_id))
            found.update(dict.fromkeys(index.by_email.get(person.email, ()), organization_id))
            links = (index.aliases.get(alias) for alias in person.aliases)
            found.update({link.contact_id: organization_id for link in links if link is not None})
            provisionals = (index.identities.get((WHATSAPP, external_id)) for external_id in person.provisionals())
            found.update({each.contact_id: organization_id for each in provisionals if each is not None})
        return found

    def resolve(self, person: Person) -> Resolution:
        """Decides who a person is and notes what that changes. Raises InvalidArgument EXTERNAL_ID_INVALID."""
        index = self.indexes[person.organization_id]
        decision = decide(_find(index, person, self.contacts))
        contact = self._contact(person, decision)
        if contact is None:
            return Resolution(person, decision.outcome, None, None, "", decision.candidates, settled=True)
        identity, previous_key = self._identity(index, person, decision, contact)
        changed = self._learn(index, person, decision, contact) if decision.teaches else False
        if identity is not None and decision.teaches:
            changed |= self._rename(person, identity, contact)
        changed |= self._learn_aliases(index, person, contact, identity)
        changed |= self._report(index, person, decision, contact)
        if changed or previous_key or decision.link or decision.make_contact:
            self._touched.add(contact.id)
        settled = not self._touched or contact.id not in self._touched
        return Resolution(person, decision.outcome, contact, identity, previous_key, decision.candidates, settled)

    def _contact(self, person: Person, decision: Decision) -> Contact | None:
        if decision.contact_id is not None:
            return self.contacts[decision.contact_id]
        if not decision.make_contact:
            return None
        contact = Contact(
            id=self._new_id(),
            organization_id=person.organization_id,
            name="",
            phone="",
            email="",
            tags=[],
            version=1,
            create_time=self._now,
            update_time=self._now,
        )
        self.contacts[contact.id] = contact
        self.changes.new_contacts[contact.id] = contact
        self.indexes[person.organization_id].held[contact.id] = {}
        return contact

    def _identity(
        self, index: OrganizationIndex, person: Person, decision: Decision, contact: Contact
    ) -> tuple[Identity | None, str]:
        """The identity that answers, and the key it had before this person, if that changed."""
        key, identity, previous_key = (person.source, person.external_id), decision.identity, ""
        if decision.link:
            identity = Identity(self._new_id(), contact.id, *key, person.address, self._now, person.username)
            index.identities[key] = identity
            index.hold(contact.id, identity)
            self.changes.new_identities.append((person.organization_id, identity))
            return identity, ""
        if decision.promote is not None:
            identity, previous_key = decision.promote, decision.promote.key
            del index.identities[(identity.source, identity.external_id)]
            index.hold(contact.id, identity, more=-1)
            identity.external_id = person.external_id
            identity.address = person.address or identity.address
            index.identities[key] = identity
            index.hold(contact.id, identity)
            self.changes.promotions.append(Promotion(person.organization_id, identity, previous_key))
        if identity is not None:
            for retired in decision.retire:
                self._retire(index, person.organization_id, retired, identity)
                previous_key = previous_key or retired.key
            if person.address and not identity.address and person.external_id == identity.external_id:
                identity.address = person.address
                self.changes.addressed[identity.id] = (person.organization_id, identity)
                self._touched.add(contact.id)
        return identity, previous_key

    def _retire(self, index: OrganizationIndex, organization_id: UUID, retired: Identity, heir: Identity) -> None:
        del index.identities[(retired.source, retired.external_id)]
        index.hold(heir.contact_id, retired, more=-1)
        for link in index.aliases.values():
            if link.identity is retired:
                link.identity = heir
        self.changes.promotions.append(Promotion(organization_id, heir, retired.key, retired_id=retired.id))

    def _take_profile_time(self, person: Person, contact: Contact) -> tuple[bool, bool]:
        """Whether the person's word may replace what is kept, and whether its time has to be kept."""
        if not person.update_profile:
            return False, False
        if person.profile_time is None or person.profile_time == contact.profile_time:
            return True, False
        if contact.profile_time is not None and person.profile_time < contact.profile_time:
            # Sent late, or once more: it may fill a gap, and nothing else.
            return False, False
        contact.profile_time = person.profile_time
        self.changes.dated_contacts[contact.id] = contact
        return True, True

    def _learn(self, index: OrganizationIndex, person: Person, decision: Decision, contact: Contact) -> bool:
        """Takes over the profile; a phone that somebody else has is not taken over before people have decided."""
        current, heard = self._take_profile_time(person, contact) if decision.may_replace else (False, False)
        own = person.external_id if is_phone_key(person.source, person.external_id) else ""
        phone = person.phone or own
        old_phone, old_email = contact.phone, contact.email
        changed = False
        if current and (person.removed_phone or person.removed_email):
            changed = contact.forget(phone=person.removed_phone, email=person.removed_email)
            phone = "" if phone == person.removed_phone else phone
        if phone and phone != contact.phone and not (decision.make_contact and phone == own):
            others = (holder for holder in index.holders(phone) if holder != contact.id)
            if (decision.candidates and not decision.make_contact) or any(others):
                phone = ""
        replace = current or decision.make_contact
        if not contact.learn(name=person.name, phone=phone, email=person.email, replace=replace) and not changed:
            return heard
        if contact.phone != old_phone:
            index.by_phone.get(old_phone, {}).pop(contact.id, None)
            if contact.phone:
                index.by_phone.setdefault(contact.phone, {})[contact.id] = None
        if contact.email != old_email:
            index.by_email.get(old_email, {}).pop(contact.id, None)
            if contact.email:
                index.by_email.setdefault(contact.email, {})[contact.id] = None
        self._keep(contact)
        return True

    def _keep(self, contact: Contact) -> None:
        """Has a changed contact written, as a new version of it."""
        if contact.id not in self.changes.new_contacts:
            if contact.id not in self.changes.learnt_contacts:
                contact.version += 1
                contact.update_time = self._now
            self.changes.learnt_contacts[contact.id] = contact

    def _rename(self, person: Person, identity: Identity, contact: Contact) -> bool:
        """Takes over the account's name at the source, a change of its contact; the one it had is found for a while."""
        username = person.username
        if not username or username == identity.username or person.channel not in ("", identity.source):
            return False
        identity.username = username
        self.changes.addressed[identity.id] = (person.organization_id, identity)
        self._keep(contact)
        return True

    def _learn_aliases(
        self, index: OrganizationIndex, person: Person, contact: Contact, identity: Identity | None
    ) -> bool:
        """Keeps what the person is also known by; an alias that leads to somebody else is left as it is."""
        changed = False
        for alias in person.aliases:
            link = index.aliases.get(alias)
            if link is None:
                link = index.aliases[alias] = AliasLink(contact.id, identity)
            elif not _outdated(alias[0], link, identity) or link.contact_id != contact.id:
                continue
            link.identity = identity
            self.changes.aliases[(person.organization_id, *alias)] = link
            changed = True
        return changed

    def _report(self, index: OrganizationIndex, person: Person, decision: Decision, contact: Contact) -> bool:
        if not decision.candidates or (key := person.key) is None:
            return False
        conflict = self.changes.conflicts.get(key)
        if conflict is None:
            open_id = index.open_conflicts.get(key[1:])
            conflict = Conflict(open_id or self._new_id(), *key, contact.id, (), announced=open_id is not None)
            self.changes.conflicts[key] = conflict
        conflict.candidates = tuple(dict.fromkeys((*conflict.candidates, *decision.candidates)))
        index.reported.setdefault(key[1:], set()).update(decision.candidates)
        return True


def _find(index: OrganizationIndex, person: Person, contacts: Mapping[UUID, Contact]) -> Findings:
    """What is known of one person."""
    key = (person.source, person.external_id)
    provisionals = []
    for external_id in person.provisionals():
        provisional = index.identities.get((WHATSAPP, external_id))
        if provisional is not None:
            provisionals.append(provisional)
    if len(provisionals) > 1:
        provisionals.sort(key=lambda provisional: provisional.id)
    identity = index.identities.get(key) if person.external_id else None
    phones = person.phones()
    found = Findings(
        source=person.source,
        external_id=person.external_id,
        identity=identity,
        provisionals=provisionals,
        aliases=[link for alias in person.aliases if (link := index.aliases.get(alias)) is not None],
        phone_contacts=[holder for phone in phones for holder in index.holders(phone)],
        carriers=(),
        email_contacts=(),
        reported=index.reported.get(key, _NOBODY),
        create_missing=person.create_missing,
        channel=person.channel,
        unproven=person.unproven,
    )
    if identity is None:
        _find_evidence(index, person, found, contacts)
    return found


def _find_evidence(index: OrganizationIndex, person: Person, found: Findings, contacts: Mapping[UUID, Contact]) -> None:
    """Who else somebody may be whose id is new: asked of new ids only, which are few."""
    found.carriers = [holder for phone in person.phones() for holder in index.by_phone.get(phone, ())]
    found.email_contacts = list(index.by_email.get(person.email, ())) if person.email else ()
    phone = is_phone_key(person.source, person.external_id)
    referenced = {link.contact_id for link in found.aliases} | {each.contact_id for each in found.provisionals}
    found.owned = {provisional.contact_id for provisional in found.provisionals} | {
        link.contact_id
        for alias in person.aliases
        if alias[0] in PROVISIONAL_KINDS and (link := index.aliases.get(alias)) is not None
    }
    # Of whom nothing was loaded, as of a contact that an earlier person of the batch changed, the worst is assumed.
    found.sourced = {
        contact
        for contact in (*found.carriers, *found.email_contacts)
        if (counts := index.held.get(contact)) is None or counts.get(person.source)
    }
    if phone or person.source != WHATSAPP:
        found.full = {
            contact
            for contact in referenced
            if (counts := index.held.get(contact)) is not None
            and _is_full(counts, person, phone=phone and (not person.typed or contact in found.owned))
        }
        sources = {
            link.contact_id
            for alias in person.aliases
            if alias[0] is AliasKind.CHATWOOT_SOURCE and (link := index.aliases.get(alias)) is not None
        }
        found.doubted = {
            contact
            for contact in referenced - sources
            if evidence.is_doubted(
                person, contacts[contact], None if (held := index.held.get(contact)) is None else held.get(PHONES, 0)
            )
        }


def _is_full(held: dict[str, int], person: Person, *, phone: bool) -> bool:
    """Whether a contact comes by no more ids of the person's kind; ``phone`` where the provider says it is a number."""
    if phone:
        return held.get(PHONES, 0) >= PHONES_PER_CONTACT_MAX
    return held.get(person.source, 0) >= IDS_PER_CONTACT_MAX


def _outdated(kind: AliasKind, link: AliasLink, identity: Identity | None) -> bool:
    """A WhatsApp alias follows the phone; a provider's reference keeps the identity it was first learnt with."""
    if identity is None or link.identity is identity:
        return False
    if link.identity is None:
        return True
    return kind in PROVISIONAL_KINDS and is_phone_key(identity.source, identity.external_id)
