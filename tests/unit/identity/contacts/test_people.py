"""Reading people off the wire."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chassis.canonical import CANONICAL_KEY
from chassis.errors import InvalidArgument
from prosa.identity.v1 import contact_service_pb2 as pb
from prosa.v1 import options_pb2
from services.identity.contacts.domain import AliasKind, conversation_key
from services.identity.contacts.junk import Blocked
from services.identity.contacts.people import read_email, read_person
from services.identity.contacts.resolution_batch import Person

SHOP = UUID(int=1)
WHATSAPP, INSTAGRAM = options_pb2.SOURCE_WHATSAPP, options_pb2.SOURCE_INSTAGRAM
LID, BSUID = pb.ALIAS_KIND_WHATSAPP_LID, pb.ALIAS_KIND_WHATSAPP_BSUID
PHONE = "+5511900004821"


def read(**fields: Any) -> Person:
    """Reads one person of a Brazilian shop."""
    return read_person(pb.Person(**fields), SHOP, "BR", Blocked(["+5511900000099", "@descarte.example"]))


@pytest.mark.parametrize(
    ("fields", "external_id"),
    [
        ({"source": WHATSAPP, "external_id": "551198765432"}, "+5511998765432"),
        ({"source": WHATSAPP, "external_id": "5511900004821:12@s.whatsapp.net"}, PHONE),
        ({"source": WHATSAPP, "external_id": "210000000000001@lid"}, "lid:210000000000001"),
        ({"source": WHATSAPP, "external_id": "210000000000001@lid", "phone": PHONE}, PHONE),
        ({"source": WHATSAPP, "external_id": "BR.1a2b"}, "bsuid:BR.1a2b"),
        ({"source": WHATSAPP, "phone": "11 90000-4821"}, PHONE),
        ({"source": WHATSAPP, "aliases": [pb.Alias(kind=LID, value="210000000000001")]}, "lid:210000000000001"),
        ({"source": WHATSAPP, "aliases": [pb.Alias(kind=BSUID, value="BR.1a2b")]}, "bsuid:BR.1a2b"),
        ({"source": INSTAGRAM, "external_id": "7733100045600121", "phone": PHONE}, "7733100045600121"),
        ({"aliases": [pb.Alias(kind=pb.ALIAS_KIND_CHATWOOT_CONTACT, value="c:118")]}, ""),
        ({"source": INSTAGRAM, "phone": PHONE}, ""),
    ],
)
def test_a_person_is_known_by_the_best_id_there_is(fields: dict[str, Any], external_id: str) -> None:
    assert read(**fields).external_id == external_id


def test_a_provisional_id_is_kept_as_an_alias_beside_the_phone() -> None:
    person = read(source=WHATSAPP, external_id="210000000000001@lid", phone=PHONE)
    assert person.aliases == ((AliasKind.WHATSAPP_LID, "210000000000001"),)
    assert person.provisionals() == ["lid:210000000000001"]


def test_aliases_that_are_none_are_left_out_and_the_others_come_once() -> None:
    aliases = [
        pb.Alias(kind=LID, value="lid:210000000000001"),
        pb.Alias(kind=LID, value="210000000000001@lid"),
        pb.Alias(kind=LID, value="Ana"),
        pb.Alias(kind=BSUID, value=PHONE),
        pb.Alias(kind=pb.ALIAS_KIND_CHATWOOT_CONTACT, value="\0 "),
        pb.Alias(value="c:118"),
    ]
    assert read(source=WHATSAPP, external_id=PHONE, aliases=aliases).aliases == (
        (AliasKind.WHATSAPP_LID, "210000000000001"),
    )


@pytest.mark.parametrize("text", ["ana", "@example.com", "ana@", "ana@host", "a na@example.com", ""])
def test_what_is_no_email_is_left_out(text: str) -> None:
    assert read_email(text) == ""


def test_an_email_is_kept_in_small_letters() -> None:
    assert read_email(" Ana@Example.COM ") == "ana@example.com"


@given(source=st.sampled_from([WHATSAPP, INSTAGRAM]), external_id=st.text(min_size=1, max_size=40), name=st.text())
def test_any_text_is_an_identity_with_a_canonical_key_or_is_refused(
    source: options_pb2.Source.ValueType, external_id: str, name: str
) -> None:
    try:
        person = read(source=source, external_id=external_id, name=name)
    except InvalidArgument:
        return
    assert CANONICAL_KEY.fullmatch(conversation_key(person.source, person.external_id))
    assert "\0" not in person.name


@pytest.mark.parametrize(
    ("fields", "external_id", "address"),
    [
        ({"written_number": "(11) 90000-4821"}, PHONE, ""),
        ({"written_number": "(11) 90000-4821", "external_id": f"whatsapp:{PHONE}", "address": "raw"}, PHONE, "raw"),
        ({"written_number": "(11) 90000-4821", "external_id": "whatsapp:+5521900008888", "address": "raw"}, PHONE, ""),
        ({"written_number": PHONE, "external_id": "whatsapp:+5521900008888", "address": "raw"}, PHONE, PHONE),
        ({"written_number": "55 12", "external_id": f"whatsapp:{PHONE}", "address": "raw"}, PHONE, "raw"),
        ({"written_number": "99999999999", "external_id": f"whatsapp:{PHONE}"}, PHONE, ""),
        ({"written_number": "210000000000001", "external_id": "lid:210000000000001"}, "lid:210000000000001", ""),
        ({"written_number": "undefined"}, "", ""),
    ],
)
def test_the_number_that_people_wrote_names_the_person_before_the_providers_id(
    fields: dict[str, Any], external_id: str, address: str
) -> None:
    person = read(source=WHATSAPP, **fields)
    assert (person.external_id, person.address) == (external_id, address)


@pytest.mark.case("F11")
def test_the_phone_beside_ambiguous_digits_says_which_are_meant() -> None:
    typed: dict[str, Any] = {"source": WHATSAPP, "external_id": "51987651101", "external_id_typed": True}
    with pytest.raises(InvalidArgument) as refused:
        read(**typed)
    assert refused.value.reason == "EXTERNAL_ID_AMBIGUOUS"
    assert read(**typed, phone="+51987651101").external_id == "+51987651101"
    assert read(**typed, phone="51 98765-1101").external_id == "+5551987651101"
    with pytest.raises(InvalidArgument):
        read(**typed, phone=PHONE)


@pytest.mark.parametrize("typed", ["+22507081910", "99 99999-9999"])
def test_a_typed_number_that_is_not_believed_may_only_find_who_is_known(typed: str) -> None:
    assert read(source=WHATSAPP, external_id=typed, external_id_typed=True).unproven
    assert not read(source=WHATSAPP, external_id=PHONE, external_id_typed=True).unproven


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        ({"phone": "12", "email": "maria"}, [("phone", "PHONE_INVALID"), ("email", "EMAIL_INVALID")]),
        ({"phone": "0000000000", "email": "nao@tem.com"}, [("phone", "VALUE_BLOCKED"), ("email", "VALUE_BLOCKED")]),
        ({"phone": "undefined", "email": "undefined"}, [("phone", "VALUE_BLOCKED"), ("email", "VALUE_BLOCKED")]),
        ({"phone": "11 99999-9999", "email": "x@chat.local"}, [("phone", "VALUE_BLOCKED"), ("email", "VALUE_BLOCKED")]),
        (
            {"phone": "99999999999", "email": "null@loja.example"},
            [("phone", "VALUE_BLOCKED"), ("email", "VALUE_BLOCKED")],
        ),
        (
            {"phone": "11 90000-0099", "email": "a@descarte.example"},
            [("phone", "VALUE_BLOCKED"), ("email", "VALUE_BLOCKED")],
        ),
        ({"phone": PHONE, "email": "ana@example.com"}, []),
    ],
)
def test_a_hint_that_is_none_or_nobodys_is_left_out_and_named(
    fields: dict[str, str], reasons: list[tuple[str, str]]
) -> None:
    person = read(source=INSTAGRAM, external_id="7733100045600121", **fields)
    assert [(ignored.field, ignored.reason) for ignored in person.ignored] == reasons
    assert all(ignored.message for ignored in person.ignored)
    assert not reasons or (person.phone, person.email) == ("", "")


def test_a_source_id_that_is_only_a_word_for_nothing_leads_nowhere() -> None:
    aliases = [
        pb.Alias(kind=pb.ALIAS_KIND_CHATWOOT_SOURCE, value=f"c:22:{word}") for word in ("undefined", "null", "x1")
    ]
    assert read(source=WHATSAPP, external_id=PHONE, aliases=aliases).aliases == (
        (AliasKind.CHATWOOT_SOURCE, "c:22:x1"),
    )
