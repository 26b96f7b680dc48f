"""Writes docs/requirements.md: every demand with the tests that show it, read from their marks without running them.

`--check` writes nothing and fails when the file is not what it would write. Either way it fails when a line of the list
cannot be read or a test names an unknown demand.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass, field

from tools.marks import ROOT, UnreadableError, all_marked_tests, read_lines

IDS = ROOT / "docs" / "requirements-ids.txt"
TABLE = ROOT / "docs" / "requirements.md"
_LINE = re.compile(r"(?P<id>[A-Z][A-Z0-9]-[0-9]{2}) (?P<when>now|later) +(?P<title>[^\s|][^|]*)")
_FORM = "ID-01 now|later Title"

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
    """The demands by id, in their order; a line that cannot be read raises `UnreadableError`."""
    lines = read_lines(text, _LINE, _FORM, IDS.name)
    return {line["id"]: Demand(line["id"], line["when"] == "now", line["title"]) for line in lines}


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
    problems = []
    try:
        demands = read_demands(IDS.read_text(encoding="utf-8"))
        for demand, test in all_marked_tests("req"):
            if demand in demands:
                demands[demand].tests.append(test)
            else:
                problems.append(f"{test} names {demand}, which is no demand of {IDS.relative_to(ROOT)}.")
    except UnreadableError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    page = render(demands)
    if "--check" not in sys.argv[1:]:
        TABLE.write_text(page, encoding="utf-8")
    elif not TABLE.exists() or TABLE.read_text(encoding="utf-8") != page:
        problems.append(f"{TABLE.relative_to(ROOT)} is not what the tests say. Run: make requirements")
    for line in problems:
        sys.stderr.write(line + "\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
