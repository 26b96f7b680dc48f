"""The table's form, and what makes a row of it right: its place is there exactly once, and its tests exist."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Mutant:
    """One bug to plant: in a file, one text becomes another, and each of these tests must turn red."""

    name: str
    """What the bug does, in a few words; unique."""
    file: str
    old: str
    """Stands in the file exactly once."""
    new: str
    tests: tuple[str, ...]
    """`tests/….py::test_name`, with or without `[parameters]`: of several, one red is enough for each entry."""


def problems(mutants: Sequence[Mutant], root: Path = ROOT) -> Iterator[str]:
    """What is wrong with the table as the tree stands, one sentence each."""
    names = [mutant.name for mutant in mutants]
    yield from (f"{name!r} stands in the table twice." for name in sorted({n for n in names if names.count(n) > 1}))
    for mutant in mutants:
        yield from (f"{mutant.name}: {problem}" for problem in _problems(mutant, root))


def _problems(mutant: Mutant, root: Path) -> Iterator[str]:
    path = root / mutant.file
    found = path.read_text(encoding="utf-8").count(mutant.old) if path.is_file() else 0
    if found != 1:
        yield f"its place stands {found} times in {mutant.file}, and must stand there once."
    elif mutant.file.endswith(".py"):
        try:
            ast.parse(planted(mutant, root))
        except SyntaxError as error:
            yield f"with it, {mutant.file} is no Python: {error}"
    if mutant.old == mutant.new:
        yield "it changes nothing."
    if not mutant.tests:
        yield "it names no test."
    for test in mutant.tests:
        file, _, name = test.partition("[")[0].partition("::")
        if name not in _tests_of(root / file):
            yield f"there is no test {test}."


def planted(mutant: Mutant, root: Path = ROOT) -> str:
    """The text of the mutant's file with the bug in it."""
    return (root / mutant.file).read_text(encoding="utf-8").replace(mutant.old, mutant.new)


@cache
def _tests_of(file: Path) -> frozenset[str]:
    """Names of a file's tests: `test_name`, `TestClass::test_name`."""
    if not file.is_file():
        return frozenset()
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        members = node.body if isinstance(node, ast.ClassDef) else [node]
        prefix = f"{node.name}::" if isinstance(node, ast.ClassDef) else ""
        names |= {
            prefix + member.name
            for member in members
            if isinstance(member, (ast.FunctionDef, ast.AsyncFunctionDef)) and member.name.startswith("test")
        }
    return frozenset(names)
