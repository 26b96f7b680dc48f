"""The table of bugs to plant: every place is there once, every test it names exists; and what a run concludes."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import run
from tests.mutants.bugs import MUTANTS
from tests.mutants.table import Mutant, problems

CODE = "def answer():\n    return 42\n"
TEST = "from code import answer\n\n\ndef test_answer():\n    assert answer() == 42\n"


def test_every_row_of_the_table_fits_the_tree() -> None:
    assert list(problems(MUTANTS)) == []
    assert len(MUTANTS) >= 30


@pytest.mark.parametrize(
    ("old", "new", "tests", "told"),
    [
        ("return 43", "return 0", ["tests/test_a.py::test_answer"], "its place stands 0 times in code.py"),
        ("r", "m", ["tests/test_a.py::test_answer"], "its place stands 3 times in code.py"),
        ("return 42", "return (", ["tests/test_a.py::test_answer"], "code.py is no Python"),
        ("return 42", "return 42", ["tests/test_a.py::test_answer"], "it changes nothing"),
        ("return 42", "return 0", [], "it names no test"),
        ("return 42", "return 0", ["tests/test_a.py::test_other"], "there is no test tests/test_a.py::test_other"),
        ("return 42", "return 0", ["tests/test_b.py::test_answer"], "there is no test tests/test_b.py::test_answer"),
    ],
)
def test_a_row_that_does_not_fit_is_told(old: str, new: str, tests: list[str], told: str, tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "tests" / "test_a.py").write_text(TEST)
    (problem,) = problems([Mutant("a bug", "code.py", old, new, tuple(tests))], tmp_path)
    assert problem.startswith("a bug: ")
    assert told in problem


def test_a_name_stands_there_once(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "code.py").write_text(CODE)
    (tmp_path / "tests" / "test_a.py").write_text(TEST)
    mutant = Mutant("a bug", "code.py", "return 42", "return 0", ("tests/test_a.py::test_answer",))
    assert list(problems([mutant, mutant], tmp_path)) == ["'a bug' stands in the table twice."]


PASSED, FAILED, ERROR = "passed", "failed", "error"


@pytest.mark.parametrize(
    ("clean", "planted", "why"),
    [
        ([("t::a", PASSED)], [("t::a", FAILED)], ""),
        ([("t::a[1]", PASSED), ("t::a[2]", PASSED)], [("t::a[1]", PASSED), ("t::a[2]", FAILED)], ""),
        ([("t::a", PASSED)], [("t::a", PASSED)], "t::a: passed"),
        ([("t::a", PASSED)], [], "t::a: never ended"),
        # A world that did not come up has seen nothing.
        ([("t::a", PASSED)], [("t::a", ERROR)], "t::a: error"),
        ([("t::a", PASSED)], [("t::ab", FAILED)], "t::a: never ended"),
        ([("t::a", FAILED)], [("t::a", FAILED)], "t::a does not pass without the bug: failed"),
        ([("t::a", "skipped")], [("t::a", FAILED)], "t::a does not pass without the bug: skipped"),
        ([], [("t::a", FAILED)], "t::a does not pass without the bug: it was not run"),
    ],
)
def test_a_bug_is_caught_where_its_tests_fail_with_it_and_pass_without_it(
    clean: list[tuple[str, str]],
    planted: list[tuple[str, str]],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "code.py").write_text(CODE)
    monkeypatch.setattr(run, "ROOT", tmp_path)
    mutant = Mutant("a bug", "code.py", "return 42", "return 0", ("t::a",))

    def ended(copy: Path, *_: object) -> tuple[list[tuple[str, str]], str]:
        has_bug = (copy / "code.py").read_text() != CODE
        assert has_bug == copy.name.startswith("mutant")
        return (planted if has_bug else clean), "output"

    monkeypatch.setattr(run, "_run", ended)
    ((judged, found),) = run.judge([mutant], 1)
    assert judged is mutant
    assert found.partition("\n")[0] == why
    assert (tmp_path / "code.py").read_text() == CODE


def test_a_run_tells_failures_from_errors(tmp_path: Path) -> None:
    (tmp_path / "tests" / "mutants").mkdir(parents=True)
    for name in ("tests/__init__.py", "tests/mutants/__init__.py"):
        (tmp_path / name).touch()
    reporting = Path(run.__file__).with_name("reporting.py")
    (tmp_path / "tests" / "mutants" / "reporting.py").write_text(reporting.read_text())
    (tmp_path / "test_a.py").write_text(
        "import pytest\n"
        "@pytest.fixture\ndef broken(): raise ValueError\n"
        "def test_fails(): assert False\n"
        "def test_errs(broken): ...\n"
        "def test_passes(): ...\n"
        "def test_skips(): pytest.skip()\n"
    )
    outcomes, _ = run._run(tmp_path, ["test_a.py"], 60.0)
    assert dict(outcomes) == {
        "test_a.py::test_fails": FAILED,
        "test_a.py::test_errs": ERROR,
        "test_a.py::test_passes": PASSED,
        "test_a.py::test_skips": "skipped",
    }
