"""Writes docs/requirements.md: every demand with the tests that show it, read from their marks without running them.

`--check` writes nothing and fails when the file is not what it would write, or when a test names an unknown demand.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IDS = ROOT / "docs" / "requirements-ids.txt"
TABLE = ROOT / "docs" / "requirements.md"
TESTS = ROOT / "tests"
_LINE = re.compile(r"(?P<id>[A-Z]{2}-[0-9]{2}) (?P<when>now|later) +(?P<title>.+)")

HEADER = """# Demands and the tests that show them

Made by `make requirements` from the marks of the tests and `docs/requirements-ids.txt`; do not edit. A test carries the
mark of a demand when it does what the demand's check asks for.
"""


@dataclass(frozen=True, slots=True)
class Demand:
    """One demand, and where it is shown: `tests/….py::test_name`."""

    id: str
    now: bool
    title: str
    tests: list[str] = field(default_factory=list)


def read_demands(text: str) -> dict[str, Demand]:
    """The demands by id, in their order."""
    found = (_LINE.fullmatch(line) for line in text.splitlines() if line and not line.startswith("#"))
    return {line["id"]: Demand(line["id"], line["when"] == "now", line["title"]) for line in found if line is not None}


def marked_tests(source: str, path: str) -> Iterator[tuple[str, str]]:
    """Every (demand, test) of one file; marks of its classes and of the module count for all tests in it."""
    module = ast.parse(source, path)
    yield from _marked(module.body, path, _module_marks(module))


def _marked(body: list[ast.stmt], path: str, inherited: list[str]) -> Iterator[tuple[str, str]]:
    for node in body:
        if isinstance(node, ast.ClassDef):
            yield from _marked(node.body, f"{path}::{node.name}", inherited + _marks(node.decorator_list))
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test"):
            for demand in dict.fromkeys(inherited + _marks(node.decorator_list)):
                yield demand, f"{path}::{node.name}"


def _module_marks(module: ast.Module) -> list[str]:
    for node in module.body:
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["pytestmark"]:
            values = node.value.elts if isinstance(node.value, (ast.List, ast.Tuple)) else [node.value]
            return _marks(values)
    return []


def _marks(expressions: list[ast.expr]) -> list[str]:
    return [
        argument.value
        for expression in expressions
        if isinstance(expression, ast.Call) and ast.unparse(expression.func) == "pytest.mark.req"
        for argument in expression.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]


def render(demands: dict[str, Demand]) -> str:
    """The page: what this release answers for, then what it leaves to later ones."""
    now = [demand for demand in demands.values() if demand.now]
    open_ids = [demand.id for demand in now if not demand.tests]
    lines = [HEADER, f"Of {len(now)} demands of this release {len(now) - len(open_ids)} are shown by tests."]
    lines.append(f"**Open: {', '.join(open_ids)}.**" if open_ids else "None is open.")
    for title, wanted in (("This release", True), ("Later releases", False)):
        lines += ["", f"## {title}", "", "| id | demand | shown by |", "| --- | --- | --- |"]
        lines += [_row(demand) for demand in demands.values() if demand.now is wanted]
    return "\n".join(lines) + "\n"


def _row(demand: Demand) -> str:
    shown = "<br>".join(f"`{test}`" for test in sorted(demand.tests))
    return f"| {demand.id} | {demand.title} | {shown or ('**open**' if demand.now else 'later')} |"


def main() -> int:
    """Writes or checks the page; answers the exit code."""
    demands = read_demands(IDS.read_text(encoding="utf-8"))
    unknown = []
    for file in sorted(TESTS.rglob("test_*.py")):
        path = file.relative_to(ROOT).as_posix()
        for demand, test in marked_tests(file.read_text(encoding="utf-8"), path):
            if demand in demands:
                demands[demand].tests.append(test)
            else:
                unknown.append(f"{test} names {demand}, which is no demand of {IDS.relative_to(ROOT)}.")
    page = render(demands)
    if "--check" not in sys.argv[1:]:
        TABLE.write_text(page, encoding="utf-8")
    elif not TABLE.exists() or TABLE.read_text(encoding="utf-8") != page:
        unknown.append(f"{TABLE.relative_to(ROOT)} is not what the tests say. Run: make requirements")
    for line in unknown:
        sys.stderr.write(line + "\n")
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
