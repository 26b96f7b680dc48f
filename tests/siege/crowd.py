"""The strangers' own process: `python -m tests.siege.crowd HOST PORT TOTAL AT_ONCE SECONDS`; tells who came."""

from __future__ import annotations

import json
import sys
from ipaddress import ip_address

import uvloop

from chassis import open_files
from tests.siege.strangers import Strangers


def main(host: str, port: str, total: str, at_once_max: str, seconds: str) -> None:
    """Comes, and tells who came."""
    if not ip_address(host).is_loopback:
        raise SystemExit("Strangers are let loose on this machine alone.")
    open_files.raise_open_files()
    strangers = Strangers(host, int(port), int(total), int(at_once_max), float(seconds))
    uvloop.run(strangers.run())
    print(json.dumps({"came": strangers.came, "most_at_once": strangers.most_at_once}))


if __name__ == "__main__":
    main(*sys.argv[1:])
