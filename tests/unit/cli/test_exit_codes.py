"""The exit codes that docs/commands.md promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from cli import organizations
from tests.unit.cli.running import prosa

PAGE = Path(__file__).resolve().parents[3] / "docs" / "commands.md"


def interrupted(*_: object, **__: object) -> None:
    """What Ctrl-C does to whatever runs."""
    raise KeyboardInterrupt


@pytest.mark.case("O9")
def test_each_code_of_the_page_is_one_that_a_command_ends_with(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = {
        prosa("key", "whatsapp", "+5511900004821").exit_code,  # done
        prosa("org", "list").exit_code,  # nothing runs there
        prosa("org", "list", "--no-such-option").exit_code,  # no such words
    }
    assert prosa("migrate", "down").exit_code == 2, "words that cannot be meant are refused before anything is begun"
    monkeypatch.setattr(organizations, "open_calls", interrupted)
    seen.add(prosa("org", "list").exit_code)
    told = re.findall(r"^\| ([0-9]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert seen == {int(code) for code in told}
