"""The siege at full size: `make siege`. 20,000 strangers within a minute, at most 5,000 at once; about two minutes."""

from __future__ import annotations

import argparse
import asyncio
import tempfile
from pathlib import Path

from embedded.shapes import Shape
from tests.e2e.suite import Suite
from tests.siege.run import besiege, may_hold

TOTAL, AT_ONCE_MAX, SECONDS = 20_000, 5_000, 60.0


async def main(total: int, at_once_max: int, seconds: float) -> int:
    """Answers 0 where all was as it must be."""
    if not may_hold(at_once_max):
        print(f"This machine lets a process hold fewer than {at_once_max} connections: raise `ulimit -Hn`.")
        return 2
    with tempfile.TemporaryDirectory(prefix="prosa-siege-") as directory:
        suite = Suite(Path(directory) / "home")
        try:
            content = await suite.start("--demo", "--shape", Shape.RECEIVER)
            siege = await besiege(suite, content, total, at_once_max, seconds)
        finally:
            await suite.close()
    print(siege.told())
    for fault in siege.faults():
        print("FAULT", fault)
    return 1 if siege.faults() else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--total", type=int, default=TOTAL)
    parser.add_argument("--at-once", type=int, default=AT_ONCE_MAX)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    chosen = parser.parse_args()
    raise SystemExit(asyncio.run(main(chosen.total, chosen.at_once, chosen.seconds)))
