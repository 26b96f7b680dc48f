"""Words and variables that cannot be right end with 2, before anything was begun, in the words of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from chassis.errors import FailedPrecondition, FieldViolation, InvalidArgument
from chassis.rpc import as_answered
from cli import failures
from tests.unit.cli.running import document, prosa

pytestmark = pytest.mark.case("O8")


@pytest.mark.parametrize(
    ("words", "environment", "reason"),
    [
        (("connection", "update", "Shop", "--org", "Shop"), {}, "NOTHING_TO_CHANGE"),
        (("connection", "add-secret", "Shop", "--org", "Shop"), {}, "COMMAND_REFUSED"),
        (("connection", "add-secret", "Shop", "--org", "Shop"), {"PROSA_WEBHOOK_SECRET": "…"}, "PLACEHOLDER"),
        (("connection", "update", "Shop", "--org", "Shop"), {"PROSA_CHATWOOT_ACCESS_TOKEN": "..."}, "PLACEHOLDER"),
        (("migrate",), {}, "DATABASE_URL_MISSING"),
        (("keys", "export", "--target", "nobody", "/nowhere/else"), {}, "TARGET_UNKNOWN"),
    ],
)
def test_what_cannot_be_right_is_not_begun(words: tuple[str, ...], environment: dict[str, str], reason: str) -> None:
    result = prosa(*words, "--json", environment=environment)
    assert (result.exit_code, document(result)["error"]["reason"]) == (2, reason)


def test_keys_are_copied_into_a_new_folder_only(tmp_path: Path) -> None:
    assert prosa("keys", "create", "--directory", str(tmp_path / "keys")).exit_code == 0
    words = ("keys", "export", "--target", "crm", "--source", str(tmp_path / "keys"), str(tmp_path), "--json")
    result = prosa(*words)
    assert (result.exit_code, document(result)["error"]["reason"]) == (2, "DIRECTORY_EXISTS")


def test_a_service_that_cannot_read_a_value_is_repeated_in_the_words_of_the_command() -> None:
    sentence = "access_token must be printable; see unsigned_end_time."
    violations = [FieldViolation("access_token", "must be printable")]
    _, message, code = failures.describe(as_answered(InvalidArgument("FIELD_INVALID", sentence, violations=violations)))
    variable = "PROSA_CHATWOOT_ACCESS_TOKEN (of a number PROSA_EVOLUTION_KEY)"
    assert (message, code) == (f"{variable} must be printable; see --unsigned-until.", 2)
    assert failures.describe(as_answered(FailedPrecondition("NOT_SO", "Not now.")))[2] == 1
