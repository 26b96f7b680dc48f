"""Names that others rely on stay, and every reason that the code gives is one that the contracts list."""

from __future__ import annotations

import importlib

import pytest

from chassis.system import SERVICES
from chassis.transcoding.plans import Plans
from gateway import problems
from gateway.openapi.comments import CODES, comments, reasons
from gateway.openapi.operations import GENERAL_ERRORS, operations
from gateway.routes.webhooks import _WHY_REFUSED
from gateway.transcoding.bindings import bindings
from services.ingest.providers.authenticity import Check
from tests.contract.golden_lists import GOLDEN, LISTS, text_of
from tests.contract.reasons import codes_of, raised_in

LETS_IN = frozenset({"AUTHENTIC", "AUTHENTIC_STATIC", "UNSIGNED_ACCEPTED"})


def listed(package: str) -> set[str]:
    """The reasons in the list of a service, or in the general one."""
    module = importlib.import_module(f"prosa.{package}error_reason_pb2")
    return {value.name.removeprefix("ERROR_REASON_") for value in module.ErrorReason.DESCRIPTOR.values if value.number}


GENERAL = listed("v1.")


@pytest.mark.parametrize("name", LISTS)
def test_no_name_that_others_rely_on_is_gone_or_new_unseen(name: str) -> None:
    kept = (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")
    assert text_of(name) == kept, "meant? then: python -m tests.contract.golden_lists"


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_gives_only_reasons_of_its_own_list_or_of_the_general_one(service: str) -> None:
    raised = raised_in(f"services/{service}")
    assert raised, "no error was found in the code at all"
    assert {
        reason: places for reason, places in raised.items() if reason not in listed(f"{service}.v1.") | GENERAL
    } == {}


def test_chassis_and_gateway_give_only_reasons_of_the_general_list() -> None:
    raised = raised_in("chassis", "embedded", "gateway")
    assert {reason: places for reason, places in raised.items() if reason not in GENERAL} == {}
    assert {kind.reason for kind in problems._KINDS.values()} <= GENERAL
    assert {reason for reason, _ in problems._HTTP_REASONS.values()} <= GENERAL
    assert {check.value for check in Check} - LETS_IN <= GENERAL


def test_every_way_to_refuse_a_webhook_is_told_apart_in_words() -> None:
    assert set(_WHY_REFUSED) == {check.value for check in Check} - LETS_IN - {"SIGNATURE_MISMATCH"}


def test_no_list_holds_a_reason_that_nobody_gives() -> None:
    raised = set(raised_in("chassis", "embedded", "gateway", "services"))
    raised |= {kind.reason for kind in problems._KINDS.values()} | {check.value for check in Check}
    raised |= {reason for reason, _ in problems._HTTP_REASONS.values()} | {"BODY_INCOMPLETE"}
    raised |= {problem.reason for problem in vars(problems).values() if isinstance(problem, problems.Problem)}
    for package in ("v1.", *(f"{service}.v1." for service in SERVICES)):
        assert listed(package) - raised == set(), package


def test_every_reason_is_explained_with_its_code_and_an_example() -> None:
    unexplained = {
        name
        for name, reason in reasons().items()
        if name != "UNSPECIFIED" and not (reason.sentence and (reason.code or reason.status))
    }
    # Comes as NOT_FOUND or as FAILED_PRECONDITION, as each operation declares.
    assert unexplained == {"CHANNEL_AMBIGUOUS"}


@pytest.mark.parametrize("service", SERVICES)
def test_a_list_names_the_code_that_a_reason_comes_with(service: str) -> None:
    given = codes_of(f"services/{service}")
    enum = importlib.import_module(f"prosa.{service}.v1.error_reason_pb2").ErrorReason.DESCRIPTOR
    told = {
        value.name.removeprefix("ERROR_REASON_"): comments()[f"prosa.{service}.v1.ErrorReason.{value.name}"]
        for value in enum.values
        if value.number
    }
    wrong = {
        reason: (comment, given[reason])
        for reason, comment in told.items()
        if reason in given and not {code for code in CODES if code in comment.partition(": ")[0]} >= given[reason]
    }
    assert wrong == {}


def test_every_error_that_an_operation_declares_is_a_listed_reason() -> None:
    known = set(reasons())
    declared = {
        (item.operation_id, error.reason) for item in operations(bindings(Plans())) for error in item.errors
    } | {("every operation", error.reason) for error, _ in GENERAL_ERRORS}
    assert {pair for pair in declared if pair[1] not in known} == set()
    assert {error.code for error, _ in GENERAL_ERRORS} <= CODES
