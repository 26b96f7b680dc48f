"""A test run that hangs has an end, and an interrupt an effect."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

PROGRAM = Path(__file__).parents[2] / "tools" / "run_limited.py"
DEAF = """
import signal, subprocess, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
print(child.pid, flush=True)
child.wait()
"""
"""Ignores signals, and has a child that would outlive it."""
WAIT_SECONDS = 60
LONG = "600"


def limited(seconds: str, *command: str, grace: str = "0.2") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, PROGRAM, seconds, *command],
        env={**os.environ, "PROSA_GRACE_SECONDS": grace},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=WAIT_SECONDS)
    return process.returncode, said


def child_of(process: subprocess.Popen[str]) -> psutil.Process:
    assert process.stdout is not None
    return psutil.Process(int(process.stdout.readline()))


@pytest.mark.case("O3")
@pytest.mark.parametrize(("code", "seen"), [("raise SystemExit(3)", 3), ("import os; os.kill(os.getpid(), 9)", 137)])
def test_a_command_that_ends_answers_its_own_code(code: str, seen: int) -> None:
    assert ended(limited(LONG, sys.executable, "-c", code)) == (seen, "")


@pytest.mark.case("O3")
def test_at_the_limit_all_of_it_is_ended_though_it_ignores_signals() -> None:
    process = limited("1", sys.executable, "-c", DEAF)
    child = child_of(process)
    code, said = ended(process)
    assert (code, "has not ended within 1 s" in said) == (124, True)
    child.wait(WAIT_SECONDS)


@pytest.mark.case("O3")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_what_ignores_it_after_a_grace(number: signal.Signals) -> None:
    process = limited(LONG, sys.executable, "-c", DEAF)
    child = child_of(process)
    process.send_signal(number)
    code, said = ended(process)
    assert (code, "It did not stop" in said) == (128 + number, True)
    child.wait(WAIT_SECONDS)


@pytest.mark.case("O3")
def test_a_second_signal_does_not_wait_for_the_grace() -> None:
    process = limited(LONG, sys.executable, "-c", DEAF, grace=LONG)
    child = child_of(process)
    process.send_signal(signal.SIGINT)
    while process.poll() is None:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
    assert ended(process)[0] == 130
    child.wait(WAIT_SECONDS)


@pytest.mark.case("O3")
def test_a_signal_lets_what_takes_it_stop_in_order() -> None:
    # It says that it is ready from within: before the try, the signal could come too early.
    tidying = (
        "import time\ntry:\n print(1, flush=True)\n time.sleep(600)\nexcept KeyboardInterrupt:\n print('tidied')\n"
    )
    process = limited(LONG, sys.executable, "-c", tidying, grace=LONG)
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, said = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, out, said) == (130, "tidied\n", "")
