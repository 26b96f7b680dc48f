"""The words of `prosa migrate`, and the passwords it sets."""

from __future__ import annotations

import pytest

from chassis.system import SERVICES
from cli.failures import Refused
from cli.migrate import Plan, passwords, read_plan
from tests.unit.cli.running import prosa


@pytest.mark.parametrize(
    ("words", "plan"),
    [
        ([], Plan(0, SERVICES)),
        (["up"], Plan(0, SERVICES)),
        (["identity"], Plan(0, ("identity",))),
        (["up", "crm", "ingest"], Plan(0, ("crm", "ingest"))),
        (["down", "2"], Plan(2, SERVICES)),
        (["down", "1", "crm"], Plan(1, ("crm",))),
    ],
)
def test_words_say_direction_steps_and_services(words: list[str], plan: Plan) -> None:
    assert read_plan(words) == plan


@pytest.mark.parametrize("words", [["down"], ["down", "crm"], ["down", "0"], ["sideways"], ["identity", "up"]])
def test_words_that_make_no_sense_are_refused(words: list[str]) -> None:
    with pytest.raises(Refused):
        read_plan(words)


def test_only_a_roles_own_url_gives_its_password() -> None:
    environment = {
        "PROSA_CRM_DATABASE_URL": "postgresql://prosa_crm:s%40crm@db/prosa",
        "PROSA_INGEST_DATABASE_URL": "postgresql://somebody:else@db/prosa",
        "PROSA_READER_DATABASE_URL": "postgresql://prosa_reader:reads@db/prosa",
    }
    assert passwords(environment) == {"prosa_crm": "s@crm", "prosa_reader": "reads"}


def test_without_a_database_the_command_says_which_variable_it_wants() -> None:
    result = prosa("migrate", "--check")
    assert result.exit_code == 2
    assert "PROSA_DATABASE_URL" in result.stderr


def test_a_database_that_does_not_answer_is_a_sentence_and_no_trace() -> None:
    result = prosa("migrate", "--check", environment={"PROSA_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"})
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The database at 127.0.0.1:1 does not answer.")
    assert "Traceback" not in result.output
