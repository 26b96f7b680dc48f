"""The lists of demands and of what use has found, and the marks that name them: what cannot be read is an error."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tools import cases, marks, requirements
from tools.marks import UnreadableError, marked_tests

SOURCE = """
import pytest
pytestmark = [pytest.mark.timeout(3), pytest.mark.req("ID-03")]

@pytest.mark.req("ID-01", "ID-03")
@pytest.mark.case("S3")
async def test_both() -> None: ...

def helper() -> None: ...

class TestGroup:
    @pytest.mark.req("ID-01")
    @pytest.mark.parametrize("x", [1, pytest.param(2, marks=pytest.mark.req("N8-01"))])
    def test_inner(self, x: int) -> None: ...
"""
DEMANDS = """# A comment
ID-01 now   One

N8-01 now   Two
ID-03 later Three
"""


def test_marks_are_found_on_functions_classes_modules_and_parameters() -> None:
    assert marked_tests(SOURCE, "t.py", "req") == [
        ("ID-03", "t.py::test_both"),
        ("ID-01", "t.py::test_both"),
        ("ID-03", "t.py::TestGroup::test_inner"),
        ("ID-01", "t.py::TestGroup::test_inner"),
        ("N8-01", "t.py::TestGroup::test_inner"),
    ]
    assert marked_tests(SOURCE, "t.py", "case") == [("S3", "t.py::test_both")]


@pytest.mark.parametrize(
    "source",
    [
        pytest.param('@pytest.mark.req("ID-01")\ndef helper(): ...', id="not-a-test"),
        pytest.param('if True:\n  @pytest.mark.req("ID-01")\n  def test_a(): ...', id="below-a-condition"),
        pytest.param('@pytest.mark.req("ID-01")\nclass Group:\n  def test_a(self): ...', id="not-a-class-of-tests"),
        pytest.param('marked = pytest.mark.req("ID-01")', id="kept-in-a-name"),
        pytest.param("@pytest.mark.req(ID)\ndef test_a(): ...", id="not-a-text"),
        pytest.param("@pytest.mark.req()\ndef test_a(): ...", id="empty"),
        pytest.param('from pytest import mark\n@mark.req("ID-01")\ndef test_a(): ...', id="by-another-name"),
        pytest.param("@pytest.mark.req\ndef test_a(): ...", id="not-called"),
        pytest.param('@pytest.mark.req(id="ID-01")\ndef test_a(): ...', id="by-keyword"),
    ],
)
def test_a_mark_that_cannot_be_read_is_an_error(source: str) -> None:
    with pytest.raises(UnreadableError, match=r"^t\.py, line [0-9]+: "):
        marked_tests(source, "t.py", "req")


def test_a_mark_outside_of_the_tests_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "world.py").write_text('@pytest.mark.req("ID-01")\ndef test_a(): ...')
    monkeypatch.setattr(marks, "ROOT", tmp_path)
    monkeypatch.setattr(marks, "TESTS", tmp_path / "tests")
    with pytest.raises(UnreadableError, match="collects no tests"):
        list(marks.all_marked_tests("req"))


def test_demands_are_read_in_their_order() -> None:
    assert list(requirements.read_demands(DEMANDS)) == ["ID-01", "N8-01", "ID-03"]


@pytest.mark.parametrize(
    "line",
    [
        "N8-1 now Two",
        "ID-001 now One",
        "id-01 now One",
        "ID-01 soon One",
        "ID-01 now",
        " ID-01 now One",
        "ID-02: now One",
    ],
)
def test_a_demand_that_cannot_be_read_is_an_error_with_its_line(line: str) -> None:
    with pytest.raises(UnreadableError, match="line 2: cannot read"):
        requirements.read_demands(f"ID-09 now Before\n{line}\nID-10 now After")


def test_a_demand_or_row_that_stands_there_twice_is_an_error() -> None:
    with pytest.raises(UnreadableError, match="line 2: ID-01 stands there twice"):
        requirements.read_demands("ID-01 now One\nID-01 later Again")
    with pytest.raises(UnreadableError, match="line 2: S1 stands there twice"):
        cases.read_cases("S1 One\nS1 Again")


@pytest.mark.parametrize("line", ["X1 One", "S One", "S100 One", "S1", "s1 One"])
def test_a_row_that_cannot_be_read_is_an_error(line: str) -> None:
    with pytest.raises(UnreadableError, match="line 1: cannot read"):
        cases.read_cases(line)


def test_a_demand_without_a_test_is_plainly_open() -> None:
    demands = requirements.read_demands(DEMANDS)
    demands["ID-01"].tests.append("t.py::test_both")
    page = requirements.render(demands)
    assert "Of 2 demands of this release 1 are shown by tests." in page
    assert "**Open: N8-01.**" in page
    assert "| ID-01 | One | `t.py::test_both` |" in page
    assert "| N8-01 | Two | **open** |" in page
    assert "| ID-03 | Three | later |" in page


def test_no_group_of_demands_has_a_hole() -> None:
    ids = list(requirements.read_demands(requirements.IDS.read_text(encoding="utf-8")))
    groups: dict[str, list[int]] = {}
    for id_ in ids:
        group, number = re.split("-", id_)
        groups.setdefault(group, []).append(int(number))
    assert groups == {group: list(range(1, len(numbers) + 1)) for group, numbers in groups.items()}
    assert len(ids) >= 154


def _tree(root: Path, monkeypatch: pytest.MonkeyPatch, tool: object, ids: str, test: str) -> None:
    (root / "tests").mkdir()
    (root / "docs").mkdir()
    (root / "docs" / "ids.txt").write_text(ids)
    (root / "tests" / "test_a.py").write_text(test)
    for module, name, value in (
        (marks, "ROOT", root),
        (marks, "TESTS", root / "tests"),
        (tool, "ROOT", root),
        (tool, "IDS", root / "docs" / "ids.txt"),
    ):
        monkeypatch.setattr(module, name, value)


@pytest.mark.parametrize(
    ("test", "arguments", "code", "told"),
    [
        ('@pytest.mark.case("S1")\ndef test_a(): ...', ["--check"], 0, "Of 2 rows 1 have tests. Without: F01."),
        ('@pytest.mark.case("S1")\ndef test_a(): ...', ["--check", "--strict"], 1, "Without: F01."),
        ('@pytest.mark.case("S1", "F01")\ndef test_a(): ...', ["--check", "--strict"], 0, "Of 2 rows 2 have tests."),
        ('@pytest.mark.case("S2")\ndef test_a(): ...', ["--check"], 1, "names S2, which is no row"),
        ("@pytest.mark.case(S1)\ndef test_a(): ...", ["--check"], 1, "names its ids as texts"),
        ('@pytest.mark.case("S1")\ndef test_a(): ...', [], 0, "F01 Two\n      no test"),
        ('@pytest.mark.case("S1")\ndef test_a(): ...', [], 0, "S1  One\n      tests/test_a.py::test_a"),
    ],
)
def test_the_table_of_what_use_has_found(
    test: str,
    arguments: list[str],
    code: int,
    told: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    _tree(tmp_path, monkeypatch, cases, "S1  One\nF01 Two\n", test)
    monkeypatch.setattr("sys.argv", ["cases.py", *arguments])
    assert cases.main() == code
    written = capsys.readouterr()
    assert told in written.out + written.err


@pytest.mark.parametrize(
    ("ids", "test", "told"),
    [
        ("ID-01 now One\n", '@pytest.mark.req("ID-02")\ndef test_a(): ...', "names ID-02, which is no demand"),
        ("ID-01 now One\nN8: 01\n", "", "line 2: cannot read 'N8: 01'"),
        ("ID-01 now One\n", "", "is not what the tests say"),
    ],
)
def test_the_table_of_demands_is_refused_with_what_is_wrong(
    ids: str, test: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _tree(tmp_path, monkeypatch, requirements, ids, test)
    monkeypatch.setattr(requirements, "TABLE", tmp_path / "docs" / "requirements.md")
    monkeypatch.setattr("sys.argv", ["requirements.py", "--check"])
    assert requirements.main() == 1
    assert told in capsys.readouterr().err
