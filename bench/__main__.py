"""`python -m bench`: measures every figure beside its limit, prints the table, fails where what must hold does not."""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
from pathlib import Path

from bench import accept, interceptors, path, resolve, rls, start, statements, transcoding
from bench.accept import Effort
from bench.figures import Figure, table
from bench.house import open_house

GROUPS = "abcdef"
RUNS = 5
SERIES = 5
SECONDS = 2.0


async def measure(
    groups: set[str], effort: Effort, directory: Path | None, profile: Path | None, *, growth: bool
) -> list[Figure]:
    """The figures of the groups, in their order."""
    figures: list[Figure] = []

    def note(found: list[Figure]) -> None:
        figures.extend(found)
        for figure in found:
            # It takes minutes: what is known is told at once, the whole table at the end.
            print(" | ".join(figure.row()), file=sys.stderr, flush=True)

    if growth or groups & set("abc"):
        async with open_house(directory, profile) as house:
            if "a" in groups:
                note(await accept.measure(house, effort))
            if "b" in groups:
                note(await path.measure(house, effort))
                note(await rls.measure(house, effort))
            if "c" in groups:
                note(await resolve.measure(house, effort))
            if growth:
                note(await path.growth(house, effort))
    if "d" in groups:
        note(await interceptors.measure(effort))
        note(transcoding.measure(effort.runs))
    if "e" in groups:
        note(await start.measure(effort, directory))
    if "f" in groups:
        note(await statements.measure(effort))
    return figures


def main() -> int:
    """Measures what the command line names; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--only", default=",".join(GROUPS), help="groups: a accept, b path, c resolve, d rpc, e start, f statements"
    )
    parser.add_argument("--runs", type=int, default=RUNS, help="interleaved runs of each figure")
    parser.add_argument("--series", type=int, default=SERIES, help="series of runs for the cost of row-level security")
    parser.add_argument(
        "--quick", action="store_true", help="one short run each: shows that it works and judges nothing"
    )
    parser.add_argument("--growth", action="store_true", help="also with 100,000 and 1,000,000 contacts: takes minutes")
    parser.add_argument("--directory", type=Path, help="where the home is made; the disk there is measured too")
    parser.add_argument("--profile", type=Path, metavar="DIRECTORY", help="run under a profiler")
    given = parser.parse_args()
    groups = set(given.only.split(","))
    if unknown := groups - set(GROUPS):
        parser.error(f"there is no group {', '.join(sorted(unknown))}; there are: {', '.join(GROUPS)}")
    effort = Effort(1, 1.0) if given.quick else Effort(given.runs, SECONDS, given.series)
    figures = asyncio.run(measure(groups, effort, given.directory, given.profile, growth=given.growth))
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {effort.runs} runs each")
    print(table(figures))
    # One short run says too little for a verdict to fail by.
    return 1 if not given.quick and any(figure.verdict == "FAILED" for figure in figures) else 0


if __name__ == "__main__":
    sys.exit(main())
