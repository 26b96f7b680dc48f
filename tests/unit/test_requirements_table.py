"""The generated table of demands: read from the tests' marks, open ones shown plainly."""

from __future__ import annotations

from tools.requirements import marked_tests, read_demands, render

IDS = """# A comment
ID-01 now   One
ID-02 now   Two
ID-03 later Three
"""
SOURCE = """
import pytest
pytestmark = [pytest.mark.timeout(3), pytest.mark.req("ID-03")]

@pytest.mark.req("ID-01", "ID-03")
async def test_both() -> None: ...

def helper() -> None: ...

class TestGroup:
    @pytest.mark.req("ID-01")
    @pytest.mark.parametrize("x", [1])
    def test_inner(self, x: int) -> None: ...
"""


def test_marks_are_found_on_functions_classes_and_modules() -> None:
    assert list(marked_tests(SOURCE, "t.py")) == [
        ("ID-03", "t.py::test_both"),
        ("ID-01", "t.py::test_both"),
        ("ID-03", "t.py::TestGroup::test_inner"),
        ("ID-01", "t.py::TestGroup::test_inner"),
    ]


def test_a_demand_without_a_test_is_plainly_open() -> None:
    demands = read_demands(IDS)
    demands["ID-01"].tests.append("t.py::test_both")
    page = render(demands)
    assert "Of 2 demands of this release 1 are shown by tests." in page
    assert "**Open: ID-02.**" in page
    assert "| ID-01 | One | `t.py::test_both` |" in page
    assert "| ID-02 | Two | **open** |" in page
    assert "| ID-03 | Three | later |" in page
