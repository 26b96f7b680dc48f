"""Two contacts become one and two again, in identity: nothing is lost, and what arrives meanwhile finds its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any
from uuid import UUID, uuid4

import grpc.aio
import pytest
import pytest_asyncio

from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.identity.v1.contact_service_pb2_grpc import ContactServiceStub
from prosa.identity.v1.events_pb2 import (
    ContactIdentityLinked,
    ContactMergeUndone,
    ContactsMerged,
    IdentityConflictDecided,
    IdentityConflictDetected,
)
from prosa.v1 import options_pb2
from tests.integration.identity.cast import (
    INSTAGRAM,
    WHATSAPP,
    alias,
    contacts_of,
    given_organization,
    new_igsid,
    new_lid,
    new_phone,
    resolve_one,
)
from tests.world import World, error_info

TARGETS = ("identity",)
SEEDS = range(6)
PERSON = options_pb2.Actor(principal="user:0190c000-0000-7000-8000-000000000001", name="ana@example.com")


@pytest_asyncio.fixture(loop_scope="session")
async def shop(world: World) -> UUID:
    """An organization of the test's own."""
    return await given_organization(world)


async def refusal(call: Any) -> Any:
    """How a call was refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return error_info(refused.value)


async def made(world: World, shop: UUID, **fields: Any) -> pb.Contact:
    """A contact made by hand."""
    answer: pb.Contact = await contacts_of(world, shop).CreateContact(pb.CreateContactRequest(**fields))
    return answer


async def merge(world: World, shop: UUID, survivor: str, loser: str, **fields: Any) -> pb.ContactMerge:
    """Merges two contacts."""
    request = pb.MergeContactsRequest(contact_id=survivor, losing_contact_id=loser, **fields)
    answer: pb.ContactMerge = await contacts_of(world, shop).MergeContacts(request)
    return answer


async def undo(world: World, shop: UUID, merged: pb.ContactMerge, request_id: str = "") -> pb.ContactMerge:
    """Takes a merge back."""
    request = pb.UndoContactMergeRequest(contact_merge_id=merged.contact_merge_id, request_id=request_id)
    answer: pb.ContactMerge = await contacts_of(world, shop).UndoContactMerge(request)
    return answer


async def state_of(world: World, shop: UUID) -> dict[str, dict[Any, Any]]:
    """All that is known of the organization's people, but for how often it was written."""
    tables = {
        "contacts": "select contact_id as key, name, phone, email, tags, merged_into from identity.contacts",
        "identities": "select contact_identity_id as key, contact_id, source, external_id, address, username"
        " from identity.contact_identities",
        "aliases": "select kind || ':' || value as key, contact_id, contact_identity_id from identity.contact_aliases",
    }
    return {
        name: {row["key"]: row for row in await world.rows(f"{query} where organization_id = %s", shop)}
        for name, query in tables.items()
    }


async def test_the_survivor_answers_for_both_and_keeps_its_own_values(world: World, shop: UUID) -> None:
    phone, igsid = new_phone(), new_igsid()
    ana = await made(world, shop, name="Ana", tags=["vip"], source=INSTAGRAM, external_id=igsid)
    also = await made(
        world,
        shop,
        name="Ana S.",
        phone=phone,
        email="a@example.com",
        tags=["loja"],
        source=WHATSAPP,
        external_id=phone,
    )
    stub = contacts_of(world, shop)
    await resolve_one(world, shop, source=WHATSAPP, external_id=phone)
    preview = await stub.PreviewContactMerge(
        pb.PreviewContactMergeRequest(contact_id=ana.contact_id, losing_contact_id=also.contact_id)
    )
    merged = await merge(world, shop, ana.contact_id, also.contact_id, reason=" A mesma ")

    assert (merged.reason, merged.undoable, merged.moved_alias_count) == ("A mesma", True, 0)
    assert [each.conversation_key for each in merged.moved_identities] == [f"whatsapp:{phone}"]
    for asked in (ana.contact_id, also.contact_id):
        answer = await stub.GetContact(pb.GetContactRequest(contact_id=asked))
        assert (answer.contact_id, answer.name, answer.phone) == (ana.contact_id, "Ana", phone)
        assert (answer.email, list(answer.tags)) == ("a@example.com", ["loja", "vip"])
        assert {each.conversation_key for each in answer.identities} == {f"whatsapp:{phone}", f"instagram:{igsid}"}
        assert list(answer.merged_contact_ids) == [also.contact_id]
        listed = await stub.ListContactIdentities(pb.ListContactIdentitiesRequest(contact_id=asked))
        assert {each.contact_id for each in listed.identities} == {ana.contact_id}
        (only,) = (await stub.ListContactMerges(pb.ListContactMergesRequest(contact_id=asked))).contact_merges
        assert only == merged
        logged = await stub.ListIdentityResolutions(pb.ListIdentityResolutionsRequest(contact_id=asked))
        assert {each.contact_id for each in logged.resolutions} == {ana.contact_id}
    assert (preview.contact.name, preview.contact.phone, list(preview.contact.tags)) == ("Ana", phone, ["loja", "vip"])
    assert [(each.field, each.surviving_value, each.losing_value) for each in preview.values] == [
        ("name", "Ana", "Ana S.")
    ]
    # By whatever either had, the list shows the one who is left.
    for wanted in (
        pb.ListContactsRequest(),
        pb.ListContactsRequest(phone=phone),
        pb.ListContactsRequest(email="a@example.com"),
        pb.ListContactsRequest(name="Ana S."),
        pb.ListContactsRequest(tag="loja"),
    ):
        found = await stub.ListContacts(wanted)
        assert [each.contact_id for each in found.contacts] == [ana.contact_id], wanted
    # Who writes with the number, or has nothing but it, is the survivor.
    assert (await resolve_one(world, shop, source=WHATSAPP, external_id=phone)).contact_id == ana.contact_id
    (fact,) = await world.announced(ContactsMerged, shop)
    assert [(each.contact_id, each.surviving_contact_id, each.version) for each in fact.redirects] == [
        (also.contact_id, ana.contact_id, 1)
    ]
    audited = await world.rows("select action from identity.audit_entries where organization_id = %s", shop)
    assert [row["action"] for row in audited] == ["prosa.identity.v1.ContactService.MergeContacts"]


async def test_an_undone_merge_leaves_what_was_there_and_is_undone_once(world: World, shop: UUID) -> None:
    ana = await made(world, shop, name="Ana")
    also = await made(world, shop, name="Ana S.", email="b@example.com", source=INSTAGRAM, external_id=new_igsid())
    before = await state_of(world, shop)
    merged = await merge(world, shop, ana.contact_id, also.contact_id)
    request_id = str(uuid4())
    undone = await undo(world, shop, merged, request_id)

    assert await state_of(world, shop) == before
    assert undone.HasField("undo_time")
    assert not undone.undoable
    assert await undo(world, shop, merged, request_id) == undone
    refused = await refusal(undo(world, shop, merged))
    assert (refused.reason, "undo_time" in refused.metadata) == ("MERGE_ALREADY_UNDONE", True)
    (fact,) = await world.announced(ContactMergeUndone, shop)
    assert [(each.contact_id, each.surviving_contact_id, each.version) for each in fact.redirects] == [
        (also.contact_id, "", 2)
    ]


async def test_whoever_was_merged_before_leads_straight_to_the_last_and_back(world: World, shop: UUID) -> None:
    a, b, c = [await made(world, shop, name=name, source=INSTAGRAM, external_id=new_igsid()) for name in "ABC"]
    first = await merge(world, shop, b.contact_id, a.contact_id)
    second = await merge(world, shop, c.contact_id, b.contact_id)
    stub = contacts_of(world, shop)

    (_, led_on) = await world.announced(ContactsMerged, shop)
    assert {(each.contact_id, each.surviving_contact_id) for each in led_on.redirects} == {
        (a.contact_id, c.contact_id),
        (b.contact_id, c.contact_id),
    }
    assert (await stub.GetContact(pb.GetContactRequest(contact_id=a.contact_id))).contact_id == c.contact_id
    refused = await refusal(undo(world, shop, first))
    assert (refused.reason, refused.metadata["contact_merge_id"]) == ("MERGE_NOT_LATEST", second.contact_merge_id)
    listed = (await stub.ListContactMerges(pb.ListContactMergesRequest())).contact_merges
    assert [each.undoable for each in listed] == [True, False]

    await undo(world, shop, second)
    assert (await stub.GetContact(pb.GetContactRequest(contact_id=a.contact_id))).contact_id == b.contact_id
    assert (await stub.GetContact(pb.GetContactRequest(contact_id=c.contact_id))).contact_id == c.contact_id
    await undo(world, shop, first)
    assert (await stub.GetContact(pb.GetContactRequest(contact_id=a.contact_id))).contact_id == a.contact_id


async def test_what_cannot_be_merged_is_refused_with_its_reason(world: World, shop: UUID) -> None:
    a, b = [await made(world, shop, name=name) for name in "AB"]
    assert (await refusal(merge(world, shop, a.contact_id, a.contact_id))).reason == "MERGE_OF_ONE"
    assert (await refusal(merge(world, shop, a.contact_id, str(uuid4())))).reason == "CONTACT_NOT_FOUND"
    assert (await refusal(merge(world, shop, a.contact_id, b.contact_id, etag="0"))).reason == "ETAG_STALE"
    merged = await merge(world, shop, a.contact_id, b.contact_id, etag=a.etag)
    assert (await refusal(merge(world, shop, b.contact_id, a.contact_id))).reason == "MERGE_OF_ONE"
    other = await given_organization(world)
    assert (await refusal(undo(world, other, merged))).reason == "CONTACT_MERGE_NOT_FOUND"
    full, more = await made(world, shop, name="Cheio"), await made(world, shop, name="Mais")
    stub = contacts_of(world, shop)
    for contact, count in ((full, 3), (more, 3)):
        for _ in range(count):
            request = pb.CreateContactIdentityRequest(
                contact_id=contact.contact_id, source=INSTAGRAM, external_id=new_igsid()
            )
            await stub.CreateContactIdentity(request)
    before = await state_of(world, shop)
    assert (await refusal(merge(world, shop, full.contact_id, more.contact_id))).reason == "IDENTITIES_LIMITED"
    assert await state_of(world, shop) == before


async def test_an_id_given_to_a_merged_contact_is_the_survivor_s(world: World, shop: UUID) -> None:
    a, b = [await made(world, shop, name=name) for name in "AB"]
    await merge(world, shop, a.contact_id, b.contact_id)
    linked = await contacts_of(world, shop).CreateContactIdentity(
        pb.CreateContactIdentityRequest(contact_id=b.contact_id, source=INSTAGRAM, external_id=new_igsid())
    )
    assert linked.contact_id == a.contact_id


class Town:
    """People who write, are merged and taken apart again, drawn from a seed."""

    def __init__(self, world: World, shop: UUID, seed: int) -> None:
        self._world, self._shop, self._draws = world, shop, random.Random(seed)
        self.people: list[dict[str, Any]] = []
        self.contact_ids: list[str] = []

    async def settle(self) -> None:
        """Some people who write, each with ids of their own."""
        for number in range(6):
            if self._draws.random() < 0.5:
                phone = new_phone()
                person = {
                    "source": WHATSAPP,
                    "external_id": phone,
                    "phone": phone,
                    "aliases": [alias(pb.ALIAS_KIND_WHATSAPP_LID, new_lid())],
                }
            else:
                person = {
                    "source": INSTAGRAM,
                    "external_id": new_igsid(),
                    "aliases": [alias(pb.ALIAS_KIND_CHATWOOT_CONTACT, f"{uuid4()}")],
                }
            name = f"Pessoa {number}" if self._draws.random() < 0.7 else ""
            self.people.append(person | {"name": name})
            self.contact_ids.append((await self.write(self.people[-1])).contact_id)

    async def write(self, person: dict[str, Any]) -> pb.ResolvedContact:
        """The person writes."""
        return await resolve_one(self._world, self._shop, **person)

    async def write_some(self) -> None:
        """Some of those who are known write, and somebody new."""
        for person in self._draws.sample(self.people, 3):
            await self.write(person)
        await self.write({"source": INSTAGRAM, "external_id": new_igsid(), "name": "Nova"})

    async def merge_two(self) -> pb.ContactMerge | None:
        """Any two become one, by whichever of their ids; None where they were one already."""
        survivor, loser = self._draws.sample(self.contact_ids, 2)
        try:
            return await merge(self._world, self._shop, survivor, loser)
        except grpc.aio.AioRpcError as error:
            if error_info(error).reason in ("MERGE_OF_ONE", "IDENTITIES_LIMITED"):
                return None
            raise


def known_before(state: dict[str, dict[Any, Any]], before: dict[str, dict[Any, Any]]) -> dict[str, dict[Any, Any]]:
    """Of a state what was there before."""
    return {name: {key: rows.get(key) for key in before[name]} for name, rows in state.items()}


@pytest.mark.parametrize("seed", SEEDS)
async def test_undoing_merges_in_turn_restores_everybody_whatever_was_merged_and_written_meanwhile(
    world: World, shop: UUID, seed: int
) -> None:
    town = Town(world, shop, seed)
    await town.settle()
    states, merges = [await state_of(world, shop)], list[pb.ContactMerge]()
    while len(merges) < 4:
        if (merged := await town.merge_two()) is not None:
            merges.append(merged)
            await town.write_some()
            states.append(await state_of(world, shop))
    while merges:
        states.pop()
        await undo(world, shop, merges.pop())
        now = await state_of(world, shop)
        assert known_before(now, states[-1]) == states[-1]
        # An alias leads to the very contact that its identity belongs to.
        for row in now["aliases"].values():
            if row["contact_identity_id"] is not None:
                assert now["identities"][row["contact_identity_id"]]["contact_id"] == row["contact_id"]
    for person, contact_id in zip(town.people, town.contact_ids, strict=True):
        assert (await town.write(person)).contact_id == contact_id
    assert await world.announced(IdentityConflictDetected, shop) == []


async def test_what_came_to_the_survivor_since_stays_with_it(world: World, shop: UUID) -> None:
    a, b = [await made(world, shop, name=name) for name in "AB"]
    merged = await merge(world, shop, a.contact_id, b.contact_id)
    igsid = new_igsid()
    await contacts_of(world, shop).CreateContactIdentity(
        pb.CreateContactIdentityRequest(contact_id=b.contact_id, source=INSTAGRAM, external_id=igsid)
    )
    await undo(world, shop, merged)
    assert (await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid)).contact_id == a.contact_id


async def test_a_reference_learnt_with_an_identity_that_goes_back_goes_with_it(world: World, shop: UUID) -> None:
    phone, reference = new_phone(), str(uuid4())
    ana = await made(world, shop, name="Ana")
    rui = await made(world, shop, name="Rui", phone=phone, source=WHATSAPP, external_id=phone)
    merged = await merge(world, shop, ana.contact_id, rui.contact_id)
    known = [alias(pb.ALIAS_KIND_CHATWOOT_CONTACT, reference)]
    await resolve_one(world, shop, source=WHATSAPP, external_id=phone, aliases=known)
    await undo(world, shop, merged)

    answer = await resolve_one(world, shop, source=WHATSAPP, external_id=phone, aliases=known)
    assert (answer.contact_id, answer.outcome) == (rui.contact_id, pb.RESOLUTION_OUTCOME_MATCHED)
    assert await world.announced(IdentityConflictDetected, shop) == []


async def test_messages_that_arrive_while_two_are_merged_and_parted_are_nobody_else_s(world: World, shop: UUID) -> None:
    phone = new_phone()
    ana = await made(world, shop, name="Ana", source=INSTAGRAM, external_id=new_igsid())
    rui = await made(world, shop, name="Rui", source=WHATSAPP, external_id=phone)

    async def write(number: int) -> None:
        # Each says something new, so each writes.
        aliases = [alias(pb.ALIAS_KIND_CHATWOOT_SOURCE, f"{shop}/{number}")]
        answer = await resolve_one(world, shop, source=WHATSAPP, external_id=phone, aliases=aliases)
        assert answer.contact_id in (ana.contact_id, rui.contact_id)

    async def merge_and_part() -> None:
        for _ in range(4):
            await undo(world, shop, await merge(world, shop, ana.contact_id, rui.contact_id))

    await asyncio.gather(merge_and_part(), *(write(number) for number in range(24)))
    state = await state_of(world, shop)
    assert {str(row["contact_id"]) for row in state["aliases"].values()} == {rui.contact_id}
    assert len(state["aliases"]) == 24
    assert await world.announced(IdentityConflictDetected, shop) == []


async def given_conflict(world: World, shop: UUID) -> tuple[str, str, str]:
    """A conflict, and the two whom it is about: who has the identity, and who carries its phone."""
    igsid, phone = new_igsid(), new_phone()
    ana = await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, name="Ana")
    rui = await resolve_one(world, shop, source=WHATSAPP, external_id=phone, phone=phone, name="Rui")
    await resolve_one(world, shop, source=INSTAGRAM, external_id=igsid, phone=phone)
    detected = (await world.announced(IdentityConflictDetected, shop))[-1]
    return detected.identity_conflict_id, ana.contact_id, rui.contact_id


async def decide(
    world: World, shop: UUID, conflict_id: str, decision: pb.ConflictDecision.ValueType, survivor: str = ""
) -> pb.IdentityConflict:
    """Decides a conflict as crm does."""
    request = pb.DecideIdentityConflictRequest(
        identity_conflict_id=conflict_id, decision=decision, surviving_contact_id=survivor, decided_by=PERSON
    )
    answer: pb.IdentityConflict = (
        await world.as_service("crm", shop).stub(ContactServiceStub).DecideIdentityConflict(request)
    )
    return answer


def parties(conflict: pb.IdentityConflict) -> Sequence[str]:
    """Whom a conflict shows."""
    return [candidate.contact.contact_id for candidate in conflict.candidates]


async def test_a_conflict_shows_its_contacts_and_what_speaks_for_each(world: World, shop: UUID) -> None:
    conflict_id, ana, rui = await given_conflict(world, shop)
    stub = contacts_of(world, shop)
    conflict = await stub.GetIdentityConflict(pb.GetIdentityConflictRequest(identity_conflict_id=conflict_id))
    assert (parties(conflict), conflict.decision) == ([ana, rui], pb.CONFLICT_DECISION_UNSPECIFIED)
    assert list(conflict.candidates[0].evidence) == ["identity"]
    unknown = pb.GetIdentityConflictRequest(identity_conflict_id=str(uuid4()))
    assert (await refusal(stub.GetIdentityConflict(unknown))).reason == "IDENTITY_CONFLICT_NOT_FOUND"


async def test_a_conflict_decided_as_one_merges_and_is_remembered(world: World, shop: UUID) -> None:
    conflict_id, ana, rui = await given_conflict(world, shop)
    decided = await decide(world, shop, conflict_id, pb.CONFLICT_DECISION_MERGE, rui)
    assert parties(decided) == [rui]
    assert (decided.decided_by, len(decided.contact_merge_ids)) == (PERSON, 1)
    assert (await resolve_one(world, shop, source=INSTAGRAM, external_id=decided.external_id)).contact_id == rui
    assert await decide(world, shop, conflict_id, pb.CONFLICT_DECISION_MERGE, rui) == decided
    refused = await refusal(decide(world, shop, conflict_id, pb.CONFLICT_DECISION_REJECT))
    assert (refused.reason, refused.metadata["decision"]) == ("IDENTITY_CONFLICT_DECIDED", "MERGE")
    (fact,) = await world.announced(IdentityConflictDecided, shop)
    assert (fact.surviving_contact_id, list(fact.contact_merge_ids)) == (rui, list(decided.contact_merge_ids))
    assert ana != rui


@pytest.mark.parametrize("decision", [pb.CONFLICT_DECISION_LINK, pb.CONFLICT_DECISION_REJECT], ids=["link", "reject"])
async def test_a_conflict_decided_otherwise_merges_nobody_and_is_not_asked_again(
    world: World, shop: UUID, decision: pb.ConflictDecision.ValueType
) -> None:
    conflict_id, ana, rui = await given_conflict(world, shop)
    links = len(await world.announced(ContactIdentityLinked, shop))
    survivor = rui if decision == pb.CONFLICT_DECISION_LINK else ""
    decided = await decide(world, shop, conflict_id, decision, survivor)
    assert (parties(decided), list(decided.contact_merge_ids)) == ([ana, rui], [])
    owner = rui if survivor else ana
    phone = (await contacts_of(world, shop).GetContact(pb.GetContactRequest(contact_id=rui))).phone
    answer = await resolve_one(world, shop, source=INSTAGRAM, external_id=decided.external_id, phone=phone)
    assert (answer.contact_id, answer.outcome) == (owner, pb.RESOLUTION_OUTCOME_MATCHED)
    assert len(await world.announced(IdentityConflictDetected, shop)) == 1
    assert len(await world.announced(ContactIdentityLinked, shop)) == links + bool(survivor)


async def test_a_survivor_whom_the_conflict_is_not_about_is_refused(world: World, shop: UUID) -> None:
    conflict_id, _, _ = await given_conflict(world, shop)
    other = await made(world, shop, name="Bia")
    refused = await refusal(decide(world, shop, conflict_id, pb.CONFLICT_DECISION_MERGE, other.contact_id))
    assert refused.reason == "SURVIVOR_INVALID"
