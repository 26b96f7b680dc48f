"""Giving contacts the WhatsApp identity that their own phone says, batch by batch: look, hold, look again, write.

Only a contact's own phone counts: never an e-mail, a name or an id of another source, from which a number can only be
guessed. A LID that serves for a phone stays beside it: that the two are one is for WhatsApp to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from chassis import canonical
from chassis.db import Tx
from chassis.errors import Aborted
from chassis.ids import Ids
from chassis.outbox import Outbox
from prosa.identity.v1 import contact_service_pb2 as pb
from services.identity.contacts import backfill_store, facts, resolution_log_store, resolution_store
from services.identity.contacts.backfill_domain import Batch, Claims, Standing
from services.identity.contacts.domain import WHATSAPP, Contact, Identity, Outcome, conversation_key
from services.identity.contacts.junk import Blocked
from services.identity.contacts.resolution_batch import Changes, Conflict, Person, Resolution

PAGE_SIZE_MAX = 500
"""Contacts of one batch, which is one transaction."""
ATTEMPT_COUNT_MAX = 3
"""How often a batch is tried where somebody wrote the same contacts at the same moment."""
SHOWN_MAX = 100
"""How many conflicts, and how many contacts with unreadable phones, one batch names."""
CAUSE_ID = "backfill:whatsapp"
"""What the resolution log says the rows came from."""


@dataclass(slots=True)
class _Gathered:
    """What a batch writes, and its rows of the log."""

    changes: Changes = field(default_factory=Changes)
    log: list[tuple[Resolution, str]] = field(default_factory=list)


class Backfiller:
    """Links contacts to the identities of their phones."""

    def __init__(self, outbox: Outbox, ids: Ids, blocked: Blocked) -> None:
        self._outbox = outbox
        self._ids = ids
        self._blocked = blocked

    async def run(
        self, tx: Tx, organization_id: UUID, contacts: Sequence[Contact], region: str, *, dry_run: bool, now: datetime
    ) -> Batch:
        """How the contacts stand; a dry run only looks.

        Raises Aborted where a contact got another phone meanwhile: nothing is written, and the batch may be tried anew.
        """
        batch, writings = _read(contacts, region, self._blocked)
        batch.claims = await backfill_store.load_claims(tx, organization_id, writings)
        batch.stand()
        changing = batch.changing()
        if dry_run or not changing:
            return batch
        # Whoever writes one of these phones, or is found by it, waits from here on: look again, then write.
        people = {phone: _person(organization_id, phone) for phone in changing}
        await resolution_store.lock_keys(tx, list(people.values()))
        concerned = {contact.id: contact for contact in contacts if batch.phones.get(contact.id) in people}
        owners = [claims.owner.contact_id for phone in changing if (claims := batch.claims[phone]).owner is not None]
        held = await backfill_store.hold_contacts(tx, organization_id, concerned.keys() | set(owners))
        for contact in concerned.values():
            if contact.id not in held or held[contact.id].phone != contact.phone:
                raise Aborted("WRITE_CONFLICT", "A contact's phone changed at the same moment. Try again.")
        again = {phone: writings[phone] for phone in changing}
        batch.claims |= await backfill_store.load_claims(tx, organization_id, again)
        batch.stand()
        gathered = self._gather(batch, people, held, now)
        await resolution_store.write(tx, gathered.changes, now)
        await self._outbox.add(tx, facts.facts_of(gathered.changes, now), now)
        await resolution_log_store.add(tx, gathered.log, self._ids.new, now)
        return batch

    def _gather(self, batch: Batch, people: dict[str, Person], held: dict[UUID, Contact], now: datetime) -> _Gathered:
        """What is to be written for the phones that are held."""
        gathered = _Gathered()
        for contact_id in batch.of(Standing.CREATED):
            phone = batch.phones[contact_id]
            person = people[phone]
            identity = Identity(self._ids.new(), contact_id, WHATSAPP, phone, "", now)
            gathered.changes.new_identities.append((person.organization_id, identity))
            found = Resolution(person, Outcome.FALLBACK_PHONE, held[contact_id], identity, "", (), settled=False)
            gathered.log.append((found, ""))
        for phone, claims in batch.conflicts().items():
            if phone not in people or not claims.unasked():
                continue
            person, candidates = people[phone], claims.candidates()
            announced = claims.open_conflict_id is not None
            claims.open_conflict_id = claims.open_conflict_id or self._ids.new()
            # Where nobody has the identity, nobody gets it: the question needs a contact to hang on, the oldest.
            key = (person.organization_id, WHATSAPP, phone)
            gathered.changes.conflicts[key] = Conflict(
                claims.open_conflict_id, *key, candidates[0], candidates, announced=announced
            )
            owner = held.get(claims.owner.contact_id) if claims.owner is not None else None
            asked = Resolution(person, Outcome.AMBIGUOUS, owner, claims.owner, "", candidates, settled=False)
            gathered.log.append((asked, ""))
        return gathered


def response(batch: Batch, next_page_token: str) -> pb.BackfillContactIdentitiesResponse:
    """The answer for one batch."""
    return pb.BackfillContactIdentitiesResponse(
        examined_count=len(batch.standings),
        created_count=len(batch.of(Standing.CREATED)),
        existing_count=len(batch.of(Standing.EXISTING)),
        conflicting_count=len(batch.of(Standing.CONFLICTING)),
        unreadable_count=len(batch.of(Standing.UNREADABLE)),
        without_phone_count=len(batch.of(Standing.WITHOUT_PHONE)),
        conflicts=[_conflict(phone, claims) for phone, claims in list(batch.conflicts().items())[:SHOWN_MAX]],
        unreadable_contact_ids=[str(contact_id) for contact_id in batch.of(Standing.UNREADABLE)[:SHOWN_MAX]],
        next_page_token=next_page_token,
    )


def _conflict(phone: str, claims: Claims) -> pb.BackfillConflict:
    return pb.BackfillConflict(
        conversation_key=conversation_key(WHATSAPP, phone),
        owner_contact_id=str(claims.owner.contact_id) if claims.owner is not None else "",
        candidate_contact_ids=[str(candidate) for candidate in claims.candidates()],
        identity_conflict_id=str(claims.open_conflict_id) if claims.open_conflict_id is not None else "",
    )


def _read(contacts: Sequence[Contact], region: str, blocked: Blocked) -> tuple[Batch, dict[str, list[str]]]:
    """The contacts with their phones in the form of the key, and by that form every writing a profile may have."""
    batch, writings = Batch(), dict[str, list[str]]()
    for contact in contacts:
        if not contact.phone:
            batch.standings[contact.id] = Standing.WITHOUT_PHONE
            continue
        phone = canonical.try_normalize_phone(contact.phone, region)
        if phone is None or blocked.phone(phone):
            batch.standings[contact.id] = Standing.UNREADABLE
            continue
        batch.phones[contact.id] = phone
        # Its place in the order; how it stands is said by the claims.
        batch.standings[contact.id] = Standing.CREATED
        known = writings.setdefault(phone, list(canonical.phone_writings(phone)))
        if contact.phone not in known:
            known.append(contact.phone)
    return batch, writings


def _person(organization_id: UUID, phone: str) -> Person:
    """Whom the phone's identity would be: for the locks and the log."""
    return Person(
        organization_id=organization_id,
        source=WHATSAPP,
        external_id=phone,
        address="",
        name="",
        phone=phone,
        email="",
        aliases=(),
        create_missing=False,
        update_profile=False,
        cause_id=CAUSE_ID,
    )
