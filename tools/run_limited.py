"""Runs a command that may hang: `run_limited.py SECONDS command…` ends it at the limit, and when it is interrupted.

A test run that waits for something which never comes can swallow SIGINT for ever. Here the first SIGINT or SIGTERM is
handed to the command, which may stop in order; after GRACE_SECONDS, or at the second signal, it is killed together with
all that it started.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

GRACE_SECONDS = 30.0
EXIT_LIMIT = 124
"""As of timeout(1)."""
SIGNALLED = 128


class Asked(Exception):
    """Somebody wants the command to end."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number = number


def main(arguments: list[str]) -> int:
    """Answers the command's own code, 124 at the limit, or as of a shell 128 and the signal's number."""
    limit, command = float(arguments[0]), arguments[1:]
    grace = float(os.environ.get("PROSA_GRACE_SECONDS", GRACE_SECONDS))
    signal.signal(signal.SIGINT, _raise)
    signal.signal(signal.SIGTERM, _raise)
    # A session of its own, so that all of it can be killed, and that a Ctrl-C comes to it from here alone.
    process = subprocess.Popen(command, start_new_session=True)
    deadline = time.monotonic() + limit
    try:
        try:
            return _shell_code(process.wait(timeout=limit))
        except subprocess.TimeoutExpired:
            _say(f"The run has not ended within {limit:g} s, and is ended.")
            code, first = EXIT_LIMIT, signal.SIGTERM
        except Asked as asked:
            code, first = SIGNALLED + asked.number, signal.Signals(asked.number)
        process.send_signal(first)
        _wait(process, min(grace, max(deadline - time.monotonic(), 0.0)) if code != EXIT_LIMIT else grace)
        return code
    finally:
        _kill_session(process)


def _wait(process: subprocess.Popen[bytes], seconds: float) -> None:
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        _say(f"It did not stop within {seconds:g} s, and is killed.")
    except Asked:
        _say("It is killed.")


def _say(sentence: str) -> None:
    sys.stderr.write(f"\n{sentence}\n")
    sys.stderr.flush()


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        # All of it has ended.
        return
    process.wait()


def _shell_code(code: int) -> int:
    return SIGNALLED - code if code < 0 else code


def _raise(number: int, _frame: object) -> None:
    raise Asked(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
