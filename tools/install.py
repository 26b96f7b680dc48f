"""Installs what a lock names into the environment that runs this, and shows meanwhile what is being done.

pip alone either says nothing for a minute or prints hundreds of lines.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

EVERY = 20
"""Where no terminal is, every so many packages a line."""
NAME_WIDTH = 40
FETCHING, PLACING = "Collecting ", "Installing collected packages"


def main(lock: Path) -> int:
    """Answers pip's own code; what it said is printed where it failed."""
    total = count_packages(lock.read_text(encoding="utf-8").splitlines())
    command = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-deps", "--require-hashes"]
    with subprocess.Popen(
        [*command, "--progress-bar", "off", "-r", str(lock)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as pip:
        assert pip.stdout is not None
        said = follow(pip.stdout, total, sys.stdout, live=sys.stdout.isatty())
    if pip.returncode != 0:
        sys.stderr.write("".join(said))
    return pip.returncode


def count_packages(lock: Iterable[str]) -> int:
    """How many packages a lock names; some may be for other systems."""
    return sum(1 for line in lock if "==" in line and not line[:1].isspace() and not line.startswith("#"))


def follow(lines: Iterable[str], total: int, out: TextIO, *, live: bool) -> list[str]:
    """Tells of pip's lines what a person wants to know; answers all of them."""
    said: list[str] = []
    count = 0
    out.write(f"Fetching about {total} packages, checked against their hashes …\n")
    out.flush()
    for line in lines:
        said.append(line)
        if line.startswith(FETCHING):
            count += 1
            name = line.removeprefix(FETCHING).split("==")[0].strip()
            if live:
                out.write(f"\r  {count:>3}/{total} {name[:NAME_WIDTH]:<{NAME_WIDTH}}")
            elif count % EVERY == 0:
                out.write(f"  {count}/{total} {name}\n")
        elif line.startswith(PLACING):
            out.write(("\n" if live else "") + "Putting them in place, which takes as long again …\n")
        out.flush()
    return said


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
