"""ContactService: translate, call, translate."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import grpc
import structlog
from google.protobuf.message import Message

from chassis import auth, canonical, wire
from chassis.bisect import bisect, patiently
from chassis.canonical import Source
from chassis.clock import Clock
from chassis.db import Database, Tx
from chassis.errors import Aborted, AlreadyExists, InvalidArgument, ProsaError, to_status
from chassis.idempotency import IdempotencyStore
from chassis.ids import Ids
from chassis.outbox import Fact, Outbox
from chassis.paging import Page, read_page
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1 import contact_service_pb2_grpc as pb_grpc
from prosa.identity.v1 import events_pb2
from services.identity.audit.audit import Audit, Target
from services.identity.contacts import (
    backfill,
    backfill_store,
    facts,
    merge_domain,
    merge_messages,
    merge_store,
    people,
    resolution_store,
)
from services.identity.contacts import (
    store as contact_store,
)
from services.identity.contacts.conflicts import Conflicts
from services.identity.contacts.domain import Contact, Identity, nobody_known, require_space, sorted_tags
from services.identity.contacts.junk import Blocked
from services.identity.contacts.merge_domain import Actor, Merge
from services.identity.contacts.merging import Merging
from services.identity.contacts.resolution_batch import Person
from services.identity.contacts.resolver import Resolver, Result, organization_of

TAG_LENGTH_MAX = 100
MERGE_ATTEMPT_COUNT_MAX = 20
"""How often a merge is begun anew because somebody who is merged writes at the same moment: each waits for those
who wrote before it."""
MERGED_SHOWN_MAX = 100
"""How many of those that were merged into a contact are named with it; the list of merges pages through all."""
USERNAME_FOUND_DAYS = 30
"""How long a contact is found by a username that it has no longer."""

Answer = TypeVar("Answer", bound=Message)
Context = grpc.aio.ServicerContext[Any, Any]


logger = structlog.get_logger(__name__)


class ContactServicer(pb_grpc.ContactServiceServicer):
    """Contacts, their identities and how each was found."""

    def __init__(
        self,
        db: Database,
        outbox: Outbox,
        idempotency: IdempotencyStore,
        clock: Clock,
        ids: Ids,
        blocked: Blocked,
        audit: Audit,
    ) -> None:
        self._audit = audit
        self._db, self._outbox, self._idempotency = db, outbox, idempotency
        self._clock, self._ids = clock, ids
        self._blocked = blocked
        self._resolver = Resolver(outbox, ids, blocked)
        self._backfiller = backfill.Backfiller(outbox, ids, blocked)
        self._merging = Merging(outbox, ids)
        self._conflicts = Conflicts(outbox, ids, self._merging)

    async def BatchResolveContacts(
        self, request: pb.BatchResolveContactsRequest, context: Context
    ) -> pb.BatchResolveContactsResponse:
        results = await bisect(request.people, patiently(self._resolve))
        logger.info("contacts_resolved", correlation_ids=[person.cause_id for person in request.people])
        response = pb.BatchResolveContactsResponse()
        for result in results:
            if isinstance(result, ProsaError):
                response.results.add(error=to_status(result))
            else:
                # Written in place: a message that is made apart would be copied into the answer.
                facts.write_resolved(response.results.add().contact, result)
        return response

    async def _resolve(self, messages: Sequence[pb.Person]) -> Sequence[Result]:
        organizations = [organization_of(text) for text in {message.organization_id for message in messages}]
        async with self._db.transaction(*organizations) as tx:
            return await self._resolver.resolve(tx, messages, self._clock.now())

    async def ResolveContact(self, request: pb.ResolveContactRequest, context: Context) -> pb.ResolvedContact:
        organization_id = auth.organization_id()
        person = pb.Person(
            organization_id=str(organization_id),
            source=request.source,
            external_id=request.external_id,
            address=request.external_id,
            name=request.name,
            phone=request.phone,
            email=request.email,
            create_missing=True,
            cause_id=request.request_id,
        )
        now = self._clock.now()
        async with self._db.transaction(organization_id) as tx:
            answer = None
            # Who cannot be read is logged and not kept as an answer: the rule may know better the next time.
            if await self._is_readable(tx, organization_id, person):
                answer = await self._idempotency.claim(
                    tx, organization_id, "ResolveContact", request, pb.ResolvedContact, now
                )
            if answer is not None:
                return answer
            (result,) = await self._resolver.resolve(tx, [person], now, by_hand=True)
            if not isinstance(result, ProsaError):
                answer = facts.resolved_message(result)
                await self._idempotency.keep(tx, organization_id, request, answer)
        if isinstance(result, ProsaError):
            raise result
        assert answer is not None
        return answer

    async def CreateContact(self, request: pb.CreateContactRequest, context: Context) -> pb.Contact:
        organization_id, now = auth.organization_id(), self._clock.now()

        async def create(tx: Tx) -> pb.Contact:
            region = await contact_store.region_of(tx, organization_id)
            person, tags = _new_person(request, organization_id, region, self._blocked)
            await resolution_store.lock_keys(tx, [person])
            contact = Contact(
                id=self._ids.new(),
                organization_id=organization_id,
                name=person.name,
                phone=person.phone,
                email=person.email,
                tags=tags,
                version=1,
                create_time=now,
                update_time=now,
            )
            await contact_store.insert_contact(tx, contact)
            identities = [await self._link(tx, person, contact.id)] if person.external_id else []
            announcements = [
                Fact(
                    organization_id,
                    events_pb2.ContactCreated(
                        organization_id=str(organization_id), contact=facts.contact_message(contact), version=1
                    ),
                ),
                *(facts.linked_fact(organization_id, identity) for identity in identities),
            ]
            await self._outbox.add(tx, announcements, now)
            shown = [facts.identity_message(organization_id, identity) for identity in identities]
            return facts.contact_message(contact, shown)

        return await self._idempotency.once(self._db, organization_id, request, pb.Contact, now, create)

    async def GetContact(self, request: pb.GetContactRequest, context: Context) -> pb.Contact:
        organization_id = auth.organization_id()
        contact_id = wire.to_uuid("contact_id", request.contact_id)
        async with self._db.transaction(organization_id) as tx:
            contact = await contact_store.find_contact(tx, organization_id, contact_id)
            identities = await contact_store.identities_of(tx, organization_id, contact.id)
            merged = await merge_store.merged_into(tx, organization_id, contact.id, MERGED_SHOWN_MAX)
        shown = [facts.identity_message(organization_id, identity) for identity in identities]
        answer = facts.contact_message(contact, shown)
        answer.merged_contact_ids.extend(str(contact_id) for contact_id in merged)
        return answer

    async def ListContacts(self, request: pb.ListContactsRequest, context: Context) -> pb.ListContactsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        async with self._db.transaction(organization_id) as tx:
            region = await contact_store.region_of(tx, organization_id)
            contacts = await contact_store.list_contacts(
                tx,
                organization_id,
                after=page.after_id(),
                limit=page.size + 1,
                phone=people.find_phone(request.phone, region),
                email=people.require_email(request.email),
                tag=people.clean(request.tag),
                name=people.clean(request.name),
                former_since=self._clock.now() - timedelta(days=USERNAME_FOUND_DAYS),
            )
        shown, token = page.cut(contacts, lambda contact: [contact.id])
        return pb.ListContactsResponse(
            contacts=[facts.contact_message(contact) for contact in shown], next_page_token=token
        )

    async def CreateContactIdentity(
        self, request: pb.CreateContactIdentityRequest, context: Context
    ) -> pb.ContactIdentity:
        organization_id, now = auth.organization_id(), self._clock.now()
        contact_id = wire.to_uuid("contact_id", request.contact_id)

        async def create(tx: Tx) -> pb.ContactIdentity:
            message = pb.Person(source=request.source, external_id=request.external_id, address=request.external_id)
            region = await contact_store.region_of(tx, organization_id)
            person = people.read_person(message, organization_id, region, self._blocked, by_hand=True)
            await resolution_store.lock_keys(tx, [person])
            holder_id = await contact_store.hold_contact(tx, organization_id, contact_id)
            identity = await contact_store.find_identity(
                tx, organization_id, person.source, person.external_id, person.aliases
            )
            if identity is None or identity.contact_id != holder_id:
                identity = await self._link(tx, person, holder_id)
                await self._outbox.add(tx, [facts.linked_fact(organization_id, identity)], now)
            return facts.identity_message(organization_id, identity)

        return await self._idempotency.once(self._db, organization_id, request, pb.ContactIdentity, now, create)

    async def ListContactIdentities(
        self, request: pb.ListContactIdentitiesRequest, context: Context
    ) -> pb.ListContactIdentitiesResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        contact_id = wire.to_optional_uuid("contact_id", request.contact_id)
        source = people.SOURCES.get(request.source)
        async with self._db.transaction(organization_id) as tx:
            external_ids = None
            if request.external_id:
                region = await contact_store.region_of(tx, organization_id)
                sources = [source] if source is not None else list(people.SOURCES.values())
                found = [canonical.try_identify(each, request.external_id, region) for each in sources]
                external_ids = [identity.external_id for identity in found if identity is not None]
                known = canonical.own_key(request.external_id)
                if known is not None and all(each is None or each.source is not Source.WHATSAPP for each in found):
                    external_ids.append(known.partition(":")[2])
            identities = await contact_store.list_identities(
                tx,
                organization_id,
                after=page.after_id(),
                limit=page.size + 1,
                contact_id=contact_id,
                source=source.value if source is not None else "",
                external_ids=external_ids,
            )
        shown, token = page.cut(identities, lambda identity: [identity.id])
        return pb.ListContactIdentitiesResponse(
            identities=[facts.identity_message(organization_id, identity) for identity in shown], next_page_token=token
        )

    async def BackfillContactIdentities(
        self, request: pb.BackfillContactIdentitiesRequest, context: Context
    ) -> pb.BackfillContactIdentitiesResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        if people.SOURCES.get(request.source) is not Source.WHATSAPP:
            raise InvalidArgument("SOURCE_INVALID", "Only SOURCE_WHATSAPP: no other identity follows from a phone.")
        page = replace(page, size=min(request.page_size or backfill.PAGE_SIZE_MAX, backfill.PAGE_SIZE_MAX))
        for attempts_left in reversed(range(backfill.ATTEMPT_COUNT_MAX)):
            try:
                return await self._backfill(organization_id, page, dry_run=request.dry_run)
            except Aborted:
                if not attempts_left:
                    raise
        raise AssertionError("the last attempt answers or raises")

    async def _backfill(
        self, organization_id: UUID, page: Page, *, dry_run: bool
    ) -> pb.BackfillContactIdentitiesResponse:
        async with self._db.transaction(organization_id) as tx:
            region = await contact_store.region_of(tx, organization_id)
            contacts = await backfill_store.list_contacts(
                tx, organization_id, after=page.after_id(), limit=page.size + 1
            )
            shown, token = page.cut(contacts, lambda contact: [contact.id])
            batch = await self._backfiller.run(
                tx, organization_id, shown, region, dry_run=dry_run, now=self._clock.now()
            )
            if not dry_run:
                target = Target("organization", organization_id)
                await self._audit.of_caller(
                    tx, organization_id, "ContactService.BackfillContactIdentities", target, self._clock.now()
                )
        answer = backfill.response(batch, token)
        logger.info(
            "contact_identities_backfilled",
            dry_run=dry_run,
            examined=answer.examined_count,
            created=answer.created_count,
            conflicting=answer.conflicting_count,
        )
        return answer

    async def ListIdentityResolutions(
        self, request: pb.ListIdentityResolutionsRequest, context: Context
    ) -> pb.ListIdentityResolutionsResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        contact_id = wire.to_optional_uuid("contact_id", request.contact_id)
        outcome = next((outcome.value for outcome, number in facts.OUTCOMES.items() if number == request.outcome), "")
        async with self._db.transaction(organization_id) as tx:
            logged = await contact_store.list_resolutions(
                tx, organization_id, after=page.after_id(), limit=page.size + 1, contact_id=contact_id, outcome=outcome
            )
        shown, token = page.cut(logged, lambda entry: [entry.id])
        return pb.ListIdentityResolutionsResponse(
            resolutions=[facts.resolution_message(entry) for entry in shown], next_page_token=token
        )

    async def MergeContacts(self, request: pb.MergeContactsRequest, context: Context) -> pb.ContactMerge:
        organization_id, now = auth.organization_id(), self._clock.now()
        surviving = wire.to_uuid("contact_id", request.contact_id)
        losing = wire.to_uuid("losing_contact_id", request.losing_contact_id)

        async def merge(tx: Tx) -> pb.ContactMerge:
            merged = await self._merging.merge(
                tx, organization_id, surviving, losing, _caller(), now, reason=request.reason.strip(), etag=request.etag
            )
            (shown,) = await self._shown(tx, organization_id, [merged])
            target = Target("contact", surviving, after=shown)
            await self._audit.of_caller(tx, organization_id, "ContactService.MergeContacts", target, now)
            return shown

        return await self._once(request, pb.ContactMerge, merge)

    async def PreviewContactMerge(
        self, request: pb.PreviewContactMergeRequest, context: Context
    ) -> pb.ContactMergePreview:
        organization_id = auth.organization_id()
        surviving = wire.to_uuid("contact_id", request.contact_id)
        losing = wire.to_uuid("losing_contact_id", request.losing_contact_id)
        async with self._db.transaction(organization_id) as tx:
            pair = await self._merging.look(tx, organization_id, surviving, losing)
        taken = merge_domain.taken_over(pair.survivor, pair.loser)
        return merge_messages.preview_message(pair.survivor, pair.loser, taken, pair.identities, len(pair.alias_keys))

    async def UndoContactMerge(self, request: pb.UndoContactMergeRequest, context: Context) -> pb.ContactMerge:
        organization_id, now = auth.organization_id(), self._clock.now()
        merge_id = wire.to_uuid("contact_merge_id", request.contact_merge_id)

        async def undo(tx: Tx) -> pb.ContactMerge:
            undone = await self._merging.undo(tx, organization_id, merge_id, _caller(), now)
            (shown,) = await self._shown(tx, organization_id, [undone])
            target = Target("contact_merge", merge_id, after=shown)
            await self._audit.of_caller(tx, organization_id, "ContactService.UndoContactMerge", target, now)
            return shown

        return await self._once(request, pb.ContactMerge, undo)

    async def ListContactMerges(
        self, request: pb.ListContactMergesRequest, context: Context
    ) -> pb.ListContactMergesResponse:
        organization_id, page = auth.organization_id(), read_page(request)
        contact_id = wire.to_optional_uuid("contact_id", request.contact_id)
        async with self._db.transaction(organization_id) as tx:
            merges = await merge_store.list_merges(
                tx, organization_id, before=page.after_id(), limit=page.size + 1, contact_id=contact_id
            )
            shown, token = page.cut(merges, lambda merge: [merge.id])
            messages = await self._shown(tx, organization_id, shown)
        return pb.ListContactMergesResponse(contact_merges=messages, next_page_token=token)

    async def GetIdentityConflict(
        self, request: pb.GetIdentityConflictRequest, context: Context
    ) -> pb.IdentityConflict:
        organization_id = auth.organization_id()
        conflict_id = wire.to_uuid("identity_conflict_id", request.identity_conflict_id)
        async with self._db.transaction(organization_id) as tx:
            return await self._conflicts.get(tx, organization_id, conflict_id)

    async def DecideIdentityConflict(
        self, request: pb.DecideIdentityConflictRequest, context: Context
    ) -> pb.IdentityConflict:
        organization_id, now = auth.organization_id(), self._clock.now()
        conflict_id = wire.to_uuid("identity_conflict_id", request.identity_conflict_id)
        surviving = wire.to_optional_uuid("surviving_contact_id", request.surviving_contact_id)
        decision = merge_messages.DECIDED[request.decision]
        decider = Actor(request.decided_by.principal, request.decided_by.name)

        async def decide(tx: Tx) -> pb.IdentityConflict:
            decided = await self._conflicts.decide(tx, organization_id, conflict_id, decision, surviving, decider, now)
            target = Target("identity_conflict", conflict_id, after=decided)
            method = "ContactService.DecideIdentityConflict"
            await self._audit.of(tx, organization_id, *decider, method, target, now)
            return decided

        return await self._once(request, pb.IdentityConflict, decide)

    async def _once(
        self, request: Message, answer_type: type[Answer], work: Callable[[Tx], Awaitable[Answer]]
    ) -> Answer:
        """As ``IdempotencyStore.once``, and anew where somebody else wrote the same contacts."""
        organization_id, now = auth.organization_id(), self._clock.now()
        for _ in range(MERGE_ATTEMPT_COUNT_MAX - 1):
            try:
                return await self._idempotency.once(self._db, organization_id, request, answer_type, now, work)
            except Aborted as error:
                if error.reason != "WRITE_CONFLICT":
                    raise
        return await self._idempotency.once(self._db, organization_id, request, answer_type, now, work)

    @staticmethod
    async def _shown(tx: Tx, organization_id: UUID, merges: Sequence[Merge]) -> list[pb.ContactMerge]:
        """Merges with what moved, and whether they can be undone now."""
        moved = {identity_id for merge in merges for identity_id in merge.moved_identity_ids}
        identities = await merge_store.identities_by_id(tx, organization_id, moved)
        survivors = [merge.surviving_contact_id for merge in merges if merge.undo_time is None]
        topmost = await merge_store.topmost_merges(tx, organization_id, survivors)
        return [
            merge_messages.merge_message(
                merge,
                [identities[each] for each in merge.moved_identity_ids if each in identities],
                undoable=topmost.get(merge.surviving_contact_id) == merge.id,
            )
            for merge in merges
        ]

    async def _is_readable(self, tx: Tx, organization_id: UUID, person: pb.Person) -> bool:
        region = await contact_store.region_of(tx, organization_id)
        try:
            people.read_person(person, organization_id, region, self._blocked, by_hand=True)
        except InvalidArgument:
            return False
        return True

    async def _link(self, tx: Tx, person: Person, contact_id: UUID) -> Identity:
        """Gives a contact, which is held, the person's identity.

        Raises AlreadyExists IDENTITY_TAKEN, InvalidArgument EXTERNAL_ID_INVALID and FailedPrecondition
        IDENTITIES_LIMITED.
        """
        organization_id, now = person.organization_id, self._clock.now()
        taken = await contact_store.find_identity(
            tx, organization_id, person.source, person.external_id, person.aliases
        )
        if taken is not None:
            raise AlreadyExists(
                "IDENTITY_TAKEN",
                f"{taken.key} belongs to another contact already.",
                contact_id=str(taken.contact_id),
            )
        if person.unproven:
            raise nobody_known()
        held = await contact_store.ids_of_kind(tx, organization_id, contact_id, person.source, person.external_id)
        require_space(person.source, person.external_id, held)
        identity = Identity(self._ids.new(), contact_id, person.source, person.external_id, person.address, now)
        await resolution_store.insert_identities(tx, [(organization_id, identity)], now)
        for kind, value in person.aliases:
            await contact_store.insert_alias(tx, organization_id, kind, value, identity, now)
        return identity


def _caller() -> Actor:
    caller = auth.caller()
    return Actor(caller.principal, caller.name)


def _new_person(
    request: pb.CreateContactRequest, organization_id: UUID, region: str, blocked: Blocked
) -> tuple[Person, list[str]]:
    """The contact to be made by hand, and its tags. Raises InvalidArgument where a field says nothing usable."""
    phone, email = people.normalize_phone(request.phone, region), people.require_email(request.email)
    if bool(request.source) != bool(request.external_id):
        raise InvalidArgument("EXTERNAL_ID_INVALID", "Give source and external_id together, or neither.")
    # The phone is not handed on: a LID given by hand stays the identity that was asked for.
    message = pb.Person(
        source=request.source, external_id=request.external_id, address=request.external_id, name=request.name
    )
    person = people.read_person(message, organization_id, region, blocked, by_hand=True)
    if not person.name:
        raise InvalidArgument("NAME_INVALID", "Give the contact a name.")
    person.phone = phone or (person.external_id if person.external_id.startswith("+") else "")
    person.email = email
    tags = sorted_tags(people.clean(tag) for tag in request.tags)
    if any(len(tag) > TAG_LENGTH_MAX for tag in tags):
        raise InvalidArgument("TAG_INVALID", f"A tag has at most {TAG_LENGTH_MAX} letters.")
    return person, tags
