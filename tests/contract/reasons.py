"""Every reason that the code can give, found by reading it: the first argument of each error of ours."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from chassis import errors

ROOT = Path(__file__).resolve().parents[2]
ERROR_CLASSES = frozenset(
    name
    for name, value in vars(errors).items()
    if isinstance(value, type) and issubclass(value, errors.ProsaError) and value is not errors.ProsaError
)


def codes_of(*directories: str) -> dict[str, set[str]]:
    """Answers the canonical codes that the reasons are given with, where the code says so in one call."""
    found: dict[str, set[str]] = {}
    for directory in directories:
        for path in sorted((ROOT / directory).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(call, ast.Call) and _name(call.func) in ERROR_CLASSES and call.args:
                    code = getattr(errors, _name(call.func)).code.name
                    for reason in _constants(call.args[0]):
                        found.setdefault(reason, set()).add(code)
    return found


def raised_in(*directories: str) -> dict[str, set[str]]:
    """Answers the reasons that the code of the directories gives, each with the places that give it."""
    found: dict[str, set[str]] = {}
    for directory in directories:
        for path in sorted((ROOT / directory).rglob("*.py")):
            tree = ast.parse(path.read_text(encoding="utf-8"))
            makers = _makers(tree)
            for call in ast.walk(tree):
                if isinstance(call, ast.Call) and _name(call.func) in ERROR_CLASSES | makers and call.args:
                    for reason in _constants(call.args[0]):
                        found.setdefault(reason, set()).add(f"{path.relative_to(ROOT)}:{call.lineno}")
    return found


def _makers(tree: ast.AST) -> set[str]:
    """Functions of a file that take a reason first and hand it to an error, and subclasses of our errors."""
    made = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any(_name(base) in ERROR_CLASSES | {"ProsaError"} for base in node.bases):
            made.add(node.name)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.args.args:
            first = node.args.args[0].arg
            if any(
                isinstance(call, ast.Call)
                and _name(call.func) in ERROR_CLASSES
                and call.args
                and isinstance(call.args[0], ast.Name)
                and call.args[0].id == first
                for call in ast.walk(node)
            ):
                made.add(node.name)
    return made


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _constants(node: ast.expr) -> Iterator[str]:
    """The texts an expression may be: "A", or "A" if … else "B", or what + "…" falls back to."""
    for part in ast.walk(node):
        if isinstance(part, ast.Constant) and isinstance(part.value, str) and part.value.isupper():
            yield part.value
