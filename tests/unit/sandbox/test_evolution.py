"""The fake Evolution turns numbers into ids, and breaks, as Evolution does."""

from __future__ import annotations

import pytest

from sandbox.evolution.faults import Fault, Faults
from sandbox.evolution.numbers import create_jid, forms, lid_of
from sandbox.evolution.people import people
from sandbox.evolution.sender import Webhook


@pytest.mark.parametrize(
    ("given", "made"),
    [
        # A mobile of São Paulo keeps its ninth digit, one of Belo Horizonte loses it where its own first digit is high.
        ("5511960001234", "5511960001234@s.whatsapp.net"),
        ("5531980000101", "553180000101@s.whatsapp.net"),
        ("5531967654321", "5531967654321@s.whatsapp.net"),
        ("+55 (11) 96000-1234", "5511960001234@s.whatsapp.net"),
        ("551130000043", "551130000043@s.whatsapp.net"),
        ("5491100001234", "541100001234@s.whatsapp.net"),
        ("5215500001234", "525500001234@s.whatsapp.net"),
        ("5511960001234:17@s.whatsapp.net", "5511960001234@s.whatsapp.net"),
        ("102938475610293@lid", "102938475610293@lid"),
        ("120363042000000000", "120363042000000000@g.us"),
    ],
)
def test_ids_of_numbers(given: str, made: str) -> None:
    assert create_jid(given) == made


def test_a_number_has_the_forms_that_whatsapp_takes_for_the_same() -> None:
    assert forms("5531980000101") == forms("553180000101") == {"5531980000101", "553180000101"}
    assert forms("5491100001234") == {"5491100001234", "541100001234"}
    assert forms("447900000000") == {"447900000000"}


def test_a_lid_is_always_the_same_and_no_number() -> None:
    assert lid_of("5511960001234") == lid_of("5511960001234") != lid_of("5511960001235")
    assert lid_of("5511960001234").endswith("@lid")
    assert len(lid_of("5511960001234").partition("@")[0]) == 15


def test_only_what_was_asked_for_is_told() -> None:
    some = Webhook("http://prosa.invalid", events=["MESSAGES_UPSERT"])
    assert some.wants("messages.upsert")
    assert not some.wants("qrcode.updated")
    assert Webhook("http://prosa.invalid").wants("qrcode.updated")
    assert not Webhook("http://prosa.invalid", enabled=False).wants("messages.upsert")


def test_a_fault_strikes_as_often_as_it_was_set_and_only_what_it_names() -> None:
    faults = Faults()
    faults.set(Fault("rest.error", count=2, only="/message"))
    assert faults.draw("rest.error", "/instance/create") is None
    assert [faults.draw("rest.error", "/message/sendText/a") is not None for _ in range(3)] == [True, True, False]
    assert faults.struck == {"rest.error": 2}


@pytest.mark.parametrize("wrong", [{"kind": "rest.bored"}, {"kind": "rest.slow", "seconds": 601.0}, {"count": 0}])
def test_a_fault_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"known are|lies between|at least"):
        Fault(**({"kind": "rest.slow"} | wrong))  # type: ignore[arg-type]


def test_who_writes_to_one_number_writes_to_no_other() -> None:
    phones = [phone for place in range(90) for _, phone in people(place)]
    assert len(set(phones)) == len(phones) == 90 * 4
    assert {len(phone) for phone in phones} == {len("+5511900006101")}
    assert dict(people(0))["Seu Zeca Moura"] == "+5531980000101"
