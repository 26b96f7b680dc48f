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
from services.identity.directory import Person
from services.identity.domain import AliasKind, conversation_key
from services.identity.people import read_email, read_person

SHOP = UUID(int=1)
WHATSAPP, INSTAGRAM = options_pb2.SOURCE_WHATSAPP, options_pb2.SOURCE_INSTAGRAM
LID, BSUID = pb.ALIAS_KIND_WHATSAPP_LID, pb.ALIAS_KIND_WHATSAPP_BSUID
PHONE = "+5511900004821"


def read(**fields: Any) -> Person:
    """Reads one person of a Brazilian shop."""
    return read_person(pb.Person(**fields), SHOP, "BR")


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


def test_a_stand_in_is_kept_as_an_alias_beside_the_phone() -> None:
    person = read(source=WHATSAPP, external_id="210000000000001@lid", phone=PHONE)
    assert person.aliases == ((AliasKind.WHATSAPP_LID, "210000000000001"),)
    assert person.stand_ins() == ["lid:210000000000001"]


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
