"""Rules of boards, stages and deals."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import UUID, uuid4

import pytest

from chassis.errors import InvalidArgument
from services.crm import domain
from services.crm.domain import DealState

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def reason_of(error: pytest.ExceptionInfo[InvalidArgument]) -> str:
    return error.value.reason


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("Atendimento", "atendimento"),
        ("  Qualificação & Reunião ", "qualificacao-reuniao"),
        ("Pós-Venda 2026", "pos-venda-2026"),
        ("STRASSE ß", "strasse-ss"),
        ("x" * 150, "x" * 100),
        ("a" * 99 + " b", "a" * 99),
    ],
)
def test_a_board_without_a_key_is_named_after_itself(name: str, key: str) -> None:
    assert domain.board_key("", name) == key


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("Vendas", "Vendas"),
        ("vendas_2", "Vendas"),
        ("-vendas", "Vendas"),
        ("vendas--2", "Vendas"),
        ("vendas\n", "Vendas"),
        ("x" * 101, "Vendas"),
        ("0195a3b2-7c1d-7e2f-8a4b-5c6d7e8f9a0b", "Vendas"),
        ("", "日本"),
        ("", "---"),
    ],
)
def test_a_key_that_is_none_is_refused(key: str, name: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        domain.board_key(key, name)
    assert reason_of(refused) == "KEY_INVALID"
    assert refused.value.violations[0].field == "key"


def test_a_key_that_was_chosen_wins_over_the_name() -> None:
    assert domain.board_key("vendas-sp", "Vendas São Paulo") == "vendas-sp"


def test_a_name_of_blanks_is_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        domain.board_name(" \x00\t ")
    assert reason_of(refused) == "NAME_INVALID"


def test_a_board_without_stages_gets_the_standard_path() -> None:
    plans = domain.plan_stages([])
    assert [plan.label for plan in plans] == [
        "Nova Interação",
        "Em Atendimento",
        "Aguardando Cliente",
        "Informações Fornecidas",
        "Direcionado para Canal Oficial",
        "Finalizado",
        "Follow-up",
    ]
    assert {plan.deal_state for plan in plans} == {DealState.OPEN}
    assert len({plan.color for plan in plans}) == len(plans)


def test_stages_keep_their_order_and_get_colours_of_their_own() -> None:
    plans = domain.plan_stages([(" Novo\x00 ", "", DealState.OPEN), ("Ganho", "#00aa00", DealState.WON)])
    assert [(plan.label, plan.deal_state) for plan in plans] == [("Novo", DealState.OPEN), ("Ganho", DealState.WON)]
    assert plans[0].color.startswith("#")
    assert plans[1].color == "#00AA00"


@pytest.mark.parametrize(
    ("stages", "reason"),
    [
        ([("Novo", "", DealState.OPEN), ("NOVO", "", DealState.WON)], "STAGE_LABEL_TAKEN"),
        ([("Reunião", "", DealState.OPEN), ("reuniao", "", DealState.OPEN)], "STAGE_LABEL_TAKEN"),
        ([("\x00 ", "", DealState.OPEN)], "STAGE_LABEL_INVALID"),
        ([("Novo", "blue", DealState.OPEN)], "COLOR_INVALID"),
        ([("Novo", "#12345", DealState.OPEN)], "COLOR_INVALID"),
        ([("Ganho", "", DealState.WON), ("Perdido", "", DealState.LOST)], "BOARD_WITHOUT_OPEN_STAGE"),
    ],
)
def test_stages_that_cannot_be_told_apart_or_used_are_refused(
    stages: list[tuple[str, str, DealState]], reason: str
) -> None:
    with pytest.raises(InvalidArgument) as refused:
        domain.plan_stages(stages)
    assert reason_of(refused) == reason


def test_new_deals_begin_in_the_first_stage_in_which_they_are_open() -> None:
    plans = domain.plan_stages(
        [("Ganho", "", DealState.WON), ("Novo", "", DealState.OPEN), ("Meio", "", DealState.OPEN)]
    )
    board = domain.new_board(uuid4, uuid4(), key="vendas", name="Vendas", plans=plans, default_board=False, now=NOW)
    assert [stage.position for stage in board.stages] == [0, 1, 2]
    assert board.first_stage.label == "Novo"


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("Ana Lima", "Ana Lima"),
        ("  Ana \n Lima\x00", "Ana Lima"),
        ("João 👩‍🚀", "João 👩‍🚀"),
        ("", "Novo contato"),
        ("\x00\x1f ", "Novo contato"),
        ("x" * 600, "x" * 500),
    ],
)
def test_a_title_can_always_be_read_and_stored(text: str, title: str) -> None:
    assert domain.deal_title(text) == title


def test_a_value_is_whole_centavos_of_a_currency() -> None:
    assert domain.deal_value(0, "BRL") == domain.Money(0, "BRL")


@pytest.mark.parametrize(
    ("minor_units", "currency", "reason"),
    [
        (-1, "BRL", "VALUE_INVALID"),
        (1, "", "CURRENCY_INVALID"),
        (1, "brl", "CURRENCY_INVALID"),
        (1, "R$", "CURRENCY_INVALID"),
        (1, "BRL\n", "CURRENCY_INVALID"),
    ],
)
def test_a_value_that_is_none_is_refused(minor_units: int, currency: str, reason: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        domain.deal_value(minor_units, currency)
    assert reason_of(refused) == reason


@pytest.mark.parametrize(("text", "expected"), [(str(UUID(int=7)), True), ("vendas", False), ("", False)])
def test_an_id_is_told_from_a_key(text: str, expected: bool) -> None:
    assert domain.is_uuid(text) is expected
