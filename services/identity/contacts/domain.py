"""The resolution rule: given what exists for a person, who it is. Pure: no I/O, no clock, no protobuf.

The order is identity, alias, phone and e-mail, create. The first step that finds anybody decides; two or more are never
picked from, also where a phone leads to one and an e-mail to another. A phone or an e-mail is weak evidence: it joins a
new id to the one contact that carries it now, and only where that contact writes with no other id of the same source;
else whoever writes gets a contact of their own, and people are asked. So is a provider's own reference to a contact,
where what it comes with says somebody else. What exists is never re-linked; where the steps disagree, people decide.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from chassis.errors import FailedPrecondition, InvalidArgument

WHATSAPP = "WHATSAPP"
INSTAGRAM = "INSTAGRAM"


PHONES_PER_CONTACT_MAX = 5
"""WhatsApp numbers that one contact may come by when a provider's reference says that its number changed."""
IDS_PER_CONTACT_MAX = 1
"""Ids of any other source that one contact may come by so."""
IDS_BY_HAND_MAX = 5
"""Ids of one kind up to which people may link more to a contact: they know that one human has an Instagram id for each
account of the organization, which no reference says. A sixth is more likely a shop's list than a person."""


class Outcome(StrEnum):
    """How a person was found; the values are those of the log."""

    CREATED = "created"
    MATCHED = "matched"
    FALLBACK_PHONE = "fallback_phone"
    FALLBACK_EMAIL = "fallback_email"
    AMBIGUOUS = "ambiguous"
    NOT_FOUND = "not_found"
    ERROR = "error"


class AliasKind(StrEnum):
    """What kind of id an alias is."""

    WHATSAPP_LID = "WHATSAPP_LID"
    WHATSAPP_BSUID = "WHATSAPP_BSUID"
    CHATWOOT_CONTACT = "CHATWOOT_CONTACT"
    CHATWOOT_SOURCE = "CHATWOOT_SOURCE"


PROVISIONAL_KINDS = frozenset({AliasKind.WHATSAPP_LID, AliasKind.WHATSAPP_BSUID})
"""Aliases that may serve for the phone until it is known: ``whatsapp:lid:…``, ``whatsapp:bsuid:…``."""


def conversation_key(source: str, external_id: str) -> str:
    """The canonical key of an identity; empty where there is none."""
    return f"{source.lower()}:{external_id}" if external_id else ""


def is_phone_key(source: str, external_id: str) -> bool:
    """Whether the external id is a phone and not a provisional id or an IGSID."""
    return source == WHATSAPP and external_id.startswith("+")


def kind_of(source: str, external_id: str) -> str:
    """What an id is counted as, in words."""
    if source != WHATSAPP:
        return f"{source.capitalize()} ids"
    return "WhatsApp numbers" if is_phone_key(source, external_id) else "WhatsApp ids without a number"


def require_space(source: str, external_id: str, held: int) -> None:
    """Raises FailedPrecondition IDENTITIES_LIMITED where a contact has as many ids of this kind as people may link."""
    if held >= IDS_BY_HAND_MAX:
        raise FailedPrecondition(
            "IDENTITIES_LIMITED",
            f"This contact has {held} {kind_of(source, external_id)}; it may have at most {IDS_BY_HAND_MAX}."
            " Make a contact of its own for the new one.",
            limit=str(IDS_BY_HAND_MAX),
        )


def nobody_known() -> InvalidArgument:
    """What is said of an id that could only find somebody who is known by it, where nobody is."""
    return InvalidArgument(
        "EXTERNAL_ID_INVALID",
        "Nobody is known by this. Give a phone number with its country (+5511900001234), or the id of the source.",
    )


@dataclass(slots=True)
class Identity:
    """One (source, external_id) that a contact writes with."""

    id: UUID
    contact_id: UUID
    source: str
    external_id: str
    address: str
    create_time: datetime
    username: str = ""
    """Of the account at the source, as last heard; never a key."""

    @property
    def key(self) -> str:
        return conversation_key(self.source, self.external_id)


@dataclass(slots=True)
class AliasLink:
    """Where an alias leads: to a contact, and to the identity it was learnt with, if there was one."""

    contact_id: UUID
    identity: Identity | None


@dataclass(slots=True)
class Findings:
    """All that exists for one person."""

    source: str
    """Empty where the person is known by a provider's reference alone."""
    external_id: str
    """The canonical external id; empty where there is none."""
    identity: Identity | None
    """The one with exactly this source and external id."""
    provisionals: Sequence[Identity]
    """Other identities that stand for the person's own LIDs and BSUIDs, oldest first."""
    aliases: Sequence[AliasLink]
    phone_contacts: Sequence[UUID]
    """Who has one of the person's phones, in the profile or as an identity; some perhaps more than once."""
    carriers: Sequence[UUID]
    """Of these, who carries one in the profile now."""
    email_contacts: Sequence[UUID]
    reported: AbstractSet[UUID]
    """Contacts that an earlier conflict on this very identity named already."""
    create_missing: bool
    channel: str = ""
    """The source that was written through, also where nothing names the person; empty where none is known."""
    unproven: bool = False
    """The external id is none that is believed: it may find who is known by it, and make nobody."""
    sourced: AbstractSet[UUID] = frozenset()
    """Contacts that have an id of this source already."""
    full: AbstractSet[UUID] = frozenset()
    """Contacts that have as many ids of this kind as one may come by."""
    owned: AbstractSet[UUID] = frozenset()
    """Contacts that WhatsApp's own ids of the person lead to; a reference of Chatwoot alone is weaker."""
    doubted: AbstractSet[UUID] = frozenset()
    """Contacts of whom something else is known than is said of the person, and nothing that is the same."""


@dataclass(slots=True)
class Decision:
    """What is to be done, and how it is logged."""

    outcome: Outcome
    contact_id: UUID | None = None
    make_contact: bool = False
    identity: Identity | None = None
    """An existing identity that answers; None where one is linked or there is none."""
    link: bool = False
    """The person's own (source, external_id) becomes a new identity of the contact."""
    promote: Identity | None = None
    """This provisional id takes the person's own external id."""
    retire: tuple[Identity, ...] = ()
    """Provisional ids that the identity replaces."""
    candidates: tuple[UUID, ...] = ()
    """Who could be meant; where there is an identity, people are asked."""
    contested: bool = False
    """A reference leads to another contact: what is said of the person may be said of that one."""

    @property
    def teaches(self) -> bool:
        """Whether the contact may learn what is said of the person: never where it may be another's."""
        return self.make_contact or not (self.contested or self.outcome is Outcome.AMBIGUOUS)

    @property
    def may_replace(self) -> bool:
        """Whether what is said may replace what is kept: where a phone or an e-mail led here, it fills gaps only."""
        return self.teaches and self.outcome not in (Outcome.FALLBACK_PHONE, Outcome.FALLBACK_EMAIL)


def decide(found: Findings) -> Decision:
    """Says who the person is. Raises InvalidArgument EXTERNAL_ID_INVALID when one is to be made of nothing."""
    if found.identity is not None:
        return _known(found, found.identity)
    referenced = _distinct(
        *(provisional.contact_id for provisional in found.provisionals), *(alias.contact_id for alias in found.aliases)
    )
    if len(referenced) == 1:
        return _by_alias(found, referenced[0])
    if referenced:
        return _ambiguous(found, referenced)
    if not found.create_missing:
        return Decision(Outcome.NOT_FOUND)
    if not found.external_id or found.unproven:
        raise nobody_known()
    contacts = _distinct(*found.carriers, *found.email_contacts)
    if len(contacts) > 1:
        return _ambiguous(found, contacts)
    if contacts:
        outcome = Outcome.FALLBACK_PHONE if found.carriers else Outcome.FALLBACK_EMAIL
        return _apart(*contacts) if contacts[0] in found.sourced else Decision(outcome, contacts[0], link=True)
    return Decision(Outcome.CREATED, make_contact=True, link=True)


def _known(found: Findings, identity: Identity) -> Decision:
    """A known identity keeps its contact, whatever else points elsewhere."""
    mine = identity.contact_id
    referenced = [
        *(provisional.contact_id for provisional in found.provisionals),
        *(alias.contact_id for alias in found.aliases),
    ]
    named = [*referenced, *found.phone_contacts]
    elsewhere = _distinct(*[contact for contact in named if contact != mine and contact not in found.reported])
    retire: tuple[Identity, ...] = ()
    if found.provisionals and is_phone_key(identity.source, identity.external_id):
        retire = tuple(provisional for provisional in found.provisionals if provisional.contact_id == mine)
    return Decision(
        Outcome.AMBIGUOUS if elsewhere else Outcome.MATCHED,
        contact_id=mine,
        identity=identity,
        retire=retire,
        candidates=(mine, *elsewhere) if elsewhere else (),
        # Also where people were asked before: until they have decided, the question stands.
        contested=any(contact != mine for contact in referenced),
    )


def _by_alias(found: Findings, contact_id: UUID) -> Decision:
    """A reference leads to exactly one contact: a new identity, or a phone become known, belongs to it."""
    others = tuple(contact for contact in _distinct(*found.phone_contacts) if contact != contact_id)
    elsewhere = tuple(contact for contact in others if contact not in found.reported)
    decision = Decision(
        Outcome.AMBIGUOUS if elsewhere else Outcome.MATCHED,
        contact_id=contact_id,
        candidates=(contact_id, *elsewhere) if elsewhere else (),
    )
    new_id = bool(found.external_id) and not found.unproven
    weak = contact_id not in found.owned and (bool(others) or contact_id in found.doubted)
    if new_id and (weak or contact_id in found.full):
        # A Chatwoot contact may have become two people's in a merge: it moves no id that another of ours may own. After
        # a restore its id may be a stranger's: it moves none where nothing else says that it is the same person. And
        # nobody has as many numbers as a shared id or a list would give one contact, whoever says that they are theirs.
        if found.create_missing:
            return _ambiguous(found, (contact_id, *others)) if others else _apart(contact_id)
        decision.contested = True
        return decision
    learnt = [alias.identity for alias in found.aliases if alias.identity is not None]
    if not new_id:
        of_channel = [identity for identity in learnt if found.channel in ("", identity.source)]
        decision.identity = of_channel[0] if of_channel else None
    elif is_phone_key(found.source, found.external_id):
        # The phone has become known: it takes the place of what stood in for it.
        if found.provisionals:
            decision.promote, decision.retire = found.provisionals[0], tuple(found.provisionals[1:])
        else:
            decision.link = True
    elif found.source == WHATSAPP:
        # Another name of somebody whose WhatsApp identity is known; the phone answers, where there is one.
        known = [*found.provisionals, *(identity for identity in learnt if identity.source == WHATSAPP)]
        known.sort(key=lambda identity: not is_phone_key(identity.source, identity.external_id))
        decision.identity = known[0] if known else None
        decision.link = not known
    else:
        decision.link = True
    return decision


def _ambiguous(found: Findings, contacts: tuple[UUID, ...]) -> Decision:
    """Nobody is picked: all are left as they are, and whoever writes gets a contact of their own for the time being."""
    apart = found.create_missing and bool(found.external_id)
    return Decision(Outcome.AMBIGUOUS, make_contact=apart, link=apart, candidates=contacts)


def _apart(candidate: UUID) -> Decision:
    """One contact could be meant, and not enough says so: whoever writes is somebody new, and people are asked."""
    return Decision(Outcome.CREATED, make_contact=True, link=True, candidates=(candidate,))


def _distinct(*contacts: UUID) -> tuple[UUID, ...]:
    return tuple(dict.fromkeys(contacts))


@dataclass(slots=True)
class Contact:
    """A person on the other side, as kept."""

    id: UUID
    organization_id: UUID
    name: str
    phone: str
    email: str
    tags: list[str]
    version: int
    create_time: datetime
    update_time: datetime
    profile_time: datetime | None = None
    """Of the newest word a provider sent that may replace what is kept; None where none came."""

    def forget(self, *, phone: str, email: str) -> bool:
        """Lets go of a phone and an e-mail that the provider has no longer; answers whether either was kept here."""
        changed = False
        if phone and phone == self.phone:
            self.phone, changed = "", True
        if email and email == self.email:
            self.email, changed = "", True
        return changed

    def learn(self, *, name: str, phone: str, email: str, replace: bool) -> bool:
        """Takes over what is given: all of it where it may replace, else only where nothing was known.

        Answers whether anything changed. What is empty never replaces anything.
        """
        changed = False
        if name and name != self.name and (replace or not self.name):
            self.name, changed = name, True
        if phone and phone != self.phone and (replace or not self.phone):
            self.phone, changed = phone, True
        if email and email != self.email and (replace or not self.email):
            self.email, changed = email, True
        return changed


def sorted_tags(tags: Iterable[str]) -> list[str]:
    """Tags as kept: trimmed, each once, sorted."""
    return sorted({tag.strip() for tag in tags} - {""})
