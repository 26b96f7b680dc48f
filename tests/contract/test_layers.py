"""The import rules of pyproject.toml cover what they are meant for."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from chassis import system
from chassis.system import CALLS, PRINCIPALS, SERVICES
from services import targets

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


def test_what_starts_is_what_the_table_has() -> None:
    assert set(targets.TARGETS) == {target.name for target in system.TARGETS}
    assert {system.service_of(name) for name in targets.TARGETS} <= {principal.name for principal in PRINCIPALS}


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_has_stubs_only_of_those_it_may_call(service: str) -> None:
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "services" / service).rglob("*.py")]
    named = {found for text in sources for found in re.findall(r"prosa\.(\w+)\.v1(?:\.| import )\w+_pb2_grpc", text)}
    assert service in named, "no servicer was found at all"
    assert named <= CALLS[service]


def test_calls_point_one_way() -> None:
    left = {name: set(CALLS[name]) - {name} for name in CALLS}
    while leaves := {name for name, called in left.items() if not called}:
        left = {name: called - leaves for name, called in left.items() if name not in leaves}
    assert left == {}, "these call each other, directly or through others"
