"""What is said of each thing that was seen."""

from __future__ import annotations

import pytest

from gateway.limits import API_CALL_TIMEOUT_SECONDS
from services.ingest.rollout.rules import (
    DOCTOR_SECONDS,
    LOOK_SECONDS,
    SWITCH_SECONDS,
    TAKE_BACK_SECONDS,
    TEMPLATE_STAGES,
    Administrator,
    Stage,
    administrators,
    at_rest,
    board_stages,
    connection,
    no_board,
    no_connection,
    unanswered,
)
from tests.contract.reasons import ROOT

WHOLE = [Stage((label,), open=True) for label in TEMPLATE_STAGES]


def test_one_owner_with_a_second_factor_is_enough() -> None:
    none = administrators([Administrator("ana@example.com", mfa_set_up=False)])
    assert (none.passed, bool(none.advice)) == (False, True)
    assert administrators([]).passed is False
    able = administrators([Administrator("ana@example.com", mfa_set_up=False), Administrator("rui@example.com", True)])
    assert able.passed
    assert "rui@example.com" in able.detail
    assert "ana@example.com" not in able.detail


def test_a_connection_says_what_failed_and_what_to_do() -> None:
    item = connection("main", [("api_reachable", True, "answers"), ("secret_set", False, "Add a secret.")])
    assert (item.name, item.passed, item.advice) == ("connection:main", False, "Add a secret.")
    assert "secret_set" in item.detail
    assert connection("main", [("api_reachable", True, "answers")]).passed


def test_a_board_needs_each_stage_that_the_template_moves_to() -> None:
    assert board_stages("vendas", WHOLE).passed
    lacking = board_stages("vendas", WHOLE[1:])
    assert (lacking.passed, lacking.evidence["missing"]) == (False, [TEMPLATE_STAGES[0]])
    assert TEMPLATE_STAGES[0] in lacking.detail
    called_otherwise = [Stage(("Novo", TEMPLATE_STAGES[0].upper()), open=True), *WHOLE[1:]]
    assert board_stages("vendas", called_otherwise).passed


@pytest.mark.parametrize("stages", [[], [Stage(("Ganho",), open=False), *WHOLE]])
def test_a_deal_must_have_where_to_begin(stages: list[Stage]) -> None:
    assert not board_stages("vendas", stages).passed


def test_a_connection_at_rest_is_no_obstacle() -> None:
    item = at_rest("old")
    assert (item.name, item.passed, item.skipped) == ("connection:old", True, True)


def test_nothing_there_and_nobody_answering_have_failed() -> None:
    for item in (no_board(), no_connection(), unanswered("board_stages", "Away.")):
        assert (item.passed, bool(item.advice)) == (False, True)


def test_the_templates_stages_are_those_of_the_template() -> None:
    template = (ROOT / "deploy" / "n8n" / "template-v2.json").read_text(encoding="utf-8")
    assert [label for label in TEMPLATE_STAGES if label not in template] == []


def test_whoever_calls_over_http_gets_the_report_even_where_nothing_answers() -> None:
    """A second is left for what is read and written around it; the contract says the same numbers."""
    going_live, going_back = DOCTOR_SECONDS + LOOK_SECONDS + SWITCH_SECONDS, SWITCH_SECONDS + TAKE_BACK_SECONDS
    assert max(going_live, going_back) <= API_CALL_TIMEOUT_SECONDS - 1
    contract = (ROOT / "protos/prosa/ingest/v1/rollout_service.proto").read_text(encoding="utf-8")
    assert f"do. {DOCTOR_SECONDS:.0f} s at most" in contract
    assert f"nothing. {going_live:.0f} s at most: {DOCTOR_SECONDS:.0f} for" in contract
    assert f"{going_back:.0f} s at most: {SWITCH_SECONDS:.0f} for automation, {TAKE_BACK_SECONDS:.0f} for" in contract
