"""Plants every bug of the table and prints which of them the tests catch: ``python -m tests.mutants --only relay``."""

from __future__ import annotations

import argparse
import sys

from tests.mutants.bugs import MUTANTS
from tests.mutants.run import judge
from tests.mutants.table import problems

JOBS = 2


def main() -> int:
    """Answers 1 where a bug was not caught or a row of the table does not fit the tree."""
    parser = argparse.ArgumentParser(prog="tests.mutants", description=__doc__)
    parser.add_argument("--only", default="", metavar="TEXT", help="only bugs whose name or file holds this text")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many copies of the tree are tested at once")
    options = parser.parse_args()
    chosen = [mutant for mutant in MUTANTS if options.only in mutant.name or options.only in mutant.file]
    wrong = list(problems(chosen))
    for problem in wrong:
        print(f"WRONG   {problem}", flush=True)
    if wrong or not chosen:
        print("Nothing was planted." if wrong else f"No bug holds {options.only!r}.")
        return 1
    caught = 0
    for mutant, why in judge(chosen, options.jobs):
        caught += not why
        print(f"{'MISSED' if why else 'caught'}  {mutant.name}{f': {why}' if why else ''}", flush=True)
    print(f"{caught}/{len(chosen)} caught/planted")
    return 0 if caught == len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
