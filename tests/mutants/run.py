"""Plants bugs, each alone in a copy of the tree, and runs the tests that must see it.

Several copies are at work at once; as no copy holds two bugs, none can mask another. A bug is caught when every test it
names is red because it failed: a test that could not begin has seen nothing. The same tests are first run without any
bug, since one that is red anyhow proves nothing either.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.reporting import REPORT_VARIABLE
from tests.mutants.table import ROOT, Mutant, planted

RUN_SECONDS_MAX = 300.0
"""For the tests of one bug; a run that does not end in it has caught nothing."""
BASELINE_SECONDS_MAX = 1_800.0
LEFT_OUT = (".git", ".venv", ".local", "__pycache__", ".*_cache", ".hypothesis", "dist", "*.egg-info")
OUTPUT_LINES = 12
"""How much of a run's output is shown where nothing was caught."""


def judge(mutants: Sequence[Mutant], jobs: int) -> Iterator[tuple[Mutant, str]]:
    """Each mutant with why it was not caught; an empty text where it was. In the order in which they are done."""
    with tempfile.TemporaryDirectory(prefix="prosa-mutants-") as directory:
        # PostgreSQL runs as another user when we are root, and must be able to walk in.
        scratch = Path(directory)
        scratch.chmod(0o755)
        tests = sorted({test for mutant in mutants for test in mutant.tests})
        unfit = _unfit(scratch, tests, jobs)
        with ThreadPoolExecutor(jobs) as pool:
            yield from pool.map(lambda item: _judged(scratch, item[0], item[1], unfit), enumerate(mutants))


def _unfit(scratch: Path, tests: Sequence[str], jobs: int) -> dict[str, str]:
    """The tests that do not pass without any bug, each with what became of it."""
    copy = _copied(scratch / "clean")
    outcomes, output = _run(copy, tests, BASELINE_SECONDS_MAX, "-n", str(jobs))
    shutil.rmtree(copy)
    found = {}
    for test in tests:
        ended = _of(test, outcomes)
        if not ended or set(ended) != {"passed"}:
            found[test] = f"{test} does not pass without the bug: {', '.join(sorted(set(ended))) or 'it was not run'}"
    if len(found) == len(tests):
        found |= {test: f"{problem}\n{output}" for test, problem in list(found.items())[:1]}
    return found


def _judged(scratch: Path, number: int, mutant: Mutant, unfit: dict[str, str]) -> tuple[Mutant, str]:
    if problem := next((unfit[test] for test in mutant.tests if test in unfit), ""):
        return mutant, problem
    copy = _copied(scratch / f"mutant-{number}")
    (copy / mutant.file).write_text(planted(mutant, ROOT), encoding="utf-8")
    outcomes, output = _run(copy, mutant.tests, RUN_SECONDS_MAX, "-n", "0")
    shutil.rmtree(copy)
    for test in mutant.tests:
        ended = _of(test, outcomes)
        if "failed" not in ended:
            return mutant, f"{test}: {', '.join(sorted(set(ended))) or 'never ended'}\n{output}"
    return mutant, ""


def _of(test: str, outcomes: Sequence[tuple[str, str]]) -> list[str]:
    return [outcome for found, outcome in outcomes if found == test or found.startswith(f"{test}[")]


def _copied(copy: Path) -> Path:
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(*LEFT_OUT), symlinks=True)
    return copy


def _run(copy: Path, tests: Sequence[str], seconds: float, *options: str) -> tuple[list[tuple[str, str]], str]:
    """How each test ended, by its id, and the last lines that the run wrote."""
    report = copy / "outcomes.jsonl"
    report.touch()
    output = copy / "output.txt"
    command = [
        *(sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider"),
        *("-p", "tests.mutants.reporting", "--basetemp", str(copy / "scratch"), *options, *tests),
    ]
    # The venv leads to the tree it was made for: the copy comes before it, in every process that the tests start.
    environment = os.environ | {
        "PYTHONPATH": f"{copy}{os.pathsep}{copy / 'gen'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        REPORT_VARIABLE: str(report),
    }
    with output.open("wb") as written:
        process = subprocess.Popen(
            command, cwd=copy, env=environment, stdout=written, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            written.write(f"\nstopped after {seconds:.0f} s\n".encode())
        finally:
            # Servers of its own die with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    outcomes = [json.loads(line) for line in report.read_text(encoding="utf-8").splitlines()]
    last = output.read_text(encoding="utf-8", errors="replace").splitlines()[-OUTPUT_LINES:]
    return [(item["test"], item["outcome"]) for item in outcomes], "\n".join(f"    {line}" for line in last)
