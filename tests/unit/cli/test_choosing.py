"""Which organization a command is about."""

from __future__ import annotations

import pytest

from cli.choosing import choose
from cli.failures import Refused

ANA = ("01890a5d-0000-774b-bcce-b302099a8057", "Padaria da Ana")
LIA = ("01890a5d-0001-774b-bcce-b302099a8057", "Livraria da Lia")
TWIN = ("01890a5d-0002-774b-bcce-b302099a8057", "Padaria da Ana")


def test_the_only_organization_need_not_be_named() -> None:
    assert choose("", [ANA]) == ANA[0]


@pytest.mark.parametrize("wanted", [LIA[0], LIA[0].upper(), LIA[1]])
def test_one_of_several_is_named_by_its_id_or_name(wanted: str) -> None:
    assert choose(wanted, [ANA, LIA]) == LIA[0]


def test_of_several_one_must_be_named() -> None:
    with pytest.raises(Refused, match=r"2 organizations: 'Padaria da Ana', 'Livraria da Lia'.* --org") as refused:
        choose("", [ANA, LIA])
    assert refused.value.exit_code == 2


def test_very_many_are_counted_not_listed() -> None:
    many = [(f"id-{number}", f"Loja {number}") for number in range(30)]
    with pytest.raises(Refused, match=r"'Loja 9' and 20 more \(`prosa org list`\)"):
        choose("", many)


def test_a_name_that_two_have_is_not_enough() -> None:
    with pytest.raises(Refused, match=f"{ANA[0]}, {TWIN[0]}"):
        choose(ANA[1], [ANA, LIA, TWIN])


@pytest.mark.parametrize("wanted", ["", "Padaria"])
def test_without_any_the_sentence_says_how_to_make_one(wanted: str) -> None:
    with pytest.raises(Refused, match="prosa org create"):
        choose(wanted, [])
