"""What the documents say exists: commands with their options, files, targets of make, metrics, log events, reasons."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

from chassis.migrations import role
from chassis.system import SERVICES
from cli.main import app
from gateway.openapi.comments import reasons
from services.ingest.normal_form import IgnoredReason, InvalidReason
from tests.contract.reasons import ROOT

PAGES = sorted(
    [
        *ROOT.glob("*.md"),
        *(page for page in (ROOT / "docs").rglob("*.md") if page.name != "requirements.md"),
        *ROOT.glob("services/**/*.md"),
        *ROOT.glob("bench/*.md"),
        *ROOT.glob("cli/*.md"),
        *ROOT.glob("gateway/*.md"),
        *ROOT.glob("sandbox/**/*.md"),
    ]
)
COMMANDS_MIN = 15
_COMMAND = re.compile(r"(?:^|`)\s*(?:\$ )?(prosa (?:up|serve|[a-z-]+)[^`\n]*)", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
_METRIC = re.compile(r"\bprosa_[a-z_]+\b")
_CODE_WORD = re.compile(r"`([A-Z][A-Z]+(?:_[A-Z]+)+)`")
_LOG_EVENT = re.compile(r"log\w* says `([a-z_]+)`|`([a-z_]+)`(?= in the log)")
_MAKE = re.compile(r"(?:^|`)make ([a-z]+)", re.MULTILINE)
_VARIABLE = re.compile(r"\bPROSA_[A-Z_]+\b")


def page_id(page: Path) -> str:
    return str(page.relative_to(ROOT))


def commands(page: Path) -> Iterator[str]:
    """Every ``prosa …`` of a page, as typed, without what a shell does with it."""
    for found in _COMMAND.findall(page.read_text(encoding="utf-8")):
        yield re.split(r"\s(?:#|>|\||&&|;)|…|\.\.\.", found)[0].strip().rstrip(".,:;)")


def test_the_documents_hold_commands_at_all() -> None:
    assert sum(len(list(commands(page))) for page in PAGES) >= COMMANDS_MIN


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_command_of_a_page_is_one_that_prosa_understands(page: Path) -> None:
    wrong = [f"{line}: {why}" for line in commands(page) if (why := misunderstood(line))]
    assert wrong == []


@cache
def _whole_command() -> Any:
    return typer.main.get_command(app)


def misunderstood(line: str) -> str:
    """Says what the command line would not take of a command; "" where it takes everything."""
    command, words = _whole_command(), shlex.split(line)[1:]
    while words and hasattr(command, "get_command") and not words[0].startswith("-"):
        command, words = command.get_command(None, words[0]), words[1:]
        if command is None:
            return "there is no such command"
    known = {name: parameter for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words:
        name, has_value, _ = word.partition("=")
        if name.startswith("--"):
            if name not in known and name != "--help":
                return f"there is no option {name}"
            if has_value and getattr(known[name], "is_flag", False):
                return f"{name} takes no value"
    return ""


def test_an_unknown_command_or_option_is_seen() -> None:
    assert misunderstood("prosa events list --org X --dry-run") == "there is no option --dry-run"
    assert misunderstood("prosa events mend") == "there is no such command"
    assert misunderstood("prosa up --demo") == ""


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_link_of_a_page_leads_to_a_file(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def as_of_now(page: Path) -> str:
    """The page without the former names that the changelog says for those who must change them elsewhere."""
    text = page.read_text(encoding="utf-8")
    return (
        re.sub(r"in\s+place\s+of\s+`[^`]+`(?:(?:,|\s+and)\s+`[^`]+`)*", "", text)
        if page.name == "CHANGELOG.md"
        else text
    )


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_metric_log_event_variable_and_target_of_a_page_is_in_the_code(page: Path) -> None:
    text = as_of_now(page)
    texts = code_texts()
    names = set(_METRIC.findall(text)) - {"prosa_reader"} - {role(service) for service in SERVICES}
    events = {name for pair in _LOG_EVENT.findall(text) for name in pair if name}
    assert {name for name in names if not any(name.startswith(known) for known in texts if len(known) > 6)} == set()
    assert events - texts == set()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {target for target in _MAKE.findall(text) if f"\n{target}:" not in makefile} == set()
    assert {name for name in _VARIABLE.findall(text) if not _is_read(name, texts)} == set()


def _is_read(variable: str, texts: frozenset[str]) -> bool:
    # A setting's variable is its field's name; a service's database is one field for each.
    field = variable.removeprefix("PROSA_").lower()
    return variable in texts or field in texts or variable.endswith("_") or field == "_database_url"


@pytest.mark.parametrize("page", PAGES, ids=page_id)
def test_every_reason_of_a_page_is_one_that_is_given(page: Path) -> None:
    known = set(reasons()) | {item.value for item in IgnoredReason} | {item.value for item in InvalidReason}
    texts = code_texts()
    words = {word for word in _CODE_WORD.findall(as_of_now(page)) if not _is_read(word, texts)}
    assert {word for word in words if word not in known and word not in texts and not _is_named(word)} == set()


def _is_named(word: str) -> bool:
    """Whether a word in capitals is a limit, a variable or a name of the contracts."""
    return word in _all_sources()


@cache
def _all_sources() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in _sources())


@cache
def code_texts() -> frozenset[str]:
    """Every text and every name of a field that the product's code holds."""
    found: set[str] = set()
    for path in _sources():
        if path.suffix != ".py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.add(node.value)
            elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                found.add(node.target.id)
    return frozenset(found)


def _sources() -> Iterator[Path]:
    for directory in ("bench", "chassis", "cli", "embedded", "gateway", "sandbox", "services"):
        yield from sorted((ROOT / directory).rglob("*.py"))
    yield from sorted((ROOT / "protos").rglob("*.proto"))
