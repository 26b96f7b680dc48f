"""What must be green before a change goes in: all of it is asked, each question can turn red, and what done means."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.reasons import ROOT
from tests.contract.test_docs import misunderstood

BIN = Path(sys.executable).parent
TEMPLATE = ROOT / ".github" / "pull_request_template.md"
CI = ROOT / ".ci" / "run"
LINTED = ("bench", "chassis", "cli", "embedded", "gateway", "sandbox", "services", "tests", "tools")
GATES = (
    "ruff check .",
    "ruff format --check .",
    f"mypy {' '.join(LINTED)}",
    "lint-imports",
    "buf lint",
    "buf breaking --against protos/released.binpb",
    "tools/check_generated.sh",
    "tools/requirements.py --check",
    "tools/cases.py --check --strict",
    "tools.settings --check",
    "tools.contracts --check",
    "tools.slo --check",
    "tools.dashboard lint",
    "tools.dashboard test",
)
DONE = ("Implemented", "Tested", "Documented", "Reviewed", "Deployed to test", "Validated")


def planned(target: str) -> list[str]:
    """The commands that make would run, one after the other; the first that fails ends it."""
    # The tests may themselves run below make, which hands down what it was called with.
    environment = {
        name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")
    }
    told = subprocess.run(
        ["make", "-n", target], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    ).stdout
    return told.replace(f"{BIN}/", "").replace(".venv/bin/", "").splitlines()


@pytest.mark.req("ID-15")
def test_one_command_asks_for_types_form_layers_contracts_and_every_test() -> None:
    commands = planned("check")
    for gate in GATES:
        assert [command for command in commands if command.endswith(gate)], gate
    # The whole suite: nothing is chosen, and nothing left out.
    assert re.search(r"python -m pytest -n \d+ --dist worksteal$", commands[-1]), commands[-1]
    assert not [command for command in commands if command.startswith("-") or "|| true" in command]
    # Every package of Python is read by mypy.
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")} | {"services", "tests"}
    assert packages <= set(LINTED)
    text = CI.read_text(encoding="utf-8")
    assert "set -euo pipefail" in text
    assert text.index("\nmake lint\n") < text.index("\nmake test\n")


@pytest.mark.req("ID-15")
@pytest.mark.parametrize(
    ("gate", "text", "told"),
    [
        (["ruff", "check", "--stdin-filename", "services/x.py", "-"], "import os\n", "F401"),
        (["ruff", "format", "--check", "--stdin-filename", "services/x.py", "-"], "x = [1,2]\n", ""),
        (["mypy", "--no-incremental", "-c", 'number: int = "one"'], "", "Incompatible types"),
        (["mypy", "--no-incremental", "-c", "def f(x): ..."], "", "missing a type annotation"),
    ],
    ids=["lint", "form", "types", "untyped"],
)
def test_a_regression_turns_its_gate_red(gate: list[str], text: str, told: str) -> None:
    program, *words = gate
    ended = subprocess.run([BIN / program, *words], cwd=ROOT, input=text, capture_output=True, text=True, check=False)
    assert ended.returncode == 1, ended
    assert told in ended.stdout


@pytest.mark.req("ID-15")
def test_a_test_that_fails_turns_the_suite_red(tmp_path: Path) -> None:
    (tmp_path / "test_regression.py").write_text("def test_it() -> None:\n    assert 1 == 2\n", encoding="utf-8")
    words = [sys.executable, "tools/run_limited.py", "60", sys.executable, "-m", "pytest", "-q"]
    ended = subprocess.run(
        [*words, "--noconftest", "-c", "/dev/null", str(tmp_path)],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 1, ended.stdout + ended.stderr
    assert "1 failed" in ended.stdout


@pytest.mark.req("OP-24")
def test_done_is_six_things_each_of_which_a_change_must_say() -> None:
    text = TEMPLATE.read_text(encoding="utf-8")
    items = re.findall(r"^- \[ \] \*\*(.+?)\*\*: (.+)$", text, re.MULTILINE)
    assert tuple(name for name, _ in items) == DONE
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = re.findall(r"`make ([a-z]+)`", text)
    assert {"lint", "test", "run"} <= set(named) <= targets
    for command in re.findall(r"`(prosa [^`]+)`", text):
        assert misunderstood(command) == "", command
    for folder in re.findall(r"`(tests/[a-z]+)`", text):
        assert list((ROOT / folder).rglob("test_*.py")), folder


@pytest.mark.req("OP-24")
def test_the_ci_asks_what_a_machine_can_ask_of_them() -> None:
    text = CI.read_text(encoding="utf-8")
    for gate in ("make install", "make lint", "make chart", "make test"):
        assert f"\n{gate}\n" in text, gate
    # Deployed and validated: the whole suite comes up with its demo, and the smoke passes in it.
    assert "tests/e2e/test_up.py" in text
    assert '"smoke"' in (ROOT / "tests/e2e/test_up.py").read_text(encoding="utf-8")
    # Both kinds of tests are among what `make test` runs.
    configured = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(r'testpaths = \[.*"tests".*\]', configured)
