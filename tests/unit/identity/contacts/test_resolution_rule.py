"""The resolution rule, case by case, and what holds in every case."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.errors import InvalidArgument
from services.identity.contacts.domain import (
    INSTAGRAM,
    WHATSAPP,
    AliasLink,
    Contact,
    Decision,
    Findings,
    Identity,
    Outcome,
    decide,
    is_phone_key,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
PHONE, LID, BSUID, IGSID = "+5511900004821", "lid:210000000000001", "bsuid:BR.1a2b", "7733100045600121"
A, B, C = (UUID(int=number) for number in (1, 2, 3))


def identity(contact_id: UUID, external_id: str = PHONE, source: str = WHATSAPP) -> Identity:
    """An identity of a contact; the same each time it is asked for."""
    number = contact_id.int * 100 + [PHONE, LID, BSUID, IGSID].index(external_id)
    return Identity(UUID(int=number), contact_id, source, external_id, "", NOW)


def found(external_id: str = PHONE, **changes: Any) -> Findings:
    """What exists for a person with this id: nothing but what is named."""
    values: dict[str, Any] = {
        "source": "" if not external_id else INSTAGRAM if external_id == IGSID else WHATSAPP,
        "external_id": external_id,
        "identity": None,
        "provisionals": (),
        "aliases": (),
        "phone_contacts": (),
        "carriers": changes.get("phone_contacts", ()),
        "email_contacts": (),
        "reported": frozenset(),
        "create_missing": True,
    }
    return Findings(**(values | changes))


CASES: dict[str, tuple[Findings, Decision]] = {
    "nobody is made": (found(), Decision(Outcome.CREATED, make_contact=True, link=True)),
    "nobody stays nobody": (found(create_missing=False), Decision(Outcome.NOT_FOUND)),
    "nobody without an id stays nobody": (found("", create_missing=False), Decision(Outcome.NOT_FOUND)),
    "the identity is known": (found(identity=identity(A)), Decision(Outcome.MATCHED, A, identity=identity(A))),
    "the identity and all else agree": (
        found(identity=identity(A), aliases=(AliasLink(A, None),), phone_contacts=(A,), email_contacts=(A,)),
        Decision(Outcome.MATCHED, A, identity=identity(A)),
    ),
    "an e-mail elsewhere is no matter": (
        found(identity=identity(A), email_contacts=(B,)),
        Decision(Outcome.MATCHED, A, identity=identity(A)),
    ),
    "a known identity with somebody else's phone": (
        found(identity=identity(A), phone_contacts=(A, B)),
        Decision(Outcome.AMBIGUOUS, A, identity=identity(A), candidates=(A, B)),
    ),
    "a known identity with somebody else's alias": (
        found(identity=identity(A), aliases=(AliasLink(B, None),)),
        Decision(Outcome.AMBIGUOUS, A, identity=identity(A), candidates=(A, B), contested=True),
    ),
    "what was asked already is still no matter to learn from": (
        found(identity=identity(A), aliases=(AliasLink(B, None),), reported=frozenset({A, B})),
        Decision(Outcome.MATCHED, A, identity=identity(A), contested=True),
    ),
    "a known phone and a LID of somebody else": (
        found(identity=identity(A), provisionals=(identity(B, LID),)),
        Decision(Outcome.AMBIGUOUS, A, identity=identity(A), candidates=(A, B), contested=True),
    ),
    "what was reported once is not asked again": (
        found(identity=identity(A), phone_contacts=(B,), reported=frozenset({A, B})),
        Decision(Outcome.MATCHED, A, identity=identity(A)),
    ),
    "one more than was reported is asked about": (
        found(identity=identity(A), phone_contacts=(B, C), reported=frozenset({A, B})),
        Decision(Outcome.AMBIGUOUS, A, identity=identity(A), candidates=(A, C)),
    ),
    "a known phone replaces the same contact's LID": (
        found(identity=identity(A), provisionals=(identity(A, LID),)),
        Decision(Outcome.MATCHED, A, identity=identity(A), retire=(identity(A, LID),)),
    ),
    "a known LID does not replace a business-scoped id": (
        found(LID, identity=identity(A, LID), provisionals=(identity(A, BSUID),)),
        Decision(Outcome.MATCHED, A, identity=identity(A, LID)),
    ),
    "the phone of a LID became known": (
        found(provisionals=(identity(A, LID),), aliases=(AliasLink(A, identity(A, LID)),)),
        Decision(Outcome.MATCHED, A, promote=identity(A, LID)),
    ),
    "the phone of a LID and a business-scoped id became known": (
        found(provisionals=(identity(A, LID), identity(A, BSUID))),
        Decision(Outcome.MATCHED, A, promote=identity(A, LID), retire=(identity(A, BSUID),)),
    ),
    "a phone that became known is somebody else's": (
        found(provisionals=(identity(A, LID),), phone_contacts=(B,), owned=frozenset({A})),
        Decision(Outcome.AMBIGUOUS, A, promote=identity(A, LID), candidates=(A, B)),
    ),
    "provisional ids of two contacts": (
        found(provisionals=(identity(A, LID), identity(B, BSUID))),
        Decision(Outcome.AMBIGUOUS, make_contact=True, link=True, candidates=(A, B)),
    ),
    "an alias leads to a new phone's contact": (
        found(aliases=(AliasLink(A, identity(A)),)),
        Decision(Outcome.MATCHED, A, link=True),
    ),
    "an alias leads to a new Instagram id's contact": (
        found(IGSID, aliases=(AliasLink(A, identity(A)),)),
        Decision(Outcome.MATCHED, A, link=True),
    ),
    "a LID that has become a phone": (
        found(LID, aliases=(AliasLink(A, identity(A)),)),
        Decision(Outcome.MATCHED, A, identity=identity(A)),
    ),
    "a LID of somebody with a business-scoped id": (
        found(LID, provisionals=(identity(A, BSUID),)),
        Decision(Outcome.MATCHED, A, identity=identity(A, BSUID)),
    ),
    "the phone answers before another provisional id": (
        found(LID, provisionals=(identity(A, BSUID),), aliases=(AliasLink(A, identity(A)),)),
        Decision(Outcome.MATCHED, A, identity=identity(A)),
    ),
    "a new LID of somebody known from Instagram": (
        found(LID, aliases=(AliasLink(A, identity(A, IGSID, INSTAGRAM)),)),
        Decision(Outcome.MATCHED, A, link=True),
    ),
    "a reference alone leads to the identity it was learnt with": (
        found("", aliases=(AliasLink(A, identity(A, IGSID, INSTAGRAM)),)),
        Decision(Outcome.MATCHED, A, identity=identity(A, IGSID, INSTAGRAM)),
    ),
    "a reference to somebody without an identity": (
        found("", aliases=(AliasLink(A, None),)),
        Decision(Outcome.MATCHED, A),
    ),
    "two references to two contacts": (
        found(IGSID, aliases=(AliasLink(A, None), AliasLink(B, None))),
        Decision(Outcome.AMBIGUOUS, make_contact=True, link=True, candidates=(A, B)),
    ),
    "two references to two contacts make nobody without an id": (
        found("", aliases=(AliasLink(A, None), AliasLink(B, None))),
        Decision(Outcome.AMBIGUOUS, candidates=(A, B)),
    ),
    "a reference of Chatwoot moves no id that another may own": (
        found(IGSID, aliases=(AliasLink(A, None),), phone_contacts=(B,)),
        Decision(Outcome.AMBIGUOUS, make_contact=True, link=True, candidates=(A, B)),
    ),
    "nor where nobody is to be made": (
        found(IGSID, aliases=(AliasLink(A, None),), phone_contacts=(B,), create_missing=False),
        Decision(Outcome.AMBIGUOUS, A, candidates=(A, B), contested=True),
    ),
    "nor one of somebody else by all that is said": (
        found(aliases=(AliasLink(A, identity(A)),), doubted=frozenset({A})),
        Decision(Outcome.CREATED, make_contact=True, link=True, candidates=(A,)),
    ),
    "and teaches that one nothing where nobody is to be made": (
        found(aliases=(AliasLink(A, identity(A)),), doubted=frozenset({A}), create_missing=False),
        Decision(Outcome.MATCHED, A, contested=True),
    ),
    "an id of WhatsApp's own is believed whatever else is said": (
        found(provisionals=(identity(A, LID),), owned=frozenset({A}), doubted=frozenset({A})),
        Decision(Outcome.MATCHED, A, promote=identity(A, LID)),
    ),
    "another name of a business-scoped id keeps the person": (
        found(BSUID, aliases=(AliasLink(A, identity(A)),)),
        Decision(Outcome.MATCHED, A, identity=identity(A)),
    ),
    "nor a number too many": (
        found(aliases=(AliasLink(A, identity(A)),), full=frozenset({A})),
        Decision(Outcome.CREATED, make_contact=True, link=True, candidates=(A,)),
    ),
    "one contact with the phone": (found(phone_contacts=(A,)), Decision(Outcome.FALLBACK_PHONE, A, link=True)),
    "one contact with the phone writes from another number": (
        found(phone_contacts=(A,), email_contacts=(A,), sourced=frozenset({A})),
        Decision(Outcome.CREATED, make_contact=True, link=True, candidates=(A,)),
    ),
    "one contact had the phone and has it no longer": (
        found(IGSID, phone_contacts=(A,), carriers=()),
        Decision(Outcome.CREATED, make_contact=True, link=True),
    ),
    "one contact with the e-mail writes from another number": (
        found(email_contacts=(A,), sourced=frozenset({A})),
        Decision(Outcome.CREATED, make_contact=True, link=True, candidates=(A,)),
    ),
    "a number that is not believed finds who is known by it": (
        found(identity=identity(A), unproven=True),
        Decision(Outcome.MATCHED, A, identity=identity(A)),
    ),
    "two contacts with the phone": (
        found(phone_contacts=(A, B), email_contacts=(A,)),
        Decision(Outcome.AMBIGUOUS, make_contact=True, link=True, candidates=(A, B)),
    ),
    "a phone finds nobody where nobody is to be made": (
        found(phone_contacts=(A, B), create_missing=False),
        Decision(Outcome.NOT_FOUND),
    ),
    "the phone and the e-mail are one contact's": (
        found(phone_contacts=(A,), email_contacts=(A,)),
        Decision(Outcome.FALLBACK_PHONE, A, link=True),
    ),
    "the phone is one contact's and the e-mail another's": (
        found(phone_contacts=(A,), email_contacts=(B,)),
        Decision(Outcome.AMBIGUOUS, make_contact=True, link=True, candidates=(A, B)),
    ),
    "also where the one with the phone writes from another number": (
        found(phone_contacts=(A,), email_contacts=(B,), sourced=frozenset({A})),
        Decision(Outcome.AMBIGUOUS, make_contact=True, link=True, candidates=(A, B)),
    ),
    "one contact with the e-mail": (found(email_contacts=(A,)), Decision(Outcome.FALLBACK_EMAIL, A, link=True)),
    "two contacts with the e-mail": (
        found(email_contacts=(A, B)),
        Decision(Outcome.AMBIGUOUS, make_contact=True, link=True, candidates=(A, B)),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_rule_decides(case: str) -> None:
    findings, decision = CASES[case]
    assert decide(findings) == decision


@pytest.mark.parametrize(
    "findings",
    [
        found(""),
        found("", phone_contacts=(A,)),
        found("", email_contacts=(A,)),
        found(unproven=True, phone_contacts=(A,)),
    ],
)
def test_nobody_is_made_of_nothing_nor_found_by_a_hint_alone(findings: Findings) -> None:
    with pytest.raises(InvalidArgument) as refused:
        decide(findings)
    assert refused.value.reason == "EXTERNAL_ID_INVALID"


contacts = st.sampled_from([A, B, C])
some_contacts = st.lists(contacts, unique=True, max_size=3).map(tuple)
learnt = st.one_of(
    contacts.map(lambda contact: AliasLink(contact, None)),
    st.tuples(contacts, st.sampled_from([PHONE, LID, BSUID])).map(lambda pair: AliasLink(pair[0], identity(*pair))),
)


@st.composite
def anything(draw: st.DrawFn) -> Findings:
    """Everything that can be found for a person, also what hardly ever meets."""
    external_id = draw(st.sampled_from([PHONE, LID, BSUID, IGSID, ""]))
    source = INSTAGRAM if external_id == IGSID else WHATSAPP
    known = draw(
        st.none() | contacts.map(lambda contact: identity(contact, external_id, source)) if external_id else st.none()
    )
    kinds = [kind for kind in (LID, BSUID) if kind != external_id] if source == WHATSAPP and external_id else []
    provisionals = tuple(identity(draw(contacts), kind) for kind in kinds if draw(st.booleans()))
    aliases = tuple(draw(st.lists(learnt, max_size=3)))
    holders = draw(some_contacts)
    return found(
        external_id,
        identity=known,
        provisionals=provisionals,
        aliases=aliases,
        phone_contacts=holders,
        carriers=tuple(contact for contact in holders if draw(st.booleans())),
        email_contacts=draw(some_contacts),
        reported=frozenset(draw(some_contacts)),
        create_missing=draw(st.booleans()),
        unproven=draw(st.booleans()),
        sourced=frozenset(draw(some_contacts)),
        full=frozenset(draw(some_contacts)),
        owned=frozenset(each.contact_id for each in provisionals) | frozenset(draw(some_contacts)),
        doubted=frozenset(draw(some_contacts)),
    )


@given(anything())
def test_whatever_is_found_no_link_is_overwritten_and_nobody_is_picked(findings: Findings) -> None:
    referenced = {each.contact_id for each in findings.provisionals} | {each.contact_id for each in findings.aliases}
    known = {findings.identity.contact_id} if findings.identity else set()
    evidence = set(findings.carriers) | set(findings.email_contacts)
    try:
        decision = decide(findings)
    except InvalidArgument:
        assert not known | referenced
        assert findings.create_missing
        assert findings.unproven or not findings.external_id
        return
    if decision.contact_id is not None:
        # Positively: by the identity, by the one reference, or by evidence that meets the rule.
        assert decision.contact_id in (known or referenced or evidence)
        assert len(known or referenced or evidence) == 1
        assert not decision.make_contact
        if not known | referenced:
            assert decision.contact_id not in findings.sourced
    if decision.outcome in (Outcome.FALLBACK_PHONE, Outcome.FALLBACK_EMAIL):
        assert not known | referenced
        assert not decision.may_replace
    if decision.make_contact:
        assert findings.create_missing
        assert decision.link
        assert not known
        assert len(decision.candidates) <= 1 or decision.outcome is Outcome.AMBIGUOUS
    if decision.link:
        assert findings.external_id
        assert findings.identity is None
        assert decision.identity is None
        if decision.contact_id is not None and referenced:
            assert decision.contact_id in findings.owned or decision.contact_id not in findings.full
            assert decision.contact_id in findings.owned or decision.contact_id not in findings.doubted
            assert decision.contact_id in findings.owned or not set(findings.phone_contacts) - {decision.contact_id}
    if findings.identity is not None:
        assert decision.identity is findings.identity
        assert decision.promote is None
        # A contact learns nothing of what may have been said of another.
        assert not decision.teaches or referenced <= known
    if decision.promote is not None:
        assert is_phone_key(findings.source, findings.external_id)
        assert decision.promote.contact_id == decision.contact_id
    assert all(retired.contact_id == decision.contact_id for retired in decision.retire)
    if decision.outcome is Outcome.AMBIGUOUS:
        assert decision.candidates
        assert decision.make_contact or not decision.teaches
    elif decision.candidates:
        assert decision.outcome is Outcome.CREATED
        assert len(decision.candidates) == 1
    assert (decision.outcome is Outcome.NOT_FOUND) is (not known | referenced and not findings.create_missing)


def someone(**changes: str) -> Contact:
    """A contact of whom only the name is known."""
    values = {"name": "Ana", "phone": "", "email": ""} | changes
    return Contact(A, B, values["name"], values["phone"], values["email"], [], 1, NOW, NOW)


@pytest.mark.parametrize(
    ("given_fields", "replace", "expected", "changed"),
    [
        ({"name": "Rui", "phone": PHONE, "email": "a@b.c"}, False, ("Ana", PHONE, "a@b.c"), True),
        ({"name": "Rui", "phone": "", "email": ""}, False, ("Ana", "", ""), False),
        ({"name": "Rui", "phone": "", "email": ""}, True, ("Rui", "", ""), True),
        ({"name": "", "phone": "", "email": ""}, True, ("Ana", "", ""), False),
        ({"name": "Ana", "phone": "", "email": ""}, True, ("Ana", "", ""), False),
    ],
)
def test_a_contact_learns_what_is_new_and_never_forgets(
    given_fields: dict[str, str], replace: bool, expected: tuple[str, str, str], changed: bool
) -> None:
    contact = someone()
    assert contact.learn(**given_fields, replace=replace) is changed
    assert (contact.name, contact.phone, contact.email) == expected
