"""What holds for every command: it is found, explains itself, and can speak to programs."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from typing import Any

import pytest
from typer.main import get_command

from cli.main import NOUNS, app
from tests.unit.cli.running import document, prosa


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with the words that lead to it."""
    root = get_command(app)
    for noun in NOUNS:
        yield from _below(noun, root.get_command(None, noun))  # type: ignore[attr-defined]


def _below(words: str, command: Any) -> Iterator[tuple[str, Any]]:
    subcommands = getattr(command, "commands", {})
    if not subcommands:
        yield words, command
    for name, subcommand in subcommands.items():
        yield from _below(f"{words} {name}", subcommand)


def test_the_help_names_every_noun() -> None:
    result = prosa("--help")
    assert result.exit_code == 0
    for noun in NOUNS:
        assert noun in result.stdout


@pytest.mark.parametrize(("words", "command"), [pytest.param(*item, id=item[0]) for item in commands()])
def test_every_command_explains_itself_and_can_print_json(words: str, command: Any) -> None:
    assert command.help
    options = {option for parameter in command.params for option in parameter.opts}
    # A process that serves writes its log and has no result.
    assert words == "serve" or "--json" in options
    assert prosa(*words.split(), "--help").exit_code == 0


def test_the_version_is_the_one_that_is_installed() -> None:
    result = prosa("--version")
    assert (result.exit_code, result.stdout) == (0, f"prosa {metadata.version('prosa-suite')}\n")


def test_an_unknown_target_is_refused_with_a_whole_sentence() -> None:
    result = prosa("serve", "--target", "nope")
    assert result.exit_code != 0
    assert result.stderr.startswith("Error: Unknown target 'nope'; there are: all, ")
    assert result.stderr.endswith(".\n")


def test_an_unknown_noun_is_refused() -> None:
    assert prosa("deals").exit_code == 2


def test_a_command_without_a_running_installation_says_what_to_do() -> None:
    result = prosa("org", "list")
    assert result.exit_code == 1
    assert "prosa up" in result.stderr
    assert "PROSA_GRPC_ADDRESS" in result.stderr


def test_with_json_an_error_is_a_document_too() -> None:
    result = prosa("org", "list", "--json")
    assert result.exit_code == 1
    assert document(result)["error"]["reason"] == "NOT_RUNNING"


def test_a_replay_wants_one_event_or_a_range() -> None:
    for words in (["events", "replay"], ["events", "replay", "some-id", "--since", "10m"]):
        assert prosa(*words).exit_code == 2


def test_serve_names_the_targets_there_are() -> None:
    result = prosa("serve", "--target", "crm,sales")
    assert result.exit_code == 1
    assert "sales" in result.stderr
    assert "conversation" in result.stderr


def test_up_refuses_a_shape_that_it_does_not_know() -> None:
    assert prosa("up", "--shape", "triangle").exit_code == 2
