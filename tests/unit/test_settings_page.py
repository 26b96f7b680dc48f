"""The page of all settings says what the code reads, and its examples are ones that start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from chassis.config import Settings
from tools import settings as tool

ROOT = Path(__file__).resolve().parents[2]
NO_SETTINGS = re.compile(r"PROSA_(SANDBOX_\w*|API_KEY|TOKEN|[A-Z_]*_)")
"""What the demo hands to its own process, what examples keep in a shell, and beginnings of names."""


@pytest.mark.case("O11")
def test_the_page_is_in_step_with_the_code() -> None:
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page()


@pytest.mark.case("O11")
def test_no_variable_that_the_code_names_is_missing() -> None:
    page = tool.PAGE.read_text(encoding="utf-8")
    for folder in ("chassis", "cli", "embedded", "gateway", "services"):
        for file in (ROOT / folder).rglob("*.py"):
            for found in re.finditer(r"\bPROSA_[A-Z_]+", file.read_text(encoding="utf-8")):
                assert NO_SETTINGS.fullmatch(found[0]) or f"`{found[0]}`" in page, (file, found[0])


@pytest.mark.case("O11")
@pytest.mark.parametrize("example", [tool.ONE_MACHINE, tool.own_servers()], ids=["one", "own"])
def test_an_example_is_read_as_it_stands(example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = dict(line.split("=", 1) for line in example.splitlines() if line.startswith("PROSA_"))
    for name, value in (named | {"PROSA_KEYS_DIR": str(tmp_path)}).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    page = tool.PAGE.read_text(encoding="utf-8")
    for name in named:
        assert f"| `{name}` |" in page, name
    if "PROSA_CRM_DATABASE_URL" in named:
        assert settings.address("ingest_accept") != settings.address("ingest")
        assert settings.database_url("crm").startswith("postgresql://prosa_crm:")
