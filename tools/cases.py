"""Prints every row of docs/cases-ids.txt with the tests that hold it shut, read from their marks without running them.

Fails when a line cannot be read or a test names an unknown row; with `--strict` also when a row has no test. `--check`
prints only what is wrong or missing.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field

from tools.marks import ROOT, UnreadableError, all_marked_tests, read_lines

IDS = ROOT / "docs" / "cases-ids.txt"
_LINE = re.compile(r"(?P<id>[SFO][0-9]{1,2}) +(?P<title>\S.*)")
_FORM = "S1 Title"


@dataclass(frozen=True, slots=True)
class Case:
    """One thing that use has found, and where it is held shut: `tests/….py::test_name`."""

    id: str
    title: str
    tests: list[str] = field(default_factory=list)


def read_cases(text: str) -> dict[str, Case]:
    """The rows by id, in their order; a line that cannot be read raises `UnreadableError`."""
    return {line["id"]: Case(line["id"], line["title"]) for line in read_lines(text, _LINE, _FORM, IDS.name)}


def render(cases: dict[str, Case]) -> str:
    """Every row, and below it its tests."""
    lines = []
    for case in cases.values():
        lines.append(f"{case.id:<4}{case.title}")
        lines += [f"      {test}" for test in sorted(case.tests)] or ["      no test"]
    return "\n".join(lines)


def main() -> int:
    """Prints the table or what is missing; answers the exit code."""
    unknown = []
    try:
        cases = read_cases(IDS.read_text(encoding="utf-8"))
        for case, test in all_marked_tests("case"):
            if case in cases:
                cases[case].tests.append(test)
            else:
                unknown.append(f"{test} names {case}, which is no row of {IDS.relative_to(ROOT)}.")
    except UnreadableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if "--check" not in sys.argv[1:]:
        sys.stdout.write(render(cases) + "\n\n")
    for line in unknown:
        sys.stderr.write(line + "\n")
    bare = [case.id for case in cases.values() if not case.tests]
    sys.stdout.write(f"Of {len(cases)} rows {len(cases) - len(bare)} have tests.")
    sys.stdout.write(f" Without: {', '.join(bare)}.\n" if bare else "\n")
    return 1 if unknown or (bare and "--strict" in sys.argv[1:]) else 0


if __name__ == "__main__":
    sys.exit(main())
