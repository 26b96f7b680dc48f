"""Holds a home until the end of its input: `hold_home.py DIRECTORY` says `locked`."""

import sys
from pathlib import Path

from embedded.home import Home

if __name__ == "__main__":
    home = Home.open(Path(sys.argv[1]))
    print("locked", flush=True)
    sys.stdin.read()
