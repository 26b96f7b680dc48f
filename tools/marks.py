"""What the tests are marked with, read from their sources without running them, and the lists of ids they may name.

A line, an id or a mark that cannot be read is an error: what is passed over would look as if nobody had asked for it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"


class UnreadableError(Exception):
    """A list or a mark that cannot be read; the text says where and what is expected."""


def read_lines(text: str, pattern: re.Pattern[str], form: str, name: str) -> list[re.Match[str]]:
    """Every line but comments and empty ones, matched as a whole; each `id` only once."""
    seen: set[str] = set()
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        match = pattern.fullmatch(line)
        if match is None:
            raise UnreadableError(f"{name}, line {number}: cannot read {line!r}. A line reads: {form}")
        if match["id"] in seen:
            raise UnreadableError(f"{name}, line {number}: {match['id']} stands there twice.")
        seen.add(match["id"])
        found.append(match)
    return found


def marked_tests(source: str, path: str, mark: str) -> list[tuple[str, str]]:
    """Every (id, test) of one file; marks of its classes and of the module count for all tests in it."""
    module = ast.parse(source, path)
    read: set[ast.AST] = set()
    found = list(_marked(module.body, path, mark, _module_ids(module, path, mark, read), read))
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and node not in read and f".{ast.unparse(node)}".endswith(f".mark.{mark}"):
            raise UnreadableError(
                f"{path}, line {node.lineno}: pytest.mark.{mark} is read only where it decorates a test or a class of "
                f"tests, stands in pytestmark, or in a parameter written there."
            )
    return found


def _marked(
    body: list[ast.stmt], path: str, mark: str, inherited: list[str], read: set[ast.AST]
) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            ids = inherited + _ids(node.decorator_list, path, mark, read)
            yield from _marked(node.body, f"{path}::{node.name}", mark, ids, read)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test"):
            for found in dict.fromkeys(inherited + _ids(node.decorator_list, path, mark, read)):
                yield found, f"{path}::{node.name}"


def _module_ids(module: ast.Module, path: str, mark: str, read: set[ast.AST]) -> list[str]:
    for node in module.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["pytestmark"]:
            return _ids([node.value], path, mark, read)
    return []


def _ids(expressions: list[ast.expr], path: str, mark: str, read: set[ast.AST]) -> list[str]:
    ids = []
    for node in (found for expression in expressions for found in ast.walk(expression)):
        if not isinstance(node, ast.Call) or ast.unparse(node.func) != f"pytest.mark.{mark}":
            continue
        texts = [item.value for item in node.args if isinstance(item, ast.Constant) and isinstance(item.value, str)]
        if not texts or len(texts) != len(node.args) or node.keywords:
            raise UnreadableError(f'{path}, line {node.lineno}: a mark names its ids as texts: pytest.mark.{mark}("…")')
        ids += texts
        read.add(node.func)
    return ids


def all_marked_tests(mark: str) -> Iterator[tuple[str, str]]:
    """Every (id, test) of all tests, by file. Other files of the folder hold no tests, so a mark there is an error."""
    for file in sorted(TESTS.rglob("*.py")):
        path = file.relative_to(ROOT).as_posix()
        marked = marked_tests(file.read_text(encoding="utf-8"), path, mark)
        if marked and not file.name.startswith("test_"):
            raise UnreadableError(f"{path}: pytest collects no tests from it, but {marked[0][1]} is marked {mark}.")
        yield from marked
