"""The import rules of pyproject.toml cover what they are meant for."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from chassis.migrations import SERVICES

ROOT = Path(__file__).parents[2]
RULES = "Rules need no wire, no database and no loop"
NAMES_OF_RULES = ("domain", "rules", "limits", "normal_form")
"""How files of rules are called, alone or at the end."""


def contract(name: str) -> dict[str, Any]:
    """The import rule of a name."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (found,) = [each for each in contracts if each["name"] == name]
    return dict(found)


@pytest.mark.parametrize("service", SERVICES)
def test_every_file_of_rules_is_kept_from_wire_and_database(service: str) -> None:
    covered = contract(RULES)["source_modules"]
    files = [path.relative_to(ROOT).with_suffix("") for path in (ROOT / "services" / service).rglob("*.py")]
    rules = [
        ".".join(path.parts)
        for path in files
        if any(path.name == name or path.name.endswith(f"_{name}") for name in NAMES_OF_RULES) or "domain" in path.parts
    ]
    assert rules, "a service without rules of its own forwards to another"
    assert [each for each in rules if not any(f"{each}.".startswith(f"{module}.") for module in covered)] == []


def test_no_service_is_left_out_of_what_keeps_services_apart() -> None:
    apart = contract("Services meet by stubs and events, never by import")["modules"]
    assert sorted(apart) == sorted(f"services.{service}" for service in SERVICES)
