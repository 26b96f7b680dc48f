"""The crash test at its full size: ``python -m tests.chaos --faults 200 --events 5000 --seed 7 --shape services``."""

from __future__ import annotations

import argparse
import random
import shutil
import sys
import tempfile
from pathlib import Path

import uvloop

from embedded.shapes import Shape
from tests.chaos.plan import draw_plan
from tests.chaos.run import Report, run

SHAPES = {
    "all": (Shape.ALL,),
    "receiver": (Shape.RECEIVER,),
    "services": (Shape.SERVICES,),
    "both": (Shape.ALL, Shape.SERVICES),
}
FAULT_COUNT = 40
EVENT_COUNT = 5_000
KILL_COUNT = 10
SEED_MAX = 1_000_000


def main() -> int:
    """Runs in the shapes asked for; answers 1 when an invariant was broken in any."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--faults", type=int, default=FAULT_COUNT, help="how many faults per shape")
    parser.add_argument("--events", type=int, default=EVENT_COUNT, help="at least so many webhook events per shape")
    parser.add_argument(
        "--kills", type=int, default=KILL_COUNT, help="how often what sends dies, with five messages out"
    )
    parser.add_argument("--seed", type=int, default=None, help="draws everything; drawn and printed when missing")
    shapes = "one process (all), one per service (services), both, or as `prosa up` splits them (receiver)"
    parser.add_argument("--shape", choices=sorted(SHAPES), default="both", help=shapes)
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(SEED_MAX) if options.seed is None else options.seed
    failures = []
    for shape in SHAPES[options.shape]:
        home = Path(tempfile.mkdtemp(prefix=f"prosa-chaos-{shape}-"))
        # PostgreSQL runs as another user when we are root, and must be able to walk into its home.
        home.chmod(0o755)
        report = uvloop.run(_run(home, seed, shape, options))
        failures += report.failures
        if report.failures:
            print(f"logs and data are kept in {home}", flush=True)
        else:
            shutil.rmtree(home)
    for failure in failures:
        print(f"FAIL {failure}", flush=True)
    return 1 if failures else 0


async def _run(home: Path, seed: int, shape: Shape, options: argparse.Namespace) -> Report:
    plan = draw_plan(seed, options.faults, shape)
    return await run(
        home,
        seed=seed,
        shape=shape,
        event_count=options.events,
        plan=plan,
        kill_count=options.kills,
        say=_say,
    )


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
