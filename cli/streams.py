"""Standard output and error as terminals and pipes need them: every character passes, a closed pipe is no error."""

from __future__ import annotations

import asyncio
import io
import os
import select
import signal
import stat
import sys
from collections.abc import Callable
from typing import TextIO

READER_LOOK_SECONDS = 0.5


def leave() -> None:
    """What a command does whose output nobody reads any more: it ends, and that is no failure."""
    raise SystemExit(0)


def go_on() -> None:
    """What happens when nobody reads standard error: the result goes elsewhere, so the work goes on."""


def stop_in_order() -> None:
    """What a server does whose output nobody reads any more: it stops as if it had been told to."""
    os.kill(os.getpid(), signal.SIGTERM)


class Stream(io.TextIOWrapper):
    """Text that never fails for its encoding, and that asks `closed_by_reader` when its reader has gone."""

    closed_by_reader: Callable[[], None] = staticmethod(go_on)

    def write(self, text: str) -> int:
        """Writes; what the encoding does not have is replaced."""
        try:
            return super().write(text)
        except BrokenPipeError:
            self._nobody_reads()
            return len(text)

    def flush(self) -> None:
        """Hands on what was written."""
        try:
            super().flush()
        except BrokenPipeError:
            self._nobody_reads()

    def _nobody_reads(self) -> None:
        # What is still held back goes nowhere, also at the interpreter's end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, self.fileno())
        os.close(nowhere)
        self.closed_by_reader()


def prepare() -> None:
    """Replaces standard output and error of this process."""
    sys.stdout = _stream(sys.stdout, leave)
    sys.stderr = _stream(sys.stderr, go_on)


def when_nobody_reads(action: Callable[[], None]) -> None:
    """What shall happen instead of an exit: a server is stopped in order."""
    if isinstance(sys.stdout, Stream):
        sys.stdout.closed_by_reader = action


async def reader_gone(stream: TextIO | None = None) -> None:
    """Waits until the pipe on standard output has no reader; for ever where it is no pipe.

    `head` ends after its first line: who then waits for something to print would wait for ever.
    """
    output = stream or sys.stdout
    try:
        piped = stat.S_ISFIFO(os.fstat(output.fileno()).st_mode)
    except (OSError, ValueError):
        piped = False
    look = select.poll()
    if piped:
        look.register(output.fileno(), 0)
    while not (piped and look.poll(0)):  # noqa: ASYNC110 a pipe whose reader goes sets no event
        await asyncio.sleep(READER_LOOK_SECONDS)


def _stream(stream: TextIO | None, closed_by_reader: Callable[[], None]) -> TextIO:
    if stream is None:
        # Closed by who started this; a command that has nowhere to say something can still do its work.
        return open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123 it lives as long as the process
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    encoding, line_buffering = stream.encoding, stream.line_buffering
    made = Stream(stream.detach(), encoding=encoding, errors="replace", line_buffering=line_buffering)
    made.closed_by_reader = closed_by_reader
    return made
