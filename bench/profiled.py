"""`prosa serve` under a sampling profiler: where the processor's time goes, by function.

Started by `python -m bench --profile DIRECTORY` in place of `prosa serve`. Every few milliseconds of processor time the
stack is noted; when the process stops or is sent SIGUSR2, what was noted since the last SIGUSR1 is written to
`<targets>.txt`.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

import uvloop

from cli.serve import run

SAMPLE_SECONDS = 0.001
LINES = 70


class Samples:
    """Which functions the samples met: at the top of the stack, and anywhere in it."""

    def __init__(self) -> None:
        self._count = 0
        self._own: Counter[CodeType] = Counter()
        self._packages: Counter[str] = Counter()
        self._whole: Counter[CodeType] = Counter()

    def note(self, _number: int, frame: FrameType | None) -> None:
        """Takes one sample."""
        if frame is None:
            return
        self._count += 1
        self._own[frame.f_code] += 1
        self._packages[_package(frame.f_code)] += 1
        met: set[CodeType] = set()
        current: FrameType | None = frame
        while current is not None:
            met.add(current.f_code)
            current = current.f_back
        self._whole.update(met)

    def forget(self, _number: int, _frame: FrameType | None) -> None:
        """Starts over."""
        self._count = 0
        self._own.clear()
        self._packages.clear()
        self._whole.clear()

    def report(self) -> str:
        """The functions that took most, first by what they do themselves, then with all that they call."""
        lines = [f"{self._count} samples", "", f"{'%':>6}  by package"]
        for package, count in self._packages.most_common(LINES):
            lines.append(f"{count / max(1, self._count):6.1%}  {package}")
        for title, counted in (("by itself", self._own), ("with what it calls", self._whole)):
            lines += ["", f"{'%':>6}  {title}"]
            for code, count in counted.most_common(LINES):
                place = "/".join(Path(code.co_filename).parts[-3:])
                lines.append(f"{count / max(1, self._count):6.1%}  {code.co_qualname}  {place}:{code.co_firstlineno}")
        return "\n".join(lines) + "\n"


def _package(code: CodeType) -> str:
    """The library, or the service and module of our own, that a function belongs to."""
    parts = Path(code.co_filename).parts
    if "site-packages" in parts:
        return parts[parts.index("site-packages") + 1]
    if any(part.startswith("python3") for part in parts):
        return f"python {parts[-2]}/{parts[-1]}"
    return "/".join(parts[-3:])


def main() -> None:
    """Serves the targets and writes the report at the end."""
    targets, directory = sys.argv[1], Path(sys.argv[2])
    samples = Samples()

    def write() -> None:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{targets.replace(',', '+')}.txt").write_text(samples.report(), encoding="utf-8")

    signal.signal(signal.SIGPROF, samples.note)
    signal.signal(signal.SIGUSR1, samples.forget)
    signal.signal(signal.SIGUSR2, lambda *_: write())
    signal.setitimer(signal.ITIMER_PROF, SAMPLE_SECONDS, SAMPLE_SECONDS)
    try:
        uvloop.run(run(targets))
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        write()


if __name__ == "__main__":
    main()
